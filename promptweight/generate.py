"""The one way from a prompt to pictures and maps; the app, the command line and scripts all call it.

    result = generate("um (gato:1.4) vermelho", "mini", seed=1)
    result.save("out", overlays=["gato"])

This module itself is light; torch and diffusers are imported when `generate` is called.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from promptweight import checks
from promptweight.errors import SettingError
from promptweight.result import Result

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from PIL import Image

    from promptweight.attention import AttentionMaps, AttentionSession
    from promptweight.conditioning import TokenTable
    from promptweight.prompt import Prompt

MAX_PROMPT = 1_000_000
MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class Progress:
    """How far a run is, told after every step.

    Attributes:
        picture: the number of the picture being made, from 1.
        pictures: how many are wanted.
        step: how many steps of this picture are done.
        steps: how many it takes.
    """

    picture: int
    pictures: int
    step: int
    steps: int
    _session: AttentionSession

    @property
    def maps(self) -> AttentionMaps:
        """The attention of this picture up to now; `AttentionMaps` is made only when it is asked for."""
        return self._session.maps


Callback = Callable[[Progress], bool | None]


def generate(
    prompt: str | Prompt,
    model: str | os.PathLike[str] | DiffusionPipeline = "mini",
    *,
    negative_prompt: str | Prompt = "",
    method: str | None = None,
    space: Literal["embedding", "attention"] = "embedding",
    dialect: str = "pw",
    num_inference_steps: int = 25,
    guidance_scale: float | None = None,
    seed: int | None = None,
    num_images_per_prompt: int = 1,
    height: int | None = None,
    width: int | None = None,
    record: bool = True,
    require_words: Sequence[str] = (),
    callback: Callback | None = None,
) -> Result:
    """Makes pictures of `prompt` and records where each of its words went.

    Pictures are made one by one, each from a seed of its own (`seed`, `seed + 1`, …) drawn on the CPU, so a
    picture is the same to the last bit whatever others are made with it.

    Args:
        prompt: the prompt, in `dialect`, or already parsed.
        model: a pipeline, or what `promptweight.load` takes.
        negative_prompt: what should not be in the picture.
        method: how weights act on the embeddings, a name in `promptweight.weighting.METHODS`; None is the
            usual one of each text encoder.
        space: `embedding`, or `attention` to let the weights act on the attention's logits instead.
        dialect: how prompts given as text are read.
        num_inference_steps: 1 .. 1000.
        guidance_scale: 0 .. 100; None is the model's own default.
        seed: 0 .. 2⁶³ − 1, less the number of pictures; None draws one.
        num_images_per_prompt: 1 .. 1000.
        height: in pixels, a multiple of what the model's autoencoder and patches ask for (mostly 8); None
            is the model's own size. The same for `width`.
        record: whether attention is recorded; without it there are no maps.
        require_words: words or phrases that the prompt must hold, checked before the model runs.
        callback: called after each step with a `Progress`; when it returns False the run stops and the
            result holds what is there: the finished pictures, and the present one as far as it got.

    Raises:
        SettingError: a value outside its range.
        WordNotFoundError: a word of `require_words` is not in the prompt; lists those that are.
        ModelError: the model cannot be loaded.
        AttachError: the model's attention cannot be read.
    """
    from promptweight import models
    from promptweight.prompt import DIALECTS

    with models.quiet():
        from promptweight.attention import attach
        from promptweight.weighting import get_method

    _check_prompts(prompt, negative_prompt)
    checks.choice("dialect", dialect, DIALECTS)
    checks.choice("space", space, ("embedding", "attention"))
    if method is not None:
        get_method(method)
    steps = checks.whole("num_inference_steps", num_inference_steps, 1, 1000)
    pictures = checks.whole("num_images_per_prompt", num_images_per_prompt, 1, 1000)
    seeds = _seeds(seed, pictures)
    guidance = None if guidance_scale is None else checks.number("guidance_scale", guidance_scale, 0, 100)

    pipe: Any = models.load(model) if isinstance(model, (str, os.PathLike)) else model
    guidance = models.default_guidance_scale(pipe) if guidance is None else guidance
    call = {"num_inference_steps": steps, "guidance_scale": guidance, **_size(pipe, height, width)}
    encoding: dict[str, Any] = {} if space == "attention" else {"method": method}
    made: list[_Picture] = []
    with attach(
        pipe, prompt, negative_prompt, space=space, record=record, dialect=dialect, **encoding
    ) as session:
        table, negative_table = session.tables["positive"][0], session.tables["negative"][0]
        for phrase in require_words:
            table.find(phrase)
        for index, picture_seed in enumerate(seeds):
            place = (index + 1, pictures)
            made.append(_make_picture(pipe, session, call, picture_seed, place, record, callback))
            if made[-1].was_stopped:
                break
        warnings = [*session.warnings, *_advice(call, method, space, negative_table)]
    images = tuple(picture.image for picture in made if picture.image is not None)
    last = made[-1]
    return Result(
        images=images,
        maps=_joined([picture.maps for picture in made if picture.maps is not None]),
        prompt=table.prompt,
        negative_prompt=negative_table.prompt,
        words=table.words,
        seeds=seeds[: len(images)],
        settings=_settings(pipe, table.prompt, negative_table.prompt, method, space, call),
        warnings=tuple(dict.fromkeys([*warnings, *(line for picture in made for line in picture.warnings)])),
        stopped_after=last.steps_done if last.image is not None and last.steps_done < last.steps else None,
    )


@dataclass(frozen=True)
class _Picture:
    """One picture as far as it got; `image` is None where a pipeline could not be stopped half-way."""

    image: Image.Image | None
    maps: AttentionMaps | None
    steps_done: int
    steps: int
    was_stopped: bool
    warnings: tuple[str, ...]


class _Stopped(Exception):  # noqa: N818 - control flow, not an error
    """Leaves a pipeline that has no way of its own to be interrupted."""


def _make_picture(
    pipe: Any,
    session: AttentionSession,
    call: dict[str, Any],
    seed: int,
    place: tuple[int, int],
    record: bool,
    callback: Callback | None,
) -> _Picture:
    import torch

    steps, steps_done, was_stopped = call["num_inference_steps"], 0, False

    def after_step(pipe: Any, step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        nonlocal steps, steps_done, was_stopped
        steps, steps_done = getattr(pipe, "num_timesteps", steps), step + 1
        if callback is not None and callback(Progress(*place, steps_done, steps, session)) is False:
            was_stopped = True
            if steps_done < steps and not hasattr(pipe, "_interrupt"):
                raise _Stopped
            pipe._interrupt = True
        return tensors

    generator = torch.Generator("cpu").manual_seed(seed)
    try:
        output = pipe(
            **session.inputs, **call, generator=generator, output_type="np", callback_on_step_end=after_step
        )
    except _Stopped:
        return _Picture(None, None, steps_done, steps, True, ())
    image, warnings = _image(output, place[0])
    return _Picture(image, session.maps if record else None, steps_done, steps, was_stopped, warnings)


def _image(output: Any, number: int) -> tuple[Image.Image, tuple[str, ...]]:
    """Returns the picture of a pipeline's `output`, and what is wrong with it in words."""
    import numpy as np
    from PIL import Image

    pixels = output.images[0]  # (height, width, 3) float, 0..1
    warnings = []
    if not np.isfinite(pixels).all():
        warnings.append(
            f"picture {number} holds values that are no numbers (NaN): the model overflowed its number type; "
            "load it with dtype='float32'"
        )
        pixels = np.nan_to_num(pixels, nan=0.0, posinf=1.0, neginf=0.0)
    if any(getattr(output, "nsfw_content_detected", None) or ()):
        warnings.append(f"picture {number} was blackened by the model's own safety checker")
    elif pixels.max() < 1 / 255:
        warnings.append(f"picture {number} is black from edge to edge")
    # The same rounding as diffusers' own conversion to PIL.
    return Image.fromarray((pixels * 255).round().astype("uint8")).convert("RGB"), tuple(warnings)


