"""Heat map of one phrase over the image, and attention of one image patch over the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from promptweight.errors import SettingError
from promptweight.maps.prompt_words import PlacedTable, find_phrase_rows
from promptweight.messages import message

if TYPE_CHECKING:
    from PIL import Image

    from promptweight.conditioning import Token, Word


@dataclass(frozen=True)
class HeatMap:
    """Attention of one phrase over the image."""

    tensor: Tensor
    """(height, width) of the image, float32, in the unit of its view."""
    text: str
    words: tuple[Word, ...]

    @property
    def mass(self) -> float:
        """The mean over the image."""
        return float(self.tensor.mean())

    def normalized(self) -> Tensor:
        """Return the map scaled to 0..1 by its lowest and highest value; zeros if it is constant."""
        low, high = self.tensor.min(), self.tensor.max()
        if high - low <= 1e-6 * high.abs():
            return torch.zeros_like(self.tensor)
        return (self.tensor - low) / (high - low)

    def mask(self, threshold: float = 0.4) -> Tensor:
        """Return where the normalized map reaches `threshold` (0..1), as a bool tensor (height, width).

        The default is that of DAAM (Tang et al., 2023).

        Raises:
            SettingError: `threshold` is out of range.
        """
        if not 0 <= threshold <= 1:
            raise SettingError(message("heat-threshold", threshold=threshold))
        return self.normalized() >= threshold

    def overlay(self, image: Image.Image, **options: Any) -> Image.Image:
        """Return the image with the map over it; options as in `promptweight.render.overlay`."""
        from promptweight import render

        return render.overlay(image, self.tensor, **options)


@dataclass(frozen=True)
class TextRow:
    """Attention of one image patch over the text: a row of the attention matrix."""

    position: tuple[float, float]
    """Position of the patch, (x, y) as fractions of the image from its left and top."""
    tables: tuple[PlacedTable, ...]
    """The token tables of the prompt."""
    tensor: Tensor
    """(rows of the text embeddings,) float32, in the unit of its view."""

    @property
    def tokens(self) -> tuple[tuple[Token, float], ...]:
        """Every token of every table with its attention, including beginnings, ends and padding."""
        return tuple(
            (token, float(self.tensor[placed.start + token.position]))
            for placed in self.tables
            for token in placed.table.tokens
        )

    @property
    def words(self) -> tuple[tuple[Word, float], ...]:
        """The words of the prompt with their attention, the highest first."""
        pairs = [(word, self.word(word.text, word.occurrence)) for word in self.tables[0].table.words]
        return tuple(sorted(pairs, key=lambda pair: -pair[1]))

    @property
    def total(self) -> float:
        """Attention of all tokens: 1 in cross-attention; in joint attention 1 minus that of the image."""
        return sum(value for _, value in self.tokens)

    def word(self, phrase: str, occurrence: int = 0) -> float:
        """Return the attention of a word or phrase: the sum over its tokens.

        Raises:
            WordNotFoundError: the prompt does not contain the phrase.
        """
        rows, _ = find_phrase_rows(self.tables, phrase, occurrence)
        return float(self.tensor[sorted(rows)].sum())
