"""Writers of the dialects: segments to text that parses to the same segments, and the losses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby, pairwise

from promptweight.prompt.dialects.compel_grammar import WORD
from promptweight.prompt.literals import format_weight
from promptweight.prompt.lora_weights import format_tag_weights
from promptweight.prompt.model import Lora, Options, format_share
from promptweight.prompt.segments import Segment, SegmentPart

KEYWORD = re.compile(r"\b(BREAK|AND)\b")
TAG_COLON = re.compile(r"(<\w++):")
FINAL_NUMBER = re.compile(r":(\s*+[-+]?+[\d.]++)\Z")
FINAL_WEIGHT = re.compile(r":(\s*+[-+]?+[\d.]++%?+)\Z")
NOVELAI_MARKS = re.compile(r"[{}\[\]]|::++")
COMPEL_NAME = re.compile(r"[A-Za-z0-9_-]++")


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that a dialect cannot express: a message code and the range in the old source."""

    code: str
    start: int
    end: int
    values: tuple[tuple[str, object], ...] = ()


def _loss(code: str, segment: Segment | Lora, **values: object) -> Loss:
    """Return a loss at a segment or a network tag."""
    return Loss(code, segment.start, segment.end, tuple(values.items()))


def _loss_at_part(code: str, part: SegmentPart) -> Loss:
    """Return a loss at the beginning of a part."""
    return _loss(code, part.segments[0]) if part.segments else Loss(code, 0, 0)


def join_segments(segments: Iterable[Segment]) -> list[Segment]:
    """Return the segments with their weights as written, and neighboring text of equal weight joined.

    Weights that differ only beyond the written decimals count as equal: the text parses to equal weights.
    """
    result: list[Segment] = []
    as_written = ((segment, float(format_weight(segment.weight))) for segment in segments)
    for (kind, weight, _), group in groupby(as_written, key=_writing_key):
        together = [segment for segment, _ in group]
        if kind == "text":
            first, last = together[0], together[-1]
            text = "".join(segment.text for segment in together)
            result.append(Segment(kind, text, weight, first.options, first.start, last.end))
        else:
            result += together
    return result


def _writing_key(entry: tuple[Segment, float]) -> tuple[str, float, str]:
    """Return the key that neighbors to be joined share."""
    segment, weight = entry
    return segment.kind, weight, str(segment.options)


def write_a1111(parts: list[SegmentPart], loras: Iterable[Lora], dialect: str) -> tuple[str, list[Loss]]:
    """Write in `pw` or `a1111`."""
    losses: list[Loss] = []
    several = len(parts) > 1
    written = []
    if parts[0].blend is not None:
        losses.append(_loss_at_part("lost-blend", parts[0]))
    for part in parts:
        text = _write_a1111_part(join_segments(part.segments), dialect, losses)
        if several:
            # The parser drops the white space at the ends of a part, in `a1111` only at its end.
            text = text.strip() if dialect == "pw" else text.rstrip()
        if several and (part.weight != 1 or FINAL_WEIGHT.search(text)):
            text += f" :{format_weight(part.weight)}"
        elif not several and dialect == "a1111":
            # A number at the very end would weigh the whole; the parser drops the backslash.
            text = FINAL_NUMBER.sub(r":\\\1", text)
        written.append(text)
    tags = "".join(_write_tag(lora) for lora in loras)
    out = written[:1]
    for before, after in pairwise(written):
        out += [" AND" if before else "AND", "" if after[:1].isspace() else " ", after]
    return "".join(out) + tags, losses


def _write_tag(lora: Lora) -> str:
    """Write a network tag with its weights."""
    weights = format_tag_weights(lora.weight, lora.text_encoder_weight, lora.curve)
    return f"<{lora.kind}:{lora.name}:{weights}>"


