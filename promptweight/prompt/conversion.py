"""Conversion of a prompt from one dialect into another, and the losses."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from promptweight.prompt.diagnostics import Remarks
from promptweight.prompt.lora_weights import format_tag_weights
from promptweight.prompt.model import Conversion, Prompt
from promptweight.prompt.parser import check_dialect, parse
from promptweight.prompt.segments import (
    Segment,
    SegmentPart,
    split_scheduled_segments,
    split_segments,
)
from promptweight.prompt.textual_inversion import (
    PREFIX_DIALECTS,
    bare_names,
    find_prefixed,
    prefix_names,
)
from promptweight.prompt.tree import ParseTree
from promptweight.prompt.writers import (
    Loss,
    join_segments,
    write_a1111,
    write_comfy,
    write_compel,
    write_novelai,
    write_plain,
)

SCHEDULING_DIALECTS = ("pw", "a1111")
TRIAL_STEPS = 12
"""The number of steps at which prompt editing is compared before and after writing."""


def convert(text: str, source: str, target: str, *, embeddings: Collection[str] = ()) -> Conversion:
    """Rewrite `text` from the dialect `source` into the dialect `target`.

    Weights are written out in full, one bracket for each; comments are left out. `losses` has what the target
    cannot express, with its range in `text`; without losses the new text parses to the same weights.

    Args:
        text: the prompt.
        source: its dialect.
        target: the dialect of the result.
        embeddings: names of textual inversions that `text` has as bare words; `comfy` gets `embedding:name`.
            The names that `comfy` has with this prefix are bare words in `a1111`.

    Raises:
        SettingError: for an unknown dialect.

    >>> convert("[um] ((gato)) (a:1.2)", "a1111", "comfy").text
    '(um:0.909091) (gato:1.21) (a:1.2)'
    """
    tree = parse(text, source)
    check_dialect(target)
    if source == target:
        return Conversion(text)
    written, losses = _rewrite(tree, target, embeddings)
    remarks = Remarks()
    for lost in losses:
        remarks.add(lost.code, lost.start, lost.end, **dict(lost.values))
    if not losses and not means_same(tree, parse(written, target), embeddings):
        remarks.add("text-differs", 0, len(text))
    return Conversion(written, remarks.diagnostics())


def write(tree: ParseTree, dialect: str | None = None) -> str:
    """Return the text of a tree in a dialect, every weight in a bracket of its own.

    In the tree's own dialect (the default) mistakes are corrected, and the text parses to the same prompt;
    for `compel` and `plain` it is the source. `convert` also returns the losses of another dialect.

    Raises:
        SettingError: for an unknown dialect.

    >>> write(parse("((a) [b"))
    '(a:1.21)( :1.1)b'
    """
    target = tree.dialect if dialect is None else dialect
    check_dialect(target)
    if target != tree.dialect:
        return _rewrite(tree, target)[0]
    if target in ("compel", "plain"):
        return tree.source
    parts = split_scheduled_segments(tree) if tree.is_scheduled else split_segments(tree.at())
    if parts is None:
        return tree.source
    written, losses = _write_parts(target, tree, parts)
    return written if not losses and means_same(tree, parse(written, target)) else tree.source


def _rewrite(tree: ParseTree, target: str, embeddings: Collection[str] = ()) -> tuple[str, list[Loss]]:
    """Return the prompt in the target dialect, prompt editing kept where both have it."""
    prompt = tree.at()
    if tree.is_scheduled and target in SCHEDULING_DIALECTS:
        scheduled = split_scheduled_segments(tree)
        if scheduled is not None:
            renamed, losses = _rename_embeddings(scheduled, tree.dialect, target, embeddings)
            written, others = _write_parts(target, tree, renamed)
            losses += others
            if losses or means_same(tree, parse(written, target), embeddings):
                return written, losses
        # An edit may complete a weight, as in (x:[1.2:0.8:5]), which no segment can express.
        if means_same(tree, parse(tree.source, target)):
            return tree.source, []
    parts = split_segments(prompt)
    is_joined = tree.dialect == "compel" and len(parts) > 1 and parts[0].blend is None
    if is_joined and target in SCHEDULING_DIALECTS and all(part.weight == 1 for part in parts):
        parts = [_join_with_breaks(parts)]
        is_joined = False
    parts, losses = _rename_embeddings(parts, tree.dialect, target, embeddings)
    written, others = _write_parts(target, tree, parts)
    losses += others
    if is_joined and target in SCHEDULING_DIALECTS:
        losses += [Loss("and-differs", 0, len(tree.source))]
    if tree.is_scheduled:
        found = [remark for remark in tree.diagnostics if remark.code == "scheduled"]
        losses += [Loss("lost-schedule", remark.start, remark.end) for remark in found]
    losses += [Loss("lost-swap", swap.start, swap.end) for swap in prompt.swaps]
    return written, losses


def _rename_embeddings(
    parts: list[SegmentPart], source: str, target: str, names: Collection[str]
) -> tuple[list[SegmentPart], list[Loss]]:
    """Return the parts with textual inversions as the target names them, and those that it cannot name."""
    losses: list[Loss] = []
    if source not in PREFIX_DIALECTS:
        return parts, losses

    def rename(segment: Segment) -> Segment:
        text = segment.text
        if segment.kind != "text":
            return segment
        if source != "comfy" and target == "comfy":
            text = prefix_names(text, names)
        elif target not in ("pw", "comfy"):
            text = bare_names(text)
            if target != "a1111":
                found = [] if text == segment.text else find_prefixed(segment.text)
                losses.extend(
                    Loss("lost-embedding", segment.start, segment.end, (("name", name),)) for name in found
                )
        return segment if text == segment.text else replace(segment, text=text)

    return [replace(part, segments=[rename(segment) for segment in part.segments]) for part in parts], losses


def _join_with_breaks(parts: list[SegmentPart]) -> SegmentPart:
    """Return joined parts as one part: BREAK joins encodings as compel's `.and()` does."""
    segments = list(parts[0].segments)
    for part in parts[1:]:
        segments += [Segment("break", " "), *part.segments]
    return SegmentPart(1.0, segments=segments)


