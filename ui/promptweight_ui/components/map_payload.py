"""Payload of the picture component: words and all their maps in one message, without images.

The page then composes every view by itself: word, layers, steps, unit. Maps are sent at their own grids as
8-bit numbers with a scale for each word. The page combines them as `AttentionMaps` does: mean over the
steps and layers of a grid, for shares divided by the sum over all words, enlarged to the image, mean over
the grids.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from typing import TYPE_CHECKING, Any

from promptweight_ui.i18n import encodable

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from promptweight.conditioning import Word
    from promptweight.maps import AttentionMaps, RecordedSlot

KINDS = ("words", "refined")
"""Kinds of recording that hold maps of words over the image."""

MAX_GRID_SIDE = 64
"""Cells along the longer side of a map on the page; finer grids are averaged."""

MAX_PARTS = 10
"""Largest number of parts into which the steps of a run are divided."""

MAX_BYTES = 3_000_000
"""Size of all maps together; larger payloads get fewer parts of the steps, then smaller grids."""


@dataclass(frozen=True)
class LayerGroup:
    """Layers that the page shows together: one part of the model at one grid."""

    part: str
    height: int
    width: int
    is_default: bool
    """True if the default view of `AttentionMaps` holds them."""
    is_refined_default: bool
    """True if the refined maps of that view hold them."""


MAX_LIVE_WORDS = 400
"""Words of a prompt above which no maps are sent before an image is finished: they slow the page down."""


def live_payload(maps: AttentionMaps | None) -> dict[str, Any] | None:
    """Return the maps of an unfinished image, the mean of its steps; None for more than `MAX_LIVE_WORDS`."""
    if maps is not None and len(maps.words) > MAX_LIVE_WORDS:
        return None
    return maps_payload(maps, 1, parts=1)


def maps_payload(maps: AttentionMaps | None, images: int, parts: int = MAX_PARTS) -> dict[str, Any]:
    """Return the maps of all words.

    Args:
        maps: the recorded maps; None for none.
        images: the number of images.
        parts: the largest number of parts into which the steps are divided.
    """
    if maps is None or not images or not maps.words:
        return {"words": [], "phrases": [], "groups": [], "parts": [], "kinds": [], "planes": []}
    recording = maps.recording
    words = maps.words
    source = recording.tables["positive", 0][0].table.prompt.source
    slots = [slot for slot in recording.slots if slot.kind in KINDS]
    steps = slots[0].sums.shape[0]
    kinds = [kind for kind in KINDS if any(slot.kind == kind for slot in slots)]
    default = _layer_names(maps)
    refined = _layer_names(maps.refined()) if "refined" in kinds else set()
    groups, members = _group_layers(slots, default, refined)
    parts, longest = limit_size(groups, len(words) * images * len(kinds), min(parts, steps))
    edges = [round(part * steps / parts) for part in range(parts + 1)]
    planes = [
        plane
        for image in range(images)
        for kind in kinds
        for number, group in enumerate(groups)
        for part in range(parts)
        for plane in _planes(
            maps,
            [slot for slot in members[number] if slot.kind == kind],
            image,
            (edges[part], edges[part + 1]),
            longest,
            {"image": image, "kind": kind, "group": number, "part": part},
        )
    ]
    return {
        "words": [_word(word, source) for word in words],
        "phrases": _phrases(words),
        "groups": [
            {
                "part": group.part,
                "height": group.height,
                "width": group.width,
                "default": {"words": group.is_default, "refined": group.is_refined_default},
            }
            for group in groups
        ],
        "parts": [[edges[part], edges[part + 1]] for part in range(parts)],
        "kinds": kinds,
        "planes": planes,
    }


def data_url(image: Image.Image) -> str:
    """Return an image as a data URL, without metadata: for images that are shown only for a moment."""
    content = BytesIO()
    if max(image.size) <= 256:
        kind = "png"
        image.save(content, "PNG")
    else:
        kind = "webp"
        image.save(content, "WEBP", quality=80)
    return f"data:image/{kind};base64,{b64encode(content.getvalue()).decode('ascii')}"


def shown_weight(word: Word, source: str) -> float:
    """Return the weight of a word as the prompt has it.

    A word of a painted region has another one, e, by which its region is scaled (`regions.masks`).
    """
    from promptweight.prompt import parse

    if word.weight != math.e or word.options is None or word.options.region is None:
        return word.weight
    spans = parse(source).at().spans
    return next((span.weight for span in spans if span.clean_start <= word.start < span.clean_end), 1.0)


def _word(word: Word, source: str) -> dict[str, Any]:
    return {
        "text": encodable(word.text),
        "weight": shown_weight(word, source),
        "occurrence": word.occurrence,
        "punctuation": word.is_punctuation,
    }


def _phrases(words: Sequence[Word]) -> list[list[int]]:
    """Return the indices of the words of each phrase that has several: words of one weight and options.

    A phrase has a clearer place in the image than its words (`promptweight.prompt.split_phrases`).
    """
    from promptweight.prompt import split_phrases

    number = {id(word): index for index, word in enumerate(words)}
    phrases = []
    for run in split_phrases(words):
        groups = groupby(run, key=lambda word: (word.weight, word.options))
        phrases += [[number[id(word)] for word in group] for _, group in groups]
    return [phrase for phrase in phrases if len(phrase) > 1]


def _layer_names(maps: AttentionMaps) -> set[str]:
    return {layer for index in maps.slot_indices for layer in maps.recording.slots[index].layers}


def _group_layers(
    slots: Sequence[RecordedSlot], default: set[str], refined: set[str]
) -> tuple[list[LayerGroup], list[list[RecordedSlot]]]:
    """Return the groups of layers in the order in which they run, and the slots of each."""
    groups: dict[tuple[str, int, int], LayerGroup] = {}
    members: dict[tuple[str, int, int], list[RecordedSlot]] = {}
    for slot in slots:
        key = (_model_part(slot), slot.height, slot.width)
        layers = set(slot.layers)
        groups.setdefault(
            key, LayerGroup(*key, not default.isdisjoint(layers), not refined.isdisjoint(layers))
        )
        members.setdefault(key, []).append(slot)
    return list(groups.values()), list(members.values())


def _model_part(slot: RecordedSlot) -> str:
    """Return the part of the model that holds a slot's layers: down, mid, up, or all.

    The part of layers that the model's advice excludes is "others".
    """
    if not slot.is_advised:
        return "others"
    parts = {layer.split(".", 1)[0].removesuffix("_blocks").removesuffix("_block") for layer in slot.layers}
    return parts.pop() if len(parts) == 1 and parts <= {"down", "mid", "up"} else "all"


def limit_size(groups: Sequence[LayerGroup], maps: int, parts: int) -> tuple[int, int]:
    """Return the number of parts of the steps and the longest side of a grid within `MAX_BYTES`.

    Args:
        groups: the groups of layers.
        maps: the number of maps of each group and part.
        parts: the wanted number of parts.
    """
    longest = MAX_GRID_SIDE
    while maps * parts * _cells(groups, longest) > MAX_BYTES:
        if parts > 4 or (parts > 1 and longest <= 16):
            parts -= 1
        elif longest > 8:
            longest //= 2
        else:
            break
    return parts, longest


def _cells(groups: Sequence[LayerGroup], longest: int) -> int:
    return sum(math.prod(fit_grid(group.height, group.width, longest)) for group in groups)


def _planes(
    maps: AttentionMaps,
    slots: Sequence[RecordedSlot],
    image: int,
    steps: tuple[int, int],
    longest: int,
    key: dict[str, Any],
) -> list[dict[str, Any]]:
    """Return the plane of all words for some layers of one grid and some steps, or nothing if none ran."""
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
    # A word is the sum over its tokens in every text encoder, as in `AttentionMaps.word`.
    mean = torch.stack(means).mean(0).float().cpu()
    each = torch.stack([mean[:, [columns[row] for row in rows]].sum(1) for rows in _word_rows(tables)])
    height, width = slots[0].height, slots[0].width
    size = fit_grid(height, width, longest)
    each = each.unflatten(1, (height, width))
    if size != (height, width):
        each = F.interpolate(each[None], size, mode="area")[0]
    highest = each.flatten(1).amax(1).clamp_min(1e-12)
    numbers = (each.flatten(1) / highest[:, None] * 255).round().byte()
    # Shares are parts of the total over all text tokens, including those that belong to no word.
    text = [columns[row] for placed in tables for row in placed.rows("text")]
    total = mean[:, text].sum(1).unflatten(0, (height, width))
    if size != (height, width):
        total = F.interpolate(total[None, None], size, mode="area")[0, 0]
    top = total.max().clamp_min(1e-12)
    return [
        {
            **key,
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


def _word_rows(tables: Sequence[Any]) -> list[list[int]]:
    """Return the rows of the text embeddings of each word of the first table, in all tables that hold it."""
    rows: dict[tuple[int, int], set[int]] = {}
    for placed in tables:
        for word in placed.table.words:
            positions = (placed.start + position for position in word.positions)
            rows.setdefault((word.start, word.end), set()).update(positions)
    return [sorted(rows[word.start, word.end]) for word in tables[0].table.words]


def fit_grid(height: int, width: int, longest: int) -> tuple[int, int]:
    """Return a grid of the same shape with at most `longest` cells a side."""
    scale = min(1.0, longest / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _base64(numbers: Tensor) -> str:
    return b64encode(numbers.contiguous().numpy().tobytes()).decode("ascii")
