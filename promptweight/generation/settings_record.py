"""Settings record of an image as JSON values, and warnings about settings without effect."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from promptweight._version import __version__
from promptweight.attention import NegativeGuidance
from promptweight.generation.options import GenerateOptions
from promptweight.messages import Message, message
from promptweight.weighting import CLIP_ATTENTION, KEY_WEIGHTINGS, DefaultWeighting, Weighting

if TYPE_CHECKING:
    from promptweight.models import Adapters
    from promptweight.prompt import Prompt
    from promptweight.protocols import Pipeline


def find_unused_settings(
    pipe: Pipeline, options: GenerateOptions, call: Mapping[str, Any], prompt: Prompt, negative_prompt: Prompt
) -> list[Message]:
    """Return a warning for each setting without effect, beyond those of the encoding."""
    weighting, warnings = Weighting.of(options.weighting), list[Message]()
    is_limited = bool(weighting.layers) or weighting.steps is not None
    prompts = (prompt, negative_prompt)
    if (
        is_limited
        and not options.targets
        and not any(_acts_in_attention(pipe, weighting, each) for each in prompts)
    ):
        warnings.append(message("attention-fields-unused", weighting=str(weighting)))
    if negative_prompt.text and not NegativeGuidance.of(options.negative_guidance).acts_in_attention:
        warnings += _find_unused_guidance(pipe, call)
    return warnings


def _find_unused_guidance(pipe: Pipeline, call: Mapping[str, Any]) -> Iterator[Message]:
    """Yield a warning if a call of the pipeline has no classifier-free guidance."""
    parameters = inspect.signature(type(pipe).__call__).parameters
    # FLUX's `guidance_scale` is an input of the model, and its negative prompt has a scale of its own
    name = "true_cfg_scale" if "true_cfg_scale" in parameters else "guidance_scale"
    scale = call.get(name, parameters[name].default if name in parameters else 1)
    if "negative_prompt_embeds" in parameters and scale <= 1:  # the encoding warns of pipelines without them
        yield message("negative-without-guidance", name=name, scale=scale)


def _acts_in_attention(pipe: Pipeline, weighting: Weighting, prompt: Prompt) -> bool:
    """Return whether a weight of a prompt may act in the denoiser's attention."""
    default = _get_word_default(pipe, weighting, prompt.dialect)
    return default in (*KEY_WEIGHTINGS, "split", "presence") or any(
        span.options.share is not None or span.options.weighting in KEY_WEIGHTINGS for span in prompt.spans
    )


def _get_word_default(pipe: Pipeline, weighting: Weighting, dialect: str) -> DefaultWeighting:
    """Return how words without an option are weighted in prompts of a dialect."""
    from promptweight.conditioning import find_family

    carries = not find_family(pipe).outputs
    return weighting.word_default(dialect, in_session=True, weights_embeddings=carries)


def collect_settings(
    pipe: Pipeline,
    prompt: Prompt,
    negative_prompt: Prompt,
    options: GenerateOptions,
    adapters: Adapters,
    call: Mapping[str, Any],
) -> dict[str, Any]:
    """Return everything but the seed that determines an image, as JSON values."""
    from promptweight.conditioning import find_family
    from promptweight.models import get_controlnet_origin, get_origin, get_sampler_name

    origin, guidance_argument = get_origin(pipe), find_family(pipe).guidance_argument
    controlnet = get_controlnet_origin(pipe)
    targets = {"targets": dict(options.targets)} if options.targets else {}
    further = {name: _as_json(value) for name, value in options.pipeline_kwargs.items()}
    return {
        "promptweight": __version__,
        "prompt": prompt.source,
        "negative_prompt": negative_prompt.source,
        "negative_guidance": str(options.negative_guidance),
        "dialect": prompt.dialect,
        "model": origin.model,
        "revision": origin.revision,
        "pipeline": type(pipe).__name__,
        **({} if controlnet is None else {"controlnet": str(controlnet)}),
        "scheduler": type(pipe.scheduler).__name__,
        "sampler": get_sampler_name(pipe.scheduler),
        "dtype": str(pipe.dtype).removeprefix("torch."),
        "device": pipe._execution_device.type,
        "weighting": str(options.weighting),
        "weighting_by_encoder": _weighting_by_encoder(pipe, Weighting.of(options.weighting), prompt.dialect),
        "clip_skip": options.clip_skip,
        **targets,
        "loras": {name: lora.describe() for name, lora in adapters.loras.items()},
        "embeddings": sorted({path.stem for path in adapters.embeddings.values()}),
        **{
            "guidance_scale" if name == guidance_argument else name: value
            for name, value in call.items()
            if name not in options.pipeline_kwargs
        },
        **({"pipeline_kwargs": further} if further else {}),
    }


def _weighting_by_encoder(pipe: Pipeline, weighting: Weighting, dialect: str) -> dict[str, str]:
    """Return how weights act on each text encoder's embeddings, by the encoder's name."""
    from promptweight.conditioning import find_family, get_text_encoders

    family = find_family(pipe)
    if family.outputs:
        default = weighting.name or _get_word_default(pipe, weighting, dialect)
        return {kind.name: default for kind in family.encoders}
    present = get_text_encoders(pipe, family)
    in_clip = weighting.name == CLIP_ATTENTION
    return {
        kind.name: CLIP_ATTENTION if in_clip and kind.is_clip else weighting.method_for(dialect, kind.method)
        for section in family.sections
        for kind in section
        if kind in present
    }


def _as_json(value: Any) -> Any:
    """Return a value that JSON has unchanged, and the name of the type of any other."""
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return f"<{type(value).__name__}>"
    return value
