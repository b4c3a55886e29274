"""Recording of the Explore tab for one image: what a page needs to show its sections without a server.

The page computes softmax rows by itself (`static/recorded_run.js`), from the inputs and the matrices of the
layers at one step. Maps of words, which the film and the wall show, are recorded at `FRAMES` steps.
"""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from typing import TYPE_CHECKING, Any

from promptweight_ui.components.map_payload import data_url
from promptweight_ui.explore import attention, guidance, text_encoder, token_vectors
from promptweight_ui.explore.attention import word_rows
from promptweight_ui.explore.word_maps import word_wall
from promptweight_ui.i18n import encodable

if TYPE_CHECKING:
    from torch import Tensor

    from promptweight.attention import LayerCapture
    from promptweight.protocols import Pipeline
    from promptweight_ui.explore.attention import ImageCapture

FRAMES = 9
"""Recorded steps of the film, at even distances; the other sections show the one in the middle."""

GUIDANCE_SCALES = tuple(number / 2 for number in range(25))
"""Scales of the slider, 0 to 12 (`static/guidance_view.js`)."""

KEY = "recorded"
"""Name of the recording, in place of the key of an entry in the server's cache."""


def record_run(pipe: Pipeline, prompt: str, *, seed: int, steps: int = 25) -> dict[str, Any]:
    """Generate an image and return what the Explore tab shows for it, as JSON values.

    Its weights act in attention, as log w on the logits.

    Args:
        pipe: a pipeline with one text encoder and with cross-attention without normalization of queries
            and keys, such as the built-in model `mini`.
        prompt: the prompt; a single chunk without a schedule.
        seed: the seed of the image.
        steps: the number of steps.

    Returns:
        The `prompt`, the `step` of the numbers, from 0, and the parts `text` and `inside`, each with the
        message of its components.

    Raises:
        ValueError: the model or the prompt is none that the page can compute.
    """
    import promptweight

    weighting = promptweight.Weighting("attention")
    result = promptweight.generate(pipe, prompt, seed=seed, num_inference_steps=steps, weighting=weighting)
    captured = attention.capture_layers(pipe, result)
    frames = attention.captured_steps(steps, FRAMES)
    if set(frames) - set(captured.steps):
        raise ValueError(f"the image must be small enough to capture {FRAMES} steps")
    step = frames[len(frames) // 2]
    about = {
        **attention.describe(captured),
        "steps": list(frames),
        "guided_steps": [step],
        "fixed_step": step,
    }
    image = result.images[0]
    return {
        "prompt": prompt,
        "seed": seed,
        "step": step,
        "text": _text(pipe, prompt),
        "inside": {
            "message": {
                "state": "ready",
                "key": KEY,
                "about": about,
                "joined": False,
                "steps": steps,
                "image": {"src": data_url(image)},
            },
            **_computation(captured, step),
            "maps": _maps(captured, frames, step),
            "guidance": [
                _webp(guidance.predicted_image(pipe, captured.guidance[step], scale, captured.size))
                for scale in GUIDANCE_SCALES
            ],
        },
    }


def _text(pipe: Pipeline, prompt: str) -> dict[str, Any]:
    """Return the vectors of every token, and the matrix of every layer, head and mask."""
    captured = text_encoder.capture_text_attention(pipe, prompt, text_encoder.encoder_names(pipe)[0])
    if len(captured.chunks) > 1:
        raise ValueError(f"prompt must have one chunk; got {len(captured.chunks)}")
    about = text_encoder.describe(captured)
    requests = [{"chunk": 0, "token": token, "stage": "sum"} for token in range(len(captured.labels[0]))]
    vectors = [token_vectors.token_values(captured.vectors, request) for request in requests]
    return {
        "message": {"state": "ready", "key": KEY, "about": about},
        "vectors": [{name: each[name] for name in ("embedding", "position", "sum")} for each in vectors],
        "similarity": {
            stage: token_vectors.cosine_similarity(captured.vectors[0], stage)
            for stage in token_vectors.STAGES
        },
        "matrices": {
            f"{layer}-{head}-{'masked' if is_masked else 'lifted'}": text_encoder.attention_matrix(
                captured, 0, layer, head, is_masked=is_masked
            )
            for is_masked in ((True, False) if captured.unmasked else (True,))
            for layer in (None, *range(about["layers"]))
            for head in (None, *range(about["heads"]))
        },
    }


def _computation(captured: ImageCapture, step: int) -> dict[str, Any]:
    """Return the tokens, the inputs of the layers and their matrices at a step."""
    capture, inputs = captured.attention, captured.inputs
    tables = capture.variant_at(step)
    if len(capture.variants) > 1 or len(tables) > 1:
        raise ValueError("prompt must have no schedule and no AND")
    text = tables[0].table.prompt.text
    layers, text_states = [], None
    for layer in capture.layers:
        place = layer.name, step
        projections, states = inputs.layers.get(layer.name), inputs.states.get(place)
        if projections is None or states is None or layer.order != "cross" or projections.is_normalized:
            raise ValueError(f"layer {layer.name} must be cross-attention with plain projections")
        image_states, own_states = states
        if text_states is not None and not text_states.equal(own_states):
            raise ValueError(f"layer {layer.name} must get the same text as the layers before")
        text_states = own_states
        matrices = {"query": projections.query, "key": projections.key, "value": projections.value}
        if any(each.bias is not None for each in matrices.values()):
            raise ValueError(f"the projections of layer {layer.name} must have no bias")
        layers.append(
            {
                "dimensions": capture.text[place].query.shape[2],
                "image": _halves(image_states),
                "width": image_states.shape[1],
                "matrices": {name: _halves(each.weight) for name, each in matrices.items()},
                **_weights(capture.text[place]),
                "self": _self_attention(capture.image[place]),
            }
        )
    return {
        "tokens": [
            {
                "kind": token.kind,
                "text": encodable(text[token.start : token.end]) if token.kind == "text" else "",
                "row": token.position,
            }
            for token in tables[0].table.tokens
        ],
        "words": word_rows(tables),
        "states": None if text_states is None else _halves(text_states),
        "width": 0 if text_states is None else text_states.shape[1],
        "layers": layers,
    }


def _weights(layer: LayerCapture) -> dict[str, Any]:
    """Return the bias on the logit of each key, None for −∞, and the factor of each value."""
    row = layer.row(0, 0)
    for name, values in (("bias", layer.bias), ("factors", layer.factors)):
        if values is not None and not bool((values == getattr(row, name)).all()):
            raise ValueError("the weights of the prompt must act on the whole image and on every head")
    infinite = float("-inf")
    return {
        "bias": [None if value == infinite else value for value in row.bias.tolist()],
        "factors": row.factors.tolist(),
    }


def _self_attention(layer: LayerCapture) -> dict[str, Any]:
    return {
        "heads": layer.heads,
        "dimensions": layer.query.shape[2],
        "query": _halves(layer.query),
        "key": _halves(layer.key),
    }


def _maps(captured: ImageCapture, frames: tuple[int, ...], step: int) -> list[Any]:
    """Return the walls of every word at every frame; None for punctuation."""
    words = captured.attention.variant_at(step)[0].table.words
    return [
        None if word.is_punctuation else [word_wall(captured.attention, frame, index) for frame in frames]
        for index, word in enumerate(words)
    ]


def _halves(values: Tensor) -> str:
    """Return a tensor as little-endian float16 numbers, in base64."""
    content = values.half().contiguous().numpy().astype("<f2").tobytes()
    return b64encode(content).decode("ascii")


def _webp(image: Any) -> str:
    content = BytesIO()
    image.save(content, "WEBP", quality=85)
    return f"data:image/webp;base64,{b64encode(content.getvalue()).decode('ascii')}"
