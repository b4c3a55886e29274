"""Operations of the parsers per character, which are bounded for any text: counted, not timed."""

import sys
from collections.abc import Callable

import pytest

from promptweight.prompt import DIALECTS, adjust_weight, convert, detect, expand, parse, schedule, write

SHAPES: dict[str, str] = {
    "nested": "(",
    "nested and closed": "(a",
    "weighted": "(a red cat:1.2), ",
    "scheduled": "[a (cat:1.2):a dog:0.5] ",
    "alternating": "[a|b|c] ",
    "unclosed": "(a [b ",
    "closers": ")]",
    "colons": ":",
    "colons and digits": ":1",
    "colons and spaces": ": ",
    "spaces": " ",
    "backslashes": "\\",
    "bars": "|",
    "open edits": "[a:",
    "open alternations": "[a|",
    "numbers": "(a:1.1",
    "options": "(a:1{steps=0-1",
    "braces": "{a|",
    "words": "BREAK AND ",
    "tags": "<lora:",
    "hashes": "#",
    "lines": "#\n",
    "quotes": '"a ',
    "escaped quotes": '\\"',
    "plus": "a+ ",
    "signs": "+",
    "swaps": "a.swap(",
    "attends": "a.attend(",
    "joins": '("a","b").and(',
    "joined comfy": "(((a)",
    "commas": ",",
    "curly": "{{a}",
    "double colons": "1.2::a::",
    "digits": "1",
    "choices": "{a|b$$",
    "wildcards": "__a",
    "variables": "${a",
    "numbers of NovelAI": "-1::{",
}
SMALL, LARGE = 1_500, 3_000


def text_of(shape: str, size: int) -> str:
    piece = SHAPES[shape]
    text = piece * (size // len(piece))
    return text + ")" * text.count("(") if shape.endswith("closed") else text


def calls(work: Callable[[], object]) -> int:
    """Return the number of functions, of Python and C, that `work` calls."""
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_parse_scanned_characters_grow_linearly(shape, dialect):
    small, large = text_of(shape, SMALL), text_of(shape, 8 * SMALL)
    at_small, at_large = parse(small, dialect).scanned, parse(large, dialect).scanned
    assert at_large <= 8.5 * max(at_small, len(small))
    assert at_large <= 14 * len(large)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_parse_function_calls_grow_linearly(shape, dialect):
    small, large = text_of(shape, SMALL), text_of(shape, LARGE)
    assert calls(lambda: parse(large, dialect).at()) <= 2.2 * calls(lambda: parse(small, dialect).at()) + 300


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "work",
    [
        lambda text: schedule(text, 4),
        lambda text: write(parse(text)),
        lambda text: convert(text, "pw", "comfy"),
        lambda text: convert(text, "comfy", "compel"),
        lambda text: convert(text, "pw", "novelai"),
        lambda text: convert(text, "novelai", "comfy"),
        lambda text: expand(text, 1),
        lambda text: detect(text),
        lambda text: parse(text).at(),
        lambda text: parse(text).timeline(4),
        lambda text: adjust_weight(text, len(text) // 2, len(text) // 2),
    ],
    ids=[
        "schedule",
        "str",
        "to comfy",
        "to compel",
        "to novelai",
        "from novelai",
        "expand",
        "detect",
        "at",
        "timeline",
        "adjust_weight",
    ],
)
def test_tool_function_calls_grow_linearly(shape, work):
    small, large = text_of(shape, SMALL), text_of(shape, LARGE)
    assert calls(lambda: work(large)) <= 2.3 * calls(lambda: work(small)) + 1000
