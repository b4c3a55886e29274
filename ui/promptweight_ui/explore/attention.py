"""Attention of one patch in one layer, head and step for the Explore tab, with its whole computation."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptweight_ui.components.map_payload import shown_weight
from promptweight_ui.explore.guidance import GuidedStep, record_guidance
from promptweight_ui.explore.projections import RecordedInputs, projection_values, record_inputs
from promptweight_ui.i18n import encodable

if TYPE_CHECKING:
    from torch import Tensor

    from promptweight import Result
    from promptweight.attention import AttentionCapture, LayerCapture, SoftmaxRow
    from promptweight.generation import Progress
    from promptweight.maps import PromptVariant
    from promptweight.protocols import Pipeline

MAX_TOKENS = 24
"""Rows of the table that are tokens of the prompt; further tokens share one row."""

MAX_DIMENSIONS = 32
"""Numbers of a vector that are drawn."""

MAX_HEADS = 24
"""Heads that are drawn side by side."""

MAX_STEPS = 5
"""Captured steps of a run with a large image."""

MAX_SMALL_STEPS = 30
"""Captured steps of a run with a small image."""

SMALL_PIXELS = 128**2
"""Pixels of a small image."""

MAX_MEGABYTES = 192.0


@dataclass(frozen=True)
class ImageCapture:
    """Capture of an image that was generated again: attention, inputs of layers, and predictions.

    Attributes:
        attention: the attention of its layers.
        inputs: the inputs of the layers.
        guidance: the predictions without and with the prompt, by step; empty where there is no guidance.
        guidance_scale: the guidance scale of the run.
        size: height and width of the image in pixels.
        model: the name of the model, for what is computed later.
    """

    attention: AttentionCapture
    inputs: RecordedInputs
    guidance: Mapping[int, GuidedStep]
    guidance_scale: float
    size: tuple[int, int]
    model: str = ""

    @property
    def steps(self) -> tuple[int, ...]:
        """The captured steps, from 0."""
        return self.attention.steps

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        guided = sum(each.nbytes for each in self.guidance.values())
        return self.attention.nbytes + self.inputs.nbytes + guided


@dataclass(frozen=True)
class Selection:
    """Selection of the page: indices of a layer, a head, a patch and a word, and a step."""

    layer: int
    head: int
    step: int
    patch: int
    word: int


def capture_layers(
    pipe: Pipeline, result: Result, image: int = 0, callback: Callable[[Progress], bool | None] | None = None
) -> ImageCapture:
    """Generate an image of `result` again, up to the last captured step, and capture its attention.

    The image is identical, since settings and seed are the same.

    Args:
        pipe: the pipeline that made it.
        result: the result.
        image: the index of the image.
        callback: as in `promptweight.generate`.
    """
    from promptweight.attention import Record, attach, capture_attention
    from promptweight.generation import progress_reporter, run_pipeline

    settings = result.settings
    steps = settings["num_inference_steps"]
    size = result.images[image]
    most = MAX_SMALL_STEPS if size.width * size.height <= SMALL_PIXELS else MAX_STEPS
    chosen = captured_steps(result.stopped_after or steps, most)
    call = {
        "num_inference_steps": steps,
        "guidance_scale": settings["guidance_scale"],
        "width": size.width,
        "height": size.height,
    }
    record = Record(patches=((0.5, 0.5),))

    def continues(progress: Progress) -> bool:
        is_wanted = callback is None or callback(progress) is not False
        return is_wanted and progress.step <= chosen[-1]

    with (
        attach(
            pipe,
            result.prompt,
            result.negative_prompt,
            record=record,
            num_inference_steps=steps,
            weighting=settings["weighting"],
            clip_skip=settings["clip_skip"],
        ) as session,
        capture_attention(session, chosen, MAX_MEGABYTES) as capture,
        record_inputs(session, chosen) as inputs,
        record_guidance(pipe, session, () if len(result.prompt.parts) > 1 else chosen) as guidance,
    ):
        run_pipeline(
            pipe,
            session.inputs,
            call,
            (result.seeds[image],),
            on_step=progress_reporter(continues, session),
        )
    inputs.states = {place: both for place, both in inputs.states.items() if place in capture.text}
    scale = float(settings["guidance_scale"] or 0.0)
    return ImageCapture(capture, inputs, guidance, scale, (size.height, size.width))


def captured_steps(steps: int, most: int = MAX_STEPS) -> tuple[int, ...]:
    """Return at most `most` of the steps at even distances, the first and the last included."""
    if steps <= most:
        return tuple(range(steps))
    return tuple(round(part * (steps - 1) / (most - 1)) for part in range(most))


def describe(captured: ImageCapture) -> dict[str, Any]:
    """Return the layers, heads, steps and words that can be selected."""
    capture = captured.attention
    return {
        "guided_steps": sorted(captured.guidance),
        "guidance_scale": captured.guidance_scale,
        "layers": [
            {
                "name": layer.name,
                "part": _model_part(layer.name),
                "joint": layer.order != "cross",
                "rows": capture.sizes[layer.name][0],
                "columns": capture.sizes[layer.name][1],
                "heads": layer.heads,
            }
            for layer in capture.layers
        ],
        "left_out": len(capture.omitted_layers),
        "steps": list(capture.steps),
        "texts": [
            {
                "text": encodable(tables[0].table.prompt.text),
                "words": [
                    {
                        "text": encodable(word.text),
                        "weight": shown_weight(word, tables[0].table.prompt.source),
                        "punctuation": word.is_punctuation,
                    }
                    for word in tables[0].table.words
                ],
            }
            for tables in capture.variants
        ],
        "text_at_step": {
            str(step): variant for step, variant in capture.variant_by_step.items() if step in capture.steps
        },
    }


def selection_values(captured: ImageCapture, selection: Selection) -> dict[str, Any]:
    """Return all values that the page shows for a selection.

    Raises:
        IndexError: there is no such layer, head, step, patch or word.
    """
    capture, step = captured.attention, selection.step
    tables = capture.variant_at(step) if step in capture.steps else ()
    words = tables[0].table.words if tables else ()
    limits = (("layer", selection.layer, len(capture.layers)), ("word", selection.word, len(words)))
    for name, index, number in limits:
        if not 0 <= index < number:
            raise IndexError(name)
    layer = capture.layers[selection.layer]
    inputs = capture.text.get((layer.name, step))
    if inputs is None or not 0 <= selection.head < inputs.heads:
        raise IndexError("step or head")
    if not 0 <= selection.patch < inputs.query.shape[1]:
        raise IndexError("patch")
    rows = word_rows(tables)
    row = inputs.row(selection.head, selection.patch)
    keys = [inputs.text.start + each for each in rows[selection.word]]
    maps = inputs.columns(keys)
    image = capture.image.get((layer.name, step))
    shares = [row.probabilities[[inputs.text.start + each for each in word]].sum() for word in rows]
    return {
        "map": map_values(maps[selection.head]),
        "heads": [map_values(each) for each in maps[:MAX_HEADS]] if len(maps) > 1 else [],
        "image": None if image is None else _image_attention(image, selection),
        "words": [_rounded(share) for share in shares],
        "dimensions": row.keys.shape[1],
        "table": _table(tables, inputs, row, rows[selection.word]),
        "output": _vector(row.output),
        "query": _vector(row.query),
        "key": _vector(row.keys[keys[0]]) if keys else [],
        "projections": projection_values(
            captured.inputs, (layer.name, step), inputs, selection.head, selection.patch, keys[0]
        )
        if keys
        else None,
    }


def _image_attention(inputs: LayerCapture, selection: Selection) -> dict[str, Any]:
    head = min(selection.head, inputs.heads - 1)
    probabilities = inputs.row(head, selection.patch).probabilities[inputs.image]
    return {"map": map_values(probabilities), "total": _rounded(probabilities.sum())}


def _table(
    tables: PromptVariant, inputs: LayerCapture, row: SoftmaxRow, chosen: list[int]
) -> list[dict[str, Any]]:
    """Return a row for each token, and one for all padding, all other tokens, and the image.

    The sum of their contributions is the output.
    """
    lines: list[dict[str, Any]] = []
    rest: dict[str, list[int]] = {"other": [], "pad": []}
    text_tokens = 0
    for placed in tables:
        text = placed.table.prompt.text
        for token in placed.table.tokens:
            position = placed.start + token.position
            key = inputs.text.start + position
            is_text = token.kind == "text"
            text_tokens += is_text
            if token.kind == "pad":
                rest["pad"].append(key)
            elif is_text and text_tokens > MAX_TOKENS and position not in chosen:
                rest["other"].append(key)
            else:
                lines.append(
                    {
                        "kind": token.kind,
                        "text": encodable(text[token.start : token.end]) if is_text else "",
                        "chosen": position in chosen,
                        "product": _rounded(row.products[key], 7),
                        "bias": _bias(row.bias[key]),
                        "factor": _rounded(row.factors[key]),
                        **_contribution(row, [key]),
                    }
                )
    token_keys = {
        inputs.text.start + placed.start + token.position
        for placed in tables
        for token in placed.table.tokens
    }
    # Rows of the text without a token, where a shorter encoding is padded.
    rest["pad"] += [key for key in range(inputs.text.start, inputs.text.stop) if key not in token_keys]
    rest["image"] = list(range(inputs.image.start, inputs.image.stop))
    return lines + [
        {
            "kind": kind,
            "count": len(keys),
            "chosen": False,
            "products": [_rounded(value, 7) for value in row.products[keys]],
            "biases": [_bias(value) for value in row.bias[keys]],
            **_contribution(row, keys),
        }
        for kind, keys in rest.items()
        if keys
    ]


def _contribution(row: SoftmaxRow, keys: list[int]) -> dict[str, Any]:
    probabilities = row.probabilities[keys]
    return {
        "probability": _rounded(probabilities.sum()),
        "contribution": _vector((probabilities * row.factors[keys]) @ row.values[keys]),
    }


def word_rows(tables: PromptVariant) -> list[list[int]]:
    """Return the rows of the text embeddings of each word, in all tables that hold it."""
    return [
        sorted(
            {
                placed.start + position
                for placed in tables
                for other in placed.table.words
                if (other.start, other.end) == (word.start, word.end)
                for position in other.positions
            }
        )
        for word in tables[0].table.words
    ]


def _model_part(name: str) -> str:
    first = name.split(".", 1)[0]
    return {"down_blocks": "down", "mid_block": "mid", "up_blocks": "up"}.get(first, "all")


def map_values(values: Tensor) -> dict[str, Any]:
    """Return values from 0 on as bytes, and the value of 255."""
    top = float(values.max())
    numbers = (values / max(top, 1e-30) * 255).round().byte()
    return {
        "values": b64encode(numbers.contiguous().numpy().tobytes()).decode("ascii"),
        "top": _rounded(values.max()),
        "mean": _rounded(values.mean()),
    }


def _vector(values: Tensor) -> list[float]:
    return [_rounded(value) for value in values[:MAX_DIMENSIONS]]


def _rounded(value: Any, digits: int = 4) -> float:
    return float(f"{float(value):.{digits}g}")


def _bias(value: Any) -> float | None:
    """Return a bias; None for that of weight 0, −∞, which JSON cannot hold."""
    return _rounded(value, 7) if math.isfinite(value) else None
