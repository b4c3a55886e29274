"""Remarks on text that was pasted from other places, and that is encoded as words here.

Invisible characters, the settings text of an image, JSON, HTML entities, and the options of Midjourney.
"""

from __future__ import annotations

import html
import re
import unicodedata

from promptweight.prompt.diagnostics import Remarks
from promptweight.prompt.source_map import MappedText

# Zero-width and soft characters; the joiners of emoji and of scripts such as Persian have a use.
INVISIBLE = re.compile("[\u00ad\u200b\u2060-\u2064\ufeff]++")
INFOTEXT = re.compile(r"^(?:Negative prompt: |Steps: [0-9]++, )", re.MULTILINE)
JSON_START = re.compile(r"\s*+\[?\s*+\{\s*+\"[^\"\\\n]{1,80}+\"\s*+:")
ENTITY = re.compile(r"&(?:lt|gt|amp|quot|apos|nbsp|#[0-9]{1,6}|#x[0-9a-fA-F]{1,6});")
MIDJOURNEY = re.compile(
    r"(?<!\S)--(?:ar|aspect|chaos|iw|niji|no|quality|raw|sref|cref|stylize|style|tile|turbo|weird|v|s|q|c)(?!\S)"
    r"|(?<=[^\W\d_])::-?[0-9]++(?:\.[0-9]++)?+(?=\s|,|\Z)"
)


def remark_on_pasted_text(mapped: MappedText, remarks: Remarks) -> None:
    """Remark on text that other programs or pages have put into a prompt."""
    text = mapped.text

    def add(code: str, match: re.Match[str], **values: object) -> None:
        remarks.add(code, mapped.source_start(match.start()), mapped.source_end(match.end()), **values)

    if not text.isascii():
        for match in INVISIBLE.finditer(text):
            name = unicodedata.name(match[0][0], "unnamed").lower()
            add("invisible", match, value=f"U+{ord(match[0][0]):04X}", name=name)
    if "Steps: " in text or "Negative prompt: " in text:
        for match in INFOTEXT.finditer(text):
            add("pasted-infotext", match, value=match[0].strip())
    start = JSON_START.match(text)
    if start is not None:
        add("pasted-json", start)
    if "&" in text:
        for match in ENTITY.finditer(text):
            add("pasted-entity", match, value=match[0], meant=html.unescape(match[0]))
    if "--" in text or "::" in text:
        for match in MIDJOURNEY.finditer(text):
            add("pasted-midjourney", match, value=match[0])
