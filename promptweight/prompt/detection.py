"""``detect``: guesses the dialect that a prompt was written in."""

from __future__ import annotations

import re
from typing import NamedTuple

ASCII_WEIGHT = r"[+-]?+(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)"

# (dialect, how much one finding tells, pattern). No pattern reads far past a place that it does not consume.
CUES: tuple[tuple[str, float, re.Pattern[str]], ...] = (
    ("compel", 4.0, re.compile(r"\)\s?\.(?:and|add|blend)\s?\(|\.(?:swap|attend)\s?\(|(?:use|with)Lora\(")),
    ("compel", 3.0, re.compile(r"[)\"](?:\d*+\.\d++|\++|-++)(?=[\s,.)]|\Z)")),
    ("compel", 2.0, re.compile(r"[^\W\d_](?:\+++|--++)(?=[\s,)]|\Z)")),
    ("pw", 6.0, re.compile(rf":\s?{ASCII_WEIGHT}\s?\{{\s?(?:steps|to|region|mode)\s?=")),
    ("pw", 3.0, re.compile(rf":\s?{ASCII_WEIGHT}[eE][+-]?\d++\s?\)")),
    ("pw", 2.0, re.compile(r"\\[:|#]")),
    ("a1111", 4.0, re.compile(r"<(?:lora|lyco|hypernet):[^<>\n]++>")),
    ("a1111", 3.0, re.compile(r"\bBREAK\b")),
    ("a1111", 1.5, re.compile(r"\bAND\b")),
    ("a1111", 3.0, re.compile(r"\[[^\[\]()|\\]*+\|")),
    ("a1111", 3.0, re.compile(rf":\s?{ASCII_WEIGHT}\s?\]")),
    ("a1111", 1.0, re.compile(r"\[[^\[\]()|:\\]++\]")),
    ("a1111", 1.0, re.compile(rf":\s?{ASCII_WEIGHT}\s?\)")),
    ("a1111", 0.5, re.compile(r"\([^()\\]++\)(?![\d.+-])")),
    ("comfy", 4.0, re.compile(r"(?<![^\s,(])embedding:\w")),
    ("comfy", 1.5, re.compile(rf":\s?{ASCII_WEIGHT}[eE][+-]?\d++\s?\)")),
    ("comfy", 0.8, re.compile(rf":\s?{ASCII_WEIGHT}\s?\)")),
)
MOST_FINDINGS = 20
"""So many findings of one cue are enough; a long text is looked at once all the same."""


class Detection(NamedTuple):
    """A dialect and how sure the guess is, from 0 to 1."""

    dialect: str
    confidence: float


def detect(text: str) -> Detection:
    """Guess the dialect of a prompt, with a confidence from 0 to 1.

    Text without any syntax is ``plain``: every dialect reads it alike. Round brackets with numbers are
    common to ``pw``, ``a1111`` and ``comfy``; alone they give ``a1111`` with little confidence.

        >>> detect("a (cat)1.3 and a dog++").dialect
        'compel'
    """
    scores: dict[str, float] = {}
    for dialect, telling, cue in CUES:
        count = 0
        for _ in cue.finditer(text):
            count += 1
            if count == MOST_FINDINGS:
                break
        if count:
            scores[dialect] = scores.get(dialect, 0.0) + telling * min(count, 3)
    if not scores:
        return Detection("plain", 1.0)
    if "pw" in scores:
        # pw is a1111's grammar and more: what speaks for a1111 speaks for it too.
        scores["pw"] += scores.pop("a1111", 0.0)
    best = max(scores, key=lambda dialect: scores[dialect])
    share = scores[best] / sum(scores.values())
    return Detection(best, round(share * (1 - 0.5 ** scores[best]), 3))
