"""The prompts of jobs, read and encoded each by itself; the last ones are remembered.

A prompt is encoded through the same code as a single picture's, and joined with others only when it is
encoded, so no other prompt changes its embeddings.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from promptweight.batch.jobs import Job
from promptweight.prompt import Prompt, parse

if TYPE_CHECKING:
    from promptweight.conditioning import EncodedPrompts
    from promptweight.models import Adapters

_REMEMBERED = 32


@dataclass(frozen=True)
class PreparedJob:
    """A job whose prompts are read and, where nothing has to be put on the model for them, encoded."""

    job: Job
    prompt: Prompt
    negative_prompt: Prompt
    chosen: Adapters
    encoded: EncodedPrompts | None

    @property
    def goes_alone(self) -> bool:
        """Whether it is drawn as `promptweight.generate` does, by itself.

        So are prompts that change while they are drawn or have several parts, whose embeddings are more than
        one set, and those whose phrases are balanced, which are told of one by one.
        """
        prompts = (self.prompt, self.negative_prompt)
        return self.job.balance or any(
            prompt.scheduled or len(prompt.parts) > 1 or prompt.swaps for prompt in prompts
        )

    @property
    def acts_in_attention(self) -> bool:
        """Whether a weight of it acts there."""
        prompts = (self.prompt, self.negative_prompt)
        return self.job.space == "attention" or any(
            span.options for prompt in prompts for span in prompt.spans
        )


class PromptCache:
    """What a pipeline's text encoders make of prompts.

    Args:
        pipe: the pipeline.
        lora_dir: as in `promptweight.generate`, like `embeddings_dir`.
    """

    def __init__(self, pipe: Any, *, lora_dir: str | None = None, embeddings_dir: str | None = None) -> None:
        self.pipe = pipe
        self.lora_dir, self.embeddings_dir = lora_dir, embeddings_dir
        self._known: OrderedDict[Any, EncodedPrompts] = OrderedDict()

    def ready(self, job: Job) -> PreparedJob:
        """Read the prompts of a job and encodes them; safe in a thread of its own."""
        from promptweight.models import find_adapters

        prompt, negative = parse(job.prompt, job.dialect), parse(job.negative_prompt, job.dialect)
        chosen = find_adapters(
            prompt,
            negative,
            lora_dir=self.lora_dir,
            embeddings_dir=self.embeddings_dir,
            num_inference_steps=job.num_inference_steps,
        )
        ready = PreparedJob(job, prompt, negative, chosen, None)
        if chosen.loras or chosen.embeddings or ready.goes_alone:
            return ready
        key = (prompt.source, negative.source, job.dialect, tuple(job_weighting(job).items()))
        if key not in self._known:
            self._known[key] = self.encode(ready)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return replace(ready, encoded=self._known[key])

    def encode(self, ready: PreparedJob) -> EncodedPrompts:
        """Encode the prompts of a job with the model as it is."""
        from promptweight.conditioning import encode_prompts

        job = ready.job
        in_attention = job.space == "attention"
        pooled: Any = job.pooled
        return encode_prompts(
            self.pipe,
            ready.prompt,
            ready.negative_prompt,
            method="none" if in_attention else job.method,
            normalizer=job.normalizer,
            clip_skip=job.clip_skip,
            pooled=pooled,
            mode="clip" if in_attention and job.mode == "clip" else "embedding",
        )


def job_weighting(job: Job) -> dict[str, Any]:
    """Return the settings of a job that say how its weights act, as pictures are told of them."""
    names = ("method", "normalizer", "space", "mode", "clip_skip", "pooled")
    weighting = {name: getattr(job, name) for name in names}
    return {**weighting, "balance": True} if job.balance else weighting


def settings_key(ready: PreparedJob) -> tuple[Any, ...]:
    """Return what jobs must agree in to be drawn in one call."""
    job = replace(ready.job, prompt="", negative_prompt="", seed=0)
    loras = tuple((name, lora.weight, str(lora.path)) for name, lora in ready.chosen.loras.items())
    embeddings = tuple((name, str(path)) for name, path in ready.chosen.embeddings.items())
    return job, loras, embeddings, ready.goes_alone


def join_embeds(encodings: Sequence[EncodedPrompts]) -> EncodedPrompts:
    """Return several encodings of equal shape, each of one prompt, as one of all of them."""
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
