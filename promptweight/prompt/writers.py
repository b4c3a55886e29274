"""Writes leaves in the syntax of a dialect, so that they are read back as they were; notes what is lost."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby, pairwise

from promptweight.prompt.dialects.compel_grammar import WORD
from promptweight.prompt.model import Lora, Options, percent
from promptweight.prompt.segments import Leaf, LeafPart

KEYWORD = re.compile(r"\b(BREAK|AND)\b")
TAG_COLON = re.compile(r"(<\w++):")
FINAL_NUMBER = re.compile(r":(\s*+[-+]?+[\d.]++)\Z")
COMPEL_NAME = re.compile(r"[A-Za-z0-9_-]++")


@dataclass(frozen=True, slots=True)
class Loss:
    """What a dialect cannot say: a message code and the place in the old source."""

    code: str
    start: int
    end: int
    values: tuple[tuple[str, object], ...] = ()


def loss(code: str, leaf: Leaf | Lora, **values: object) -> Loss:
    """A loss at the place of a leaf."""
    return Loss(code, leaf.start, leaf.end, tuple(values.items()))


def loss_at_part(code: str, part: LeafPart) -> Loss:
    """A loss at the beginning of a part."""
    return loss(code, part.leaves[0]) if part.leaves else Loss(code, 0, 0)


def number(weight: float) -> str:
    """A weight without an exponent: six decimals where they say it, else all there are."""
    short = f"{weight:.6f}".rstrip("0").rstrip(".")
    if abs(weight) >= 1e-3 or weight == 0:
        return "0" if short == "-0" else short
    return format(Decimal(repr(weight)), "f")


def joined(leaves: Iterable[Leaf]) -> list[Leaf]:
    """Neighboring text of equal weight and options as one leaf."""
    result: list[Leaf] = []
    for (kind, weight, options), group in groupby(
        leaves, key=lambda leaf: (leaf.kind, leaf.weight, leaf.options)
    ):
        together = list(group)
        if kind == "text" and len(together) > 1:
            text = "".join(leaf.text for leaf in together)
            result.append(Leaf(kind, text, weight, options, together[0].start, together[-1].end))
        else:
            result += together
    return result


def write_a1111(parts: list[LeafPart], loras: Iterable[Lora], dialect: str) -> tuple[str, list[Loss]]:
    """Write in ``pw`` or ``a1111``."""
    losses: list[Loss] = []
    several = len(parts) > 1
    written = []
    if parts[0].blend is not None:
        losses.append(loss_at_part("lost-blend", parts[0]))
    for part in parts:
        text = write_a1111_part(joined(part.leaves), dialect, losses)
        if several and (part.weight != 1 or FINAL_NUMBER.search(text)):
            text += f" :{number(part.weight)}"
        elif not several and dialect == "a1111":
            # A number at the very end would weigh the whole; the backslash is dropped when it is read.
            text = FINAL_NUMBER.sub(r":\\\1", text)
        written.append(text)
    tags = "".join(f"<{lora.kind}:{lora.name}:{number(lora.weight)}>" for lora in loras)
    out = written[:1]
    for before, after in pairwise(written):
        out += [" AND" if before else "AND", "" if after[:1].isspace() else " ", after]
    return "".join(out) + tags, losses


def write_a1111_part(leaves: list[Leaf], dialect: str, losses: list[Loss]) -> str:
    """One part in ``pw`` or ``a1111``."""
    changing = any(leaf.kind == "mark" for leaf in leaves)
    out: list[str] = []
    for index, leaf in enumerate(leaves):
        if leaf.kind == "mark":
            out.append(leaf.text)
        elif leaf.kind == "break":
            # BREAK swallows white space; an empty group keeps what belongs to the text.
            before = leaves[index - 1].text if index and leaves[index - 1].kind == "text" else ""
            after = leaves[index + 1].text if index + 1 < len(leaves) else ""
            out += ["()" if before[-1:].isspace() else " ", "BREAK", "()" if after[:1].isspace() else " "]
        else:
            begins_line = not out or out[-1].endswith("\n")
            plain = leaf.weight == 1 and not leaf.options
            if dialect == "pw":
                text = escape_pw(leaf.text, changing, begins_line and plain)
            else:
                if "#" in leaf.text:
                    losses.append(loss("lost-hash", leaf))
                text = escape_a1111(leaf.text.replace("#", ""), changing)
                if leaf.options:
                    losses.append(loss("lost-options", leaf, options=str(leaf.options)))
            options = f"{{{leaf.options}}}" if leaf.options and dialect == "pw" else ""
            share = leaf.options.share
            if (
                dialect == "pw"
                and leaf.weight == 1
                and share is not None
                and leaf.options == Options(share=share)
            ):
                out.append(f"({text}:={percent(share)})")
            elif leaf.weight == 1 and not options:
                out.append(text)
            else:
                out.append(f"({text}:{number(leaf.weight)}{options})")
    return "".join(out)


def escape_pw(text: str, changing: bool, begins_line: bool) -> str:
    """Text as ``pw`` reads it back; ``changing`` where prompt editing is about."""
    marks = "()[]:|" if changing else "()[]"
    text = re.sub(rf"\\(?=[()\[\]\\:|#]|\Z)|[{re.escape(marks)}]", r"\\\g<0>", text)
    text = TAG_COLON.sub(r"\1\\:", text)
    text = KEYWORD.sub(lambda match: f"{match[0][:1]}(){match[0][1:]}", text)
    text = text.replace("\n#", "\n\\#")
    return f"\\{text}" if begins_line and text.startswith("#") else text


def escape_a1111(text: str, changing: bool) -> str:
    """Text as A1111 reads it back: it drops a backslash that escapes nothing."""
    marks = "()[]\\:|" if changing else "()[]\\"
    text = re.sub(rf"[{re.escape(marks)}]", r"\\\g<0>", text)
    text = TAG_COLON.sub(r"\1\\:", text)
    return KEYWORD.sub(lambda match: f"{match[0][:1]}\\{match[0][1:]}", text)


def write_comfy(parts: list[LeafPart], loras: Iterable[Lora]) -> tuple[str, list[Loss]]:
    """Write for ComfyUI, which has round brackets alone."""
    losses = [loss("lost-tag", lora, name=lora.name) for lora in loras]
    out: list[str] = []
    for position, part in enumerate(parts):
        if position:
            losses.append(loss_at_part("lost-parts", part))
            out.append(" ")
        leaves = joined(part.leaves)
        for index, leaf in enumerate(leaves):
            if leaf.kind == "break":
                losses.append(loss("lost-break", leaf))
                out.append(" ")
                continue
            if leaf.options:
                losses.append(loss("lost-options", leaf, options=str(leaf.options)))
            text = leaf.text.replace("(", "\\(").replace(")", "\\)")
            # A final backslash would escape the bracket of the next group.
            exposed = text.endswith("\\") and index + 1 < len(leaves)
            out.append(f"({text}:{number(leaf.weight)})" if leaf.weight != 1 or exposed else text)
    return "".join(out), losses


def write_compel(parts: list[LeafPart], loras: Iterable[Lora]) -> tuple[str, list[Loss]]:
    """Write for compel; BREAK and AND become ``.and()``, which encodes each part and joins the encodings."""
    losses: list[Loss] = []
    tags = ""
    for lora in loras:
        if COMPEL_NAME.fullmatch(lora.name) and lora.kind == "lora":
            tags += f"withLora({lora.name},{number(lora.weight)}) "
        else:
            losses.append(loss("lost-tag", lora, name=lora.name))
    prompts: list[str] = []
    weights: list[float] = []
    for part in parts:
        pieces: list[list[Leaf]] = [[]]
        for leaf in joined(part.leaves):
            if leaf.kind == "break":
                pieces.append([])
            else:
                pieces[-1].append(leaf)
        prompts += [compel_prompt(piece, losses) for piece in pieces]
        weights += [part.weight] * len(pieces)
    if len(prompts) == 1:
        return tags + prompts[0], losses
    if parts[0].blend is None and any(weight != 1 for weight in weights):
        losses.append(loss_at_part("and-differs", parts[0]))
    quoted = ", ".join(f'"{prompt}"' for prompt in prompts)
    values = [] if all(weight == 1 for weight in weights) else [number(weight) for weight in weights]
    if parts[0].blend is not None and not parts[0].normalize:
        values = [*(number(weight) for weight in weights), "no_normalize"]
    operator = "and" if parts[0].blend is None else "blend"
    text = f"({quoted}).{operator}({', '.join(values)})"
    return (text + " " + tags).strip(), losses


def compel_prompt(leaves: list[Leaf], losses: list[Loss]) -> str:
    """One prompt; a weighted group must stand free, and compel spaces its text anew in any case."""
    out: list[str] = []
    after_group = False
    for leaf in leaves:
        written, is_group = compel_leaf(leaf, losses)
        if (is_group or after_group) and not written.startswith(","):
            out.append(" ")
        out.append(written)
        after_group = is_group
    return " ".join("".join(out).split())


def compel_leaf(leaf: Leaf, losses: list[Loss]) -> tuple[str, bool]:
    """One leaf as words, or as a weighted group."""
    if leaf.options:
        losses.append(loss("lost-options", leaf, options=str(leaf.options)))
    text = re.sub(r"(?<!\\)\\*+[()\"]", lambda match: "\\" + match[0][-1], leaf.text)
    if leaf.weight == 1 or not text.strip():
        return re.sub(r"\S++", lambda match: compel_word(match[0], leaf, losses), text), False
    weight = leaf.weight
    if weight < 0:
        losses.append(loss("lost-negative", leaf, weight=weight))
        weight = 0.0
    signs = re.sub(r"[+=]|-(?![^\s()\",.+=-])", r"\\\g<0>", text)
    if signs != text:
        losses.append(loss("lost-signs", leaf))
    inner = signs.strip()
    # A final backslash would escape the bracket.
    return f"({inner}{' ' * inner.endswith(chr(92))}){number(weight)}", True


def compel_word(word: str, leaf: Leaf, losses: list[Loss]) -> str:
    """A word that compel must not take for one with an operator."""
    match = WORD.match(word)
    if match is None or word[match.end() : match.end() + 1] not in ("+", "-"):
        return word
    losses.append(loss("lost-signs", leaf))
    return re.sub(r"[+-]", r"\\\g<0>", word)


def write_plain(parts: list[LeafPart], loras: Iterable[Lora]) -> tuple[str, list[Loss]]:
    """Write the text alone."""
    losses = [loss("lost-tag", lora, name=lora.name) for lora in loras]
    texts = []
    for position, part in enumerate(parts):
        if position:
            losses.append(loss_at_part("lost-parts", part))
        words = []
        for leaf in part.leaves:
            if leaf.kind == "break":
                losses.append(loss("lost-break", leaf))
            elif leaf.weight != 1:
                losses.append(loss("lost-weight", leaf, weight=leaf.weight))
            if leaf.options:
                losses.append(loss("lost-options", leaf, options=str(leaf.options)))
            words.append(leaf.text if leaf.kind == "text" else " ")
        texts.append("".join(words))
    return " ".join(texts), losses
