"""Names of textual inversions in the clean text of a prompt, and their spelling in another dialect."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from promptweight.prompt.model import Embedding, Prompt

PREFIXED = re.compile(r"(?<![^\s,])embedding:([^\s,]++)")
PLACEHOLDER = re.compile(r"<[\w-]++>")
SUFFIX = re.compile(r"\.(?:pt|bin|safetensors)\Z", re.IGNORECASE)
PREFIX_DIALECTS = ("pw", "a1111", "comfy")
"""Dialects in which promptweight reads `embedding:name`."""


def note_embeddings(prompt: Prompt, names: Collection[str] = ()) -> Prompt:
    """Return the prompt with its `embeddings`.

    These are `embedding:name` as in ComfyUI, `<name>` as diffusers writes placeholders (not for `comfy`), and
    `names` as whole words, as in A1111. `compel`, `novelai` and `plain` have none.

    Args:
        prompt: the prompt.
        names: the names of the loaded textual inversions.
    """
    if prompt.dialect in ("compel", "novelai", "plain"):
        return prompt
    text = prompt.text
    found: list[tuple[int, int, str]] = []
    if "embedding:" in text:
        found += [(*match.span(), match[1]) for match in PREFIXED.finditer(text)]
    if "<" in text and prompt.dialect != "comfy":
        found += [(*match.span(), match[0]) for match in PLACEHOLDER.finditer(text)]
    if names:
        pattern = _name_pattern(names)
        taken = {offset for start, end, _ in found for offset in range(start, end)}
        found += [(*match.span(), match[0]) for match in pattern.finditer(text) if match.start() not in taken]
    if not found:
        return prompt
    found.sort()
    embeddings = tuple(
        Embedding(name, prompt.to_source(start), prompt.to_source(end - 1) + 1, start, end)
        for start, end, name in found
    )
    return replace(prompt, embeddings=embeddings)


def _name_pattern(names: Collection[str]) -> re.Pattern[str]:
    """Return the pattern of names as whole words, the longest first."""
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE)


def bare_names(text: str) -> str:
    """Return a text with `embedding:name` as A1111 names it: the file name without folders and suffix.

    >>> bare_names("cat, embedding:styles/ink.pt")
    'cat, ink'
    """
    return PREFIXED.sub(lambda match: _stem(match[1]), text) if "embedding:" in text else text


def prefix_names(text: str, names: Collection[str]) -> str:
    """Return a text with the names that it has as words, or as `<name>`, as `embedding:name`.

    >>> prefix_names("EasyNegative, <ink>", ["easynegative", "ink"])
    'embedding:easynegative, embedding:ink'
    """
    if not names:
        return text
    spelled = {name.casefold(): name for name in names}
    pattern = re.compile(rf"{PREFIXED.pattern}|<?({_name_pattern(names).pattern})>?", re.IGNORECASE)

    def write(match: re.Match[str]) -> str:
        return match[0] if match[2] is None else f"embedding:{spelled.get(match[2].casefold(), match[2])}"

    return pattern.sub(write, text)


def find_prefixed(text: str) -> list[str]:
    """Return the names that a text has as `embedding:name`."""
    return [match[1] for match in PREFIXED.finditer(text)] if "embedding:" in text else []


def _stem(path: str) -> str:
    """Return the name of a file without its folders and suffix, or the path if nothing would be left."""
    name = path.replace("\\", "/").rpartition("/")[2]
    return SUFFIX.sub("", name) or path
