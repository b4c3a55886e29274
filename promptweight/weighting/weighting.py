"""Weighting: how the weights of a prompt act, as one value that Python, job files and metadata share.

>>> Weighting("attention", layers="up_blocks", steps=(0, 0.6)).layers
('up_blocks',)
>>> str(Weighting("attention", layers="up_blocks", steps=(0, 0.6)))
'attention layers=up_blocks steps=0-0.6'
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise
from typing import Literal

from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.validation import check_choice, check_layers, check_number
from promptweight.weighting.names import (
    CLIP_ATTENTION,
    DIALECT_METHODS,
    KEY_WEIGHTINGS,
    METHOD_NAMES,
    NORMALIZER_NAMES,
    POOLED,
    WEIGHTING_NAMES,
    DefaultWeighting,
)

_TEXT_FIELDS = ("normalizer", "pooled", "layers", "steps", "dial", "gain")

CALIBRATED_RANGE = (0.0, 2.0)
"""Weights from which and up to which a calibration of `presence` holds."""

DEFAULT_NAME = "default"
"""Text of a weighting without a name."""


@dataclass(frozen=True)
class Weighting:
    """Way in which the weights of a prompt act.

    Args:
        name: a name in `promptweight.weighting.WEIGHTING_NAMES`; None is the default of the prompt's dialect
            (`DIALECT_METHODS`), else of each text encoder.
        normalizer: change of the weights before they act on embeddings or inside CLIP, a name in
            `promptweight.weighting.NORMALIZER_NAMES`.
        pooled: text of the pooled vector, where the model has one: `clean` or `weighted`.
        layers: parts of the names of the layers in which weights act in the denoiser's attention, as one text
            or several; all layers when empty.
        steps: range of the run, as fractions from 0 to 1, in which weights act in the denoiser's attention;
            the whole run when None. A word's own options `layers` and `steps` have precedence.
        dial: calibration of `presence` below weight 1: pairs of a weight and the interpolation at it, both
            above 0, below 1 and increasing; linear between them, and from 0 to 0 and 1 to 1. When empty, that
            of the model (`promptweight.conditioning.Advice`), else the weight itself.
        gain: calibration of `presence` above weight 1: the weight acts as w^gain, 0 to 4; None for that of
            the model, else 1.

    Raises:
        SettingError: a value is not valid.
    """

    name: str | None = None
    normalizer: str = "none"
    pooled: Literal["clean", "weighted"] = "clean"
    layers: str | Sequence[str] = ()
    steps: tuple[float, float] | None = None
    dial: tuple[tuple[float, float], ...] = ()
    gain: float | None = None

    def __post_init__(self) -> None:
        if self.name is not None:
            check_choice("weighting", self.name, WEIGHTING_NAMES)
        check_choice("normalizer", self.normalizer, NORMALIZER_NAMES)
        check_choice("pooled", self.pooled, POOLED)
        object.__setattr__(self, "layers", check_layers(self.layers))
        if self.steps is not None:
            object.__setattr__(self, "steps", _check_range(self.steps))
        object.__setattr__(self, "dial", _check_dial(self.dial))
        if self.gain is not None:
            object.__setattr__(self, "gain", check_number("gain", self.gain, 0, 4))

    @classmethod
    def of(cls, value: Weighting | str | None) -> Weighting:
        """Return `value` as a weighting; text as `parse` reads it, None as the default.

        Raises:
            SettingError: the value is of another type, or not valid.
        """
        if value is None:
            return cls()
        if isinstance(value, str):
            return cls.parse(value)
        if isinstance(value, Weighting):
            return value
        raise SettingError(message("weighting-type", kind=type(value).__name__))

    @classmethod
    def parse(cls, text: str) -> Weighting:
        """Return the weighting that `str` writes as `text`: a name, then fields such as `pooled=weighted`.

        >>> Weighting.parse("comfy normalizer=length") == Weighting("comfy", normalizer="length")
        True

        Raises:
            SettingError: a name, field or value is not valid.
        """
        name, *settings = text.split() or [DEFAULT_NAME]
        if "=" in name:
            name, settings = DEFAULT_NAME, [name, *settings]
        fields: dict[str, str] = {}
        for setting in settings:
            key, equals, value = setting.partition("=")
            if not equals or key not in _TEXT_FIELDS or key in fields:
                raise SettingError(message("weighting-field", field=setting, text=text))
            fields[key] = value
        normalizer, pooled = fields.get("normalizer", "none"), fields.get("pooled", "clean")
        check_choice("pooled", pooled, POOLED)
        return cls(
            None if name == DEFAULT_NAME else name,
            normalizer,
            pooled,  # type: ignore[arg-type]
            tuple(fields["layers"].split("+")) if "layers" in fields else (),
            _parse_range(fields["steps"]) if "steps" in fields else None,
            _parse_dial(fields["dial"]) if "dial" in fields else (),
            check_number("gain", fields["gain"], 0, 4) if "gain" in fields else None,
        )

    def __str__(self) -> str:
        """Return the weighting as text that `parse` reads."""
        parts = [self.name or DEFAULT_NAME]
        if self.normalizer != "none":
            parts.append(f"normalizer={self.normalizer}")
        if self.pooled != "clean":
            parts.append(f"pooled={self.pooled}")
        if self.layers:
            parts.append(f"layers={'+'.join(self.layers)}")
        if self.steps is not None:
            parts.append("steps=" + "-".join(map(format_number, self.steps)))
        if self.dial:
            parts.append("dial=" + "+".join(":".join(map(format_number, point)) for point in self.dial))
        if self.gain is not None:
            parts.append(f"gain={format_number(self.gain)}")
        return " ".join(parts)

    def calibrated(self, advice: Weighting) -> Weighting:
        """Return the weighting with the calibration of a model in place of fields that are not set."""
        return replace(
            self,
            dial=self.dial or advice.dial,
            gain=advice.gain if self.gain is None else self.gain,
        )

    def turn_dial(self, weight: float) -> float:
        """Return the interpolation of `presence` at a weight up to 1; weights below 0 stay themselves.

        >>> Weighting("presence", dial=((0.5, 0.8),)).turn_dial(0.25)
        0.4
        """
        if not self.dial or not 0 < weight < 1:
            return weight
        points = ((0.0, 0.0), *self.dial, (1.0, 1.0))
        above = next(index for index, (known, _) in enumerate(points) if weight <= known)
        (first, low), (second, high) = points[above - 1], points[above]
        return low + (high - low) * (weight - first) / (second - first)

    def amplify(self, weight: float) -> float:
        """Return the weight of `presence` in attention for a weight above 1: w^gain."""
        return weight if self.gain is None or weight <= 1 else float(weight**self.gain)

    @property
    def is_calibrated(self) -> bool:
        """True if the dial changes a weight."""
        return any(weight != interpolation for weight, interpolation in self.dial)

    def is_presence(self, dialect: str) -> bool:
        """Return whether words without an option have the weighting `presence` in prompts of a dialect."""
        return (self.name or DIALECT_METHODS.get(dialect)) == "presence"

    @property
    def method(self) -> str | None:
        """Name of the method on embeddings, "none" for a weighting in attention; None for the default."""
        return "none" if self.acts_in_attention else self.name

    @property
    def acts_in_attention(self) -> bool:
        """True if the weights act in the attention of the denoiser or of the CLIP text encoders."""
        return self.name is not None and self.name not in METHOD_NAMES

    def method_for(self, dialect: str, encoder_method: str) -> str:
        """Return the method on embeddings for prompts of a dialect.

        Args:
            dialect: the dialect of the prompt.
            encoder_method: the default of the text encoder, for dialects without one.
        """
        return self.method or DIALECT_METHODS.get(dialect, encoder_method)

    def word_default(
        self, dialect: str, *, in_session: bool, weights_embeddings: bool = True
    ) -> DefaultWeighting:
        """Return how words without an option are weighted in prompts of a dialect.

        Args:
            dialect: the dialect of the prompt.
            in_session: whether a session weights attention, so that `presence` can split the weights.
            weights_embeddings: whether the embeddings of a word can carry its weight.
        """
        if self.name in KEY_WEIGHTINGS:
            return self.name
        if self.name == CLIP_ATTENTION:
            return CLIP_ATTENTION
        if not weights_embeddings and self.name != "none":
            return "presence" if self.is_presence(dialect) else "attention"
        return "split" if in_session and self.is_presence(dialect) else "embedding"


def format_number(number: float) -> str:
    """Return a number in full and without an exponent, as ranges of steps have it.

    >>> format_number(1.0), format_number(1e-7)
    ('1', '0.0000001')
    """
    return format(Decimal(repr(number)), "f").removesuffix(".0")


def _check_range(steps: Sequence[float]) -> tuple[float, float]:
    if not isinstance(steps, (tuple, list)) or len(steps) != 2:
        raise SettingError(message("weighting-steps", value=steps))
    begin, end = (check_number("steps", each, 0, 1) for each in steps)
    if begin >= end:
        raise SettingError(message("weighting-steps", value=steps))
    return float(begin), float(end)


def _parse_range(text: str) -> tuple[float, float]:
    """Return the range of `0.2-0.8`."""
    try:
        begin, end = (float(number) for number in text.split("-"))
    except ValueError:
        raise SettingError(message("weighting-steps", value=text)) from None
    return _check_range((begin, end))


def _check_dial(dial: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    points = tuple(dial) if isinstance(dial, (tuple, list)) else (dial,)
    if not all(isinstance(point, (tuple, list)) and len(point) == 2 for point in points):
        raise SettingError(message("weighting-dial", value=dial))
    checked = [
        (check_number("dial", weight, 0, 1), check_number("dial", share, 0, 1)) for weight, share in points
    ]
    rising = [(0.0, 0.0), *checked, (1.0, 1.0)]
    if any(low[0] >= high[0] or low[1] >= high[1] for low, high in pairwise(rising)):
        raise SettingError(message("weighting-dial", value=dial))
    return tuple(checked)


def _parse_dial(text: str) -> tuple[tuple[float, float], ...]:
    """Return the points of `0.25:0.5+0.5:0.7`."""
    try:
        points = [tuple(float(number) for number in point.split(":")) for point in text.split("+")]
    except ValueError:
        raise SettingError(message("weighting-dial", value=text)) from None
    return _check_dial(points)  # type: ignore[arg-type]
