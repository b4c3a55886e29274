"""A job: everything that decides how one picture looks, and the settings that a row of a job file may give.

Names and ranges are checked here without torch, so that a mistake is found before anything is loaded.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from promptweight import validation
from promptweight.errors import SettingError
from promptweight.generation import (
    MAX_CLIP_SKIP,
    MAX_GUIDANCE,
    MAX_PROMPT_LENGTH,
    MAX_SEED,
    MAX_SIDE,
    MAX_STEPS,
    METHODS,
    MODES,
    NORMALIZERS,
    POOLED,
    SPACES,
)
from promptweight.models import NOISE_SCHEDULES, SAMPLERS, is_known_sampler
from promptweight.prompt import DIALECTS
from promptweight.validation import did_you_mean

MAX_SEEDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Job:
    """One picture to be made; the fields are parameters of `promptweight.generate`, and the scheduler's name.

    `scheduler` None is the model's own, as are `guidance_scale`, `height` and `width`.
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
    """A setting as rows and the command write it: its names, and how a value is read (text or JSON)."""

    field: str
    names: tuple[str, ...]
    read: Callable[[str, Any], Any]


def _whole(lowest: int, highest: int) -> Callable[[str, Any], int]:
    def read(name: str, value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,20}\s*", value):
            value = int(value)
        if isinstance(value, bool):
            raise SettingError(f"{name} is {value!r}; it must be a whole number")
        return validation.check_integer(name, value, lowest, highest)

    return read


def _number(lowest: float, highest: float) -> Callable[[str, Any], float]:
    def read(name: str, value: Any) -> float:
        if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]+,[0-9]+\s*", value):
            raise SettingError(f"{name} is {value!r}; it must be a number with a point, not a comma")
        if isinstance(value, str) and not value.isascii():
            raise SettingError(f"{name} is {value!r}; it must be a number")
        if isinstance(value, bool):
            raise SettingError(f"{name} is {value!r}; it must be a number")
        return validation.check_number(name, value, lowest, highest)

    return read


def _choice(choices: Iterable[str]) -> Callable[[str, Any], str]:
    known = tuple(choices)

    def read(name: str, value: Any) -> str:
        validation.check_choice(name, value, known)
        return str(value)

    return read


def _yes_or_no(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    known = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    if str(value).strip().lower() not in known:
        raise SettingError(f"{name} is {value!r}; it must be yes or no")
    return known[str(value).strip().lower()]


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise SettingError(f"{name} is {value!r}; it must be text")
    if len(value) > MAX_PROMPT_LENGTH:
        raise SettingError(f"{name} has {len(value)} characters; at most {MAX_PROMPT_LENGTH} are read")
    half = next((at for at, letter in enumerate(value) if "\ud800" <= letter <= "\udfff"), None)
    if half is not None:
        raise SettingError(f"{name} holds half a character (a lone surrogate) at its position {half + 1}")
    return value


def _prompt(name: str, value: Any) -> str:
    if not _text(name, value).strip():
        raise SettingError(f"{name} is empty")
    return str(value)


def _size(name: str, value: Any) -> int:
    pixels = _whole(8, MAX_SIDE)(name, value)
    if pixels % 8:
        raise SettingError(f"{name} is {pixels}; models make pictures in multiples of 8 or more")
    return pixels


def _scheduler(name: str, value: Any) -> str:
    """Whether a model takes it is known when the model is loaded; here what no model takes is refused."""
    text = " ".join(_text(name, value).split())
    if is_known_sampler(text):
        return text
    known = (*SAMPLERS, *(f"{each} Karras" for each in SAMPLERS))
    raise SettingError(
        f"{name} is {text!r}; valid: {', '.join(SAMPLERS)} (each also with {', '.join(NOISE_SCHEDULES)}), "
        f"or a class of diffusers{did_you_mean(text, known)}"
    )


def parse_seeds(name: str, value: Any) -> tuple[int, ...]:
    """Return seeds: a whole number, a list of them, or text such as `1,2,5-8`.

    >>> read_seeds("seeds", "1, 5-8")
    (1, 5, 6, 7, 8)
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = [value]
    if isinstance(value, str):
        seeds: list[int] = []
        for part in value.split(","):
            match = re.fullmatch(r"\s*([0-9]{1,19})\s*(?:-\s*([0-9]{1,19})\s*)?", part)
            if match is None:
                raise SettingError(f"{name} is {value!r}; valid are numbers and ranges, such as 1,2,5-8")
            first, last = int(match[1]), int(match[2] or match[1])
            if last < first or last - first >= MAX_SEEDS:
                raise SettingError(
                    f"{name} has the range {part.strip()}; which must go up by less than a million"
                )
            seeds += range(first, last + 1)
        value = seeds
    if not isinstance(value, (list, tuple)) or not value or len(value) > MAX_SEEDS:
        raise SettingError(f"{name} is {value!r}; it must be a seed, or a list of at least one")
    return tuple(dict.fromkeys(_whole(0, MAX_SEED)(name, each) for each in value))


JOB_OPTIONS: tuple[JobOption, ...] = (
    JobOption("prompt", ("prompt",), _prompt),
    JobOption("negative_prompt", ("n", "negative", "negative_prompt"), _text),
    JobOption("seeds", ("d", "seed", "seeds"), parse_seeds),
    JobOption("count", ("count", "images", "num_images_per_prompt"), _whole(1, MAX_SEEDS)),
    JobOption("num_inference_steps", ("s", "steps", "num_inference_steps"), _whole(1, MAX_STEPS)),
    JobOption(
        "guidance_scale", ("l", "guidance", "guidance_scale", "cfg", "cfg_scale"), _number(0, MAX_GUIDANCE)
    ),
    JobOption("width", ("w", "width"), _size),
    JobOption("height", ("h", "height"), _size),
    JobOption("method", ("method",), _choice(METHODS)),
    JobOption("normalizer", ("normalizer",), _choice(NORMALIZERS)),
    JobOption("space", ("space",), _choice(SPACES)),
    JobOption("mode", ("mode",), _choice(MODES)),
    JobOption("clip_skip", ("clip_skip",), _whole(0, MAX_CLIP_SKIP)),
    JobOption("pooled", ("pooled",), _choice(POOLED)),
    JobOption("dialect", ("dialect",), _choice(DIALECTS)),
    JobOption("scheduler", ("scheduler", "sampler"), _scheduler),
    JobOption("balance", ("balance",), _yes_or_no),
)

OPTIONS_BY_NAME: Mapping[str, JobOption] = {name: option for option in JOB_OPTIONS for name in option.names}


def find_option(name: str, *, shown: str | None = None) -> JobOption:
    """Return the option of that name, dashes or underscores alike.

    Raises:
        SettingError: there is none; says which is close.
    """
    folded = name.strip().casefold().replace("-", "_").replace(" ", "_")
    if folded in OPTIONS_BY_NAME:
        return OPTIONS_BY_NAME[folded]
    dashes = "--" if shown else ""
    close = difflib.get_close_matches(folded, [each for each in OPTIONS_BY_NAME if len(each) > 1], n=1)
    known = (dashes + next(each for each in option.names if len(each) > 1) for option in JOB_OPTIONS)
    hint = f"did you mean {dashes}{close[0]}?" if close else f"valid: {', '.join(known)}"
    raise SettingError(f"unknown option {shown or name!r}; {hint}")
