"""The numbers of one patch, one word, one layer, one head and one step, as the Explore tab shows them."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptweight_ui.regions.masks import written_weight

if TYPE_CHECKING:
    from torch import Tensor

    from promptweight import Result
    from promptweight.attention import AttentionCapture, LayerCapture, SoftmaxRow
    from promptweight.conditioning import Word
    from promptweight.generation import Progress
    from promptweight.maps import PromptVariant

MOST_TOKENS = 24
"""Rows of the table that are tokens of the prompt; what further ones get is told in one row."""

MOST_DIMENSIONS = 32
"""How many numbers of a vector are drawn."""

MOST_HEADS = 24
"""How many heads are drawn side by side."""

LOOKED_AT = 5
"""How many steps of a run are kept."""

MOST_MEGABYTES = 192.0


@dataclass(frozen=True)
class Place:
    """What is looked at: indices of a layer, a head, a patch and a word, and a step."""

    layer: int
    head: int
    step: int
    patch: int
    word: int


def look_inside(
    pipe: Any, result: Result, image: int = 0, callback: Callable[[Progress], bool | None] | None = None
) -> AttentionCapture:
    """Make a picture of `result` again, up to the last of `LOOKED_AT` steps, and keeps its attention.

    It is the same picture to the last bit, since the same settings are used with the same seed.

    Args:
        pipe: the pipeline that made it.
        result: what was made.
        image: which of its pictures.
        callback: as in `promptweight.generate`.
    """
    from promptweight.attention import Record, attach, capture_attention
    from promptweight.generation import run_pipeline

    settings = result.settings
    steps = settings["num_inference_steps"]
    chosen = looked_at(result.stopped_after or steps)
    size = result.images[image]
    call = {
        "num_inference_steps": steps,
        "guidance_scale": settings["guidance_scale"],
        "width": size.width,
        "height": size.height,
    }
    weighting = {
        name: settings[name] for name in ("method", "normalizer", "space", "mode", "clip_skip", "pooled")
    }
    record = Record(patches=((0.5, 0.5),))

    def is_wanted(progress: Progress) -> bool:
        goes_on = callback is None or callback(progress) is not False
        return goes_on and progress.step <= chosen[-1]

    with (
        attach(
            pipe,
            result.prompt,
            result.negative_prompt,
            record=record,
            num_inference_steps=steps,
            **weighting,
        ) as session,
        capture_attention(session, chosen, MOST_MEGABYTES) as inside,
    ):
        run_pipeline(pipe, session, call, result.seeds[image], (1, 1), False, is_wanted)
    return inside


def looked_at(steps: int) -> tuple[int, ...]:
    """Return which of so many steps are kept: the first, the last, and some evenly between."""
    if steps <= LOOKED_AT:
        return tuple(range(steps))
    return tuple(round(part * (steps - 1) / (LOOKED_AT - 1)) for part in range(LOOKED_AT))


def about(inside: AttentionCapture) -> dict[str, Any]:
    """Return what can be chosen: layers, heads, steps, and the words of every text that the prompt says."""
    return {
        "layers": [
            {
                "name": layer.name,
                "part": _part(layer.name),
                "joint": layer.order != "cross",
                "rows": inside.sizes[layer.name][0],
                "columns": inside.sizes[layer.name][1],
                "heads": layer.heads,
            }
            for layer in inside.layers
        ],
        "left_out": len(inside.left_out),
        "steps": list(inside.steps),
        "texts": [
            {
                "text": _sayable(tables[0].table.prompt.text),
                "words": [
                    {
                        "text": _sayable(word.text),
                        "weight": _weight(word, tables[0].table.prompt.source),
                        "punctuation": word.is_punctuation,
                    }
                    for word in tables[0].table.words
                ],
            }
            for tables in inside.texts
        ],
        "said": {str(step): text for step, text in inside.said.items() if step in inside.steps},
    }


def _weight(word: Word, source: str) -> float:
    """Return the weight that was written for a word: a painted one carries another, for its map."""
    is_painted = word.options is not None and word.options.region is not None and word.weight == math.e
    return written_weight(source, word.start) if is_painted else word.weight


def look(inside: AttentionCapture, place: Place) -> dict[str, Any]:
    """Return everything that is shown of one place.

    Raises:
        IndexError: there is no such layer, head, step, patch or word.
    """
    tables = inside.tables(place.step) if place.step in inside.steps else ()
    words = tables[0].table.words if tables else ()
    for name, index, number in (("layer", place.layer, len(inside.layers)), ("word", place.word, len(words))):
        if not 0 <= index < number:
            raise IndexError(name)
    layer = inside.layers[place.layer]
    reading = inside.text.get((layer.name, place.step))
    if reading is None or not 0 <= place.head < reading.heads:
        raise IndexError("step or head")
    if not 0 <= place.patch < reading.query.shape[1]:
        raise IndexError("patch")
    tokens = _rows_of_words(tables)
    row = reading.row(place.head, place.patch)
    chosen = [reading.text.start + token for token in tokens[place.word]]
    maps = reading.columns(chosen)
    seen = inside.image.get((layer.name, place.step))
    return {
        "map": _map(maps[place.head]),
        "heads": [_map(each) for each in maps[:MOST_HEADS]] if len(maps) > 1 else [],
        "image": None if seen is None else _image(seen, place),
        "words": [
            _number(row.probabilities[[reading.text.start + token for token in each]].sum())
            for each in tokens
        ],
        "dimensions": row.keys.shape[1],
        "table": _table(tables, reading, row, tokens[place.word]),
        "output": _vector(row.output),
        "query": _vector(row.query),
        "key": _vector(row.keys[chosen[0]]) if chosen else [],
    }


def _image(seen: LayerCapture, place: Place) -> dict[str, Any]:
    head = min(place.head, seen.heads - 1)
    probabilities = seen.row(head, place.patch).probabilities[seen.image]
    return {"map": _map(probabilities), "total": _number(probabilities.sum())}


def _table(tables: PromptVariant, reading: LayerCapture, row: SoftmaxRow, chosen: list[int]) -> list[dict[str, Any]]:
    """Return a line for each token, and one for all padding, all other tokens, and the picture itself.

    What the lines take along, `taken`, adds up to the output.
    """
    lines: list[dict[str, Any]] = []
    rest: dict[str, list[int]] = {"other": [], "pad": []}
    texts = 0
    for placed in tables:
        text = placed.table.prompt.text
        for token in placed.table.tokens:
            key = reading.text.start + placed.start + token.position
            is_text = token.kind == "text"
            texts += is_text
            if token.kind == "pad":
                rest["pad"].append(key)
            elif is_text and texts > MOST_TOKENS and placed.start + token.position not in chosen:
                rest["other"].append(key)
            else:
                lines.append(
                    {
                        "kind": token.kind,
                        "text": _sayable(text[token.start : token.end]) if is_text else "",
                        "chosen": placed.start + token.position in chosen,
                        "product": _number(row.products[key]),
                        "bias": _number(row.bias[key]),
                        "factor": _number(row.factors[key]),
                        **_taken(row, [key]),
                    }
                )
    named = {key for keys in rest.values() for key in keys}
    known = {
        reading.text.start + placed.start + token.position
        for placed in tables
        for token in placed.table.tokens
    }
    # Rows of the text that no token stands for, as where a shorter encoding is filled up.
    rest["pad"] += [key for key in range(reading.text.start, reading.text.stop) if key not in known | named]
    rest["image"] = list(range(reading.image.start, reading.image.stop))
    return lines + [
        {"kind": kind, "count": len(keys), "chosen": False, **_taken(row, keys)}
        for kind, keys in rest.items()
        if keys
    ]


def _taken(row: SoftmaxRow, keys: list[int]) -> dict[str, Any]:
    shares = row.probabilities[keys]
    return {
        "probability": _number(shares.sum()),
        "taken": _vector((shares * row.factors[keys]) @ row.values[keys]),
    }


def _rows_of_words(tables: PromptVariant) -> list[list[int]]:
    """Return the rows of the text that stand for each word, in all tables that hold it."""
    found = []
    for word in tables[0].table.words:
        rows = {
            placed.start + position
            for placed in tables
            for other in placed.table.words
            if (other.start, other.end) == (word.start, word.end)
            for position in other.positions
        }
        found.append(sorted(rows))
    return found


def _part(name: str) -> str:
    first = name.split(".", 1)[0]
    return {"down_blocks": "down", "mid_block": "mid", "up_blocks": "up"}.get(first, "all")


def _map(values: Tensor) -> dict[str, Any]:
    """Return values from 0 on as bytes, and the value that 255 stands for."""
    top = float(values.max())
    numbers = (values / max(top, 1e-30) * 255).round().byte()
    return {
        "values": b64encode(numbers.contiguous().numpy().tobytes()).decode("ascii"),
        "top": _number(values.max()),
        "mean": _number(values.mean()),
    }


def _vector(values: Tensor) -> list[float]:
    return [_number(value) for value in values[:MOST_DIMENSIONS]]


def _number(value: Any) -> float:
    return float(f"{float(value):.4g}")


def _sayable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
