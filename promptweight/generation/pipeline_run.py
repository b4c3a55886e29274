"""One call of a diffusion pipeline: step callbacks, stopping, the early leak check, and the finished images.

`generate`, `edit` and batches all draw through `run_pipeline`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from promptweight.generation.pipeline_call import count_steps, make_step_arguments
from promptweight.messages import Message, message

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from promptweight.attention import AttentionSession
    from promptweight.generation.early_warning import EarlyLeakCheck, Leak
    from promptweight.generation.oom_fallback import OomFallback
    from promptweight.maps import AttentionMaps
    from promptweight.models import LoraSet
    from promptweight.protocols import Pipeline


@dataclass(frozen=True)
class Progress:
    """Progress of a run, passed to callbacks after every step.

    Attributes:
        image_number: number of the current image, from 1.
        image_count: number of images of the run.
        step: number of finished steps of this image.
        steps: number of steps of this image.
        latents: the current, still noisy latents in the pipeline's own layout; None if the pipeline does not
            pass them.
    """

    image_number: int
    image_count: int
    step: int
    steps: int
    latents: Tensor | None
    _session: AttentionSession

    @property
    def maps(self) -> AttentionMaps:
        """Attention maps of this image up to now, computed on access."""
        return self._session.maps


Callback = Callable[[Progress], bool | None]
"""Called after each step; the run stops when it returns False."""

StepCallback = Callable[[int, int, "Tensor | None"], bool]
"""Takes the finished steps, the number of steps and the latents; the run stops when it returns False."""


@dataclass(frozen=True)
class GeneratedImage:
    """One image of a pipeline run, finished or not.

    Attributes:
        image: None if the pipeline cannot return an unfinished image.
        maps: its attention maps, where they were recorded.
        steps_done: number of finished steps.
        steps: number of steps of the run.
        was_stopped: whether the callback stopped the run.
        warnings: faults of the image.
        was_tiled: whether it was decoded in tiles because memory was short.
    """

    image: Image.Image | None
    maps: AttentionMaps | None
    steps_done: int
    steps: int
    was_stopped: bool
    warnings: tuple[Message, ...]
    was_tiled: bool = False


class _Stopped(Exception):  # noqa: N818 - control flow, not an error
    """Exit from a pipeline that has no interrupt flag of its own."""


def progress_reporter(
    callback: Callback | None, session: AttentionSession, image_number: int = 1, image_count: int = 1
) -> StepCallback | None:
    """Return a step callback that passes a `Progress` to `callback`."""
    if callback is None:
        return None

    def on_step(step: int, steps: int, latents: Tensor | None) -> bool:
        return callback(Progress(image_number, image_count, step, steps, latents, session)) is not False

    return on_step


def run_pipeline(
    pipe: Pipeline,
    inputs: Mapping[str, Any],
    call: Mapping[str, Any],
    seeds: Sequence[int],
    *,
    session: AttentionSession | None = None,
    records: bool = False,
    memory: OomFallback | None = None,
    number: int = 1,
    on_step: StepCallback | None = None,
    loras: LoraSet | None = None,
) -> tuple[GeneratedImage, ...]:
    """Call the pipeline once and return its images, one for each seed.

    Args:
        pipe: the pipeline.
        inputs: the text inputs, as the session or the encoding returns them.
        call: the other keyword arguments of the pipeline; `num_inference_steps` is one of them.
        seeds: seeds of the CPU generators, one for each image.
        session: the attached session.
        records: whether the session records.
        memory: measures for a run that is out of memory; without them the run fails.
        number: number of the images in warnings.
        on_step: called after each step.
        loras: the LoRAs of the pipeline, whose weights may change by step.
    """
    import torch

    from promptweight.generation.early_warning import EarlyLeakCheck
    from promptweight.generation.oom_fallback import TILING_WARNING

    steps, steps_done, was_stopped, images = count_steps(pipe, call), 0, False, len(seeds)
    leak_check: EarlyLeakCheck | None = None

    def on_step_end(pipe: Pipeline, step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        nonlocal steps, steps_done, was_stopped
        steps, steps_done = getattr(pipe, "num_timesteps", steps), step + 1
        if loras is not None and steps_done < steps:
            loras.set_step(steps_done, steps)
        if leak_check is not None:
            leak_check.on_step_end(steps_done, steps)
        if on_step is not None and not on_step(steps_done, steps, tensors.get("latents")):
            was_stopped = True
            if steps_done < steps and not hasattr(pipe, "_interrupt"):
                raise _Stopped
            pipe._interrupt = True
        return tensors

    def attempt() -> Any:
        nonlocal leak_check
        leak_check = EarlyLeakCheck(session, images) if session is not None and records else None
        if loras is not None:
            loras.set_step(0, steps)
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        return pipe(
            **inputs,
            **call,
            generator=generators if images > 1 else generators[0],
            output_type="np",
            **make_step_arguments(pipe, on_step_end),
        )

    try:
        if memory is None:
            output = attempt()
        else:
            output = memory.run(attempt, before_retry=None if session is None else session.reset)
    except _Stopped:
        return (GeneratedImage(None, None, steps_done, steps, True, ()),) * images
    maps: Sequence[AttentionMaps | None] = (None,) * images
    if session is not None and records:
        maps = split_maps(session.maps, images)
    was_tiled = memory is not None and bool(memory.tiled)
    tiling = (TILING_WARNING,) if was_tiled else ()
    leaks: Sequence[Sequence[Leak]] = ((),) * images if leak_check is None else leak_check.leaks
    finished = []
    for index in range(images):
        image, faults = extract_image(output, number, index, pipe)
        warnings = (*faults, *leak_warnings(leaks[index], number), *tiling)
        finished.append(
            GeneratedImage(image, maps[index], steps_done, steps, was_stopped, warnings, was_tiled)
        )
    return tuple(finished)


def leak_warnings(leaks: Sequence[Leak], number: int) -> list[Message]:
    """Return a warning for each leak of the image with this number."""
    return [
        message("no-distinct-region", number=number, phrase=leak.phrase, other=leak.other) for leak in leaks
    ]


def extract_image(
    output: Any, number: int, index: int, pipe: Pipeline
) -> tuple[Image.Image, tuple[Message, ...]]:
    """Return one image of a pipeline's output (`output_type="np"`) and its faults.

    Args:
        output: the output of the pipeline.
        number: number of the image in the warnings.
        index: index of the image in the output.
        pipe: the pipeline.
    """
    import numpy as np
    from PIL import Image

    pixels = output.images[index]  # (height, width, 3) float, 0..1
    warnings = []
    if not np.isfinite(pixels).all():
        warnings.append(explain_nan(pipe, number))
        pixels = np.nan_to_num(pixels, nan=0.0, posinf=1.0, neginf=0.0)
    if any((getattr(output, "nsfw_content_detected", None) or ())[index : index + 1]):
        warnings.append(message("safety-checker", number=number))
    elif pixels.max() < 1 / 255:
        warnings.append(message("black-image", number=number))
    # The same rounding as diffusers' own conversion to PIL.
    return Image.fromarray((pixels * 255).round().astype("uint8")).convert("RGB"), tuple(warnings)


def explain_nan(pipe: Pipeline, number: int) -> Message:
    """Return the warning for an image with NaN values: by damaged weights, or by numbers that overflowed."""
    import torch

    for name, part in pipe.components.items():
        if isinstance(part, torch.nn.Module):
            for tensor in part.parameters():
                if tensor.is_floating_point() and not tensor.isfinite().all():
                    return message("nan-weights", number=number, part=name)
    if pipe.dtype in (torch.float16, torch.bfloat16):
        return message("nan-image", number=number)
    return message("nan-float32", number=number)


def split_maps(maps: AttentionMaps, images: int) -> tuple[AttentionMaps, ...]:
    """Split the maps of one run of several images into maps of one image each."""
    from promptweight.maps import AttentionMaps

    if images == 1:
        return (maps,)
    whole = maps.recording
    parts = []
    for image in range(images):
        rows = slice(image * whole.max_variants, (image + 1) * whole.max_variants)
        part = replace(
            whole,
            slots=tuple(
                replace(slot, sums=slot.sums[:, :, rows], counts=slot.counts[:, :, rows])
                for slot in whole.slots
            ),
            tables={(role, 0): variant for (role, index), variant in whole.tables.items() if index == image},
            other_variants={
                (role, 0): variants
                for (role, index), variants in whole.other_variants.items()
                if index == image
            },
        )
        parts.append(AttentionMaps.from_recording(part))
    return tuple(parts)


def join_maps(maps: Sequence[AttentionMaps]) -> AttentionMaps | None:
    """Join the maps of images drawn one by one into maps of one run; None for no maps."""
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
    return AttentionMaps.from_recording(
        replace(recordings[0], slots=slots, tables=tables, other_variants=other_variants)
    )
