"""Cache of encoded prompts of batch jobs.

A prompt is encoded by itself, with the same code as for a single image, and joined with others only
afterwards, so no other prompt changes its embeddings.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from promptweight.batch.jobs import Job
from promptweight.batch.parsed_prompts import ParsedPrompts
from promptweight.generation import GenerateOptions
from promptweight.prompt import Prompt

if TYPE_CHECKING:
    from promptweight.conditioning import ScheduledEncoding, TextInput
    from promptweight.models import Adapters
    from promptweight.protocols import Pipeline

_MAX_ENTRIES = 32


@dataclass(frozen=True)
class PreparedJob:
    """A job with its prompts parsed and, if they need no adapters, encoded.

    Attributes:
        job: the job.
        prompt: the parsed prompt.
        negative_prompt: the parsed negative prompt.
        adapters: LoRAs and textual inversions of the prompts.
        encoded: the embeddings; None if they must be encoded while the model has the adapters.
    """

    job: Job
    prompt: Prompt
    negative_prompt: Prompt
    adapters: Adapters
    encoded: ScheduledEncoding | None

    @property
    def has_adapters(self) -> bool:
        """True if the prompts change the model or its text encoders."""
        return bool(self.adapters.loras or self.adapters.embeddings)


class PromptCache:
    """Prompts encoded by the text encoders of a pipeline.

    Args:
        pipe: the pipeline.
        prompts: the parsed prompts.
    """

    def __init__(self, pipe: Pipeline, prompts: ParsedPrompts | None = None) -> None:
        self.pipe = pipe
        self._prompts = ParsedPrompts() if prompts is None else prompts
        self._entries: OrderedDict[Any, ScheduledEncoding] = OrderedDict()

    def prepare(self, job: Job) -> PreparedJob:
        """Parse and encode the prompts of a job; may run in a thread of its own."""
        from promptweight.models import find_adapters

        options = job.options
        prompt = self._prompts.get(job.prompt, options.dialect)
        negative = self._prompts.get(job.negative_prompt, options.dialect)
        adapters = find_adapters(
            prompt,
            negative,
            lora_dir=options.lora_dir,
            embeddings_dir=options.embeddings_dir,
            num_inference_steps=options.num_inference_steps,
        )
        prepared = PreparedJob(job, prompt, negative, adapters, None)
        if prepared.has_adapters:
            return prepared
        key = (
            prompt.source,
            negative.source,
            options.dialect,
            options.weighting,
            options.clip_skip,
            options.num_inference_steps,
        )
        if key not in self._entries:
            self._entries[key] = self.encode(prepared)
            if len(self._entries) > _MAX_ENTRIES:
                self._entries.popitem(last=False)
        return replace(prepared, encoded=self._entries[key])

    def encode(self, prepared: PreparedJob) -> ScheduledEncoding:
        """Encode the prompts of a job with the current state of the model."""
        from promptweight.conditioning import encode_scheduled

        options = prepared.job.options
        return encode_scheduled(
            self.pipe,
            prepared.prompt,
            prepared.negative_prompt,
            num_inference_steps=options.num_inference_steps,
            weighting=options.weighting,
            clip_skip=options.clip_skip,
            in_session=True,
        )


def options_key(options: GenerateOptions) -> tuple[Any, ...]:
    """Return a key that is equal for options that one call of the model can follow."""
    return (
        options.weighting,
        options.negative_guidance,
        options.dialect,
        options.clip_skip,
        options.num_inference_steps,
        options.guidance_scale,
        options.scheduler,
        options.height,
        options.width,
    )


def settings_key(prepared: PreparedJob) -> tuple[Any, ...]:
    """Return a key that is equal for jobs that one call of the model can draw."""
    loras = tuple(prepared.adapters.loras.items())
    embeddings = tuple(prepared.adapters.embeddings.items())
    return options_key(prepared.job.options), loras, embeddings


def join_encodings(encodings: Sequence[ScheduledEncoding]) -> ScheduledEncoding:
    """Join encodings of equal shape, each of one prompt, along the batch axis."""
    import torch

    from promptweight.conditioning import ROLES, EncodedPrompts, ScheduledEncoding

    if len(encodings) == 1:
        return encodings[0]
    encoded = [each.encoded for each in encodings]
    first = encoded[0]
    rows = accumulate((len(each.inputs["prompt_embeds"]) for each in encoded[:-1]), initial=0)
    sections = tuple(
        replace(
            same[0],
            positive=tuple(table for section in same for table in section.positive),
            negative=tuple(table for section in same for table in section.negative),
        )
        for same in zip(*(each.sections for each in encoded), strict=True)
    )
    offsets = list(rows)
    others = [each.other_negative_embeds for each in encoded if each.other_negative_embeds is not None]
    return ScheduledEncoding(
        EncodedPrompts(
            {name: _join_values([each.inputs[name] for each in encoded]) for name in first.inputs},
            sections,
            tuple(dict.fromkeys(warning for each in encoded for warning in each.warnings)),
            first.settings,
            torch.cat(others) if len(others) == len(encoded) else None,
        ),
        {role: tuple(line for each in encodings for line in each.timelines[role]) for role in ROLES},
        {
            role: tuple(
                offset + row
                for offset, each in zip(offsets, encodings, strict=True)
                for row in each.first_rows[role]
            )
            for role in ROLES
        },
    )


def input_shape(value: TextInput | None) -> tuple[int, ...]:
    """Return what must be equal for inputs of one prompt each to be joined."""
    if value is None:
        return ()
    return tuple(map(len, value)) if isinstance(value, list) else tuple(value.shape[1:])


def _join_values(values: Sequence[TextInput | None]) -> TextInput | None:
    """Join inputs of the pipeline along the batch axis."""
    import torch

    lists = [value for value in values if isinstance(value, list)]
    tensors = [value for value in values if isinstance(value, torch.Tensor)]
    if lists:
        return [each for value in lists for each in value]
    return torch.cat(tensors) if tensors else None
