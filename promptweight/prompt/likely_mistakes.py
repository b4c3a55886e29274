"""Remarks on text that looks like a weight, and is none, in the dialects `pw`, `a1111` and `comfy`."""

from __future__ import annotations

import re

from promptweight.prompt.diagnostics import Remarks
from promptweight.prompt.literals import NOVELAI_FACTOR, format_weight
from promptweight.prompt.pasted_text import remark_on_pasted_text
from promptweight.prompt.source_map import MappedText

# A word and a number with a decimal point, up to a comma or the end: `red:1.2, blue:0.8`.
UNBRACKETED = re.compile(r"(?<![\w\\:.])([^\W\d_]\w*+:[0-9]++\.[0-9]++)(?=\s*+(?:,|\Z))")
EMOTICON = re.compile(r",\s*+(:[0-9])\s*+\)")
FULL_WIDTH = re.compile(
    r"(（[^（）()：:]*+[：:]\s*+[0-9.]++\s*+[）)]|\([^（）()：:]*+(?:：\s*+[0-9.]++\s*+[）)]|:\s*+[0-9.]++\s*+）))"
)
# Another sign in place of the colon, the number first, or other brackets.
SEPARATOR = re.compile(r"(?<!\\)\(([^()\[\]{}:;=*|\\]++)[;=*]\s*+([0-9]++\.[0-9]++)\s*+\)")
NUMBER_FIRST = re.compile(r"(?<!\\)\(\s*+([0-9]++\.[0-9]++)\s*+:\s*+([^()\[\]{}:|\\\d][^()\[\]{}:|\\]*+)\)")
OTHER_BRACKETS = re.compile(r"(?<!\\)[{<]([^{}<>()\[\]:|$\\\n]++):\s*+([0-9]++\.[0-9]++)\s*+[}>]")
DOUBLE_ESCAPE = re.compile(r"(?<!\\)\\\\[()]")
LOOSE_TAG = re.compile(r"<(?:\s++\w++\s*+|\w++\s++):[^<>\n]++>")
SQUARE = re.compile(r"(?<!\\)\[[^\[\]():|\\]++:\s*+[1-9][0-9]*+\.[0-9]++\s*+\]")
KEYWORD = re.compile(r"\bAND_(?:PERP|SALT|TOPK)\b")
# NovelAI's weights: `1.2::x::` (not the weights of choices, `{3::a|b}`) and `{{x}}`.
NOVELAI_NUMBER = re.compile(r"(?<![\w.{|$])([+-]?[0-9]{1,4}+(?:\.[0-9]{1,6}+)?+)::([^{}\[\]:|\n]++)(?:::)?+")
NOVELAI_BRACES = re.compile(r"(?<![\\{$])(\{++)([^{}|=$:\\\n]++)\}++")

# Templates of dynamic prompts, which only `expand` knows: choices, files, variables and other ways to choose.
CHOICE = re.compile(r"(?<![\\$])\{[^{}|$=]*+(?:\||\$\$)[^{}]*+\}")
OTHER_TEMPLATE = re.compile(
    r"(?<!\\)\{[@!][^{}|]*+\|[^{}]*+\}|\$\{\w{1,80}+[^{}]*+\}|__[\w./-]{1,80}\([^()]*+\)__"
)
WILDCARD_NAME = re.compile(r"(?<![\w*])__~?[A-Za-z*][\w./*-]{0,80}?__(?![\w*])")

_PATTERNS = (
    ("weight-unbracketed", ":", UNBRACKETED),
    ("weight-emoticon", ":", EMOTICON),
    ("weight-square", ":", SQUARE),
    ("and-keyword", "AND_", KEYWORD),
)
"""Code of the remark, a text without which there is no match, and the pattern."""
_REPLACED = str.maketrans("（）：[]", "():()")


