"""Tap on the tokenizers of a pipeline: the texts that they get, with the character offsets of each token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline, Tokenizer

_TEXTS_ATTRIBUTE = "_promptweight_texts"


@dataclass(frozen=True)
class TokenizedText:
    """A text as a tokenizer got it, and its tokens with special tokens and padding.

    Attributes:
        tokenizer: the tokenizer.
        text: the text.
        ids: the ids of its tokens.
        offsets: the first character of each token and the one after its last; equal for special tokens.
    """

    tokenizer: Tokenizer
    text: str
    ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]

    def find_in(self, ids: Sequence[int]) -> int | None:
        """Return the index in `ids` at which the tokens of this text begin; None where they are not in it.

        Pipelines may pad them further, or leave out padding at the end.
        """
        own, other = list(self.ids), list(ids)
        if own[: len(other)] == other:
            return 0
        starts = range(len(other) - len(own) + 1)
        return next((start for start in starts if other[start : start + len(own)] == own), None)


@contextmanager
def tap_tokenizers(pipe: Pipeline) -> Iterator[list[TokenizedText]]:
    """Collect the texts that the tokenizers of a pipeline tokenize inside the block, in a list that grows.

    The class of each tokenizer is replaced by a subclass in the block; fast tokenizers alone have offsets.
    """
    texts: list[TokenizedText] = []
    tokenizers = list(_find_tokenizers(pipe.components))
    for tokenizer in tokenizers:
        original: Any = type(tokenizer)
        tokenizer.__dict__[_TEXTS_ATTRIBUTE] = texts
        tokenizer.__class__ = _make_tapped_class(original)
    try:
        yield texts
    finally:
        for tokenizer in tokenizers:
            tokenizer.__class__ = type(tokenizer)._class_outside_taps
            del tokenizer.__dict__[_TEXTS_ATTRIBUTE]


def _find_tokenizers(components: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the tokenizers among the components of a pipeline, and those of its processors, each once."""
    from transformers import PreTrainedTokenizerBase

    found = [each for part in components.values() for each in (part, getattr(part, "tokenizer", None))]
    yield from {id(each): each for each in found if isinstance(each, PreTrainedTokenizerBase)}.values()


@cache
def _make_tapped_class(original: Any) -> Any:
    """Make the subclass of a tokenizer's class that keeps the texts of its calls."""

    class Tapped(original):
        _class_outside_taps = original

        def __call__(self, text: Any = None, *args: Any, **kwargs: Any) -> Any:
            output = original.__call__(self, text, *args, **kwargs)
            encodings = getattr(output, "encodings", None) or ()
            texts = [text] if isinstance(text, str) else text
            if texts is not None and len(encodings) == len(texts):
                self.__dict__[_TEXTS_ATTRIBUTE] += [
                    TokenizedText(self, each, tuple(encoding.ids), tuple(encoding.offsets))
                    for each, encoding in zip(texts, encodings, strict=True)
                ]
            return output

    Tapped.__name__, Tapped.__qualname__, Tapped.__module__ = (
        original.__name__,
        original.__qualname__,
        original.__module__,
    )
    return Tapped
