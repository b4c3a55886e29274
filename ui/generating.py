"""What happens when somebody presses Generate: check, run, show how it goes, keep the result."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING, Any

import gradio as gr

from promptweight.errors import PromptweightError
from promptweight_ui import inputs
from promptweight_ui.context import Context
from promptweight_ui.language import say
from promptweight_ui.payload import maps_of
from promptweight_ui.picture import finished, live, started
from promptweight_ui.preview import Preview
from promptweight_ui.runs import News, Run

if TYPE_CHECKING:
    from promptweight import Result
    from promptweight.generate import Progress

METHODS = ("none", "scale", "a1111", "scale-rms", "comfy", "compel", "down_weight", "comfy++", "perp")
"""The names in `promptweight.weighting.METHODS`, which cannot be asked for without torch."""

MODES = ("logit", "p2p", "value")
NORMALIZERS = ("none", "mean", "mean-div", "length", "length+mean")
USUAL = "auto"
"""The method that each text encoder has by itself."""

HIGHEST_SEED = 2**53 - 1 - inputs.MOST_PICTURES
"""Beyond it, JavaScript's numbers are no longer exact."""

MOST_MEGABYTES = 256.0
"""Of one run's recording."""


@dataclass(frozen=True)
class Settings:
    """What a browser asks for, as it comes: nothing here has been checked."""

    prompt: Any
    negative: Any
    model: Any
    method: Any
    normalizer: Any
    steps: Any
    guidance: Any
    seed: Any
    random: Any
    number: Any
    width: Any
    height: Any
    refine: Any


def checked(context: Context, settings: Settings, language: object) -> tuple[str, dict[str, Any]]:
    """Returns the model's name and the arguments of `promptweight.generate`.

    Raises:
        gr.Error: a value that cannot be used; says which, in the language of the page.
    """
    model = inputs.choice(language, "generate_model", settings.model, context.models.names)
    methods = (USUAL, *METHODS, *(f"attention-{mode}" for mode in MODES))
    method = inputs.choice(language, "generate_method", settings.method, methods)
    normalizer = inputs.choice(language, "generate_normalizer", settings.normalizer, NORMALIZERS)
    number = inputs.whole(language, "generate_number", settings.number, 1, inputs.MOST_PICTURES)
    seed = secrets.randbelow(2**32)
    if settings.random is not True:
        seed = inputs.whole(language, "generate_seed", settings.seed, 0, HIGHEST_SEED)
    sizes = {
        name: inputs.whole(language, f"generate_{name}", value, 8, inputs.LONGEST_SIDE)
        for name, value in (("width", settings.width), ("height", settings.height))
        if value is not None
    }
    arguments: dict[str, Any] = {
        "prompt": inputs.text(language, "generate_prompt", settings.prompt),
        "negative_prompt": inputs.text(language, "generate_negative", settings.negative),
        "num_inference_steps": inputs.whole(language, "generate_steps", settings.steps, 1, inputs.MOST_STEPS),
        "guidance_scale": inputs.number(language, "generate_guidance", settings.guidance, 0, 100),
        "seed": seed,
        "num_images_per_prompt": number,
        **sizes,
    }
    if method.startswith("attention-"):
        arguments |= {"space": "attention", "mode": method.removeprefix("attention-")}
    else:
        arguments |= {
            "method": None if method == USUAL else method,
            "normalizer": None if normalizer == "none" else normalizer,
        }
    return model, arguments


def watched(
    context: Context, component: Any, settings: Settings, language: object, request: gr.Request
) -> Iterator[tuple[dict[str, Any], int]]:
    """Yields the messages of a run for the picture `component`, each with the seed.

    Raises:
        gr.Error: the settings cannot be used, or the run failed.
    """
    model, arguments = checked(context, settings, language)
    session = context.sessions.of(request)
    if session.run is not None:
        session.run.stop()
    looks: list[Callable[[Progress], Any]] = []
    run = session.run = Run(lambda progress: looks[0](progress))

    def work(callback: Callable[[Progress], bool]) -> Result:
        with context.models.use(model) as pipe:
            from promptweight import generate
            from promptweight.attention import Record

            record = Record(steps="keep", refine=settings.refine is True, max_mb=MOST_MEGABYTES)
            preview = Preview(pipe, _size(arguments))
            looks.append(lambda progress: (preview(progress), maps_of(progress.maps, 1, parts=1)))
            return _in_memory(generate(model=pipe, record=record, callback=callback, **arguments))

    began = monotonic()
    run.start(work)
    yield started(), arguments["seed"]
    message = started()
    for news in run.news():
        if isinstance(news, News):
            message = live(news)
        yield message, arguments["seed"]
    result = outcome(run, language)
    if result.images:
        context.sessions.keep(session, result)
    yield finished(component, result, monotonic() - began), arguments["seed"]


def outcome(run: Run, language: object) -> Result:
    """Returns what a run made; raises its failure as something a person can read."""
    try:
        return run.outcome
    except PromptweightError as error:
        raise inputs.refused(language, error) from error
    except Exception as error:
        # What other libraries say may hold paths of the server, so it goes into its log alone.
        logging.getLogger("promptweight").exception("a run failed")
        is_memory = type(error).__name__ in ("OutOfMemoryError", "MemoryError")
        key = "error_memory" if is_memory else "error_failed"
        title = say(language, "error_title")
        raise gr.Error(say(language, key), title=title, print_exception=False) from error


def _in_memory(result: Result) -> Result:
    """Returns a result whose recording lies in main memory: the device's is for runs."""
    if result.maps is None:
        return result
    recording = result.maps.recording
    slots = tuple(replace(slot, sums=slot.sums.cpu(), counts=slot.counts.cpu()) for slot in recording.slots)
    return replace(result, maps=replace(result.maps, recording=replace(recording, slots=slots), _grids={}))


def _size(arguments: dict[str, Any]) -> tuple[int, int] | None:
    if "height" in arguments and "width" in arguments:
        return arguments["height"], arguments["width"]
    return None
