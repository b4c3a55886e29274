"""Options of jobs in job files and on the command line, by promptweight's names and those of other tools.

Besides the names of promptweight there are the letters of sd-scripts, the names of AUTOMATIC1111's "Prompts
from file" and of its API, and those of the JSON files of sd-scripts. Names and ranges are checked without
torch, so that errors appear before a model is loaded.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from promptweight.attention import NegativeGuidance
from promptweight.batch.foreign_options import FOREIGN_OPTIONS, ForeignOption
from promptweight.conditioning import MAX_CLIP_SKIP
from promptweight.errors import SettingError
from promptweight.generation import (
    MAX_GUIDANCE,
    MAX_PROMPT_LENGTH,
    MAX_SEED,
    MAX_SIDE,
    MAX_STEPS,
)
from promptweight.messages import message
from promptweight.models import NOISE_SCHEDULES, SAMPLERS, is_known_sampler
from promptweight.prompt import DIALECTS
from promptweight.validation import check_choice, check_integer, check_number, did_you_mean
from promptweight.weighting import Weighting

MAX_SEEDS = 1_000_000
RANDOM_SEED = -1
"""Seed that stands for a random one."""
_INTEGER = re.compile(r"\s*([+-]?[0-9]{1,20})(?:\.0*)?\s*")
_SEEDS = re.compile(r"\s*(-1|[0-9]{1,20}(?:\s*-\s*[0-9]{1,20})?)(?:\.0*)?\s*")
_EXACT_FLOAT = 2.0**53
"""Size up to which a number with a decimal point is exact, as pandas writes integers beside empty cells."""


@dataclass(frozen=True, slots=True)
class JobOption:
    """Option of a job file or the command line.

    Attributes:
        field: field of `GenerateOptions`, or one of `prompt`, `seeds`, `count`, `batch_size` (which
            multiplies `count`, as in AUTOMATIC1111), `scale` (the guidance scale, unless sd-scripts' scale of
            distilled models stands beside it) and `styles` (merged into the prompts).
        names: spellings of the option.
        parse: takes the spelling in use and a value (text or JSON), and returns the checked value.
    """

    field: str
    names: tuple[str, ...]
    parse: Callable[[str, Any], Any]


def _whole(value: Any) -> Any:
    """Return the integer of a text or a number with zeros after the point; other values as they are."""
    if isinstance(value, str) and (match := _INTEGER.fullmatch(value)):
        return int(match[1])
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT_FLOAT:
        return int(value)
    return value


def _integer(lowest: int, highest: int) -> Callable[[str, Any], int]:
    def parse(name: str, value: Any) -> int:
        if isinstance(value, bool):
            raise SettingError(message("integer-type", name=name, value=value))
        return check_integer(name, _whole(value), lowest, highest)

    return parse


def _number(lowest: float, highest: float) -> Callable[[str, Any], float]:
    def parse(name: str, value: Any) -> float:
        if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]+,[0-9]+\s*", value):
            raise SettingError(message("job-decimal", name=name, value=value))
        if isinstance(value, bool) or (isinstance(value, str) and not value.isascii()):
            raise SettingError(message("number-type", name=name, value=value))
        return check_number(name, value, lowest, highest)

    return parse


def _choice(choices: Iterable[str]) -> Callable[[str, Any], str]:
    known = tuple(choices)

    def parse(name: str, value: Any) -> str:
        check_choice(name, value, known)
        return str(value)

    return parse


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise SettingError(message("job-text", name=name, value=value))
    if len(value) > MAX_PROMPT_LENGTH:
        raise SettingError(message("job-text-length", name=name, most=MAX_PROMPT_LENGTH, length=len(value)))
    surrogate = next((index for index, letter in enumerate(value) if "\ud800" <= letter <= "\udfff"), None)
    if surrogate is not None:
        raise SettingError(message("job-text-surrogate", name=name, position=surrogate + 1))
    return value


def _prompt(name: str, value: Any) -> str:
    if not _text(name, value).strip():
        raise SettingError(message("job-text-empty", name=name))
    return str(value)


def _size(name: str, value: Any) -> int:
    pixels = _integer(8, MAX_SIDE)(name, value)
    if pixels % 8:
        raise SettingError(message("job-side", name=name, value=pixels))
    return pixels


def _weighting(_name: str, value: Any) -> Weighting:
    return Weighting.of(value)


def _negative_guidance(_name: str, value: Any) -> NegativeGuidance:
    return NegativeGuidance.of(value)


def _scheduler(name: str, value: Any) -> str:
    """Check that a scheduler exists; the model's support is checked when the model is loaded."""
    from promptweight.metadata import find_sampler

    text = " ".join(_text(name, value).split())
    found, differences = find_sampler("", text)
    if found is not None and not differences:
        return found
    if is_known_sampler(text):
        return text
    known = (*SAMPLERS, *(f"{each} Karras" for each in SAMPLERS))
    raise SettingError(
        message(
            "sampler-unknown",
            name=name,
            samplers=", ".join(SAMPLERS),
            schedules=", ".join(NOISE_SCHEDULES),
            value=text,
            hint=did_you_mean(text, known),
        )
    )


