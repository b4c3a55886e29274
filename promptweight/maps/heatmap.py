"""One phrase's attention over the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from promptweight.errors import SettingError
from promptweight.maps.prompt_words import PlacedTable, find_rows

if TYPE_CHECKING:
    from PIL import Image

    from promptweight.conditioning import Token, Word


@dataclass(frozen=True)
class HeatMap:
    """One phrase's attention over the picture."""

    tensor: Tensor
    """(height, width) of the picture, float32, in the unit of the view that it was asked of."""
    text: str
    words: tuple[Word, ...]

    @property
    def mass(self) -> float:
        """The mean over the picture."""
        return float(self.tensor.mean())

    def normalized(self) -> Tensor:
        """The map moved to 0..1, lowest to highest value; zeros where it is the same everywhere."""
        low, high = self.tensor.min(), self.tensor.max()
        if high - low <= 1e-6 * high.abs():
            return torch.zeros_like(self.tensor)
        return (self.tensor - low) / (high - low)

    def mask(self, threshold: float = 0.4) -> Tensor:
        """Where the normalized map reaches `threshold` (0..1): a bool tensor (height, width).

        The default is that of DAAM (Tang et al., 2023).
        """
        if not 0 <= threshold <= 1:
            raise SettingError(f"threshold is {threshold}; it must lie between 0 and 1")
        return self.normalized() >= threshold

    def overlay(self, image: Image.Image, **options: Any) -> Image.Image:
        """The map laid over the picture; options as in `promptweight.render.overlays`."""
        from promptweight import render

        return render.overlay(image, self.tensor, **options)


@dataclass(frozen=True)
class TextRow:
    """What one patch of the picture attends to in the text."""

    place: tuple[float, float]
    """Where the patch lies, (x, y) as fractions of the picture from its left and top."""
    tables: tuple[PlacedTable, ...]
    """The token tables of the prompt."""
    tensor: Tensor
    """(rows of the text embeddings,) float32, in the unit of the view that it was asked of."""

    @property
    def tokens(self) -> tuple[tuple[Token, float], ...]:
        """Every token of every table, beginnings, ends and padding too, and what it gets."""
        return tuple(
            (token, float(self.tensor[placed.start + token.position]))
            for placed in self.tables
            for token in placed.table.tokens
        )

    @property
    def words(self) -> tuple[tuple[Word, float], ...]:
        """The words of the prompt and what each gets, the most first."""
        found = [(word, self.word(word.text, word.occurrence)) for word in self.tables[0].table.words]
        return tuple(sorted(found, key=lambda pair: -pair[1]))

    @property
    def total(self) -> float:
        """What all tokens get: 1 in cross-attention, in joint attention what the picture leaves of it."""
        return sum(value for _, value in self.tokens)

    def word(self, phrase: str, occurrence: int = 0) -> float:
        """What a word or a phrase gets: the sum over its tokens.

        Raises:
            WordNotFoundError: the prompt does not hold the phrase.
        """
        rows, _ = find_rows(self.tables, phrase, occurrence)
        return float(self.tensor[sorted(rows)].sum())
