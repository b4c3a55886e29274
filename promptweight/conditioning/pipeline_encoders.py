"""Text encoders of a loaded pipeline, and the zeros in place of those that it was loaded without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from promptweight.conditioning.families import MAX_SEQUENCE_LENGTH, EncoderKind, Family
from promptweight.conditioning.text_encoder import TextEncoder
from promptweight.errors import SettingError
from promptweight.messages import message

if TYPE_CHECKING:
    from promptweight.conditioning.chunking import Unit
    from promptweight.protocols import Pipeline


@dataclass(frozen=True)
class AbsentEncoder:
    """Zeros in place of the output of a text encoder that the pipeline was loaded without."""

    rows: int
    channels: int
    pooled_channels: int
    device: torch.device
    dtype: torch.dtype

    def zeros(self, *shape: int) -> Tensor:
        """Return zeros of this shape, with the device and dtype of the other encoders' output."""
        return torch.zeros(shape, device=self.device, dtype=self.dtype)


def check_max_sequence_length(family: Family, length: int | None) -> None:
    """Check a length of text in tokens; None is the family's default.

    Raises:
        SettingError: it is out of range, or the family has no such length.
    """
    if length is not None and family.max_sequence_length is None:
        raise SettingError(message("max-sequence-length-unused", family=family.name, length=length))
    if length is not None and not (type(length) is int and 2 <= length <= MAX_SEQUENCE_LENGTH):
        raise SettingError(message("max-sequence-length-range", highest=MAX_SEQUENCE_LENGTH, length=length))


def get_text_encoders(
    pipe: Pipeline, family: Family, max_sequence_length: int | None = None, unit: Unit | None = None
) -> dict[EncoderKind, TextEncoder]:
    """Return the text encoders that a pipeline was loaded with; none for a family that encodes itself.

    Chunks of long prompts keep a `unit` of text whole; None is the rule of each prompt's dialect.

    Raises:
        SettingError: `max_sequence_length` is out of range, or the family has no such length.
    """
    check_max_sequence_length(family, max_sequence_length)
    length = max_sequence_length
    if family.outputs:
        return {}
    return {
        kind: TextEncoder(
            kind,
            getattr(pipe, kind.tokenizer),
            (length or family.max_sequence_length) if kind.has_max_sequence_length else None,
            unit,
            model=getattr(pipe, kind.model),
            device=pipe._execution_device,
        )
        for kind in family.encoders
        if getattr(pipe, kind.model, None) is not None and getattr(pipe, kind.tokenizer, None) is not None
    }


def get_absent_encoders(
    pipe: Pipeline,
    family: Family,
    encoders: Mapping[EncoderKind, TextEncoder],
    max_sequence_length: int | None = None,
) -> dict[EncoderKind, AbsentEncoder]:
    """Return the zeros for the text encoders that the pipeline was loaded without.

    Empty for families without `absent_is_zeros`.
    """
    if not family.absent_is_zeros:
        return {}
    present = next(iter(encoders.values()))
    placement = {"device": present.device, "dtype": present.model.dtype}
    config = pipe.transformer.config
    pooled = config.pooled_projection_dim
    pooled -= sum(encoders[kind].model.config.projection_dim for kind in family.pooled if kind in encoders)
    absent = {}
    for kind in family.encoders:
        if kind in encoders:
            continue
        if kind.has_max_sequence_length:
            rows = max_sequence_length or family.max_sequence_length or 0
            absent[kind] = AbsentEncoder(rows, config.joint_attention_dim, 0, **placement)
        else:
            # An encoder has as many channels as its pooled vector; two absent ones share one block of zeros.
            absent[kind] = AbsentEncoder(pipe.tokenizer_max_length, pooled, pooled, **placement)
            pooled = 0
    return absent