def _styles(name: str, value: Any) -> tuple[str, ...]:
    """Return the names of styles; text stays whole, because a name may contain commas."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not all(isinstance(each, str) for each in names):
        raise SettingError(message("job-styles", name=name, value=value))
    return tuple(each.strip() for each in names if each.strip())


def parse_seeds(name: str, value: Any) -> tuple[int, ...]:
    """Return seeds from a whole number, a list of them, or text such as `1,2,5-8`; -1 is a random seed.

    >>> parse_seeds("seeds", "1, 5-8")
    (1, 5, 6, 7, 8)
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = [value]
    if isinstance(value, str):
        seeds: list[int] = []
        for part in value.split(","):
            match = _SEEDS.fullmatch(part)
            if match is None:
                raise SettingError(message("job-seed-ranges", name=name, value=value))
            if match[1] == str(RANDOM_SEED):
                seeds.append(RANDOM_SEED)
                continue
            first, last = int(match[1].split("-")[0]), int(match[1].split("-")[-1])
            if last < first or last - first >= MAX_SEEDS:
                raise SettingError(message("job-seed-range", name=name, most=MAX_SEEDS, text=part.strip()))
            seeds += range(first, last + 1)
        value = seeds
    if not isinstance(value, (list, tuple)) or not value or len(value) > MAX_SEEDS:
        raise SettingError(message("job-seeds", name=name, most=MAX_SEEDS, value=value))
    checked = [_integer(RANDOM_SEED, MAX_SEED)(name, each) for each in value]
    # Every -1 is a seed of its own.
    keys = [number if seed == RANDOM_SEED else None for number, seed in enumerate(checked)]
    return tuple(seed for seed, _ in dict.fromkeys(zip(checked, keys, strict=True)))


JOB_OPTIONS: tuple[JobOption, ...] = (
    JobOption("prompt", ("prompt",), _prompt),
    JobOption("negative_prompt", ("n", "negative", "negative_prompt"), _text),
    JobOption("seeds", ("d", "seed", "seeds"), parse_seeds),
    JobOption("count", ("count", "images", "num_images_per_prompt", "n_iter"), _integer(1, MAX_SEEDS)),
    JobOption("batch_size", ("batch_size",), _integer(1, MAX_SEEDS)),
    JobOption(
        "num_inference_steps", ("s", "steps", "num_inference_steps", "sample_steps"), _integer(1, MAX_STEPS)
    ),
    JobOption(
        "guidance_scale",
        ("guidance", "guidance_scale", "cfg", "cfg_scale", "cfgs", "g"),
        _number(0, MAX_GUIDANCE),
    ),
    JobOption("scale", ("l", "scale"), _number(0, MAX_GUIDANCE)),
    JobOption("width", ("w", "width"), _size),
    JobOption("height", ("h", "height"), _size),
    JobOption("weighting", ("weighting",), _weighting),
    JobOption("negative_guidance", ("negative_guidance",), _negative_guidance),
    JobOption("clip_skip", ("clip_skip",), _integer(0, MAX_CLIP_SKIP)),
    JobOption("dialect", ("dialect",), _choice(DIALECTS)),
    JobOption("scheduler", ("ss", "scheduler", "sampler", "sampler_name", "sample_sampler"), _scheduler),
    JobOption("styles", ("styles", "style"), _styles),
)
"""Options of job files and of the command line."""

OPTIONS_BY_NAME: Mapping[str, JobOption] = {name: option for option in JOB_OPTIONS for name in option.names}
_LONG_NAMES = tuple(name for name in OPTIONS_BY_NAME if len(name) > 1)
_MAIN_NAMES = tuple(next(name for name in option.names if len(name) > 1) for option in JOB_OPTIONS)


def find_option(name: str, *, shown: str | None = None) -> JobOption | ForeignOption:
    """Return the option of that name, with dashes or underscores.

    Args:
        name: one of its spellings.
        shown: the name in error messages, with its dashes.

    Raises:
        SettingError: no option has that name; suggests a similar one.
    """
    folded = name.strip().casefold().replace("-", "_").replace(" ", "_")
    if folded in OPTIONS_BY_NAME:
        return OPTIONS_BY_NAME[folded]
    if folded in FOREIGN_OPTIONS:
        return FOREIGN_OPTIONS[folded]
    dashes = "--" if shown else ""
    close = _find_close(folded)
    valid = ", ".join(f"{dashes}{each}" for each in _MAIN_NAMES)
    hint = f"did you mean {dashes}{close}?" if close else f"valid: {valid}"
    raise SettingError(message("job-option-unknown", name=shown or name, hint=hint))


@lru_cache(maxsize=1_000)
def _find_close(name: str) -> str:
    """Return the option whose name is closest to one that does not exist; an empty string without any.

    Names that share too few letters are not compared, since a file may have thousands of unknown ones.
    """
    cutoff, letters = 0.6, set(name)
    known = [
        each
        for each in _LONG_NAMES
        if 2 * sum(map(letters.__contains__, each)) >= cutoff * (len(each) + len(name))
    ]
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=cutoff)), "")
