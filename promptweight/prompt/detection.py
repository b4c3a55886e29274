"""Detection of the dialect of a prompt."""

from __future__ import annotations

import re
from typing import NamedTuple

ASCII_WEIGHT = r"[+-]?+(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)"

# (dialect, score of one match, pattern). No pattern reads far past text that it does not match.
CUES: tuple[tuple[str, float, re.Pattern[str]], ...] = (
    ("compel", 4.0, re.compile(r"\)\s?\.(?:and|add|blend)\s?\(|\.(?:swap|attend)\s?\(|(?:use|with)Lora\(")),
    ("compel", 3.0, re.compile(r"[)\"](?:\d*+\.\d++|\++|-++)(?=[\s,.)]|\Z)")),
    ("compel", 2.0, re.compile(r"[^\W\d_](?:\+++|--++)(?=[\s,)]|\Z)")),
    ("pw", 6.0, re.compile(rf":\s?{ASCII_WEIGHT}\s?\{{\s?(?:steps|layers|region|weighting|share)\s?=")),
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
    ("novelai", 4.0, re.compile(rf"(?<![\w.{{|$]){ASCII_WEIGHT}::")),
    ("novelai", 3.0, re.compile(r"\{\{[^{}|$=:\\]++\}\}")),
    ("novelai", 1.5, re.compile(r"(?<![{\\])\{[^{}|$=:\\]++\}(?!\})")),
    ("comfy", 0.8, re.compile(rf":\s?{ASCII_WEIGHT}\s?\)")),
)
MAX_MATCHES = 20
"""The number of matches after which a cue is not searched further."""


class Detection(NamedTuple):
    """A dialect and the confidence of the guess, from 0 to 1."""

    dialect: str
    confidence: float


def detect(text: str) -> Detection:
    """Guess the dialect of a prompt, with a confidence from 0 to 1.

    Text without any syntax is `plain`, since it means the same in every dialect. Round brackets with numbers
    are common to `pw`, `a1111` and `comfy`; alone they give `a1111` with little confidence.

    >>> detect("a (cat)1.3 and a dog++").dialect
    'compel'
    """
    scores: dict[str, float] = {}
    for dialect, score, cue in CUES:
        count = 0
        for _ in cue.finditer(text):
            count += 1
            if count == MAX_MATCHES:
                break
        if count:
            scores[dialect] = scores.get(dialect, 0.0) + score * min(count, 3)
    if not scores:
        return Detection("plain", 1.0)
    if "pw" in scores:
        # pw extends the grammar of a1111, so that the score of a1111 counts for it too.
        scores["pw"] += scores.pop("a1111", 0.0)
    best = max(scores, key=lambda dialect: scores[dialect])
    share = scores[best] / sum(scores.values())
    return Detection(best, round(share * (1 - 0.5 ** scores[best]), 3))
