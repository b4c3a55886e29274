"""Which word of an edited prompt takes the attention of which word of its source, and at which steps.

    edit = PromptToPrompt("replace", cross_replace_steps=0.8, self_replace_steps=0.4)
    with attach(pipe, ["um gato vermelho", "um gato azul"], edit=edit) as session: ...

Prompt-to-prompt (Hertz et al., 2022): `replace` swaps words for others, each taking the attention of the one
in whose place it stands; `refine` adds words, which have their own, while those in both prompts keep the
source's. What the exchange does in a layer is in `promptweight.attention.control.attention_injection`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from promptweight import validation
from promptweight.attention.batch_rows import BatchRow
from promptweight.attention.control.attention_injection import AttentionInjection
from promptweight.conditioning import has_blend
from promptweight.errors import SettingError
from promptweight.maps import PlacedTable, PromptVariant
from promptweight.prompt import fold

if TYPE_CHECKING:
    from promptweight.conditioning import TokenTable, Word
    from promptweight.prompt import Script

EditKind = Literal["replace", "refine"]
EDIT_KINDS: tuple[EditKind, ...] = get_args(EditKind)


@dataclass(frozen=True)
class PromptToPrompt:
    """How pictures of edited prompts take attention from the picture of the first.

    Args:
        kind: `replace` swaps words for others, `refine` adds words.
        cross_replace_steps: for which first share of the steps the words' attention is exchanged, 0 .. 1.
        self_replace_steps: for which first share the image's attention to itself is the source's, 0 .. 1;
            more keeps more of the layout.

    Raises:
        SettingError: a value outside its range.
    """

    kind: EditKind = "replace"
    cross_replace_steps: float = 0.8
    self_replace_steps: float = 0.4

    def __post_init__(self) -> None:
        validation.check_choice("kind", self.kind, EDIT_KINDS)
        for name in ("cross_replace_steps", "self_replace_steps"):
            validation.check_number(name, getattr(self, name), 0, 1)

    def acts(self, step: int, steps: int) -> tuple[bool, bool]:
        """Whether words' attention, and the image's to itself, are exchanged at a step of so many."""
        done = step / steps + 1e-9
        return done < self.cross_replace_steps, done < self.self_replace_steps


class PromptEdits:
    """The edits of one session: its first prompt is the source, every other one is edited.

    Args:
        edit: how they are edited.
        variants: the token tables of every text of every prompt.
        scripts: when each text is said.
        planned: over how many sampling steps.
        length: how many text positions the model reads.

    Raises:
        SettingError: there is no edited prompt, a prompt is a blend or joined by AND, or `replace` finds a
            word without a counterpart.
    """

    def __init__(
        self,
        edit: PromptToPrompt,
        variants: Sequence[tuple[PromptVariant, ...]],
        scripts: Sequence[Script],
        planned: int,
        length: int,
    ) -> None:
        if len(variants) < 2:
            raise SettingError("an edit needs a source prompt and at least one edited prompt; got one prompt")
        for of_prompt, script in zip(variants, scripts, strict=True):
            check_editable(of_prompt, script)
        self.edit = edit
        self.mappings: dict[tuple[int, int, int], Tensor] = {}
        """By edited prompt, text of the source and text of the edited prompt: all that are said together."""
        for prompt in range(1, len(variants)):
            said = {tuple(scripts[each].at(step)[0][0] for each in (0, prompt)) for step in range(planned)}
            for source, edited in sorted(said):
                self.mappings[prompt, source, edited] = build_mapping(
                    variants[0][source], variants[prompt][edited], edit.kind, length
                )
        self._made: tuple[object, AttentionInjection | None] = (None, None)

    def exchange(
        self, lanes: Sequence[BatchRow | None], step: int, steps: int, device: torch.device
    ) -> AttentionInjection | None:
        """What happens at this step in a call with these rows; None where nothing does."""
        words, image = self.edit.acts(step, steps)
        pairs = tuple(pair_rows(lanes)) if words or image else ()
        key = (pairs, words, image, device)
        if self._made[0] != key:
            self._made = (key, self._make(pairs, words, image, device) if pairs else None)
        return self._made[1]

    def _make(
        self, pairs: Sequence[RowPair], words: bool, image: bool, device: torch.device
    ) -> AttentionInjection:
        mapping = torch.stack([self.mappings[texts] for _, _, texts in pairs])[:, None]
        return AttentionInjection(
            source=torch.tensor([source for source, _, _ in pairs], device=device),
            edited=torch.tensor([edited for _, edited, _ in pairs], device=device),
            mapping=mapping.to(device) if words else None,
            takes_image=image,
            is_whole=bool((mapping.sum(-1) > 0).all()),
        )


def check_editable(variants: Sequence[PromptVariant], script: Script) -> None:
    """Raise `SettingError` for a prompt whose words have no rows, or no row of the batch, of their own."""
    source = variants[0][0].table.prompt.source
    if any(len(turn) > 1 for turn in script.turns):
        raise SettingError(
            f"an edit pairs the words of two texts, and AND in {source!r} shows the model several at once; "
            "leave AND out of the prompts"
        )
    if any(has_blend(placed.table) for variant in variants for placed in variant):
        raise SettingError(
            f"an edit pairs words by their rows, and in {source!r} each row of a .blend() stands for the "
            "words of all its parts; use prompts without .blend()"
        )


RowPair = tuple[int, int, tuple[int, int, int]]
"""The row of the source, the row of an edited picture, and its prompt with the texts that both carry."""


def pair_rows(lanes: Sequence[BatchRow | None]) -> Iterator[RowPair]:
    """The rows that belong together in a call of the model, for every edited picture."""
    for perturbed in (False, True):
        rows: dict[int, list[tuple[int, int]]] = {}
        for row, lane in enumerate(lanes):
            if lane and lane.role == "positive" and lane.perturbed == perturbed:
                rows.setdefault(lane.prompt, []).append((row, lane.variant))
        sources = rows.pop(0, [])
        for prompt, edited in rows.items():
            for (source, old), (row, new) in zip(sources, edited, strict=False):
                yield source, row, (prompt, old, new)


def build_mapping(
    source: Sequence[PlacedTable], edited: Sequence[PlacedTable], kind: EditKind, length: int
) -> Tensor:
    """How much of each text position of the source goes to each of the edited prompt.

    Args:
        source: the source prompt's token tables, one for each stretch of the text's positions.
        edited: the edited prompt's, for the same stretches.
        kind: how words are paired.
        length: how many text positions there are.

    Returns:
        (positions of the edited prompt, positions of the source) float32; a row of zeros where a position is
        new.

    Raises:
        SettingError: `replace` finds a word without a counterpart.
    """
    mapping = torch.zeros(length, length)
    for old, new in zip(source, edited, strict=True):
        for taken, given in pair_positions(old.table, new.table, kind):
            share = 1.0 if len(taken) == len(given) else 1.0 / len(given)
            for number, position in enumerate(given):
                counterparts = taken if len(taken) != len(given) else [taken[number]]
                for counterpart in counterparts:
                    mapping[new.start + position, old.start + counterpart] = share
    return mapping


def pair_positions(
    source: TokenTable, edited: TokenTable, kind: EditKind
) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
    """Positions in the source and their counterparts in the edited prompt.

    Words of as many pieces are paired piece by piece; otherwise each piece of the one is spread over all
    pieces of the other. Beginnings, ends, and padding at the same place are counterparts.
    """
    for special in ("bos", "eos"):
        yield from (
            ([old], [new])
            for old, new in zip(of_kind(source, special), of_kind(edited, special), strict=False)
        )
    padding = set(of_kind(source, "pad"))
    yield from (([place], [place]) for place in of_kind(edited, "pad") if place in padding)
    for old_words, new_words in pair_words(source.words, edited.words, kind):
        yield positions_of(old_words), positions_of(new_words)


def pair_words(
    source: Sequence[Word], edited: Sequence[Word], kind: EditKind
) -> Iterator[tuple[Sequence[Word], Sequence[Word]]]:
    """Words of the source and their counterparts in the edited prompt, whatever their case.

    Raises:
        SettingError: `replace` finds words that stand in no other's place.
    """
    if kind == "replace" and len(source) == len(edited):
        yield from (([old], [new]) for old, new in zip(source, edited, strict=True))
        return
    before, after = ([fold(word.text) for word in words] for words in (source, edited))
    for what, first, last, start, end in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        old, new = source[first:last], edited[start:end]
        if what == "equal" or (what == "replace" and kind == "replace" and len(old) == len(new)):
            yield from (([one], [other]) for one, other in zip(old, new, strict=True))
        elif kind == "replace" and what == "replace":
            yield old, new
        elif kind == "replace":
            alone = " ".join(word.text for word in (*old, *new))
            which = "source" if old else "edited"
            raise SettingError(
                f"kind='replace' swaps words for others, but {alone!r} of the {which} prompt stands in no "
                "other's place; use kind='refine' where words are added or left out"
            )


def of_kind(table: TokenTable, kind: str) -> list[int]:
    """The positions of the tokens of a kind."""
    return [token.position for token in table.tokens if token.kind == kind]


def positions_of(words: Sequence[Word]) -> list[int]:
    """The positions of the words' tokens, each once."""
    return sorted({position for word in words for position in word.positions})
