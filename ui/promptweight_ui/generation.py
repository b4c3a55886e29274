"""The Generate form: checks of its values, and the run that makes images from them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from time import monotonic
from typing import TYPE_CHECKING, Any

import gradio as gr

from promptweight.errors import PromptweightError
from promptweight.generation import GenerateOptions
from promptweight.weighting import DEFAULT_NAME, WEIGHTING_NAMES, Weighting
from promptweight_ui import validation
from promptweight_ui.components.live_preview import LivePreview
from promptweight_ui.components.map_payload import live_payload
from promptweight_ui.components.picture import (
    empty_message,
    finished_message,
    image_payload,
    running_message,
)
from promptweight_ui.context import Context
from promptweight_ui.history import image_caption, shared_history
from promptweight_ui.runs import Run, RunAbortedError, RunFailedError, RunStatus, follow_run
from promptweight_ui.samplers import join_sampler

if TYPE_CHECKING:
    from promptweight import Result
    from promptweight.generation import Progress
    from promptweight.prompt import Prompt

WEIGHTINGS = (DEFAULT_NAME, *WEIGHTING_NAMES)
"""The listed choices of how weights act; any other text of a `Weighting` can be typed."""

MAX_SEED = 2**53 - 1 - validation.MAX_IMAGES
"""Largest seed with which all seeds of a run are exact in JavaScript."""

MAX_GUIDANCE = 30

MAX_RECORDING_MB = 256.0
"""Memory of one run's recording in MiB."""


@dataclass(frozen=True)
class GenerateForm:
    """Unchecked values of the Generate tab, as a browser sends them."""

    prompt: Any
    negative: Any
    model: Any
    weighting: Any
    sampler: Any
    schedule: Any
    steps: Any
    guidance: Any
    seed: Any
    random: Any
    number: Any
    width: Any
    height: Any
    clip_skip: Any
    refine: Any


FORM_NAMES = tuple(each.name for each in fields(GenerateForm))

SHARED = tuple(name for name in FORM_NAMES if name not in ("number", "refine"))
"""The values that the other tabs take from the Generate tab, in the order of their handlers' arguments."""


def single_image_form(values: Sequence[Any]) -> GenerateForm:
    """Return the form of one image from the values of `SHARED`, with the seed of the last image.

    The field of the seed holds it, also where the next image will have a random one.
    """
    shared = dict(zip(SHARED, values, strict=True)) | {"random": False}
    return GenerateForm(**shared, number=1, refine=False)


@dataclass(frozen=True)
class GenerateCall:
    """Checked values of the Generate tab.

    Attributes:
        model: one of the names that the server offers.
        prompt: the prompt.
        options: the options of `promptweight.generate`.
    """

    model: str
    prompt: str | Prompt
    options: GenerateOptions


def check_form(context: Context, form: GenerateForm, language: object) -> GenerateCall:
    """Return the checked values of a form.

    Raises:
        PageError: a value is invalid; the error names it in the language of the page.
    """
    model = validation.choice(language, "generate_model", form.model, context.models.names)
    models = context.models
    sampler = validation.choice(language, "generate_sampler", form.sampler, models.samplers(model))
    schedules = models.schedules(model, sampler)
    schedule = validation.choice(language, "generate_schedule", form.schedule, schedules)
    number = validation.integer(language, "generate_number", form.number, 1, validation.MAX_IMAGES)
    seed = secrets.randbelow(2**32)
    if form.random is not True:
        seed = validation.integer(language, "generate_seed", form.seed, 0, MAX_SEED)
    facts = models.facts(model)
    sizes = {
        name: validation.optional_integer(language, f"generate_{name}", value, 8, facts.max_side)
        for name, value in (("width", form.width), ("height", form.height))
    }
    if any(sizes.values()):  # pipelines of Stable Diffusion ignore one side without the other
        sizes = {name: value or facts.side for name, value in sizes.items()}
    options = GenerateOptions(
        negative_prompt=validation.text(language, "generate_negative", form.negative),
        weighting=check_weighting(form.weighting, language),
        num_inference_steps=validation.integer(
            language, "generate_steps", form.steps, 1, validation.MAX_STEPS
        ),
        guidance_scale=validation.number(language, "generate_guidance", form.guidance, 0, MAX_GUIDANCE),
        scheduler=join_sampler(sampler, schedule),
        seed=seed,
        num_images_per_prompt=number,
        clip_skip=validation.optional_integer(
            language, "generate_clip_skip", form.clip_skip, 0, validation.MAX_CLIP_SKIP
        ),
        lora_dir=context.lora_dir,
        embeddings_dir=context.embeddings_dir,
        height=sizes.get("height"),
        width=sizes.get("width"),
    )
    return GenerateCall(model, validation.text(language, "generate_prompt", form.prompt), options)


