"""Token table of a prompt that a pipeline wrote into a template before it was tokenized."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from promptweight.conditioning.chunking import ChunkLayout, SpecialToken
from promptweight.conditioning.token_table import Token, TokenKind, TokenTable
from promptweight.conditioning.tokenization import find_span, merge_words
from promptweight.conditioning.tokenizer_tap import TokenizedText

if TYPE_CHECKING:
    from promptweight.prompt import Prompt
    from promptweight.protocols import Tokenizer

PLACEHOLDER = "promptweight"
"""Text that is encoded in place of a prompt to find the template around it."""


def find_template(text: str, with_placeholder: str) -> tuple[int, int] | None:
    """Return where the prompt begins and ends in a templated text; None where it cannot be told.

    Args:
        text: the text with the prompt in it.
        with_placeholder: the same with `PLACEHOLDER` in place of the prompt.
    """
    before, found, after = with_placeholder.rpartition(PLACEHOLDER)
    is_around = text.startswith(before) and text.endswith(after) and len(text) >= len(before) + len(after)
    return (len(before), len(text) - len(after)) if found and is_around else None


def make_templated_table(
    prompt: Prompt,
    text: str,
    encoder: str,
    tokenized: TokenizedText,
    extent: tuple[int, int],
    ids: Sequence[int],
    rows: Sequence[int | None],
    shift: int,
) -> TokenTable:
    """Make the token table of a prompt from the templated text and the tokens of the rows.

    Args:
        prompt: the prompt.
        text: its text as the pipeline got it, character by character that of the prompt.
        encoder: the name of the text encoder.
        tokenized: the templated text and its tokens.
        extent: the first character of the prompt in it, and the one after its last.
        ids: the ids that the text encoder got.
        rows: for each row of the embeddings the index of its token in `ids`; None for padding.
        shift: the index in `ids` of the first token of `tokenized`.
    """
    first, last = extent
    origin = _align(text, tokenized.text[first:last])
    pieces = tokenized.tokenizer.convert_ids_to_tokens(ids)
    pad_token = _find_pad_token(tokenized.tokenizer)
    tokens: list[Token] = []
    seen_text = False
    for position, index in enumerate(rows):
        if index is None or index < shift:  # the pipeline may pad on the left
            tokens.append(Token(*pad_token, 0, 0, 0, position, 1.0, "pad"))
            continue
        number = index - shift
        start, end = tokenized.offsets[number] if number < len(tokenized.offsets) else (0, 0)
        characters = [origin(each - first) for each in range(max(start, first), min(end, last))]
        known = [each for each in characters if each is not None]
        # a token that begins with the space before a word is the word's
        known = [each for each in known if not prompt.text[each].isspace()] or known
        if not known:
            kind: TokenKind = "eos" if seen_text or start >= last > first else "bos"
            tokens.append(Token(ids[index], pieces[index], 0, 0, 0, position, 1.0, kind))
            continue
        seen_text = True
        ends = (known[0], known[-1] + 1)
        span, weight = find_span(prompt, *ends)
        tokens.append(Token(ids[index], pieces[index], *ends, 0, position, weight, "text", span))
    written = max((token.end for token in tokens), default=0)
    layout = ChunkLayout(
        tuple(SpecialToken(token.id, token.piece) for token in tokens if token.kind == "bos"),
        tuple(SpecialToken(token.id, token.piece) for token in tokens if token.kind == "eos"),
        pad_token,
        len(tokens),
    )
    words = merge_words(prompt, tokens, prompt.breaks)
    cut = prompt.text[written:].strip()
    return TokenTable(prompt, encoder, tuple(tokens), words, 1, cut, layout)


def make_blank_table(prompt: Prompt, encoder: str, rows: int, tokenizer: Tokenizer) -> TokenTable:
    """Make the token table of a prompt without text, all of whose rows are padding."""
    pad_token = _find_pad_token(tokenizer)
    tokens = tuple(Token(*pad_token, 0, 0, 0, position, 1.0, "pad") for position in range(rows))
    return TokenTable(prompt, encoder, tokens, (), 1, "", ChunkLayout((), (), pad_token, rows))


def _find_pad_token(tokenizer: Tokenizer) -> SpecialToken:
    """Return the token that pads texts, or ends them in a tokenizer without one."""
    pad = tokenizer.pad_token_id
    pad = tokenizer.eos_token_id if pad is None else pad
    return SpecialToken(pad, tokenizer.convert_ids_to_tokens(pad))


def _align(text: str, written: str) -> Callable[[int], int | None]:
    """Return a function from a character of the prompt as the pipeline writes it to that of the prompt.

    Pipelines strip prompts, write them in small letters, or clean them.
    """
    stripped = text.strip()
    for shift, candidate in ((0, text), (len(text) - len(text.lstrip()), stripped)):
        if len(candidate) == len(written) and candidate.casefold() == written.casefold():
            return lambda index: index + shift
    matcher = SequenceMatcher(None, text.lower(), written.lower(), autojunk=False)
    if len(text.lower()) != len(text) or len(written.lower()) != len(written):
        matcher = SequenceMatcher(None, text, written, autojunk=False)
    origin = {
        block.b + offset: block.a + offset
        for block in matcher.get_matching_blocks()
        for offset in range(block.size)
    }
    return origin.get
