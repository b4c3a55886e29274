"""Names of textual inversions in the clean text of a prompt."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from promptweight.prompt.model import Embedding, Prompt

PREFIXED = re.compile(r"(?<![^\s,])embedding:([^\s,]++)")
PLACEHOLDER = re.compile(r"<[\w-]++>")


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
        longest_first = sorted(names, key=len, reverse=True)
        pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE)
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