def _write_a1111_part(segments: list[Segment], dialect: str, losses: list[Loss]) -> str:
    """Write one part in `pw` or `a1111`."""
    has_marks = any(segment.kind == "mark" for segment in segments)
    out: list[str] = []
    for index, segment in enumerate(segments):
        if segment.kind == "mark":
            out.append(segment.text)
        elif segment.kind == "break":
            # BREAK swallows white space; an empty group keeps what belongs to the text.
            before = segments[index - 1].text if index and segments[index - 1].kind == "text" else ""
            after = segments[index + 1].text if index + 1 < len(segments) else ""
            out += ["()" if before[-1:].isspace() else " ", "BREAK", "()" if after[:1].isspace() else " "]
        else:
            begins_line = not out or out[-1].endswith("\n")
            plain = segment.weight == 1 and not segment.options
            if dialect == "pw":
                text = _escape_pw(segment.text, has_marks, begins_line and plain)
            else:
                if "#" in segment.text:
                    losses.append(_loss("lost-hash", segment))
                text = _escape_a1111(segment.text.replace("#", ""), has_marks)
                if segment.options:
                    losses.append(_loss("lost-options", segment, options=str(segment.options)))
            options = f"{{{segment.options}}}" if segment.options and dialect == "pw" else ""
            share = segment.options.share
            if (
                dialect == "pw"
                and segment.weight == 1
                and share is not None
                and segment.options == Options(share=share)
            ):
                out.append(f"({text}:={format_share(share)})")
            elif segment.weight == 1 and not options:
                out.append(text)
            else:
                out.append(f"({text}:{format_weight(segment.weight)}{options})")
    return "".join(out)


def _escape_pw(text: str, has_marks: bool, begins_line: bool) -> str:
    """Escape text for `pw`; `has_marks` tells that the part has prompt editing."""
    marks = "()[]:|" if has_marks else "()[]"
    text = re.sub(rf"\\(?=[()\[\]\\:|#]|\Z)|[{re.escape(marks)}]", r"\\\g<0>", text)
    text = TAG_COLON.sub(r"\1\\:", text)
    text = KEYWORD.sub(lambda match: f"{match[0][:1]}(){match[0][1:]}", text)
    text = text.replace("\n#", "\n\\#")
    return f"\\{text}" if begins_line and text.startswith("#") else text


def _escape_a1111(text: str, has_marks: bool) -> str:
    """Escape text for A1111, which drops a backslash that escapes nothing."""
    marks = "()[]\\:|" if has_marks else "()[]\\"
    text = re.sub(rf"[{re.escape(marks)}]", r"\\\g<0>", text)
    text = TAG_COLON.sub(r"\1\\:", text)
    return KEYWORD.sub(lambda match: f"{match[0][:1]}\\{match[0][1:]}", text)


def write_comfy(parts: list[SegmentPart], loras: Iterable[Lora]) -> tuple[str, list[Loss]]:
    """Write for ComfyUI, which has only round brackets."""
    losses = [_loss("lost-tag", lora, name=lora.name) for lora in loras]
    out: list[str] = []
    for position, part in enumerate(parts):
        if position:
            losses.append(_loss_at_part("lost-parts", part))
            out.append(" ")
        segments = join_segments(part.segments)
        for index, segment in enumerate(segments):
            if segment.kind == "break":
                losses.append(_loss("lost-break", segment))
                out.append(" ")
                continue
            if segment.options:
                losses.append(_loss("lost-options", segment, options=str(segment.options)))
            text = segment.text.replace("(", "\\(").replace(")", "\\)")
            # A final backslash would escape the bracket of the next group.
            exposed = text.endswith("\\") and index + 1 < len(segments)
            out.append(
                f"({text}:{format_weight(segment.weight)})" if segment.weight != 1 or exposed else text
            )
    return "".join(out), losses


def write_compel(parts: list[SegmentPart], loras: Iterable[Lora]) -> tuple[str, list[Loss]]:
    """Write for compel; BREAK and AND become `.and()`, which encodes each part and joins the encodings."""
    losses: list[Loss] = []
    tags = ""
    for lora in loras:
        if COMPEL_NAME.fullmatch(lora.name) and lora.kind == "lora":
            tags += f"withLora({lora.name},{format_weight(lora.weight)}) "
            if lora.curve or lora.text_encoder_weight is not None:
                losses.append(_loss("lost-tag-weights", lora, name=lora.name, weight=lora.weight))
        else:
            losses.append(_loss("lost-tag", lora, name=lora.name))
    prompts: list[str] = []
    weights: list[float] = []
    for part in parts:
        pieces: list[list[Segment]] = [[]]
        for segment in join_segments(part.segments):
            if segment.kind == "break":
                pieces.append([])
            else:
                pieces[-1].append(segment)
        prompts += [_compel_prompt(piece, losses) for piece in pieces]
        weights += [part.weight] * len(pieces)
    if len(prompts) == 1:
        return tags + prompts[0], losses
    if parts[0].blend is None and any(weight != 1 for weight in weights):
        losses.append(_loss_at_part("and-differs", parts[0]))
    quoted = ", ".join(f'"{prompt}"' for prompt in prompts)
    values = [] if all(weight == 1 for weight in weights) else [format_weight(weight) for weight in weights]
    if parts[0].blend is not None and not parts[0].normalize:
        values = [*(format_weight(weight) for weight in weights), "no_normalize"]
    operator = "and" if parts[0].blend is None else "blend"
    text = f"({quoted}).{operator}({', '.join(values)})"
    return (text + " " + tags).strip(), losses


