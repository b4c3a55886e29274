"""One patch of the picture's attention over the text: all of its row of the softmax, token by token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from promptweight.attention.tables import PlacedTable, find_rows

if TYPE_CHECKING:
    from promptweight.conditioning.token_table import Token, Word


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
