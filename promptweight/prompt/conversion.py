"""Rewrites a prompt from one dialect into another, and lists what could not be carried over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from promptweight.prompt.diagnostics import Remarks
from promptweight.prompt.model import Conversion, Prompt
from promptweight.prompt.parser import check_dialect, parse
from promptweight.prompt.segments import Leaf, LeafPart, leaf_parts, scheduled_leaf_parts
from promptweight.prompt.timeline import schedule
from promptweight.prompt.writers import Loss, joined, write_a1111, write_comfy, write_compel, write_plain

CHANGING = ("pw", "a1111")
TRIAL_STEPS = 12
"""Prompt editing is compared at each of so many steps before and after rewriting."""


def convert(text: str, source: str, target: str) -> Conversion:
    """Rewrite ``text`` from the dialect ``source`` into the dialect ``target``.

    Weights are written out in full, one bracket for each; comments are left out. What the target cannot say
    is in ``losses``, with its place in ``text``; without losses the new text reads the same, weight for
    weight. Raises SettingError for a dialect that is not known.

        >>> convert("[um] ((gato)) (a:1.2)", "a1111", "comfy").text
        '(um:0.909091) (gato:1.21) (a:1.2)'
    """
    prompt = parse(text, source)
    check_dialect(target)
    if source == target:
        return Conversion(text)
    written, losses = rewrite(prompt, target)
    remarks = Remarks()
    for lost in losses:
        remarks.add(lost.code, lost.start, lost.end, **dict(lost.values))
    if not losses and not reads_alike(prompt, written, target):
        remarks.add("text-differs", 0, len(text))
    return Conversion(written, remarks.done())


def rewrite(prompt: Prompt, target: str) -> tuple[str, list[Loss]]:
    """The prompt in the target dialect, prompt editing kept where both know it."""
    if prompt.scheduled and target in CHANGING:
        written, losses = write_in(target, prompt, scheduled_leaf_parts(prompt))
        if losses or reads_alike(prompt, written, target):
            return written, losses
        # Editing may also make up a weight, as in (x:[1.2:0.8:5]), which no leaf can show.
        if reads_alike(prompt, prompt.source, target):
            return prompt.source, []
    parts = leaf_parts(prompt)
    joins = prompt.dialect == "compel" and len(parts) > 1 and parts[0].blend is None
    if joins and target in CHANGING and all(part.weight == 1 for part in parts):
        parts = [with_breaks(parts)]
        joins = False
    written, losses = write_in(target, prompt, parts)
    if joins and target in CHANGING:
        losses += [Loss("and-differs", 0, len(prompt.source))]
    if prompt.scheduled:
        found = [remark for remark in prompt.diagnostics if remark.code == "scheduled"]
        losses += [Loss("lost-schedule", remark.start, remark.end) for remark in found]
    losses += [Loss("lost-swap", swap.start, swap.end) for swap in prompt.swaps]
    return written, losses


def with_breaks(parts: list[LeafPart]) -> LeafPart:
    """Parts that are only joined, as one part: BREAK joins encodings as compel's ``.and()`` does."""
    leaves = list(parts[0].leaves)
    for part in parts[1:]:
        leaves += [Leaf("break", " "), *part.leaves]
    return LeafPart(1.0, leaves=leaves)


def write_in(target: str, prompt: Prompt, parts: list[LeafPart]) -> tuple[str, list[Loss]]:
    """Leave in the target dialect."""
    if target in CHANGING:
        return write_a1111(parts, prompt.loras, target)
    if target == "comfy":
        return write_comfy(parts, prompt.loras)
    if target == "compel":
        return write_compel(parts, prompt.loras)
    return write_plain(parts, prompt.loras)


def normal_form(prompt: Prompt) -> str:
    """The prompt written out in its own dialect, or its source where that would not read the same."""
    if prompt.dialect not in ("pw", "a1111", "comfy"):
        return prompt.source
    parts = scheduled_leaf_parts(prompt) if prompt.scheduled else leaf_parts(prompt)
    written, losses = write_in(prompt.dialect, prompt, parts)
    return written if not losses and reads_alike(prompt, written, prompt.dialect) else prompt.source


def reads_alike(prompt: Prompt, written: str, dialect: str) -> bool:
    """Whether the written text reads like the prompt, at every step where the text changes."""
    after = parse(written, dialect)
    loose = "compel" in (prompt.dialect, dialect)
    if meaning(prompt, loose) != meaning(after, loose):
        return False
    if not prompt.scheduled:
        return not after.scheduled
    before_steps = schedule(prompt.source, TRIAL_STEPS, prompt.dialect)
    after_steps = schedule(written, TRIAL_STEPS, dialect)
    return len(before_steps) == len(after_steps) and all(
        until == until_after
        and meaning(parse(text, prompt.dialect), loose) == meaning(parse(text_after, dialect), loose)
        for (until, text), (until_after, text_after) in zip(before_steps, after_steps, strict=True)
    )


def meaning(prompt: Prompt, loose: bool = False) -> tuple[object, ...]:
    """What two prompts that mean the same have in common; ``loose`` as compel has it.

    There white space does not count, and a BREAK is one more part.
    """
    parts = leaf_parts(prompt)
    weights = [round(part.weight, 6) for part in parts] if len(parts) > 1 else [1.0]
    loras = tuple((lora.kind, lora.name, round(lora.weight, 6)) for lora in prompt.loras)
    found: list[object] = []
    for part, weight in zip(parts, weights, strict=True):
        pieces = split_at_breaks(part.leaves) if loose else [part.leaves]
        found += [(weight, part.blend, leaf_meaning(piece, loose)) for piece in pieces]
    return tuple(found), loras


def split_at_breaks(leaves: Sequence[Leaf]) -> list[list[Leaf]]:
    """The leaves between BREAKs."""
    pieces: list[list[Leaf]] = [[]]
    for leaf in leaves:
        if leaf.kind == "break":
            pieces.append([])
        else:
            pieces[-1].append(leaf)
    return pieces


def leaf_meaning(leaves: Sequence[Leaf], loose: bool) -> tuple[object, ...]:
    """Text, weight and options of leaves, joined where they agree, without the white space at the ends."""
    rounded = []
    for leaf in leaves:
        options = leaf.options
        if options.to is not None:
            options = replace(options, to=round(options.to, 6))
        text = "" if leaf.kind == "break" else leaf.text
        rounded.append(Leaf(leaf.kind, text, round(leaf.weight, 6), options))
    items = [(leaf.kind, leaf.text, leaf.weight, leaf.options) for leaf in joined(rounded)]
    if loose:
        items = [(kind, "".join(text.split()), weight, options) for kind, text, weight, options in items]
        return tuple(item for item in items if item[0] == "break" or item[1])
    if items:
        kind, text, weight, options = items[0]
        items[0] = (kind, text.lstrip(), weight, options)
        kind, text, weight, options = items[-1]
        items[-1] = (kind, text.rstrip(), weight, options)
    return tuple(item for item in items if item[0] == "break" or item[1])