def _compel_prompt(segments: list[Segment], losses: list[Loss]) -> str:
    """Write one prompt, with spaces around weighted groups; compel sets the spaces of text anyway."""
    out: list[str] = []
    after_group = False
    for segment in segments:
        written, is_group = _compel_segment(segment, losses)
        if (is_group or after_group) and not written.startswith(","):
            out.append(" ")
        out.append(written)
        after_group = is_group
    return " ".join("".join(out).split())


def _compel_segment(segment: Segment, losses: list[Loss]) -> tuple[str, bool]:
    """Return one segment as words or as a weighted group, and whether it is a group."""
    if segment.options:
        losses.append(_loss("lost-options", segment, options=str(segment.options)))
    text = re.sub(r"(?<!\\)\\*+[()\"]", lambda match: "\\" + match[0][-1], segment.text)
    if segment.weight == 1 or not text.strip():
        return re.sub(r"\S++", lambda match: _compel_word(match[0], segment, losses), text), False
    weight = segment.weight
    if weight < 0:
        losses.append(_loss("lost-negative", segment, weight=weight))
        weight = 0.0
    signs = re.sub(r"[+=]|-(?![^\s()\",.+=-])", r"\\\g<0>", text)
    if signs != text:
        losses.append(_loss("lost-signs", segment))
    inner = signs.strip()
    # A final backslash would escape the bracket.
    return f"({inner}{' ' * inner.endswith(chr(92))}){format_weight(weight)}", True


def _compel_word(word: str, segment: Segment, losses: list[Loss]) -> str:
    """Return a word with its signs escaped where compel would take them as operators."""
    match = WORD.match(word)
    if match is None or word[match.end() : match.end() + 1] not in ("+", "-"):
        return word
    losses.append(_loss("lost-signs", segment))
    return re.sub(r"[+-]", r"\\\g<0>", word)


def write_novelai(parts: list[SegmentPart], loras: Iterable[Lora]) -> tuple[str, list[Loss]]:
    """Write for NovelAI, every weight as a number; it has no escapes."""
    losses = [_loss("lost-tag", lora, name=lora.name) for lora in loras]
    out: list[str] = []
    for position, part in enumerate(parts):
        if position:
            losses.append(_loss_at_part("lost-parts", part))
            out.append(" ")
        for segment in join_segments(part.segments):
            if segment.kind == "break":
                losses.append(_loss("lost-break", segment))
                out.append(" ")
                continue
            if segment.options:
                losses.append(_loss("lost-options", segment, options=str(segment.options)))
            text = _without_novelai_marks(segment, losses)
            if not text:
                continue
            if segment.weight == 1:
                out.append(text)
                continue
            # Empty brackets keep the number apart from a word or a sign before it.
            if out and re.search(r"[\w.+-]\Z", out[-1]):
                out.append("{}")
            # A digit would begin a weight at the "::", and the space before it is not text.
            ending = " ::" if re.search(r"[0-9.: ]\Z", text) else "::"
            out.append(f"{format_weight(segment.weight)}::{text}{ending}")
    return "".join(out), losses


def _without_novelai_marks(segment: Segment, losses: list[Loss]) -> str:
    """Return the text of a segment without the brackets and the double colons that NovelAI would read."""
    found = list(dict.fromkeys(mark[:2] for mark in NOVELAI_MARKS.findall(segment.text)))
    if not found:
        return segment.text
    losses.append(_loss("lost-marks", segment, marks=" ".join(f"“{mark}”" for mark in found)))
    return re.sub("::++", ":", re.sub(r"[{}\[\]]", "", segment.text))


def write_plain(parts: list[SegmentPart], loras: Iterable[Lora]) -> tuple[str, list[Loss]]:
    """Write the text alone."""
    losses = [_loss("lost-tag", lora, name=lora.name) for lora in loras]
    texts = []
    for position, part in enumerate(parts):
        if position:
            losses.append(_loss_at_part("lost-parts", part))
        words = []
        for segment in part.segments:
            if segment.kind == "break":
                losses.append(_loss("lost-break", segment))
            elif segment.weight != 1:
                losses.append(_loss("lost-weight", segment, weight=segment.weight))
            if segment.options:
                losses.append(_loss("lost-options", segment, options=str(segment.options)))
            words.append(segment.text if segment.kind == "text" else " ")
        texts.append("".join(words))
    return " ".join(texts), losses