def check_weighting(value: object, language: object) -> Weighting:
    """Return the weighting that a browser sends as text.

    Raises:
        PageError: it is not text, or not valid.
    """
    try:
        return Weighting.parse(validation.text(language, "generate_weighting", value))
    except PromptweightError as error:
        raise validation.as_page_error(language, error) from error


def stream_generation(
    context: Context,
    component: Any,
    call: GenerateCall,
    request: gr.Request,
    *,
    refine: bool = True,
    finish: Callable[[Result], Result] = lambda result: result,
) -> Iterator[dict[str, Any]]:
    """Generate images and yield messages for the picture component; the session keeps the result.

    Every finished image is saved at once, also if the run fails or is stopped later.

    Args:
        context: the objects that the tabs share.
        component: the picture component.
        call: the checked values.
        request: the request of the browser, whose session holds the run.
        refine: whether refined maps are recorded.
        finish: changes every result before it is saved.

    Raises:
        QueueFullError: too many runs are waiting.
        RunFailedError: the run failed after its first image.
        SettingError: the output folder is full.
        Exception: that of a run that failed before.
    """
    start = monotonic()
    previews: list[Callable[[Progress], Any]] = []
    results: list[Result] = []
    images: list[dict[str, Any]] = []

    def save(result: Result) -> None:
        result = finish(_to_main_memory(result))
        images.extend(saved_images(context, component, result, request))
        results.append(result)

    def work(run: Run) -> Result | None:
        context.outputs.check_room()
        with context.models.use(call.model) as pipe, run.interrupting(pipe):
            from promptweight import generate
            from promptweight.attention import Record

            record = Record(steps="keep", refine=refine, max_mb=MAX_RECORDING_MB)
            options = replace(call.options, record=record)
            preview = LivePreview(pipe, _size(options))
            previews.append(lambda progress: (preview(progress), live_payload(progress.maps)))
            try:
                result = generate(pipe, call.prompt, options=options, callback=run.after_step, on_image=save)
            except RunAbortedError:
                return None
            return finish(_to_main_memory(result))

    def describe(status: RunStatus) -> dict[str, Any]:
        return running_message(status, images)

    def keep(result: Result) -> dict[str, Any]:
        """Make a result the last one of the session, and return its message."""
        outputs = context.outputs
        message = finished_message(result, images, monotonic() - start)
        if outputs.is_listed and result.stopped_after is None:  # not told to other machines
            message["folder"] = str(outputs.folder)
            message["is_saved"] = outputs.is_writable
        context.sessions.store_result(session, result, {**message, "former": True})
        return message

    session = context.sessions.get(request)
    turns = context.models.turns
    try:
        result = yield from follow_run(turns, session, work, describe, lambda progress: previews[0](progress))
    except Exception as error:
        if not results:
            raise
        raise RunFailedError(error, keep(join_results(results))) from error
    if result is None and results:
        result = join_results(results)
    if result is None or not result.images:
        yield empty_message()
        return
    if len(result.images) > len(images):  # the last one is not finished
        images.extend(saved_images(context, component, last_image(result), request))
    yield keep(result)


def saved_images(
    context: Context, component: Any, result: Result, request: gr.Request
) -> list[dict[str, Any]]:
    """Save the images of a result, add them to the history of the session, and return them for the page."""
    history = shared_history(context)
    found = []
    for number, path in enumerate(context.outputs.save(result, component)):
        history.add(request.session_hash or "", path, image_caption(result, number))
        found.append(image_payload(result, number, path))
    return found


def join_results(results: Sequence[Result]) -> Result:
    """Return the results of single images, drawn one by one, as one result."""
    from promptweight.generation import join_maps

    maps = [each.maps for each in results if each.maps is not None]
    return replace(
        results[0],
        images=tuple(image for each in results for image in each.images),
        seeds=tuple(seed for each in results for seed in each.seeds),
        maps=join_maps(maps) if len(maps) == len(results) else None,
        shares=tuple(shares for each in results for shares in each.shares),
        warnings=tuple(dict.fromkeys(text for each in results for text in each.warnings)),
    )


def last_image(result: Result) -> Result:
    """Return the result of the last image alone, without maps."""
    return replace(result, images=result.images[-1:], seeds=result.seeds[-1:], maps=None)


def _to_main_memory(result: Result) -> Result:
    """Return a result with its recording in main memory; the memory of the device is for runs."""
    if result.maps is None:
        return result
    recording = result.maps.recording
    slots = tuple(replace(slot, sums=slot.sums.cpu(), counts=slot.counts.cpu()) for slot in recording.slots)
    return replace(result, maps=replace(result.maps, recording=replace(recording, slots=slots), _grids={}))


def _size(options: GenerateOptions) -> tuple[int, int] | None:
    if options.height is None or options.width is None:
        return None
    return options.height, options.width
