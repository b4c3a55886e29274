"""The token table: which rows of an encoder's embeddings stand for which word, and at which weight.

The clean text is tokenised once and weights are laid on by character offsets, so a weight never changes the
tokenisation. The dialects that reproduce other tools tokenise each weighted segment apart, and a1111 and
comfy cut long prompts where those tools do. One table is made for each prompt and encoder; the embeddings,
the attention maps and the app all read the same words from it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from promptweight.conditioning.chunking import (
    Frame,
    Piece,
    Special,
    added_ids,
    comma_id,
    frame_of,
    pieces_of,
    weight_of,
)
from promptweight.conditioning.chunks import pack_by_comma, pack_by_segment
from promptweight.conditioning.compel_blend import blocks_of, joined_table
from promptweight.errors import WordNotFoundError
from promptweight.messages import Note, note
from promptweight.prompt.timeline import part_prompt
from promptweight.prompt.words import fold, split_words

if TYPE_CHECKING:
    from promptweight.prompt import Options, Prompt

NO_WORDS = note("none")

TokenKind = Literal["bos", "text", "eos", "pad"]

_SEGMENTS_APART = frozenset({"a1111", "comfy", "compel"})


@dataclass(frozen=True, slots=True)
class Token:
    """One row of an encoder's embeddings.

    `start` and `end` are character offsets in the clean text (0, 0 for the special tokens); `position` is the
    row, chunks being laid end to end; `span` is the index of its span in the prompt, -1 for special tokens.
    """

    id: int
    piece: str
    start: int
    end: int
    chunk: int
    position: int
    weight: float
    kind: TokenKind
    span: int = -1


@dataclass(frozen=True, slots=True)
class Word:
    """A word as people see it: its place in the clean text and the rows of the embeddings that stand for it.

    `index` counts the words of the table, `occurrence` the equal words before it; `options` are those of
    the span in which the word begins.
    """

    text: str
    start: int
    end: int
    weight: float
    positions: tuple[int, ...]
    index: int
    occurrence: int
    options: Options | None = field(default=None, hash=False)
    is_punctuation: bool = False


@dataclass(frozen=True)
class TokenTable:
    """The tokens and words of one prompt for one encoder.

    `cut` quotes the end of the clean text that did not fit in; its words are not in `words`. `parts` are the
    tables that the table of a joined prompt was made of (`promptweight.conditioning.compel_blend`): a row of a
    blend stands for a token of each, of which `tokens` holds one, while `words` are those of all.
    """

    prompt: Prompt
    encoder: str
    tokens: tuple[Token, ...]
    words: tuple[Word, ...]
    chunks: int
    cut: str
    frame: Frame
    parts: tuple[tuple[TokenTable, ...], ...] = field(default=(), repr=False)

    @property
    def rows(self) -> int:
        """How many rows of embeddings the prompt takes: chunks x tokens in a chunk."""
        return len(self.tokens)

    @property
    def ids(self) -> list[list[int]]:
        """The token ids, a list for each chunk."""
        length = self.frame.length
        return [
            [token.id for token in self.tokens[k * length : (k + 1) * length]] for k in range(self.chunks)
        ]

    @property
    def weights(self) -> list[float]:
        """The weight of each row; 1.0 for the special tokens."""
        return [token.weight for token in self.tokens]

    @property
    def is_weighted(self) -> bool:
        """Whether any row has a weight other than 1."""
        return any(token.weight != 1.0 for token in self.tokens)

    def find(self, phrase: str, occurrence: int = 0) -> tuple[Word, ...]:
        """Finds consecutive words that read as `phrase`, whatever their case and the composition of accents.

        `occurrence` 0 is the first place, 1 the next. Raises `WordNotFoundError`, which lists the words
        there are.
        """
        names = [name for name in {word.text for word in self.words} if len(split_words(name)) > 1]
        wholes = {
            match.start(): match.end() for name in names for match in re.finditer(re.escape(name), phrase)
        }
        sought = [fold(phrase[start:end]) for start, end, _ in split_words(phrase, (), wholes)]
        folded = [fold(word.text) for word in self.words]
        places = [
            place
            for place in range(len(folded) - len(sought) + 1)
            if sought and folded[place : place + len(sought)] == sought
        ]
        if 0 <= occurrence < len(places):
            place = places[occurrence]
            return self.words[place : place + len(sought)]
        raise WordNotFoundError(self._not_found(phrase, occurrence, len(places)))

    def padded(self, chunks: int) -> TokenTable:
        """The same table with empty chunks added until there are `chunks`."""
        empty = [
            token
            for chunk in range(self.chunks, chunks)
            for token in _chunk_tokens([], [], self.frame, chunk)
        ]
        return replace(self, tokens=(*self.tokens, *empty), chunks=chunks) if empty else self

    def _not_found(self, phrase: str, occurrence: int, places: int) -> Note:
        return (
            no_such_place(phrase, occurrence, places)
            if places
            else no_such_word(phrase, self.words, self.cut)
        )


def no_such_place(phrase: str, occurrence: int, places: int) -> Note:
    """Says that a phrase is not in the prompt as often as was thought."""
    if places == 1:
        return note(
            "{phrase!r} is in the prompt once; there is no occurrence {occurrence} (the first is 0).",
            phrase=phrase,
            occurrence=occurrence,
        )
    return note(
        "{phrase!r} is in the prompt {times} times; there is no occurrence {occurrence} (the first is 0).",
        phrase=phrase,
        times=places,
        occurrence=occurrence,
    )


def no_such_word(phrase: str, words: Iterable[Word], cut: str = "") -> Note:
    """Says that a phrase is not in the prompt, and what is; `cut` is the end that was left out."""
    names = ", ".join(dict.fromkeys(repr(word.text) for word in words if not word.is_punctuation)) or NO_WORDS
    if cut:
        return note(
            "{phrase!r} is not in the prompt; its words are: {words}. The end of the prompt did not fit in "
            "and was cut: {cut!r}.",
            phrase=phrase,
            words=names,
            cut=cut,
        )
    return note("{phrase!r} is not in the prompt; its words are: {words}.", phrase=phrase, words=names)


def tokenize(
    tokenizer: Any,
    prompt: Prompt,
    *,
    encoder: str = "clip",
    max_length: int | None = None,
    max_chunks: int | None = None,
) -> TokenTable:
    """Makes the token table of `prompt` for one text encoder.

    `tokenizer` is a fast tokenizer of transformers; `max_length` the length of a chunk in tokens (default:
    the tokenizer's `model_max_length`). A prompt takes as many chunks as it needs, or at most `max_chunks`;
    the text that does not fit is quoted in `cut`. With one chunk at most, a break divides words but begins
    no chunk. A short prompt has exactly the ids that `tokenizer(text, padding="max_length",
    truncation=True)` gives. Parts that compel's `.and()` joins begin chunks of their own in any encoder.

    Raises `ModelError` for a tokenizer without character offsets, `SettingError` for an impossible length.
    """
    if blocks := blocks_of(prompt):
        read = partial(tokenize, tokenizer, encoder=encoder, max_length=max_length, max_chunks=max_chunks)
        return joined_table(
            prompt, tuple(tuple(read(part_prompt(prompt, part)) for part in block) for block in blocks)
        )
    frame = frame_of(tokenizer, max_length)
    apart = prompt.dialect in _SEGMENTS_APART
    stretches = _stretches(prompt, apart)
    pieces = pieces_of(tokenizer, prompt, [stretch for section in stretches for stretch in section])
    if max_chunks == 1:
        chunks = [[piece for segment in pieces for piece in segment]]
    elif prompt.dialect == "comfy":
        chunks = pack_by_segment(pieces, frame.capacity)
    else:
        segments = iter(pieces)
        sections = [[piece for _ in section for piece in next(segments)] for section in stretches]
        chunks = pack_by_comma(sections, frame.capacity, comma_id(tokenizer))
    chunks, cut = _cut(prompt.text, chunks, frame.capacity, max_chunks)
    tokens = []
    for number, chunk in enumerate(chunks):
        names = tokenizer.convert_ids_to_tokens([piece.id for piece in chunk])
        tokens += _chunk_tokens(chunk, names, frame, number)
    edges = [*prompt.breaks, *(span.clean_start for span in prompt.spans if apart)]
    words = _words(prompt, tokens, edges, added_ids(tokenizer))
    return TokenTable(prompt, encoder, tuple(tokens), words, len(chunks), cut, frame)


def _stretches(prompt: Prompt, apart: bool) -> list[list[tuple[int, int]]]:
    """The stretches of text that are tokenised by themselves: a list for each section between breaks."""
    edges = [0, *prompt.breaks, len(prompt.text)]
    sections = list(pairwise(edges))
    if not apart:
        return [[section] for section in sections]
    result = []
    span = 0
    for start, end in sections:
        stretches = []
        while span < len(prompt.spans) and prompt.spans[span].clean_start < end:
            first = max(start, prompt.spans[span].clean_start)
            last = min(end, prompt.spans[span].clean_end)
            if first < last:
                stretches.append((first, last))
            if prompt.spans[span].clean_end > end:
                break
            span += 1
        result.append(stretches)
    return result


def _cut(
    text: str, chunks: list[list[Piece]], capacity: int, max_chunks: int | None
) -> tuple[list[list[Piece]], str]:
    """Leaves the chunks that fit, and quotes the clean text from the first token that does not."""
    kept = [chunk[:capacity] for chunk in chunks[:max_chunks]]
    dropped = [piece for chunk in chunks[: len(kept)] for piece in chunk[capacity:]]
    dropped += [piece for chunk in chunks[len(kept) :] for piece in chunk]
    return kept, text[dropped[0].start :].strip() if dropped else ""


def _chunk_tokens(pieces: Sequence[Piece], names: Sequence[str], frame: Frame, chunk: int) -> list[Token]:
    """The tokens of one whole chunk: beginning, text, end, padding."""
    tokens: list[Token] = []

    def add(token_id: int, name: str, kind: TokenKind, piece: Piece | None = None) -> None:
        start, end, weight, span = piece[1:] if piece else (0, 0, 1.0, -1)
        position = chunk * frame.length + len(tokens)
        tokens.append(Token(token_id, name, start, end, chunk, position, weight, kind, span))

    def add_special(specials: Sequence[Special], kind: TokenKind) -> None:
        for special in specials:
            add(special.id, special.piece, kind)

    add_special(frame.before, "bos")
    for piece, name in zip(pieces, names, strict=True):
        add(piece.id, name, "text", piece)
    add_special(frame.after, "eos")
    add_special([frame.pad] * (frame.length - len(tokens)), "pad")
    return tokens


def _words(
    prompt: Prompt, tokens: Sequence[Token], edges: Sequence[int], names: Set[int]
) -> tuple[Word, ...]:
    """Merges tokens into words; a token that lies on two words belongs to both.

    A token whose id is in `names` stands for a word of its own, whatever characters it is written with.
    """
    text_tokens = [token for token in tokens if token.kind == "text"]
    wholes = {token.start: token.end for token in text_tokens if token.id in names}
    span_starts = [span.clean_start for span in prompt.spans]
    seen: Counter[str] = Counter()
    words: list[Word] = []
    first = 0
    for start, end, is_punctuation in split_words(prompt.text, edges, wholes):
        while first < len(text_tokens) and max(text_tokens[first].end - 1, text_tokens[first].start) < start:
            first += 1
        last = first
        while last < len(text_tokens) and text_tokens[last].start < end:
            last += 1
        if last == first:
            continue
        text = prompt.text[start:end]
        span = max(0, bisect_right(span_starts, start) - 1)
        words.append(
            Word(
                text,
                start,
                end,
                weight_of(prompt.text, prompt.spans, span, start, end),
                tuple(token.position for token in text_tokens[first:last]),
                index=len(words),
                occurrence=seen[fold(text)],
                options=prompt.spans[span].options if prompt.spans else None,
                is_punctuation=is_punctuation,
            )
        )
        seen[fold(text)] += 1
    return tuple(words)
