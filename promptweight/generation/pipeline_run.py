"""One picture: a pipeline's run, followed step by step, stopped on request, looked at when it is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from promptweight.messages import Message, message

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from promptweight.attention import AttentionSession, Record
    from promptweight.generation.early_warning import Leak
    from promptweight.maps import AttentionMaps


@dataclass(frozen=True)
class Progress:
    """How far a run is, told after every step.

    Attributes:
        picture: the number of the picture being made, from 1.
        pictures: how many are wanted.
        step: how many steps of this picture are done.
        steps: how many it takes.
        latents: the picture as it is now, still noisy, in the pipeline's own layout; None where the pipeline
            does not show it.
    """

    picture: int
    pictures: int
    step: int
    steps: int
    latents: Tensor | None
    _session: AttentionSession

    @property
    def maps(self) -> AttentionMaps:
        """The attention of this picture up to now; `AttentionMaps` is made only when it is asked for."""
        return self._session.maps


Callback = Callable[[Progress], bool | None]


@dataclass(frozen=True)
class GeneratedImage:
    """One picture as far as it got; `image` is None where a pipeline could not be stopped half-way."""

    image: Image.Image | None
    maps: AttentionMaps | None
    steps_done: int
    steps: int
    was_stopped: bool
    warnings: tuple[Message, ...]


class _Stopped(Exception):  # noqa: N818 - control flow, not an error
    """Leaves a pipeline that has no way of its own to be interrupted."""


def run_pipeline(
    pipe: Any,
    session: AttentionSession,
    call: dict[str, Any],
    seed: int,
    place: tuple[int, int],
    record: bool | Record,
    callback: Callback | None,
) -> tuple[GeneratedImage, ...]:
    """Run the pipeline once: one picture for each of the session's prompts, all from the same noise.

    Args:
        pipe: the pipeline.
        session: what is attached to it.
        call: what the pipeline is called with besides the session's inputs.
        seed: of the CPU generator.
        place: the number of this run, and how many there are.
        record: whether the session records.
        callback: called after each step; False from it stops the run.
    """
    import torch

    from promptweight.generation.early_warning import EarlyLeakCheck

    steps, steps_done, was_stopped = call["num_inference_steps"], 0, False
    prompts = len(session.tables["positive"])
    look = EarlyLeakCheck(session, prompts) if record else None

    def after_step(pipe: Any, step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        nonlocal steps, steps_done, was_stopped
        steps, steps_done = getattr(pipe, "num_timesteps", steps), step + 1
        if look is not None:
            look.after(steps_done, steps)
        progress = Progress(*place, steps_done, steps, tensors.get("latents"), session)
        if callback is not None and callback(progress) is False:
            was_stopped = True
            if steps_done < steps and not hasattr(pipe, "_interrupt"):
                raise _Stopped
            pipe._interrupt = True
        return tensors

    generators = [torch.Generator("cpu").manual_seed(seed) for _ in range(prompts)]
    generator = generators if prompts > 1 else generators[0]
    try:
        output = pipe(
            **session.inputs, **call, generator=generator, output_type="np", callback_on_step_end=after_step
        )
    except _Stopped:
        return (GeneratedImage(None, None, steps_done, steps, True, ()),) * prompts
    maps = split_maps(session.maps, prompts) if record else (None,) * prompts
    leaks: tuple[tuple[Leak, ...], ...] = ((),) * prompts if look is None else look.leaks
    shown = [extract_image(output, place[0], index) for index in range(prompts)]
    return tuple(
        GeneratedImage(image, of_image, steps_done, steps, was_stopped, (*warnings, *leak_warnings(of_picture, place[0])))
        for (image, warnings), of_image, of_picture in zip(shown, maps, leaks, strict=True)
    )


def leak_warnings(leaks: Sequence[Leak], number: int) -> list[Message]:
    """Leaks in sentences, of the picture with this number."""
    return [
        message(
            "no-distinct-region",
            number=number,
            phrase=leak.phrase,
            other=leak.other,
        )
        for leak in leaks
    ]


def extract_image(output: Any, number: int, index: int = 0) -> tuple[Image.Image, tuple[Message, ...]]:
    """Return one picture of a pipeline's `output` ("np"), and what is wrong with it in words.

    Args:
        output: what the pipeline returned.
        number: what the words call the picture.
        index: its place in the output.
    """
    import numpy as np
    from PIL import Image

    pixels = output.images[index]  # (height, width, 3) float, 0..1
    warnings = []
    if not np.isfinite(pixels).all():
        warnings.append(
            message(
                "nan-image",
                number=number,
            )
        )
        pixels = np.nan_to_num(pixels, nan=0.0, posinf=1.0, neginf=0.0)
    if any((getattr(output, "nsfw_content_detected", None) or ())[index : index + 1]):
        warnings.append(
            message("safety-checker", number=number)
        )
    elif pixels.max() < 1 / 255:
        warnings.append(message("black-image", number=number))
    # The same rounding as diffusers' own conversion to PIL.
    return Image.fromarray((pixels * 255).round().astype("uint8")).convert("RGB"), tuple(warnings)


def split_maps(maps: AttentionMaps, images: int) -> tuple[AttentionMaps, ...]:
    """Return the maps of one run of several pictures as those of one picture each."""
    from promptweight.maps import AttentionMaps

    if images == 1:
        return (maps,)
    whole = maps.recording
    parts = []
    for image in range(images):
        places = slice(image * whole.max_variants, (image + 1) * whole.max_variants)
        part = replace(
            whole,
            slots=tuple(
                replace(slot, sums=slot.sums[:, :, places], counts=slot.counts[:, :, places])
                for slot in whole.slots
            ),
            tables={(role, 0): variant for (role, of), variant in whole.tables.items() if of == image},
            other_variants={
                (role, 0): variants for (role, of), variants in whole.other_variants.items() if of == image
            },
        )
        parts.append(AttentionMaps.of(part))
    return tuple(parts)


def join_maps(maps: Sequence[AttentionMaps]) -> AttentionMaps | None:
    """Return the maps of pictures that were made one by one as those of one run."""
    import torch

    from promptweight.maps import AttentionMaps

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
    other_variants = {
        (role, image): variants
        for image, recording in enumerate(recordings)
        for (role, _), variants in recording.other_variants.items()
    }
    return AttentionMaps.of(replace(recordings[0], slots=slots, tables=tables, other_variants=other_variants))
