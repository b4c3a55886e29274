"""Expansion of rows into jobs: every row with its seeds, the points of a sweep, and its random choices."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from promptweight.batch.job_options import RANDOM_SEED
from promptweight.batch.job_rows import Row
from promptweight.batch.jobs import Job
from promptweight.batch.parsed_prompts import ParsedPrompts
from promptweight.batch.random_seeds import RandomSeeds
from promptweight.batch.styles import StyleSheet
from promptweight.batch.sweep import Sweep, sweep_points
from promptweight.errors import SettingError
from promptweight.generation import MAX_SEED, GenerateOptions
from promptweight.messages import message
from promptweight.prompt import expand

MAX_PLANNED_IMAGES = 1_000_000
_NOT_OPTIONS = ("prompt", "seeds", "count", "styles")
"""Values of a row that are not fields of `GenerateOptions`."""


class StyleError(SettingError):
    """A row names a style that is not there."""


class RowExpander:
    """Expansion of rows, one after the other.

    Args:
        prompts: takes the parsed prompts of a sweep.
        defaults: values of fields that a row does not set; also `seeds` and `count`.
        common: values of fields that no row sets.
        sweep: the axes that vary.
        wildcards: folder of the files that `__name__` refers to.
        styles: the styles that rows may name.
        random_seeds: the seeds of rows with the seed -1.
    """

    def __init__(
        self,
        prompts: ParsedPrompts,
        *,
        defaults: Mapping[str, Any],
        common: Mapping[str, Any],
        sweep: Sweep,
        wildcards: str | Path | None,
        styles: StyleSheet | None,
        random_seeds: RandomSeeds,
    ) -> None:
        self._prompts, self._defaults, self._common = prompts, defaults, common
        self._sweep, self._wildcards = sweep, wildcards
        self._styles, self._random_seeds = styles, random_seeds
        self._repetitions: Counter[tuple[str, str]] = Counter()
        self._options: dict[tuple[tuple[str, Any], ...], GenerateOptions] = {}

    def expand(self, row: Row) -> Iterator[tuple[Job, tuple[str, ...]]]:
        """Yield the jobs of a row, each with its labels in the sweep.

        Raises:
            SettingError: the values of the row exclude each other, or a wildcard has no file.
            StyleError: a style is not there.
        """
        given = {name: value for name, value in row.values.items() if value is not None}
        values = {**self._defaults, **given}
        settings = {name: value for name, value in values.items() if name not in _NOT_OPTIONS}
        prompt, negative = values["prompt"], settings.get("negative_prompt", "")
        if names := values.get("styles"):
            prompt, negative = self._apply_styles(names, prompt, negative)
        seeds = self._choose_seeds(values, prompt, negative)
        dialect = settings.get("dialect", "pw")
        for point in sweep_points(prompt, dialect, self._sweep, self._prompts):
            for seed in seeds:
                chosen = {"negative_prompt": expand(negative, seed, self._wildcards)} if negative else {}
                job = Job(
                    expand(point.prompt, seed, self._wildcards),
                    seed,
                    self._share_options({**settings, **chosen, **point.settings}),
                )
                yield job, (*point.labels, f"seed {seed}") if self._sweep else ()

    def _apply_styles(self, names: Sequence[str], prompt: str, negative: str) -> tuple[str, str]:
        if self._styles is None:
            raise StyleError(f"styles need a file of styles (--styles FILE); got {', '.join(names)}")
        try:
            return self._styles.apply(names, prompt, negative)
        except SettingError as error:
            raise StyleError(str(error)) from error

    def _choose_seeds(self, values: Mapping[str, Any], prompt: str, negative: str) -> Sequence[int]:
        given: Sequence[int] = self._sweep.seeds or values.get("seeds") or ()
        seeds = [self._random_seeds.draw(prompt, negative) if seed == RANDOM_SEED else seed for seed in given]
        count = values.get("count") or 1
        if seeds and count > 1:
            if len(seeds) * count > MAX_PLANNED_IMAGES:
                raise SettingError(
                    message("row-too-large", most=MAX_PLANNED_IMAGES, seeds=len(seeds), count=count)
                )
            seeds = list(dict.fromkeys(seed + number for seed in seeds for number in range(count)))
            if max(seeds) > MAX_SEED:
                raise SettingError(message("row-last-seed", count=count, highest=MAX_SEED, seed=max(seeds)))
        if not seeds:
            first = self._repetitions[prompt, negative]
            self._repetitions[prompt, negative] += count
            seeds = [default_seed(prompt, negative, first + number) for number in range(count)]
        return seeds

    def _share_options(self, settings: Mapping[str, Any]) -> GenerateOptions:
        """Return the options with some settings, one object for all jobs that have the same."""
        key = tuple(settings.items())
        if key not in self._options:
            self._options[key] = GenerateOptions(**self._common, **settings)
        return self._options[key]


def default_seed(prompt: str, negative_prompt: str, repetition: int) -> int:
    """Return the seed of a row without seeds: 0 .. 2³² - 1, from its prompts alone."""
    text = json.dumps([prompt, negative_prompt, repetition])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