def remark_on_mistakes(mapped: MappedText, remarks: Remarks) -> None:
    """Remark on what is surely not the weight that was meant, with the spelling of that weight.

    These are the remarks of `pw` and `a1111`, with those of `remark_on_foreign_text`.
    """
    text = mapped.text
    for code, mark, pattern in _PATTERNS:
        if mark not in text:
            continue
        for match in pattern.finditer(text):
            group = pattern.groups
            value = match[group]
            start, end = mapped.source_start(match.start(group)), mapped.source_end(match.end(group))
            remarks.add(code, start, end, value=value, meant=value.translate(_REPLACED))
    if "\\\\" in text:
        for match in DOUBLE_ESCAPE.finditer(text):
            offsets = mapped.source_start(match.start()), mapped.source_end(match.end())
            remarks.add("pasted-escape", *offsets, value=match[0], meant=match[0][1:])
    if "<" in text:
        for match in LOOSE_TAG.finditer(text):
            meant = "".join(match[0].split())
            offsets = mapped.source_start(match.start()), mapped.source_end(match.end())
            remarks.add("tag-loose", *offsets, value=match[0], meant=meant)
    remark_on_foreign_text(mapped, remarks)


def remark_on_foreign_text(mapped: MappedText, remarks: Remarks) -> None:
    """Remark on weights and templates of other tools, on weights in other signs, and on pasted text."""
    remark_on_novelai(mapped, remarks)
    remark_on_templates(mapped, remarks)
    remark_on_other_signs(mapped, remarks)
    remark_on_pasted_text(mapped, remarks)


def remark_on_other_signs(mapped: MappedText, remarks: Remarks) -> None:
    """Remark on a number in brackets that other signs keep from being a weight."""
    text = mapped.text
    found: list[tuple[re.Match[str], str, str]] = []
    if "(" in text:
        found += [(match, match[1], match[2]) for match in SEPARATOR.finditer(text)]
        found += [(match, match[2], match[1]) for match in NUMBER_FIRST.finditer(text)]
    if "{" in text or "<" in text:
        found += [(match, match[1], match[2]) for match in OTHER_BRACKETS.finditer(text)]
    for match, content, number in found:
        offsets = mapped.source_start(match.start()), mapped.source_end(match.end())
        remarks.add("weight-signs", *offsets, value=match[0], meant=f"({content.strip()}:{number})")
    if not text.isascii() and any(sign in text for sign in "（：）"):
        for match in FULL_WIDTH.finditer(text):
            offsets = mapped.source_start(match.start()), mapped.source_end(match.end())
            meant = match[0].translate(_REPLACED)
            remarks.add("weight-full-width", *offsets, value=match[0], meant=meant)


def remark_on_templates(mapped: MappedText, remarks: Remarks) -> None:
    """Remark on choices and wildcards, which are made before a prompt is parsed."""
    text = mapped.text
    found: list[tuple[str, re.Match[str]]] = []
    if "{" in text or "(" in text:
        found += [("template-unknown", match) for match in OTHER_TEMPLATE.finditer(text)]
    if "}" in text:
        taken = {match.start() for _, match in found}
        found += [("template-choice", each) for each in CHOICE.finditer(text) if each.start() not in taken]
    if "__" in text:
        found += [("template-file", match) for match in WILDCARD_NAME.finditer(text)]
    for code, match in found:
        offsets = mapped.source_start(match.start()), mapped.source_end(match.end())
        remarks.add(code, *offsets, value=match[0])


def remark_on_novelai(mapped: MappedText, remarks: Remarks) -> None:
    """Remark on weights as NovelAI writes them, with the spelling of other tools."""
    text = mapped.text
    found = []
    if "::" in text:
        found += [(match, float(match[1])) for match in NOVELAI_NUMBER.finditer(text)]
    if "}" in text:
        found += [
            (match, NOVELAI_FACTOR ** min(len(match[1]), 100)) for match in NOVELAI_BRACES.finditer(text)
        ]
    for match, weight in found:
        meant = f"({match[2].strip()}:{format_weight(weight)})"
        offsets = mapped.source_start(match.start()), mapped.source_end(match.end())
        remarks.add("weight-novelai", *offsets, value=match[0], meant=meant)