def _joined(maps: Sequence[AttentionMaps]) -> AttentionMaps | None:
    """Returns the maps of pictures that were made one by one as those of one run."""
    import torch

    from promptweight.attention import AttentionMaps

    if len(maps) < 2:
        return maps[0] if maps else None
    recordings = [view.recording for view in maps]
    slots = tuple(
        replace(
            same[0],
            sums=torch.cat([slot.sums for slot in same], dim=2),
            counts=torch.cat([slot.counts for slot in same], dim=2),
        )
        for same in zip(*(recording.slots for recording in recordings), strict=True)
    )
    tables = {
        (role, image): table
        for image, recording in enumerate(recordings)
        for (role, _), table in recording.tables.items()
    }
    return AttentionMaps.of(replace(recordings[0], slots=slots, tables=tables))


def _settings(
    pipe: Any,
    prompt: Prompt,
    negative_prompt: Prompt,
    method: str | None,
    space: str,
    call: dict[str, Any],
) -> dict[str, Any]:
    """Returns everything that decides how a picture looks, apart from its seed; JSON values only."""
    from promptweight import __version__, models

    origin = models.origin(pipe)
    return {
        "promptweight": __version__,
        "prompt": prompt.source,
        "negative_prompt": negative_prompt.source,
        "dialect": prompt.dialect,
        "model": origin.model,
        "revision": origin.revision,
        "pipeline": type(pipe).__name__,
        "scheduler": type(pipe.scheduler).__name__,
        "dtype": str(pipe.dtype).removeprefix("torch."),
        "device": pipe.device.type,
        "method": method,
        "space": space,
        **call,
    }


