"""Tiny random models of every family, with tokenizers made here: nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from transformers import CLIPTokenizer

SHARED = Path(__file__).resolve().parents[2] / "../shared"


@dataclass(frozen=True)
class FakeSpan:
    text: str
    weight: float
    clean_start: int
    clean_end: int
    options: Any = None


@dataclass(frozen=True)
class FakePrompt:
    text: str
    spans: tuple[FakeSpan, ...]
    breaks: tuple[int, ...] = ()
    dialect: str = "pw"


def make_prompt(*fragments: str | tuple[str, float], dialect: str = "pw") -> FakePrompt:
    """A parsed prompt from its fragments; "BREAK" by itself is a break."""
    text, spans, breaks = "", [], []
    for fragment in fragments:
        if fragment == "BREAK":
            breaks.append(len(text))
            continue
        content, weight = (fragment, 1.0) if isinstance(fragment, str) else fragment
        spans.append(
            FakeSpan(content, weight, len(text), len(text) + len(content), f"options of {content!r}")
        )
        text += content
    return FakePrompt(text, tuple(spans), tuple(breaks), dialect)


def byte_alphabet() -> list[str]:
    """The 256 characters by which byte-level BPE writes bytes (Radford et al., 2019)."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(len(others))]


def new_clip_tokenizer(pad: str = "<|endoftext|>", max_length: int = 77) -> CLIPTokenizer:
    """A CLIP tokenizer over bytes that knows a few merges, so that words have one piece, two, or many."""
    merges = [
        *[("g", "a"), ("t", "o</w>"), ("ga", "to</w>"), ("c", "o"), ("co", "r"), ("v", "e"), ("ve", "r")],
        *[("m", "e"), ("me", "l"), ("h", "o</w>"), ("u", "m</w>"), ("Ã", "£"), ("Ã£", "o</w>"), ("Ã", "§")],
        *[("ð", "Ł"), ("ðŁ", "Ĳ"), ("ðŁĲ", "±"), ("ðŁĲ", "¶</w>")],
    ]
    letters = byte_alphabet()
    pieces = [*letters, *(letter + "</w>" for letter in letters), *(first + last for first, last in merges)]
    vocabulary = {piece: number for number, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad, model_max_length=max_length)


@pytest.fixture(scope="session")
def clip_tokenizer() -> CLIPTokenizer:
    return new_clip_tokenizer()


@pytest.fixture(scope="session")
def make_clip_tokenizer() -> Any:
    return new_clip_tokenizer


@pytest.fixture(scope="session")
def prompt_of() -> Any:
    return make_prompt


@pytest.fixture(scope="session")
def real_clip_tokenizer() -> CLIPTokenizer:
    folder = SHARED / "tokenizers/clip"
    if not folder.is_dir():
        pytest.skip("the real CLIP vocabulary (../shared/tokenizers) is not on this machine")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=77)


@pytest.fixture(scope="session")
def real_t5_tokenizer() -> Any:
    from transformers import T5TokenizerFast

    folder = SHARED / "tokenizers/t5"
    if not folder.is_dir():
        pytest.skip("the real T5 vocabulary (../shared/tokenizers) is not on this machine")
    return T5TokenizerFast.from_pretrained(folder)
