"""Everything that the picture on the page shows, in one message: pictures, words and all their maps.

The page then answers every question by itself: which word, which layers, which steps, in which unit. Maps
are sent at their own grids, as 8-bit numbers with a scale for each word; the page puts them together in the
way of `AttentionMaps`: mean over steps and layers of a grid, then (for shares) over the sum of all words,
then enlarged to the picture, then the mean over grids.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from promptweight.conditioning import Word
    from promptweight.maps import AttentionMaps, RecordedSlot

KINDS = ("words", "refined")
"""The kinds of recording that are maps of words over the picture."""

LONGEST_GRID = 64
"""Cells along the longer side of a map on the page; finer ones are averaged down."""

MOST_PARTS = 10
"""How many parts the steps of a run are told in."""

MOST_NUMBERS = 3_000_000
"""Of all maps together, one byte each; to keep to it, steps are told in fewer parts, then maps shrunk."""


@dataclass(frozen=True)
class Group:
    """Layers that the page shows together: a part of the model, at one grid."""

    part: str
    height: int
    width: int
    is_usual: bool
    """Whether they are in the view that `AttentionMaps` begins with."""
    is_fine: bool
    """Whether they are in that view's refined maps."""


def maps_of(maps: AttentionMaps | None, images: int, parts: int = MOST_PARTS) -> dict[str, Any]:
    """Return the maps of the words of `images` pictures, as the page takes them.

    Args:
        maps: a recording; None for none.
        images: how many pictures.
        parts: into how many parts the steps are divided, at most.
    """
    if maps is None or not images:
        return {"words": [], "groups": [], "parts": [], "kinds": [], "planes": []}
    recording = maps.recording
    words = maps.words
    slots = [slot for slot in recording.slots if slot.kind in KINDS]
    steps = slots[0].sums.shape[0]
    kinds = [kind for kind in KINDS if any(slot.kind == kind for slot in slots)]
    usual = _layers_of(maps)
    fine = _layers_of(maps.refined()) if "refined" in kinds else set()
    groups, members = _grouped(slots, usual, fine)
    parts, longest = _affordable(groups, len(words) * images * len(kinds), min(parts, steps))
    edges = [round(part * steps / parts) for part in range(parts + 1)]
    planes = [
        plane
        for image in range(images)
        for kind in kinds
        for number, group in enumerate(groups)
        for part in range(parts)
        for plane in _plane(
            maps,
            [slot for slot in members[number] if slot.kind == kind],
            image,
            (edges[part], edges[part + 1]),
            longest,
            {"image": image, "kind": kind, "group": number, "part": part},
        )
    ]
    return {
        "words": [_word(word) for word in words],
        "groups": [
            {
                "part": group.part,
                "height": group.height,
                "width": group.width,
                "usual": {"words": group.is_usual, "refined": group.is_fine},
            }
            for group in groups
        ],
        "parts": [[edges[part], edges[part + 1]] for part in range(parts)],
        "kinds": kinds,
        "planes": planes,
    }


def data_url(image: Image.Image) -> str:
    """Return a picture as a URL that holds it, without any metadata: for what is seen for a moment only."""
    content = BytesIO()
    small = max(image.size) <= 256
    image.save(content, "PNG" if small else "WEBP", **({} if small else {"quality": 80}))
    kind = "png" if small else "webp"
    return f"data:image/{kind};base64,{b64encode(content.getvalue()).decode('ascii')}"


def _word(word: Word) -> dict[str, Any]:
    text = word.text.encode("utf-8", "replace").decode("utf-8")
    return {
        "text": text,
        "weight": word.weight,
        "occurrence": word.occurrence,
        "punctuation": word.is_punctuation,
    }


def _layers_of(maps: AttentionMaps) -> set[str]:
    return {layer for index in maps.chosen for layer in maps.recording.slots[index].layers}


def _grouped(
    slots: Sequence[RecordedSlot], usual: set[str], fine: set[str]
) -> tuple[list[Group], list[list[RecordedSlot]]]:
    """Return the groups of layers in the order in which the model runs them, and the slots of each."""
    groups: dict[tuple[str, int, int], Group] = {}
    members: dict[tuple[str, int, int], list[RecordedSlot]] = {}
    for slot in slots:
        key = (_part_of(slot), slot.height, slot.width)
        groups.setdefault(
            key, Group(*key, not usual.isdisjoint(slot.layers), not fine.isdisjoint(slot.layers))
        )
        members.setdefault(key, []).append(slot)
    return list(groups.values()), list(members.values())


