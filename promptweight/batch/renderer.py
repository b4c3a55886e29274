"""Pictures of equal settings drawn in one call of the model, each from its own prompt and CPU generator.

A prompt of other length than its mates goes into a call of its own, so none is padded because of another.
What is left to the size of a batch is the arithmetic of the device's kernels: on the CPU and on most GPUs
they sum in another order for another size, which moves the picture's values by about 1e-5 of their range, and
now and then a level of its 256 by one. A batch of one is the picture of `promptweight.generate` to the last
bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from promptweight.batch.jobs import Job
from promptweight.batch.prompt_cache import PreparedJob, PromptCache, job_weighting, join_embeds
from promptweight.errors import PromptweightError
from promptweight.generation import check_size, collect_settings, find_unused_settings, generate
from promptweight.messages import Message
from promptweight.prompt import Prompt

if TYPE_CHECKING:
    from PIL import Image

    from promptweight.conditioning import Word
    from promptweight.maps import AttentionMaps

Step = Callable[[int, int, int], bool]
"""Takes the step, the steps and how many pictures they are of; False gives the pictures up."""


@dataclass(frozen=True)
class RenderedImage:
    """A picture that is drawn and not yet saved; in `maps` it has the number `number`."""

    image: Image.Image
    maps: AttentionMaps | None
    number: int
    prompt: Prompt
    words: tuple[Word, ...]
    record: dict[str, Any]
    parameters: str
    warnings: tuple[str, ...]


class RenderCancelled(Exception):  # noqa: N818 - control flow, not an error
    """Leaves a run of the pipeline whose pictures are not wanted any more."""


class BatchRenderer:
    """A pipeline that draws jobs.

    Args:
        encodings: of the pipeline.
        records: whether attention is recorded.
        step: called after every step.
    """

    def __init__(self, encodings: PromptCache, *, records: bool = False, step: Step | None = None) -> None:
        self.pipe, self.encodings = encodings.pipe, encodings
        self.records = records
        self.step = step
        self._schedulers: dict[str | None, Any] = {None: self.pipe.scheduler}

    def check(self, job: Job) -> None:
        """Raise `SettingError` where the model cannot take the settings of a job."""
        self._scheduler(job)
        check_size(self.pipe, job.height, job.width)

    def draw(self, jobs: Sequence[PreparedJob]) -> list[RenderedImage]:
        """Draw jobs whose settings are equal but for prompts and seed (`same_settings`).

        Raises:
            GivenUp: `step` did not want to go on.
            PromptweightError: the model does not allow the settings, or the picture holds no numbers.
        """
        first = jobs[0]
        self.pipe.scheduler = self._scheduler(first.job)
        if first.goes_alone:
            return [self._draw_alone(each) for each in jobs]
        with ExitStack() as stack:
            if first.chosen.loras or first.chosen.embeddings:
                from promptweight.models import apply_adapters

                stack.enter_context(apply_adapters(self.pipe, first.chosen))
                jobs = [replace(each, encoded=self.encodings.encode(each)) for each in jobs]
            by_shape: dict[Any, list[int]] = {}
            for place, each in enumerate(jobs):
                assert each.encoded is not None
                shape = tuple((name, tuple(x.shape[1:])) for name, x in each.encoded.inputs.items())
                by_shape.setdefault(shape, []).append(place)
            drawn: dict[int, RenderedImage] = {}
            for alike in by_shape.values():
                made = self._draw_together([jobs[place] for place in alike])
                drawn |= dict(zip(alike, made, strict=True))
        return [drawn[place] for place in range(len(jobs))]

    def leave(self) -> None:
        """Give the pipeline its own scheduler back."""
        self.pipe.scheduler = self._schedulers[None]

    def _draw_together(self, jobs: Sequence[PreparedJob]) -> list[RenderedImage]:
        import torch

        from promptweight.attention import attach
        from promptweight.generation import EarlyLeakCheck, pipeline_run
        from promptweight.models import default_guidance_scale

        pipe, job = self.pipe, jobs[0].job
        guidance = default_guidance_scale(pipe) if job.guidance_scale is None else job.guidance_scale
        call = {
            "num_inference_steps": job.num_inference_steps,
            "guidance_scale": guidance,
            **check_size(pipe, job.height, job.width),
        }
        weighting = job_weighting(job)
        encoded = join_embeds([each.encoded for each in jobs if each.encoded is not None])
        look: EarlyLeakCheck | None = None
        maps, inputs, said, found = None, encoded.inputs, list[Message](), dict[int, Any]()

        def after_step(pipe: Any, step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            steps = getattr(pipe, "num_timesteps", job.num_inference_steps)
            if self.step is not None and not self.step(step + 1, steps, len(jobs)):
                raise RenderCancelled
            if look is not None:
                look.after(step + 1, steps)
            return tensors

        attaches = self.records or any(each.acts_in_attention for each in jobs)
        with ExitStack() as stack:
            if attaches:
                space: Any = job.space
                mode: Any = job.mode
                session = stack.enter_context(
                    attach(pipe, encoded, space=space, mode=mode, record=self.records)
                )
                inputs = session.inputs
                look = EarlyLeakCheck(session, len(jobs)) if self.records else None
            output = pipe(
                **inputs,
                **call,
                generator=[torch.Generator("cpu").manual_seed(each.job.seed) for each in jobs],
                output_type="np",
                callback_on_step_end=after_step,
            )
            if attaches:
                said, found = session.warnings[len(encoded.warnings) :], session.found
                maps = session.maps if self.records else None
        drawn = []
        for number, each in enumerate(jobs):
            assert each.encoded is not None
            image, warnings = pipeline_run.extract_image(output, 1, number)
            _refuse_no_numbers(warnings)
            words = each.encoded.positive[0].words
            settings = collect_settings(pipe, each.prompt, each.negative_prompt, weighting, each.chosen, call)
            about = [
                *each.chosen.warnings,
                *each.encoded.warnings,
                *said,
                *(share.told(1) for share in found.get(number, ())),
                *find_unused_settings(call, weighting, each.negative_prompt),
                *warnings,
                *(pipeline_run.leak_warnings(look.leaks[number], 1) if look is not None else ()),
            ]
            drawn.append(_drawn(each, image, maps, number, words, settings, about))
        return drawn

    def _draw_alone(self, ready: PreparedJob) -> RenderedImage:
        """Draw a job as `generate` does."""
        job = ready.job

        def callback(progress: Any) -> bool:
            if self.step is not None and not self.step(progress.step, progress.steps, 1):
                raise RenderCancelled
            return True

        result = generate(
            ready.prompt,
            self.pipe,
            negative_prompt=ready.negative_prompt,
            **job_weighting(job),
            num_inference_steps=job.num_inference_steps,
            guidance_scale=job.guidance_scale,
            height=job.height,
            width=job.width,
            seed=job.seed,
            record=self.records,
            callback=callback,
            lora_dir=self.encodings.lora_dir,
            embeddings_dir=self.encodings.embeddings_dir,
        )
        _refuse_no_numbers(result.warnings)
        return RenderedImage(
            result.images[0],
            result.maps,
            0,
            result.prompt,
            result.words,
            result.record(),
            result.parameters(),
            result.warnings,
        )

    def _scheduler(self, job: Job) -> Any:
        if job.scheduler not in self._schedulers:
            from promptweight.models import make_scheduler

            self._schedulers[job.scheduler] = make_scheduler(str(job.scheduler), self._schedulers[None])
        return self._schedulers[job.scheduler]


def _refuse_no_numbers(warnings: Sequence[str]) -> None:
    for warning in warnings:
        if "no numbers (NaN)" in warning:
            raise PromptweightError(warning)


def _drawn(
    ready: PreparedJob,
    image: Image.Image,
    maps: AttentionMaps | None,
    number: int,
    words: tuple[Word, ...],
    settings: dict[str, Any],
    warnings: Sequence[str],
) -> RenderedImage:
    from promptweight.generation import Result

    result = Result((image,), None, ready.prompt, ready.negative_prompt, words, (ready.job.seed,), settings)
    told = tuple(dict.fromkeys(warnings))
    return RenderedImage(image, maps, number, ready.prompt, words, result.record(), result.parameters(), told)
