"""Ids of images: digests of all that determines an image.

An id contains the model and its revision or the fingerprint of its files, the parsed prompts, every setting,
the seed, and the version of promptweight. The same job has the same id in any order, shard or file, and
whatever the spelling of its prompts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from promptweight._version import __version__
from promptweight.batch.jobs import Job
from promptweight.models import ModelIdentity, find_adapters, fingerprint_files
from promptweight.prompt import Prompt, StepVariants, make_timeline

ID_DIGITS = 12
_MAX_DIGESTS = 1000
_DESCRIBED = (
    "dialect",
    "clip_skip",
    "num_inference_steps",
    "guidance_scale",
    "height",
    "width",
    "scheduler",
)
"""Fields of the options that are a part of an id as they are."""


class ImageIds:
    """Ids of the images that a model draws.

    Args:
        model: the model.
    """

    def __init__(self, model: ModelIdentity) -> None:
        self._common = [__version__, model.name, model.revision, model.fingerprint]
        self._fingerprints: dict[Path, str] = {}
        self._digests: dict[tuple[str, str, int], str] = {}

    def of(self, job: Job, prompt: Prompt, negative_prompt: Prompt) -> str:
        """Return the id of a job, `ID_DIGITS` hexadecimal digits.

        Args:
            job: the job.
            prompt: its parsed prompt.
            negative_prompt: its parsed negative prompt.

        Raises:
            SettingError: a LoRA or textual inversion that a prompt names cannot be found.
        """
        options = job.options
        steps = options.num_inference_steps
        content = [
            *self._common,
            job.seed,
            str(options.weighting),
            str(options.negative_guidance),
            [getattr(options, name) for name in _DESCRIBED],
            self._digest(prompt, steps),
            self._digest(negative_prompt, steps),
            self._describe_adapters(job, prompt, negative_prompt),
        ]
        text = json.dumps(content, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]

    def _digest(self, prompt: Prompt, steps: int) -> str:
        """Return the digest of a prompt; images one after the other often have the same."""
        key = prompt.source, prompt.dialect, steps
        if key not in self._digests:
            if len(self._digests) >= _MAX_DIGESTS:
                self._digests.clear()
            text = json.dumps(describe_prompt(prompt, steps), separators=(",", ":"))
            self._digests[key] = hashlib.sha256(text.encode()).hexdigest()
        return self._digests[key]

    def _describe_adapters(self, job: Job, prompt: Prompt, negative_prompt: Prompt) -> Mapping[str, Any]:
        """Return the weights and fingerprints of the files that the prompts name; empty for most prompts."""
        options = job.options
        if options.lora_dir is None and options.embeddings_dir is None:
            return {}
        adapters = find_adapters(
            prompt,
            negative_prompt,
            lora_dir=options.lora_dir,
            embeddings_dir=options.embeddings_dir,
            num_inference_steps=options.num_inference_steps,
        )
        return {
            "loras": {
                name: {**asdict(lora), "path": self._fingerprint(lora.path)}
                for name, lora in adapters.loras.items()
            },
            "embeddings": {name: self._fingerprint(path) for name, path in adapters.embeddings.items()},
        }

    def _fingerprint(self, path: Path) -> str:
        if path not in self._fingerprints:
            self._fingerprints[path] = fingerprint_files([path])
        return self._fingerprints[path]


def describe_prompt(prompt: Prompt, steps: int) -> list[Any]:
    """Return all of a prompt that determines an image, as JSON values, whatever its spelling.

    Args:
        prompt: the prompt.
        steps: number of denoising steps.
    """
    timeline = make_timeline(prompt, steps)
    return [
        [_describe_variant(variant) for variant in timeline.variants],
        _describe_steps(timeline.steps),
        [{**asdict(lora), "start": 0, "end": 0} for lora in prompt.loras],
    ]


def _describe_variant(variant: Prompt) -> list[Any]:
    parts = [
        [part.clean_start, part.clean_end, _rounded(part.weight), part.blend, part.normalize]
        for part in variant.parts[1:] and variant.parts
    ]
    return [
        list(_describe_spans(variant)),
        list(variant.breaks),
        parts,
        [[name.clean_start, name.clean_end, name.name] for name in variant.embeddings],
        [[swap.clean_start, swap.clean_end, swap.edited, swap.options] for swap in variant.swaps],
    ]


def _describe_spans(variant: Prompt) -> Iterator[list[Any]]:
    """Yield the text, weight and options of each span; neighbors without a weight as one."""
    plain = ""
    for span in variant.spans:
        if span.weight == 1 and not span.options:
            plain += span.text
            continue
        if plain:
            yield [plain]
        plain = ""
        yield [span.text, _rounded(span.weight), str(span.options)]
    if plain:
        yield [plain]


def _describe_steps(steps: tuple[StepVariants, ...]) -> list[Any]:
    """Return the variants of each step; those of equal neighbors once, with the number of steps."""
    return [
        [[[variant, _rounded(weight)] for variant, weight in variants], sum(1 for _ in run)]
        for variants, run in groupby(steps)
    ]


def _rounded(weight: float) -> str:
    """Return a weight as text: ((x)) and (x:1.21) have the same."""
    return f"{weight:.9g}"