def _part_of(slot: RecordedSlot) -> str:
    """Return which part of the model a slot's layers are in: down, mid, up, or all where it has no such.

    Layers that the model's makers do not advise to read maps from are the others.
    """
    if not slot.is_advised:
        return "others"
    parts = {layer.split(".", 1)[0].removesuffix("_blocks").removesuffix("_block") for layer in slot.layers}
    return parts.pop() if len(parts) == 1 and parts <= {"down", "mid", "up"} else "all"


def _affordable(groups: Sequence[Group], maps: int, parts: int) -> tuple[int, int]:
    """Return in how many parts steps can be told, and the longest grid, within `MOST_NUMBERS`."""
    longest = LONGEST_GRID
    while maps * parts * _cells(groups, longest) > MOST_NUMBERS:
        if parts > 4 or (parts > 1 and longest <= 16):
            parts -= 1
        elif longest > 8:
            longest //= 2
        else:
            break
    return parts, longest


def _cells(groups: Sequence[Group], longest: int) -> int:
    return sum(math.prod(_fitted(group.height, group.width, longest)) for group in groups)


def _plane(
    maps: AttentionMaps,
    slots: Sequence[RecordedSlot],
    image: int,
    steps: tuple[int, int],
    longest: int,
    place: dict[str, Any],
) -> list[dict[str, Any]]:
    """Return the maps of all words for some layers of one grid and some steps: one plane, or none."""
    import torch
    import torch.nn.functional as F

    recording = maps.recording
    role = recording.roles.index("positive")
    first, end = steps
    means: list[Tensor] = []
    for slot in slots:
        count = slot.counts[first:end, role, image].sum()
        if count > 0:
            means.append(slot.sums[first:end, role, image].sum(0).mean(0) / count)  # (cells, columns)
    if not means:
        return []
    columns = recording.columns(("positive", image))
    tables = recording.tables["positive", image]
    words = tables[0].table.words
    # A word is the sum over its tokens in every text encoder: as `AttentionMaps.word` has it.
    rows = [_rows_of(tables, number) for number in range(len(words))]
    mean = torch.stack(means).mean(0).float().cpu()
    each = torch.stack([mean[:, [columns[row] for row in of_word]].sum(1) for of_word in rows])
    height, width = slots[0].height, slots[0].width
    size = _fitted(height, width, longest)
    each = each.unflatten(1, (height, width))
    if size != (height, width):
        each = F.interpolate(each[None], size, mode="area")[0]
    highest = each.flatten(1).amax(1).clamp_min(1e-12)
    numbers = (each.flatten(1) / highest[:, None] * 255).round().byte()
    # The total of all words' tokens: shares are of it, also where a token belongs to no word.
    text = [columns[row] for placed in tables for row in placed.rows("text")]
    total = mean[:, text].sum(1).unflatten(0, (height, width))
    if size != (height, width):
        total = F.interpolate(total[None, None], size, mode="area")[0, 0]
    top = total.max().clamp_min(1e-12)
    return [
        {
            **place,
            "height": size[0],
            "width": size[1],
            "layers": len(means),
            "steps": end - first,
            "scales": [float(f"{value:.6g}") for value in highest.tolist()],
            "maps": _base64(numbers),
            "total": _base64((total / top * 255).round().byte()),
            "top": float(f"{top.item():.6g}"),
        }
    ]


def _rows_of(tables: Sequence[Any], number: int) -> list[int]:
    """Return the rows of the text embeddings that stand for one word, in all tables that hold it."""
    word = tables[0].table.words[number]
    rows = []
    for placed in tables:
        for other in placed.table.words:
            if (other.start, other.end) == (word.start, word.end):
                rows += [placed.start + position for position in other.positions]
    return sorted(set(rows))


def _fitted(height: int, width: int, longest: int) -> tuple[int, int]:
    scale = min(1.0, longest / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _base64(numbers: Tensor) -> str:
    return b64encode(numbers.contiguous().numpy().tobytes()).decode("ascii")
