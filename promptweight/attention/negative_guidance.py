"""Negative guidance: the way in which the negative prompt acts, as one value for Python, jobs and metadata.

Classifier-free guidance (`cfg`) acts on the model's predictions and only where the guidance scale is above 1,
which few-step models do not allow. The other ways act inside the attention of the positive prompt's row of
the batch, at any guidance scale. With z₊ the attention of the image to the positive prompt and z₋ its
attention to the negative one:

    nag     z̃ = s·z₊ − (s − 1)·z₋        ẑ = z̃·min(1, τ·‖z₊‖₁ / ‖z̃‖₁)        z = α·ẑ + (1 − α)·z₊

normalized attention guidance (Chen et al., 2025), with the norms of each image position over all heads; and

    vsf     softmax over both prompts' keys, the negative's with logits − offset and with values −s·v

value sign flip (Guo and Du, 2025), in which the words of the negative prompt have keys, and beginning, end
and padding have none. In joint attention the negative text has rows of its own, which attend to the image and
to themselves as they do when the negative prompt is the model's only one; the positive text sees none of
them.

>>> str(NegativeGuidance("nag", scale=3))
'nag scale=3 tau=2.5 alpha=0.25'
>>> NegativeGuidance.parse("vsf offset=0.2").offset
0.2
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.validation import check_choice, check_number

NegativeGuidanceName = Literal["cfg", "nag", "vsf"]

NEGATIVE_GUIDANCE_NAMES: tuple[NegativeGuidanceName, ...] = get_args(NegativeGuidanceName)

DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "cfg": {},
    "nag": {"scale": 5.0, "tau": 2.5, "alpha": 0.25},
    "vsf": {"scale": 3.0, "offset": 0.1},
}
"""The fields of each name with their defaults."""

RANGES: Mapping[str, tuple[float, float]] = {
    "scale": (0, 100),
    "tau": (0, 100),
    "alpha": (0, 1),
    "offset": (0, 100),
}
"""The range of each field; `scale` of `nag` is 1 or more."""


@dataclass(frozen=True)
class NegativeGuidance:
    """Way in which the negative prompt acts.

    Args:
        name: `cfg`, `nag` or `vsf`.
        scale: strength s; for `nag` 1 or more, where 1 is without effect.
        tau: limit of the norm of ẑ relative to that of z₊, of `nag`.
        alpha: part of the result that is ẑ, 0 to 1, of `nag`.
        offset: amount by which the logits of the negative keys are lower, 0 or more, of `vsf`.

    None is the default of the name, which the object then has as its value; fields of another name stay None.

    Raises:
        SettingError: a value is outside its range, or the name has no such field.
    """

    name: NegativeGuidanceName = "cfg"
    scale: float | None = None
    tau: float | None = None
    alpha: float | None = None
    offset: float | None = None

    def __post_init__(self) -> None:
        check_choice("negative_guidance", self.name, NEGATIVE_GUIDANCE_NAMES)
        defaults = DEFAULTS[self.name]
        for field, (lowest, highest) in RANGES.items():
            value = getattr(self, field)
            if field in defaults:
                lowest = 1 if (self.name, field) == ("nag", "scale") else lowest
                number = check_number(field, defaults[field] if value is None else value, lowest, highest)
                object.__setattr__(self, field, number)
            elif value is not None:
                raise SettingError(_field_message(self.name, f"{field}={value!r}", str(self.name)))

    @classmethod
    def of(cls, value: NegativeGuidance | str | None) -> NegativeGuidance:
        """Return `value` as a negative guidance; text as `parse` reads it, None as `cfg`.

        Raises:
            SettingError: the value is of another type, or not valid.
        """
        if value is None:
            return cls()
        if isinstance(value, str):
            return cls.parse(value)
        if isinstance(value, NegativeGuidance):
            return value
        raise SettingError(message("negative-guidance-type", kind=type(value).__name__))

    @classmethod
    def parse(cls, text: str) -> NegativeGuidance:
        """Return the negative guidance that `str` writes as `text`: a name, then fields such as `scale=5`.

        Raises:
            SettingError: a name, field or value is not valid.
        """
        name, *settings = text.split() or ["cfg"]
        check_choice("negative_guidance", name, NEGATIVE_GUIDANCE_NAMES)
        fields: dict[str, float] = {}
        for setting in settings:
            field, equals, value = setting.partition("=")
            if not equals or field not in DEFAULTS[name] or field in fields:
                raise SettingError(_field_message(name, setting, text))
            fields[field] = check_number(field, value, *RANGES[field])
        return cls(name, **fields)  # type: ignore[arg-type]

    def __str__(self) -> str:
        """Return the negative guidance as text that `parse` reads, with all its fields."""
        fields = [f"{field}={getattr(self, field):.12g}" for field in DEFAULTS[self.name]]
        return " ".join([self.name, *fields])

    @property
    def acts_in_attention(self) -> bool:
        """True if the negative prompt acts in attention."""
        return self.name == "vsf" or (self.name == "nag" and self.scale != 1 and self.alpha != 0)


def _field_message(name: str, field: str, text: str) -> str:
    fields = ", ".join(DEFAULTS[name]) or message("none")
    return message("negative-guidance-field", name=name, fields=fields, field=field, text=text)
