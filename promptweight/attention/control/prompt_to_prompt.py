"""Prompt-to-prompt edits: pairs of words of the source and the edited prompt, and the steps of each edit.

    edit = PromptToPrompt("replace", cross_replace_steps=0.8, self_replace_steps=0.4)
    with attach(pipe, ["um gato vermelho", "um gato azul"], edit=edit) as session: ...

Prompt-to-prompt (Hertz et al., 2022): `replace` swaps words, each new word taking the attention of the word
that it replaces; `refine` adds words, which have attention of their own, while words in both prompts keep the
source's. The exchange in a layer is in `promptweight.attention.control.attention_injection`.
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
from promptweight.messages import message
from promptweight.prompt import fold

if TYPE_CHECKING:
    from promptweight.conditioning import TokenTable, Word
    from promptweight.prompt import PromptTimeline

EditKind = Literal["replace", "refine"]
EDIT_KINDS: tuple[EditKind, ...] = get_args(EditKind)


@dataclass(frozen=True)
class PromptToPrompt:
    """Edit in which the images of all prompts but the first use attention from the first prompt's image.

    Args:
        kind: `replace` swaps words for others, `refine` adds words.
        cross_replace_steps: fraction of the steps, from the first on, in which the words' attention is
            injected, 0 .. 1.
        self_replace_steps: fraction of the steps in which the image's self-attention is the source's, 0 .. 1;
            a larger fraction keeps more of the layout.

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

    def active_at(self, step: int, steps: int) -> tuple[bool, bool]:
        """Return, for step `step` of `steps`, if word attention and if self-attention is injected."""
        progress = step / steps + 1e-9
        return progress < self.cross_replace_steps, progress < self.self_replace_steps


class PromptEdits:
    """Edits of one session: the first prompt is the source, every other one is edited.

    Args:
        edit: the settings.
        variants: the variants of every prompt.
        timelines: the timeline of every prompt.
        planned_steps: number of sampling steps of the schedules.
        length: number of text positions of the model.

    Raises:
        SettingError: there is no edited prompt, a prompt is a blend or joined by AND, or `replace` finds a
            word without a counterpart.
    """

    def __init__(
        self,
        edit: PromptToPrompt,
        variants: Sequence[tuple[PromptVariant, ...]],
        timelines: Sequence[PromptTimeline],
        planned_steps: int,
        length: int,
    ) -> None:
        if len(variants) < 2:
            raise SettingError(message("edit-prompt-missing"))
        for of_prompt, timeline in zip(variants, timelines, strict=True):
            check_editable(of_prompt, timeline)
        self.edit = edit
        self.mappings: dict[tuple[int, int, int], Tensor] = {}
        """By edited prompt, source variant and edited variant, for all variants of the same step."""
        for prompt in range(1, len(variants)):
            simultaneous = {
                tuple(timelines[each].at(step)[0][0] for each in (0, prompt)) for step in range(planned_steps)
            }
            for source, edited in sorted(simultaneous):
                self.mappings[prompt, source, edited] = build_mapping(
                    variants[0][source], variants[prompt][edited], edit.kind, length
                )
        self._cache: tuple[object, AttentionInjection | None] = (None, None)

    def injection_at(
        self, batch_rows: Sequence[BatchRow | None], step: int, steps: int, device: torch.device
    ) -> AttentionInjection | None:
        """Return the injection of a call with these rows at this step; None where nothing is injected."""
        words, image = self.edit.active_at(step, steps)
        pairs = tuple(pair_rows(batch_rows)) if words or image else ()
        key = (pairs, words, image, device)
        if self._cache[0] != key:
            self._cache = (key, self._build_injection(pairs, words, image, device) if pairs else None)
        return self._cache[1]

    def _build_injection(
        self, pairs: Sequence[RowPair], words: bool, image: bool, device: torch.device
    ) -> AttentionInjection:
        mapping = torch.stack([self.mappings[key] for _, _, key in pairs])[:, None]
        return AttentionInjection(
            source_rows=torch.tensor([source for source, _, _ in pairs], device=device),
            edited_rows=torch.tensor([edited for _, edited, _ in pairs], device=device),
            mapping=mapping.to(device) if words else None,
            injects_self_attention=image,
            maps_all_positions=bool((mapping.sum(-1) > 0).all()),
        )


