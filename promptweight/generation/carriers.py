"""Carriers of a phrase: the parts of a model's text inputs that hold it beside its own weight.

The text encoder moves a phrase to other words, to the end and padding tokens, and to the pooled vector.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch

from promptweight.messages import Message, message
from promptweight.prompt import fold

if TYPE_CHECKING:
    from promptweight.conditioning import EncoderSection, TokenTable
    from promptweight.generation.model_call import TextRow
    from promptweight.generation.phrase_prompts import Deletion


@dataclass(frozen=True)
class Carrier:
    """A part of the model's text inputs that holds what a weight of 0 leaves of a phrase.

    Attributes:
        kind: "word"; "ends" for the end and padding tokens; "own" for the phrase's own tokens; "pooled".
        word: the word; empty for the other kinds.
        share: its share of the residual.
        number: its number among equal words of the prompt, from 1; None for the only one.
    """

    kind: Literal["word", "ends", "own", "pooled"]
    word: str
    share: float
    number: int | None = None

    @property
    def name(self) -> Message:
        """Its name in sentences."""
        if self.number is not None:
            return message("reach-carrier-number", word=self.word, number=self.number)
        if self.kind == "word":
            return message("reach-carrier-word", word=self.word)
        if self.kind == "ends":
            return message("reach-carrier-ends")
        return message("reach-carrier-own") if self.kind == "own" else message("reach-carrier-pooled")


def replace_carriers(
    sections: Sequence[EncoderSection], text: TextRow, unsaid: TextRow, deletion: Deletion
) -> Iterator[tuple[Carrier, TextRow]]:
    """Yield each carrier of a phrase, without its share, and the text in which it does not hold the phrase.

    In that text the embeddings of the carrier alone are those of the prompt without the phrase. Carriers
    whose embeddings do not depend on the phrase are left out.

    Args:
        sections: the sections of the embeddings.
        text: the text with the phrase.
        unsaid: the text without the phrase.
        deletion: the deletion of the phrase.
    """
    rows: dict[Carrier, list[tuple[int, int]]] = {}
    starts = [section.start for section in sections if section.encoders]
    for start, table, shorter in zip(starts, text.tables, unsaid.tables, strict=True):
        for carrier, pairs in _pair_rows(table, shorter, deletion).items():
            rows.setdefault(carrier, []).extend((start + own, start + other) for own, other in pairs)
    for carrier, pairs in rows.items():
        targets, sources = ([pair[side] for pair in pairs] for side in (0, 1))
        if not torch.equal(text.embeds[targets], unsaid.embeds[sources]):
            embeds = text.embeds.clone()
            embeds[targets] = unsaid.embeds[sources]
            yield carrier, replace(text, embeds=embeds)
    if text.pooled is not None and unsaid.pooled is not None and not torch.equal(text.pooled, unsaid.pooled):
        yield Carrier("pooled", "", 0.0), replace(text, pooled=unsaid.pooled)


def _pair_rows(
    table: TokenTable, shorter: TokenTable, deletion: Deletion
) -> dict[Carrier, list[tuple[int, int]]]:
    """Return the rows of each carrier in the table of a prompt and in that of the prompt without a phrase.

    The phrase's own rows are paired with the padding that is in their place. Words that the two prompts
    tokenize differently have no pairs.
    """
    remaining = {word.start: word for word in shorter.words}
    repeated = {fold(word.text) for word in table.words if word.occurrence > 0}
    pairs: dict[Carrier, list[tuple[int, int]]] = {}
    own: list[int] = []
    for word in table.words:
        shifted = deletion.shift(word.start)
        if shifted is None:
            own += word.positions
            continue
        other = remaining.get(shifted)
        if other is not None and other.text == word.text and len(other.positions) == len(word.positions):
            number = word.occurrence + 1 if fold(word.text) in repeated else None
            carrier = Carrier("word", word.text, 0.0, number)
            pairs[carrier] = list(zip(word.positions, other.positions, strict=True))
    ends, other_ends = (_positions(each, "eos") for each in (table, shorter))
    pads, other_pads = (_positions(each, "pad") for each in (table, shorter))
    pairs[Carrier("ends", "", 0.0)] = [*zip(ends, other_ends), *zip(pads, other_pads)]  # noqa: B905
    # the shorter prompt has more padding, and less than that where its chunks are filled in another way
    pairs[Carrier("own", "", 0.0)] = list(zip(own, other_pads[len(pads) :]))  # noqa: B905
    return pairs


def _positions(table: TokenTable, kind: str) -> list[int]:
    return [token.position for token in table.tokens if token.kind == kind]
