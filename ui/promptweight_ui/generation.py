"""The Generate form: checks of its values, and the run that makes images from them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from promptweight.weighting import ATTACH_MODES, METHOD_NAMES, NORMALIZER_NAMES
from promptweight_ui import validation
from promptweight_ui.components.live_preview import LivePreview
from promptweight_ui.components.map_payload import maps_payload
from promptweight_ui.components.picture import running_message, started_message
from promptweight_ui.context import Context
from promptweight_ui.runs import follow_run

if TYPE_CHECKING:
    from promptweight import Result
    from promptweight.generation import Progress
    from promptweight_ui.runs import RunProgress

DEFAULT_METHOD = "auto"
"""The default method of each text encoder."""

ATTENTION_PREFIX = "attention-"

WEIGHTING_NAMES = (*METHOD_NAMES, *(f"{ATTENTION_PREFIX}{mode}" for mode in ATTACH_MODES))
"""The choices of how weights act, without `DEFAULT_METHOD`."""

MAX_SEED = 2**53 - 1 - validation.MAX_IMAGES
"""Largest seed with which all seeds of a run are exact in JavaScript."""

MAX_GUIDANCE = 100

MAX_RECORDING_MB = 256.0
"""Memory of one run's recording in MiB."""


@dataclass(frozen=True)
class GenerateForm:
    """Unchecked values of the Generate tab, as a browser sends them."""

    prompt: Any
    negative: Any
    model: Any
    method: Any
    normalizer: Any
    sampler: Any
    steps: Any
    guidance: Any
    seed: Any
    random: Any
    number: Any
    width: Any
    height: Any
    refine: Any


FORM_NAMES = tuple(each.name for each in fields(GenerateForm))

SHARED = tuple(name for name in FORM_NAMES if name not in ("number", "refine"))
"""The values that the other tabs take from the Generate tab, in the order of their handlers' arguments."""


def single_image_form(values: Sequence[Any]) -> GenerateForm:
    """Return the form of one image from the values of `SHARED`."""
    return GenerateForm(**dict(zip(SHARED, values, strict=True)), number=1, refine=False)


@dataclass(frozen=True)
class GenerateCall:
    """Checked values of the Generate tab.

    Attributes:
        model: one of the names that the server offers.
        sampler: one of `Models.samplers`.
        arguments: the arguments of `promptweight.generate`.
    """

    model: str
    sampler: str
    arguments: dict[str, Any]


WEIGHTING_ARGUMENTS = ("method", "normalizer", "space", "mode")
"""Arguments of `promptweight.generate` for how weights act."""


def weighting_arguments(name: str, normalizer: str | None) -> dict[str, Any]:
    """Return the arguments of `promptweight.generate` for one of `WEIGHTING_NAMES` or `DEFAULT_METHOD`.

    Args:
        name: how weights act.
        normalizer: the normalizer of weights on embeddings; None for none.
    """
    if name.startswith(ATTENTION_PREFIX):
        mode = name.removeprefix(ATTENTION_PREFIX)
        return {"space": "attention", "mode": mode}
    method = None if name == DEFAULT_METHOD else name
    return {"method": method, "normalizer": normalizer}


def check_form(context: Context, form: GenerateForm, language: object) -> GenerateCall:
    """Return the checked values of a form.

    Raises:
        gr.Error: a value is invalid; the error names it in the language of the page.
    """
    model = validation.choice(language, "generate_model", form.model, context.models.names)
    method = validation.choice(language, "generate_method", form.method, (DEFAULT_METHOD, *WEIGHTING_NAMES))
    normalizer = validation.choice(language, "generate_normalizer", form.normalizer, NORMALIZER_NAMES)
    sampler = validation.choice(language, "generate_sampler", form.sampler, context.models.samplers(model))
    number = validation.integer(language, "generate_number", form.number, 1, validation.MAX_IMAGES)
    seed = secrets.randbelow(2**32)
    if form.random is not True:
        seed = validation.integer(language, "generate_seed", form.seed, 0, MAX_SEED)
    sizes = {
        name: validation.integer(language, f"generate_{name}", value, 8, validation.MAX_SIDE)
        for name, value in (("width", form.width), ("height", form.height))
        if value is not None
    }
    steps = validation.integer(language, "generate_steps", form.steps, 1, validation.MAX_STEPS)
    arguments = {
        "prompt": validation.text(language, "generate_prompt", form.prompt),
        "negative_prompt": validation.text(language, "generate_negative", form.negative),
        "num_inference_steps": steps,
        "guidance_scale": validation.number(language, "generate_guidance", form.guidance, 0, MAX_GUIDANCE),
        "seed": seed,
        "num_images_per_prompt": number,
        **sizes,
        **weighting_arguments(method, None if normalizer == "none" else normalizer),
    }
    return GenerateCall(model, sampler, arguments)


def stream_generation(
    context: Context, call: GenerateCall, language: object, request: gr.Request, *, refine: bool = True
) -> Generator[dict[str, Any], None, Result]:
    """Generate images and yield messages for the page about the progress; `yield from` returns the result.

    Args:
        context: the objects that the tabs share.
        call: the checked values.
        language: the language of the page.
        request: the request of the browser, whose session holds the run.
        refine: whether refined maps are recorded.

    Raises:
        gr.Error: the run failed.
    """
    previews: list[Callable[[Progress], Any]] = []

    def work(callback: Callable[[Progress], bool]) -> Result:
        with context.models.use(call.model, call.sampler) as pipe:
            from promptweight import generate
            from promptweight.attention import Record

            record = Record(steps="keep", refine=refine, max_mb=MAX_RECORDING_MB)
            preview = LivePreview(pipe, _size(call.arguments))
            previews.append(lambda progress: (preview(progress), maps_payload(progress.maps, 1, parts=1)))
            return _to_main_memory(generate(model=pipe, record=record, callback=callback, **call.arguments))

    message = started_message()

    def describe(progress: RunProgress | None) -> dict[str, Any]:
        nonlocal message
        if progress is not None:
            message = running_message(progress)
        return message

    yield message
    session = context.sessions.get(request)
    return (yield from follow_run(session, language, work, describe, lambda progress: previews[0](progress)))


def _to_main_memory(result: Result) -> Result:
    """Return a result with its recording in main memory; the memory of the device is for runs."""
    if result.maps is None:
        return result
    recording = result.maps.recording
    slots = tuple(replace(slot, sums=slot.sums.cpu(), counts=slot.counts.cpu()) for slot in recording.slots)
    return replace(result, maps=replace(result.maps, recording=replace(recording, slots=slots), _grids={}))


def _size(arguments: dict[str, Any]) -> tuple[int, int] | None:
    if "height" in arguments and "width" in arguments:
        return arguments["height"], arguments["width"]
    return None
