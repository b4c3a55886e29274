"""NovelAI's weights (`{x}` is 1.05, `[x]` 1/1.05, `1.2::x::` 1.2) in ComfyUI's syntax.

Neither has a meaning for the other's brackets, and backslashes are text in NovelAI.
"""

from __future__ import annotations

import re

_STEP = 1.05
_MARK = re.compile(r"(?<![\w.])-?(?:\d{1,9}+(?:\.\d*+)?|\.\d++)::|::|[{}\[\]]")


def convert_novelai(prompt: str) -> str:
    """Return a prompt of NovelAI in the dialect `comfy`; brackets without a partner are left out.

    >>> convert_novelai("{{red fox}}, snow, [blurry], 1.2::hat::")
    '(red fox:1.1025), snow, (blurry:0.952381), (hat:1.2)'
    """
    opened = {"{": 0, "[": 0}
    number = 1.0
    written: list[str] = []
    offset = 0
    for mark in _MARK.finditer(prompt):
        written.append(_write(prompt[offset : mark.start()], opened, number))
        offset = mark.end()
        sign = mark[0]
        if sign in opened:
            opened[sign] += 1
        elif sign in ("}", "]"):
            opening = "{" if sign == "}" else "["
            opened[opening] = max(0, opened[opening] - 1)
        else:
            number = 1.0 if sign == "::" else float(sign[:-2])
    return "".join([*written, _write(prompt[offset:], opened, number)])


def _write(text: str, opened: dict[str, int], number: float) -> str:
    """Write a text with one weight; white space around it stays outside of the brackets."""
    core = text.strip()
    if not core:
        return text
    escaped = core.replace("(", "\\(").replace(")", "\\)")
    # Beyond this power a weight is no longer a finite number.
    power = min(max(opened["{"] - opened["["], -1000), 1000)
    weight = number * _STEP**power
    # A final backslash would escape a bracket that follows.
    if abs(weight - 1) > 1e-9 or escaped.endswith("\\"):
        escaped = f"({escaped}:{weight:.6f})"
        escaped = f"{escaped[:-1].rstrip('0').rstrip('.')})"
    before, _, after = text.partition(core)
    return f"{before}{escaped}{after}"
