"""Drawing of batch jobs: images of equal settings in one call of the model.

Each image has its own prompt and seed. A prompt whose embeddings have another length gets a call of its own,
so no prompt is padded because of another. What depends on the batch size is the arithmetic of the device's
kernels: on the CPU and most GPUs they sum in another order for another size, which changes values by about
1e-5 of their range, and sometimes a level of 256 by one. A batch of one is the image of
`promptweight.generate` to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from promptweight.batch.jobs import Job
from promptweight.batch.prompt_cache import PreparedJob, PromptCache, input_shape, join_encodings
from promptweight.errors import PromptweightError
from promptweight.generation import build_call, build_result, check_size, run_pipeline

if TYPE_CHECKING:
    from promptweight.generation import Result
    from promptweight.models import LoraSet

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
        check_size(self.pipe, job.options.height, job.options.width)

    def render(self, jobs: Sequence[PreparedJob]) -> list[Result]:
        """Draw jobs whose settings are equal except for prompts and seed (`settings_key`).

        Raises:
            RenderCancelled: `on_step` returned False.
            PromptweightError: the model does not accept the settings, or an image contains NaN values.
        """
        from promptweight.models import apply_adapters, silence_libraries

        self.pipe.scheduler = self._scheduler(jobs[0].job)
        loras: LoraSet | None = None
        with ExitStack() as stack:
            if jobs[0].has_adapters:
                with silence_libraries():
                    loras = stack.enter_context(apply_adapters(self.pipe, jobs[0].adapters))
                jobs = [replace(each, encoded=self.prompt_cache.encode(each)) for each in jobs]
            by_shape: dict[Any, list[int]] = {}
            for index, each in enumerate(jobs):
                assert each.encoded is not None
                inputs = each.encoded.encoded.inputs
                shape = tuple((name, input_shape(value)) for name, value in inputs.items())
                by_shape.setdefault(shape, []).append(index)
            results: dict[int, Result] = {}
            for indices in by_shape.values():
                group = self.render_group([jobs[index] for index in indices], loras)
                results |= dict(zip(indices, group, strict=True))
        return [results[index] for index in range(len(jobs))]

    def restore(self) -> None:
        """Give the pipeline its own scheduler back."""
        self.pipe.scheduler = self._schedulers[None]

    def render_group(self, jobs: Sequence[PreparedJob], loras: LoraSet | None = None) -> list[Result]:
        """Draw jobs with embeddings of equal shape in one call of the model."""
        from promptweight.attention import attach

        pipe, options = self.pipe, jobs[0].job.options
        call = build_call(pipe, options)
        own = [each.encoded for each in jobs if each.encoded is not None]
        encoded = join_encodings(own)
        with attach(
            pipe, encoded, record=self.records, negative_guidance=options.negative_guidance
        ) as session:
            images = run_pipeline(
                pipe,
                session.inputs,
                call,
                [each.job.seed for each in jobs],
                session=session,
                records=self.records,
                on_step=self._step_callback(len(jobs)),
                loras=loras,
            )
            of_run = session.warnings[len(encoded.encoded.warnings) :]
            shares = session.share_results
            results = [
                build_result(
                    pipe,
                    (image,),
                    prompt=each.prompt,
                    negative_prompt=each.negative_prompt,
                    words=session.words(prompt=index),
                    seeds=(each.job.seed,),
                    options=each.job.options,
                    call=call,
                    adapters=each.adapters,
                    warnings=(
                        *(loras.warnings if loras else ()),
                        *own[index].encoded.warnings,
                        *of_run,
                    ),
                    shares=(shares.get(index, ()),),
                )
                for index, (each, image) in enumerate(zip(jobs, images, strict=True))
            ]
        return [_without_nan(result) for result in results]

    def _step_callback(self, images: int) -> Callable[[int, int, Any], bool]:
        def on_step(step: int, steps: int, _latents: Any) -> bool:
            if self.on_step is not None and not self.on_step(step, steps, images):
                raise RenderCancelled
            return True

        return on_step

    def _scheduler(self, job: Job) -> Any:
        name = job.options.scheduler
        if name not in self._schedulers:
            from promptweight.models import make_scheduler

            self._schedulers[name] = make_scheduler(str(name), self._schedulers[None])
        return self._schedulers[name]


def _without_nan(result: Result) -> Result:
    """Return a result; raise `PromptweightError` if its image contains NaN values."""
    for warning in result.warnings:
        if warning.code in ("nan-image", "nan-weights", "nan-float32"):
            raise PromptweightError(warning)
    return result
