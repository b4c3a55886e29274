"""What happens when somebody presses Generate: check, run, show how it goes, keep the result."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from promptweight.generation import METHODS, MODES, NORMALIZERS
from promptweight_ui import validation
from promptweight_ui.components.live_preview import Preview
from promptweight_ui.components.map_payload import maps_of
from promptweight_ui.components.picture import live, started
from promptweight_ui.context import Context
from promptweight_ui.runs import followed

if TYPE_CHECKING:
    from promptweight import Result
    from promptweight.generation import Progress
    from promptweight_ui.runs import News

USUAL = "auto"
"""The method that each text encoder has by itself."""

HIGHEST_SEED = 2**53 - 1 - validation.MOST_PICTURES
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
    sampler: Any
    steps: Any
    guidance: Any
    seed: Any
    random: Any
    number: Any
    width: Any
    height: Any
    refine: Any


SHARED = tuple(name for name in Settings.__dataclass_fields__ if name not in ("number", "refine"))
"""What the other tabs take over from the Generate tab, in the order of their handlers' arguments."""


def single(values: Sequence[Any]) -> Settings:
    """Return the settings of one picture from the values of `SHARED`."""
    return Settings(**dict(zip(SHARED, values, strict=True)), number=1, refine=False)


@dataclass(frozen=True)
class Call:
    """What is to be made, all of it checked.

    Attributes:
        model: one of the names that the server offers.
        sampler: one of `Models.samplers`.
        arguments: of `promptweight.generate`.
    """

    model: str
    sampler: str
    arguments: dict[str, Any]


def checked(context: Context, settings: Settings, language: object) -> Call:
    """Return what a browser asks for as it can be done.

    Raises:
        gr.Error: a value that cannot be used; says which, in the language of the page.
    """
    model = validation.choice(language, "generate_model", settings.model, context.models.names)
    methods = (USUAL, *METHODS, *(f"attention-{mode}" for mode in MODES))
    method = validation.choice(language, "generate_method", settings.method, methods)
    normalizer = validation.choice(language, "generate_normalizer", settings.normalizer, NORMALIZERS)
    sampler = validation.choice(
        language, "generate_sampler", settings.sampler, context.models.samplers(model)
    )
    number = validation.whole(language, "generate_number", settings.number, 1, validation.MOST_PICTURES)
    seed = secrets.randbelow(2**32)
    if settings.random is not True:
        seed = validation.whole(language, "generate_seed", settings.seed, 0, HIGHEST_SEED)
    sizes = {
        name: validation.whole(language, f"generate_{name}", value, 8, validation.LONGEST_SIDE)
        for name, value in (("width", settings.width), ("height", settings.height))
        if value is not None
    }
    arguments: dict[str, Any] = {
        "prompt": validation.text(language, "generate_prompt", settings.prompt),
        "negative_prompt": validation.text(language, "generate_negative", settings.negative),
        "num_inference_steps": validation.whole(
            language, "generate_steps", settings.steps, 1, validation.MOST_STEPS
        ),
        "guidance_scale": validation.number(language, "generate_guidance", settings.guidance, 0, 100),
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
    return Call(model, sampler, arguments)


def watched(
    context: Context, call: Call, language: object, request: gr.Request, *, refine: bool = True
) -> Generator[dict[str, Any], None, Result]:
    """Make pictures; yields messages for the page about how they come to be, and returns them.

    Args:
        context: what the tabs share.
        call: what to make.
        language: of the page.
        request: of the browser, whose session keeps the result.
        refine: whether refined maps are recorded, too.

    Raises:
        gr.Error: the run failed.
    """
    looks: list[Callable[[Progress], Any]] = []

    def work(callback: Callable[[Progress], bool]) -> Result:
        with context.models.use(call.model, call.sampler) as pipe:
            from promptweight import generate
            from promptweight.attention import Record

            record = Record(steps="keep", refine=refine, max_mb=MOST_MEGABYTES)
            preview = Preview(pipe, _size(call.arguments))
            looks.append(lambda progress: (preview(progress), maps_of(progress.maps, 1, parts=1)))
            return _in_memory(generate(model=pipe, record=record, callback=callback, **call.arguments))

    message = started()

    def tell(news: News | None) -> dict[str, Any]:
        nonlocal message
        if news is not None:
            message = live(news)
        return message

    yield message
    return (
        yield from followed(context, request, language, work, tell, show=lambda progress: looks[0](progress))
    )


def _in_memory(result: Result) -> Result:
    """Return a result whose recording lies in main memory: the device's is for runs."""
    if result.maps is None:
        return result
    recording = result.maps.recording
    slots = tuple(replace(slot, sums=slot.sums.cpu(), counts=slot.counts.cpu()) for slot in recording.slots)
    return replace(result, maps=replace(result.maps, recording=replace(recording, slots=slots), _grids={}))


def _size(arguments: dict[str, Any]) -> tuple[int, int] | None:
    if "height" in arguments and "width" in arguments:
        return arguments["height"], arguments["width"]
    return None
