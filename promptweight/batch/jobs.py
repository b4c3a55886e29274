"""Job: the settings of one image, and the options that set them in job files and on the command line.

Names and ranges are checked without torch, so that errors appear before a model is loaded.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from promptweight.errors import SettingError
from promptweight.generation import (
    MAX_CLIP_SKIP,
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
from promptweight.weighting import ATTACH_MODES, METHOD_NAMES, NORMALIZER_NAMES, POOLED, SPACES

MAX_SEEDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Job:
    """Settings of one image: parameters of `promptweight.generate`, and the name of a scheduler.

    None for `scheduler`, `guidance_scale`, `height` and `width` means the default of the model.
    """

    prompt: str
    negative_prompt: str = ""
    seed: int = 0
    method: str | None = None
    normalizer: str | None = None
    space: str = "embedding"
    mode: str = "logit"
    clip_skip: int | None = None
    pooled: str = "clean"
    dialect: str = "pw"
    num_inference_steps: int = 25
    guidance_scale: float | None = None
    height: int | None = None
    width: int | None = None
    scheduler: str | None = None
    balance: bool = False


@dataclass(frozen=True, slots=True)
class JobOption:
    """Option of a job file or the command line.

    Attributes:
        field: field of `Job`, or `seeds` or `count`.
        names: spellings of the option.
        parse: takes the spelling in use and a value (text or JSON), and returns the checked value.
    """

    field: str
    names: tuple[str, ...]
    parse: Callable[[str, Any], Any]


def _integer(lowest: int, highest: int) -> Callable[[str, Any], int]:
    def parse(name: str, value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,20}\s*", value):
            value = int(value)
        if isinstance(value, bool):
            raise SettingError(message("integer-type", name=name, value=value))
        return check_integer(name, value, lowest, highest)

    return parse


def _number(lowest: float, highest: float) -> Callable[[str, Any], float]:
    def parse(name: str, value: Any) -> float:
        if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]+,[0-9]+\s*", value):
            raise SettingError(f"{name} must be a number with a decimal point; got {value!r}")
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


def _boolean(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    known = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    if str(value).strip().lower() not in known:
        raise SettingError(f"{name} must be yes or no; got {value!r}")
    return known[str(value).strip().lower()]


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise SettingError(f"{name} must be text; got {value!r}")
    if len(value) > MAX_PROMPT_LENGTH:
        raise SettingError(f"{name} must have at most {MAX_PROMPT_LENGTH} characters; got {len(value)}")
    surrogate = next((index for index, letter in enumerate(value) if "\ud800" <= letter <= "\udfff"), None)
    if surrogate is not None:
        raise SettingError(f"{name} must not contain a lone surrogate; got one at character {surrogate + 1}")
    return value


def _prompt(name: str, value: Any) -> str:
    if not _text(name, value).strip():
        raise SettingError(f"{name} must not be empty")
    return str(value)


def _size(name: str, value: Any) -> int:
    pixels = _integer(8, MAX_SIDE)(name, value)
    if pixels % 8:
        raise SettingError(f"{name} must be a multiple of 8; got {pixels}")
    return pixels


def _scheduler(name: str, value: Any) -> str:
    """Check that a scheduler exists; the model's support is checked when the model is loaded."""
    text = " ".join(_text(name, value).split())
    if is_known_sampler(text):
        return text
    known = (*SAMPLERS, *(f"{each} Karras" for each in SAMPLERS))
    raise SettingError(
        f"{name} must be one of: {', '.join(SAMPLERS)} (each also with {', '.join(NOISE_SCHEDULES)}), or a "
        f"class of diffusers; got {text!r}{did_you_mean(text, known)}"
    )


def parse_seeds(name: str, value: Any) -> tuple[int, ...]:
    """Return seeds from a whole number, a list of them, or text such as `1,2,5-8`.

    >>> parse_seeds("seeds", "1, 5-8")
    (1, 5, 6, 7, 8)
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = [value]
    if isinstance(value, str):
        seeds: list[int] = []
        for part in value.split(","):
            match = re.fullmatch(r"\s*([0-9]{1,19})\s*(?:-\s*([0-9]{1,19})\s*)?", part)
            if match is None:
                raise SettingError(f"{name} must be numbers and ranges, such as 1,2,5-8; got {value!r}")
            first, last = int(match[1]), int(match[2] or match[1])
            if last < first or last - first >= MAX_SEEDS:
                raise SettingError(
                    f"a range of {name} must ascend by less than {MAX_SEEDS}; got {part.strip()}"
                )
            seeds += range(first, last + 1)
        value = seeds
    if not isinstance(value, (list, tuple)) or not value or len(value) > MAX_SEEDS:
        raise SettingError(f"{name} must be a seed or a list of 1 to {MAX_SEEDS} seeds; got {value!r}")
    return tuple(dict.fromkeys(_integer(0, MAX_SEED)(name, each) for each in value))


JOB_OPTIONS: tuple[JobOption, ...] = (
    JobOption("prompt", ("prompt",), _prompt),
    JobOption("negative_prompt", ("n", "negative", "negative_prompt"), _text),
    JobOption("seeds", ("d", "seed", "seeds"), parse_seeds),
    JobOption("count", ("count", "images", "num_images_per_prompt"), _integer(1, MAX_SEEDS)),
    JobOption("num_inference_steps", ("s", "steps", "num_inference_steps"), _integer(1, MAX_STEPS)),
    JobOption(
        "guidance_scale", ("l", "guidance", "guidance_scale", "cfg", "cfg_scale"), _number(0, MAX_GUIDANCE)
    ),
    JobOption("width", ("w", "width"), _size),
    JobOption("height", ("h", "height"), _size),
    JobOption("method", ("method",), _choice(METHOD_NAMES)),
    JobOption("normalizer", ("normalizer",), _choice(NORMALIZER_NAMES)),
    JobOption("space", ("space",), _choice(SPACES)),
    JobOption("mode", ("mode",), _choice(ATTACH_MODES)),
    JobOption("clip_skip", ("clip_skip",), _integer(0, MAX_CLIP_SKIP)),
    JobOption("pooled", ("pooled",), _choice(POOLED)),
    JobOption("dialect", ("dialect",), _choice(DIALECTS)),
    JobOption("scheduler", ("scheduler", "sampler"), _scheduler),
    JobOption("balance", ("balance",), _boolean),
)
"""Options of job files and of the command line."""

OPTIONS_BY_NAME: Mapping[str, JobOption] = {name: option for option in JOB_OPTIONS for name in option.names}


def find_option(name: str, *, shown: str | None = None) -> JobOption:
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
    dashes = "--" if shown else ""
    close = difflib.get_close_matches(folded, [each for each in OPTIONS_BY_NAME if len(each) > 1], n=1)
    known = (dashes + next(each for each in option.names if len(each) > 1) for option in JOB_OPTIONS)
    hint = f"did you mean {dashes}{close[0]}?" if close else f"valid: {', '.join(known)}"
    raise SettingError(f"unknown option {shown or name!r}; {hint}")