def _advice(call: dict[str, Any], method: str | None, space: str, negative: TokenTable) -> list[str]:
    """Returns sentences about settings that have no effect."""
    said = []
    if space == "attention" and method is not None:
        said.append(f"method {method!r} acts on embeddings and has no effect with space='attention'")
    if negative.prompt.text and call["guidance_scale"] <= 1:
        said.append(
            f"the negative prompt has no effect at guidance_scale {call['guidance_scale']:g}; "
            "it needs more than 1"
        )
    return said


def _size(pipe: Any, height: int | None, width: int | None) -> dict[str, int]:
    """Returns the sizes that are given, checked against what the model's latents and patches need."""
    factor = getattr(pipe, "vae_scale_factor", 8)
    if hasattr(pipe, "transformer"):
        factor *= 2  # latents are packed in patches of 2 × 2
    multiple = max(8, factor)
    sizes = {}
    for name, value in (("height", height), ("width", width)):
        if value is not None:
            sizes[name] = checks.whole(name, value, multiple, 16_384)
            if value % multiple:
                raise SettingError(f"{name} is {value}; this model makes pictures in multiples of {multiple}")
    return sizes


def _seeds(seed: int | None, pictures: int) -> tuple[int, ...]:
    first = secrets.randbelow(2**32 - pictures) if seed is None else seed
    first = checks.whole("seed", first, 0, MAX_SEED - pictures + 1)
    return tuple(range(first, first + pictures))


def _check_prompts(*prompts: str | Prompt) -> None:
    for prompt in prompts:
        source = prompt if isinstance(prompt, str) else getattr(prompt, "source", None)
        if not isinstance(source, str):
            raise SettingError(f"a prompt is text or a Prompt, not {type(prompt).__name__}")
        if len(source) > MAX_PROMPT:
            raise SettingError(f"the prompt has {len(source)} characters; at most {MAX_PROMPT} are read")
