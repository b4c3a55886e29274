"""Drawing of batch jobs: images of equal settings in one call of the model.

Each image has its own prompt and seed. A prompt whose embeddings have another length gets a call of its own,
so no prompt is padded because of another. What depends on the batch size is the arithmetic of the device's
kernels: on the CPU and most GPUs they sum in another order for another size, which changes values by about
    1e-5 of their range, and sometimes a
level of 256 by one. A batch of one is the image of `promptweight.generate` to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from promptweight.batch.jobs import Job
from promptweight.batch.prompt_cache import PreparedJob, PromptCache, job_weighting, join_embeds
from promptweight.errors import PromptweightError
from promptweight.generation import build_result, check_size, generate, run_pipeline

if TYPE_CHECKING:
    from promptweight.generation import Result
    from promptweight.messages import Message

StepCallback = Callable[[int, int, int], bool]
"""Takes the finished steps, the number of steps and the number of images; False drops the images."""


class RenderCancelled(Exception):  # noqa: N818 - control flow, not an error
    """Exit from a run of the pipeline whose images are dropped."""


class BatchRenderer:
    """A pipeline that draws prepared jobs.

    Args:
        prompt_cache: the prompt cache of the pipeline.
        records: whether attention is recorded.
        on_step: called after every step.
    """

    def __init__(
        self, prompt_cache: PromptCache, *, records: bool = False, on_step: StepCallback | None = None
    ) -> None:
        self.pipe, self.prompt_cache = prompt_cache.pipe, prompt_cache
        self.records = records
        self.on_step = on_step
        self._schedulers: dict[str | None, Any] = {None: self.pipe.scheduler}

    def check(self, job: Job) -> None:
        """Raise `SettingError` if the model does not accept the settings of a job."""
        self._scheduler(job)
        check_size(self.pipe, job.height, job.width)

    def render(self, jobs: Sequence[PreparedJob]) -> list[Result]:
        """Draw jobs whose settings are equal except for prompts and seed (`settings_key`).

        Raises:
            RenderCancelled: `on_step` returned False.
            PromptweightError: the model does not accept the settings, or an image contains NaN values.
        """
        first = jobs[0]
        self.pipe.scheduler = self._scheduler(first.job)
        if first.needs_own_run:
            return [self.render_alone(each) for each in jobs]
        with ExitStack() as stack:
            if first.adapters.loras or first.adapters.embeddings:
                from promptweight.models import apply_adapters

                stack.enter_context(apply_adapters(self.pipe, first.adapters))
                jobs = [replace(each, encoded=self.prompt_cache.encode(each)) for each in jobs]
            by_shape: dict[Any, list[int]] = {}
            for index, each in enumerate(jobs):
                assert each.encoded is not None
                shape = tuple((name, tuple(x.shape[1:])) for name, x in each.encoded.inputs.items())
                by_shape.setdefault(shape, []).append(index)
            results: dict[int, Result] = {}
            for indices in by_shape.values():
                group = self.render_group([jobs[index] for index in indices])
                results |= dict(zip(indices, group, strict=True))
        return [results[index] for index in range(len(jobs))]

    def restore(self) -> None:
        """Give the pipeline its own scheduler back."""
        self.pipe.scheduler = self._schedulers[None]

    def render_group(self, jobs: Sequence[PreparedJob]) -> list[Result]:
        """Draw jobs with embeddings of equal shape in one call of the model."""
        from promptweight.attention import attach
        from promptweight.models import get_default_guidance_scale

        pipe, job = self.pipe, jobs[0].job
        guidance = get_default_guidance_scale(pipe) if job.guidance_scale is None else job.guidance_scale
        call = {
            "num_inference_steps": job.num_inference_steps,
            "guidance_scale": guidance,
            **check_size(pipe, job.height, job.width),
        }
        weighting = job_weighting(job)
        encoded = join_embeds([each.encoded for each in jobs if each.encoded is not None])
        seeds = [each.job.seed for each in jobs]
        warnings: Sequence[Message] = ()
        shares: dict[int, Any] = {}
        if self.records or any(each.has_attention_weights for each in jobs):
            space: Any = job.space
            mode: Any = job.mode
            with attach(pipe, encoded, space=space, mode=mode, record=self.records) as session:
                images = run_pipeline(
                    pipe,
                    session.inputs,
                    call,
                    seeds,
                    session=session,
                    records=self.records,
                    on_step=self._step_callback(len(jobs)),
                )
                warnings, shares = session.warnings[len(encoded.warnings) :], session.share_results
        else:
            on_step = self._step_callback(len(jobs))
            images = run_pipeline(pipe, encoded.inputs, call, seeds, on_step=on_step)
        results = []
        for index, (each, image) in enumerate(zip(jobs, images, strict=True)):
            assert each.encoded is not None
            result = build_result(
                pipe,
                (image,),
                prompt=each.prompt,
                negative_prompt=each.negative_prompt,
                words=each.encoded.positive[0].words,
                seeds=(each.job.seed,),
                weighting=weighting,
                call=call,
                adapters=each.adapters,
                warnings=(*each.encoded.warnings, *warnings),
                shares=(shares.get(index, ()),),
            )
            results.append(_without_nan(result))
        return results

    def render_alone(self, prepared: PreparedJob) -> Result:
        """Draw a job with `promptweight.generate`."""
        job, on_step = prepared.job, self._step_callback(1)
        result = generate(
            prepared.prompt,
            self.pipe,
            negative_prompt=prepared.negative_prompt,
            **job_weighting(job),
            num_inference_steps=job.num_inference_steps,
            guidance_scale=job.guidance_scale,
            height=job.height,
            width=job.width,
            seed=job.seed,
            record=self.records,
            callback=lambda progress: on_step(progress.step, progress.steps, progress.latents),
            lora_dir=self.prompt_cache.lora_dir,
            embeddings_dir=self.prompt_cache.embeddings_dir,
        )
        return _without_nan(result)

    def _step_callback(self, images: int) -> Callable[[int, int, Any], bool]:
        def on_step(step: int, steps: int, _latents: Any) -> bool:
            if self.on_step is not None and not self.on_step(step, steps, images):
                raise RenderCancelled
            return True

        return on_step

    def _scheduler(self, job: Job) -> Any:
        if job.scheduler not in self._schedulers:
            from promptweight.models import make_scheduler

            self._schedulers[job.scheduler] = make_scheduler(str(job.scheduler), self._schedulers[None])
        return self._schedulers[job.scheduler]


def _without_nan(result: Result) -> Result:
    """Return a result; raise `PromptweightError` if its image contains NaN values."""
    for warning in result.warnings:
        if warning.code == "nan-image":
            raise PromptweightError(warning)
    return result
