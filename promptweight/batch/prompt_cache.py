"""Cache of parsed and encoded prompts of batch jobs.

A prompt is encoded by itself, with the same code as for a single image, and joined with others only
afterwards, so no other prompt changes its embeddings.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from promptweight.batch.jobs import Job
from promptweight.prompt import Prompt, parse
from promptweight.weighting import splits_weights

if TYPE_CHECKING:
    from promptweight.conditioning import EncodedPrompts
    from promptweight.models import Adapters

_MAX_ENTRIES = 32


@dataclass(frozen=True)
class PreparedJob:
    """A job with its prompts parsed and, if the model needs no adapters for them, encoded.

    Attributes:
        job: the job.
        prompt: the parsed prompt.
        negative_prompt: the parsed negative prompt.
        adapters: LoRAs and textual inversions of the prompts.
        encoded: the embeddings; None if they must be encoded when the job is drawn.
    """

    job: Job
    prompt: Prompt
    negative_prompt: Prompt
    adapters: Adapters
    encoded: EncodedPrompts | None

    @property
    def needs_own_run(self) -> bool:
        """True if `promptweight.generate` must draw the job by itself.

        Prompts that change during denoising or have several parts have more than one set of embeddings, and
        balanced phrases are reported for one image at a time.
        """
        prompts = (self.prompt, self.negative_prompt)
        return self.job.balance or any(
            prompt.scheduled or len(prompt.parts) > 1 or prompt.swaps for prompt in prompts
        )

    @property
    def has_attention_weights(self) -> bool:
        """True if a weight of the prompts acts in attention."""
        prompts = (self.prompt, self.negative_prompt)
        return self.job.space == "attention" or any(
            span.options or (span.weight > 1 and splits_weights(self.job.method, prompt.dialect))
            for prompt in prompts
            for span in prompt.spans
        )


class PromptCache:
    """Prompts encoded by the text encoders of a pipeline.

    Args:
        pipe: the pipeline.
        lora_dir: as in `promptweight.generate`, like `embeddings_dir`.
        embeddings_dir: likewise.
    """

    def __init__(self, pipe: Any, *, lora_dir: str | None = None, embeddings_dir: str | None = None) -> None:
        self.pipe = pipe
        self.lora_dir, self.embeddings_dir = lora_dir, embeddings_dir
        self._entries: OrderedDict[Any, EncodedPrompts] = OrderedDict()

    def prepare(self, job: Job) -> PreparedJob:
        """Parse and encode the prompts of a job; may run in a thread of its own."""
        from promptweight.models import find_adapters

        prompt, negative = parse(job.prompt, job.dialect).at(), parse(job.negative_prompt, job.dialect).at()
        adapters = find_adapters(
            prompt,
            negative,
            lora_dir=self.lora_dir,
            embeddings_dir=self.embeddings_dir,
            num_inference_steps=job.num_inference_steps,
        )
        prepared = PreparedJob(job, prompt, negative, adapters, None)
        if adapters.loras or adapters.embeddings or prepared.needs_own_run:
            return prepared
        key = (prompt.source, negative.source, job.dialect, tuple(job_weighting(job).items()))
        if key not in self._entries:
            self._entries[key] = self.encode(prepared)
            if len(self._entries) > _MAX_ENTRIES:
                self._entries.popitem(last=False)
        return replace(prepared, encoded=self._entries[key])

    def encode(self, prepared: PreparedJob) -> EncodedPrompts:
        """Encode the prompts of a job with the current state of the model."""
        from promptweight.conditioning import encode_prompts

        job = prepared.job
        in_attention = job.space == "attention"
        pooled: Any = job.pooled
        return encode_prompts(
            self.pipe,
            prepared.prompt,
            prepared.negative_prompt,
            method="none" if in_attention else job.method,
            normalizer=job.normalizer,
            clip_skip=job.clip_skip,
            pooled=pooled,
            mode="split" if not in_attention else "clip" if job.mode == "clip" else "embedding",
        )


def job_weighting(job: Job) -> dict[str, Any]:
    """Return the settings of a job that choose how its weights act, as the record of an image has them."""
    names = ("method", "normalizer", "space", "mode", "clip_skip", "pooled")
    weighting = {name: getattr(job, name) for name in names}
    return {**weighting, "balance": True} if job.balance else weighting


def settings_key(prepared: PreparedJob) -> tuple[Any, ...]:
    """Return a key that is equal for jobs that one call of the model can draw."""
    job = replace(prepared.job, prompt="", negative_prompt="", seed=0)
    loras = tuple((name, lora.weight, str(lora.path)) for name, lora in prepared.adapters.loras.items())
    embeddings = tuple((name, str(path)) for name, path in prepared.adapters.embeddings.items())
    return job, loras, embeddings, prepared.needs_own_run


def join_embeds(encodings: Sequence[EncodedPrompts]) -> EncodedPrompts:
    """Join encodings of equal shape, each of one prompt, along the batch axis."""
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