def _write_parts(target: str, tree: ParseTree, parts: list[SegmentPart]) -> tuple[str, list[Loss]]:
    """Write segments in the target dialect."""
    if target in SCHEDULING_DIALECTS:
        return write_a1111(parts, tree.loras, target)
    if target == "comfy":
        return write_comfy(parts, tree.loras)
    if target == "compel":
        return write_compel(parts, tree.loras)
    if target == "novelai":
        return write_novelai(parts, tree.loras)
    return write_plain(parts, tree.loras)


def means_same(before: ParseTree, after: ParseTree, names: Collection[str] = ()) -> bool:
    """Return whether two trees give the same prompts, at every step where the text changes."""
    is_loose = "compel" in (before.dialect, after.dialect)
    if meaning(before.at(), is_loose, names) != meaning(after.at(), is_loose, names):
        return False
    if not before.is_scheduled:
        return not after.is_scheduled
    steps = before.last_steps(TRIAL_STEPS)
    return steps == after.last_steps(TRIAL_STEPS) and all(
        meaning(before.at(step, TRIAL_STEPS), is_loose, names)
        == meaning(after.at(step, TRIAL_STEPS), is_loose, names)
        for step in steps
    )


def meaning(prompt: Prompt, is_loose: bool = False, names: Collection[str] = ()) -> tuple[object, ...]:
    """Return the content that prompts of the same meaning share.

    With `is_loose`, as in compel, white space does not count, and a BREAK is one more part; `names` are those
    of textual inversions.
    """
    parts = split_segments(prompt)
    weights = [round(part.weight, 6) for part in parts] if len(parts) > 1 else [1.0]
    loras = tuple(
        (lora.kind, lora.name, format_tag_weights(lora.weight, lora.text_encoder_weight, lora.curve))
        for lora in prompt.loras
    )
    found: list[object] = []
    for part, weight in zip(parts, weights, strict=True):
        pieces = _split_at_breaks(part.segments) if is_loose else [part.segments]
        found += [(weight, part.blend, _segment_meaning(piece, is_loose, names)) for piece in pieces]
    return tuple(found), loras


def _split_at_breaks(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Return the segments between BREAKs."""
    pieces: list[list[Segment]] = [[]]
    for segment in segments:
        if segment.kind == "break":
            pieces.append([])
        else:
            pieces[-1].append(segment)
    return pieces


def _segment_meaning(
    segments: Sequence[Segment], is_loose: bool, names: Collection[str]
) -> tuple[object, ...]:
    """Return text, weight and options, joined where they agree, without the white space at the ends.

    The names of textual inversions are those of A1111.
    """
    rounded = []
    for segment in segments:
        text = "" if segment.kind == "break" else bare_names(prefix_names(segment.text, names))
        rounded.append(Segment(segment.kind, text, round(segment.weight, 6), segment.options))
    items = [
        (segment.kind, segment.text, segment.weight, segment.options) for segment in join_segments(rounded)
    ]
    if is_loose:
        items = [(kind, "".join(text.split()), weight, options) for kind, text, weight, options in items]
        return tuple(item for item in items if item[0] == "break" or item[1])
    if items:
        kind, text, weight, options = items[0]
        items[0] = (kind, text.lstrip(), weight, options)
        kind, text, weight, options = items[-1]
        items[-1] = (kind, text.rstrip(), weight, options)
    return tuple(item for item in items if item[0] == "break" or item[1])
