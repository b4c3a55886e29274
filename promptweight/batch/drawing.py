"""Pictures of equal settings drawn in one call of the model, each from its own prompt and CPU generator.

Every prompt is encoded by itself, through the same code as a single picture's, and joined with others only
when it is encoded; a prompt of other length than its mates goes into a call of its own, so none is padded
because of another. What is left to the size of a batch is the arithmetic of the device's kernels: on the CPU
and on most GPUs they sum in another order for another size, which moves the picture's values by about 1e-5
of their range, and now and then a level of its 256 by one. A batch of one is the picture of
`promptweight.generate` to the last bit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from promptweight.batch.job import Job
from promptweight.errors import PromptweightError
from promptweight.generate import generate
from promptweight.prompt import Prompt, parse
from promptweight.settings import advice, checked_size, settings_of

if TYPE_CHECKING:
    from PIL import Image

    from promptweight.adapters import Chosen
    from promptweight.attention import AttentionMaps
    from promptweight.conditioning import Encoded, Word

_REMEMBERED = 32
Step = Callable[[int, int, int], bool]
"""Takes the step, the steps and how many pictures they are of; False gives the pictures up."""


@dataclass(frozen=True)
class Drawn:
    """A picture that is drawn and not yet saved; in `maps` it has the number `number`."""

    image: Image.Image
    maps: AttentionMaps | None
    number: int
    prompt: Prompt
    words: tuple[Word, ...]
    record: dict[str, Any]
    parameters: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Ready:
    """A job whose prompts are read and, where nothing has to be put on the model for them, encoded."""

    job: Job
    prompt: Prompt
    negative_prompt: Prompt
    chosen: Chosen
    encoded: Encoded | None


class GivenUp(Exception):  # noqa: N818 - control flow, not an error
    """Leaves a run of the pipeline whose pictures are not wanted any more."""


class Painter:
    """A pipeline that draws jobs; remembers the encodings of the last prompts.

    Args:
        pipe: the pipeline.
        records: whether attention is recorded.
        lora_dir: as in `promptweight.generate`, like `embeddings_dir`.
        step: called after every step.
    """

    def __init__(
        self,
        pipe: Any,
        *,
        records: bool = False,
        lora_dir: str | None = None,
        embeddings_dir: str | None = None,
        step: Step | None = None,
    ) -> None:
        self.pipe = pipe
        self.records = records
        self.lora_dir, self.embeddings_dir = lora_dir, embeddings_dir
        self.step = step
        self._schedulers: dict[str | None, Any] = {None: pipe.scheduler}
        self._encoded: OrderedDict[Any, Encoded] = OrderedDict()

    def check(self, job: Job) -> None:
        """Raises `SettingError` where the model cannot take the settings of a job."""
        self._scheduler(job)
        checked_size(self.pipe, job.height, job.width)

    def ready(self, job: Job) -> Ready:
        """Reads the prompts of a job and encodes them; safe in a thread of its own."""
        from promptweight import adapters

        prompt, negative = parse(job.prompt, job.dialect), parse(job.negative_prompt, job.dialect)
        chosen = adapters.choose(
            prompt,
            negative,
            lora_dir=self.lora_dir,
            embeddings_dir=self.embeddings_dir,
            num_inference_steps=job.num_inference_steps,
        )
        alone = chosen.loras or chosen.embeddings or not _is_one_encoding(prompt, negative)
        return Ready(job, prompt, negative, chosen, None if alone else self._encode(job, prompt, negative))

    def draw(self, jobs: Sequence[Ready]) -> list[Drawn]:
        """Draws jobs whose settings are equal but for prompts and seed (`same_settings`).

        Raises:
            GivenUp: `step` did not want to go on.
            PromptweightError: the model does not allow the settings, or the picture holds no numbers.
        """
        first = jobs[0]
        self.pipe.scheduler = self._scheduler(first.job)
        if not _is_one_encoding(first.prompt, first.negative_prompt):
            return [self._draw_alone(each) for each in jobs]
        with ExitStack() as stack:
            if first.chosen.loras or first.chosen.embeddings:
                from promptweight import adapters

                stack.enter_context(adapters.applied(self.pipe, first.chosen))
                jobs = [
                    replace(each, encoded=self._encode(each.job, each.prompt, each.negative_prompt, False))
                    for each in jobs
                ]
            by_shape: dict[Any, list[int]] = {}
            for place, each in enumerate(jobs):
                assert each.encoded is not None
                shape = tuple((name, tuple(x.shape[1:])) for name, x in each.encoded.inputs.items())
                by_shape.setdefault(shape, []).append(place)
            drawn: dict[int, Drawn] = {}
            for alike in by_shape.values():
                made = self._draw_together([jobs[place] for place in alike])
                drawn |= dict(zip(alike, made, strict=True))
        return [drawn[place] for place in range(len(jobs))]

    def leave(self) -> None:
        """Gives the pipeline its own scheduler back."""
        self.pipe.scheduler = self._schedulers[None]

    def _draw_together(self, jobs: Sequence[Ready]) -> list[Drawn]:
        import torch

        from promptweight import models, picture
        from promptweight.attention import attach

        pipe, job = self.pipe, jobs[0].job
        guidance = models.default_guidance_scale(pipe) if job.guidance_scale is None else job.guidance_scale
        call = {
            "num_inference_steps": job.num_inference_steps,
            "guidance_scale": guidance,
            **checked_size(pipe, job.height, job.width),
        }
        weighting = weighting_of(job)
        encoded = join([each.encoded for each in jobs if each.encoded is not None])
        maps, inputs, said = None, encoded.inputs, list[str]()

        def after_step(pipe: Any, step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            steps = getattr(pipe, "num_timesteps", job.num_inference_steps)
            if self.step is not None and not self.step(step + 1, steps, len(jobs)):
                raise GivenUp
            return tensors

        with ExitStack() as stack:
            if self.records or any(_acts_in_attention(each) for each in jobs):
                space: Any = job.space
                mode: Any = job.mode
                session = stack.enter_context(
                    attach(pipe, encoded, space=space, mode=mode, record=self.records)
                )
                inputs = session.inputs
            output = pipe(
                **inputs,
                **call,
                generator=[torch.Generator("cpu").manual_seed(each.job.seed) for each in jobs],
                output_type="np",
                callback_on_step_end=after_step,
            )
            if self.records or any(_acts_in_attention(each) for each in jobs):
                said = session.warnings[len(encoded.warnings) :]
                maps = session.maps if self.records else None
        drawn = []
        for number, each in enumerate(jobs):
            assert each.encoded is not None
            image, warnings = picture.picture_of(output, 1, number)
            _refuse_no_numbers(warnings)
            words = each.encoded.positive[0].words
            settings = settings_of(pipe, each.prompt, each.negative_prompt, weighting, each.chosen, call)
            about = [
                *each.chosen.warnings,
                *each.encoded.warnings,
                *said,
                *advice(call, weighting, each.negative_prompt),
                *warnings,
            ]
            drawn.append(_drawn(each, image, maps, number, words, settings, about))
        return drawn

    def _draw_alone(self, ready: Ready) -> Drawn:
        """Draws a prompt that changes while it is drawn, or has several parts, as `generate` does."""
        job = ready.job

        def callback(progress: Any) -> bool:
            if self.step is not None and not self.step(progress.step, progress.steps, 1):
                raise GivenUp
            return True

        result = generate(
            ready.prompt,
            self.pipe,
            negative_prompt=ready.negative_prompt,
            **weighting_of(job),
            num_inference_steps=job.num_inference_steps,
            guidance_scale=job.guidance_scale,
            height=job.height,
            width=job.width,
            seed=job.seed,
            record=self.records,
            callback=callback,
            lora_dir=self.lora_dir,
            embeddings_dir=self.embeddings_dir,
        )
        _refuse_no_numbers(result.warnings)
        return Drawn(
            result.images[0],
            result.maps,
            0,
            result.prompt,
            result.words,
            result.record(),
            result.parameters(),
            result.warnings,
        )

    def _encode(self, job: Job, prompt: Prompt, negative: Prompt, keep: bool = True) -> Encoded:
        from promptweight.conditioning import encode_prompts

        weighting = weighting_of(job)
        method = "none" if job.space == "attention" else job.method
        inside: Any = "clip" if job.space == "attention" and job.mode == "clip" else "embedding"
        key = (prompt.source, negative.source, job.dialect, tuple(weighting.items()))
        if keep and (known := self._encoded.get(key)) is not None:
            return known
        encoded = encode_prompts(
            self.pipe,
            prompt,
            negative,
            method=method,
            normalizer=job.normalizer,
            clip_skip=job.clip_skip,
            pooled=weighting["pooled"],
            mode=inside,
        )
        if keep:
            self._encoded[key] = encoded
            while len(self._encoded) > _REMEMBERED:
                self._encoded.popitem(last=False)
        return encoded

    def _scheduler(self, job: Job) -> Any:
        if job.scheduler not in self._schedulers:
            from promptweight.schedulers import make_scheduler

            self._schedulers[job.scheduler] = make_scheduler(str(job.scheduler), self._schedulers[None])
        return self._schedulers[job.scheduler]


def same_settings(ready: Ready) -> tuple[Any, ...]:
    """Returns what jobs must agree in to be drawn in one call."""
    job = replace(ready.job, prompt="", negative_prompt="", seed=0)
    loras = tuple((name, lora.weight, str(lora.path)) for name, lora in ready.chosen.loras.items())
    embeddings = tuple((name, str(path)) for name, path in ready.chosen.embeddings.items())
    return job, loras, embeddings, _is_one_encoding(ready.prompt, ready.negative_prompt)


def weighting_of(job: Job) -> dict[str, Any]:
    """Returns the settings of a job that say how its weights act."""
    names = ("method", "normalizer", "space", "mode", "clip_skip", "pooled")
    return {name: getattr(job, name) for name in names}


def join(encodings: Sequence[Encoded]) -> Encoded:
    """Returns several encodings of equal shape, each of one prompt, as one of all of them."""
    import torch

    first = encodings[0]
    if len(encodings) == 1:
        return first
    inputs = {name: torch.cat([each.inputs[name] for each in encodings]) for name in first.inputs}
    sections = tuple(
        replace(
            same[0],
            positive=tuple(table for section in same for table in section.positive),
            negative=tuple(table for section in same for table in section.negative),
        )
        for same in zip(*(each.sections for each in encodings), strict=True)
    )
    warnings = dict.fromkeys(warning for each in encodings for warning in each.warnings)
    return replace(first, inputs=inputs, sections=sections, warnings=tuple(warnings))


def _is_one_encoding(*prompts: Prompt) -> bool:
    """Whether one set of embeddings holds all that some prompts ask for."""
    return not any(prompt.scheduled or len(prompt.parts) > 1 or prompt.swaps for prompt in prompts)


def _acts_in_attention(ready: Ready) -> bool:
    prompts = (ready.prompt, ready.negative_prompt)
    return ready.job.space == "attention" or any(span.options for prompt in prompts for span in prompt.spans)


def _refuse_no_numbers(warnings: Sequence[str]) -> None:
    for warning in warnings:
        if "no numbers (NaN)" in warning:
            raise PromptweightError(warning)


def _drawn(
    ready: Ready,
    image: Image.Image,
    maps: AttentionMaps | None,
    number: int,
    words: tuple[Word, ...],
    settings: dict[str, Any],
    warnings: Sequence[str],
) -> Drawn:
    from promptweight.result import Result

    result = Result((image,), None, ready.prompt, ready.negative_prompt, words, (ready.job.seed,), settings)
    told = tuple(dict.fromkeys(warnings))
    return Drawn(image, maps, number, ready.prompt, words, result.record(), result.parameters(), told)