def check_editable(variants: Sequence[PromptVariant], timeline: PromptTimeline) -> None:
    """Raise `SettingError` for a prompt with AND or `.blend()`, whose words have no rows of their own."""
    source = variants[0][0].table.prompt.source
    if any(len(turn) > 1 for turn in timeline.steps):
        raise SettingError(message("edit-and", prompt=source))
    if any(has_blend(placed.table) for variant in variants for placed in variant):
        raise SettingError(message("edit-blend", prompt=source))


RowPair = tuple[int, int, tuple[int, int, int]]
"""Source row, row of an edited image, and the key of their mapping in `PromptEdits.mappings`."""


def pair_rows(batch_rows: Sequence[BatchRow | None]) -> Iterator[RowPair]:
    """Pair the row of every edited image with its source's row in the same call of the model."""
    for is_perturbed in (False, True):
        rows: dict[int, list[tuple[int, int]]] = {}
        for index, row in enumerate(batch_rows):
            if row and row.role == "positive" and row.is_perturbed == is_perturbed:
                rows.setdefault(row.prompt, []).append((index, row.variant))
        sources = rows.pop(0, [])
        for prompt, edited_rows in rows.items():
            for (source, old), (edited, new) in zip(sources, edited_rows, strict=False):
                yield source, edited, (prompt, old, new)


def build_mapping(
    source: Sequence[PlacedTable], edited: Sequence[PlacedTable], kind: EditKind, length: int
) -> Tensor:
    """Build the map M from text positions of the source to those of the edited prompt.

    Args:
        source: the source prompt's token tables, one for each range of text positions.
        edited: the edited prompt's token tables, for the same ranges.
        kind: the pairing of words.
        length: number of text positions.

    Returns:
        (positions of the edited prompt, positions of the source) float32; a row of zeros for a new position.

    Raises:
        SettingError: `replace` finds a word without a counterpart.
    """
    mapping = torch.zeros(length, length, dtype=torch.float32)
    for old, new in zip(source, edited, strict=True):
        for old_positions, new_positions in pair_positions(old.table, new.table, kind):
            is_paired = len(old_positions) == len(new_positions)
            share = 1.0 if is_paired else 1.0 / len(new_positions)
            for number, position in enumerate(new_positions):
                for counterpart in [old_positions[number]] if is_paired else old_positions:
                    mapping[new.start + position, old.start + counterpart] = share
    return mapping


def pair_positions(
    source: TokenTable, edited: TokenTable, kind: EditKind
) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
    """Yield positions in the source and their counterparts in the edited prompt.

    Words with equal numbers of tokens are paired token by token; otherwise each token of the one is spread
    over all tokens of the other. Beginnings, ends, and padding at the same position are counterparts.
    """
    for special in ("bos", "eos"):
        yield from (
            ([old], [new])
            for old, new in zip(
                _positions_of_kind(source, special), _positions_of_kind(edited, special), strict=False
            )
        )
    padding = set(_positions_of_kind(source, "pad"))
    yield from (
        ([position], [position]) for position in _positions_of_kind(edited, "pad") if position in padding
    )
    for old_words, new_words in pair_words(source.words, edited.words, kind):
        yield _positions_of_words(old_words), _positions_of_words(new_words)


def pair_words(
    source: Sequence[Word], edited: Sequence[Word], kind: EditKind
) -> Iterator[tuple[Sequence[Word], Sequence[Word]]]:
    """Yield words of the source and their counterparts in the edited prompt, without regard to case.

    Raises:
        SettingError: `replace` finds words without a counterpart.
    """
    if kind == "replace" and len(source) == len(edited):
        yield from (([old], [new]) for old, new in zip(source, edited, strict=True))
        return
    before, after = ([fold(word.text) for word in words] for words in (source, edited))
    for operation, first, last, start, end in SequenceMatcher(
        None, before, after, autojunk=False
    ).get_opcodes():
        old, new = source[first:last], edited[start:end]
        is_swap = operation == "replace" and kind == "replace"
        if operation == "equal" or (is_swap and len(old) == len(new)):
            yield from (([one], [other]) for one, other in zip(old, new, strict=True))
        elif is_swap:
            yield old, new
        elif kind == "replace":
            unpaired = " ".join(word.text for word in (*old, *new))
            prompt = message("edit-source") if old else message("edit-edited")
            raise SettingError(message("edit-word-unpaired", words=unpaired, prompt=prompt))


def _positions_of_kind(table: TokenTable, kind: str) -> list[int]:
    return [token.position for token in table.tokens if token.kind == kind]


def _positions_of_words(words: Sequence[Word]) -> list[int]:
    return sorted({position for word in words for position in word.positions})
