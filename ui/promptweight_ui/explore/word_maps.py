"""Maps of one word for the Explore tab: in every layer and head, and at every captured step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from promptweight_ui.explore.attention import MAX_HEADS, map_values, word_rows

if TYPE_CHECKING:
    from promptweight.attention import AttentionCapture

MAX_LAYERS = 16
"""Layers of a wall; of more, those at even distances, the last included."""


def word_wall(capture: AttentionCapture, step: int, word: int) -> list[dict[str, Any]]:
    """Return the maps of a word in the heads of each layer at a step.

    Args:
        capture: the captured attention.
        step: a captured step.
        word: the index of the word in the text of the step.

    Returns:
        Layers with their index as `layer`, and `heads`, the map of each head.

    Raises:
        IndexError: there is no such step or word.
    """
    rows = _rows_of(capture, step, word)
    number = len(capture.layers)
    interval = -(-number // MAX_LAYERS)
    wall = []
    for index in range((number - 1) % interval, number, interval):
        inputs = capture.text.get((capture.layers[index].name, step))
        if inputs is None:
            continue
        maps = inputs.columns([inputs.text.start + row for row in rows])[:MAX_HEADS]
        wall.append({"layer": index, "heads": [map_values(each) for each in maps]})
    return wall


def word_film(
    capture: AttentionCapture, layer: int, head: int, step: int, word: int
) -> list[dict[str, Any] | None]:
    """Return the map of a word in one layer and head at each captured step.

    Args:
        capture: the captured attention.
        layer: the index of the layer.
        head: the index of the head.
        step: the step in whose text the word is selected; the text may change during sampling.
        word: the index of the word.

    Returns:
        The maps; None at steps whose text does not have the word.

    Raises:
        IndexError: there is no such layer, head, step or word.
    """
    _rows_of(capture, step, word)
    if not 0 <= layer < len(capture.layers):
        raise IndexError("layer")
    chosen, name = capture.variant_at(step)[0].table.words[word], capture.layers[layer].name
    frames: list[dict[str, Any] | None] = []
    for each in capture.steps:
        words = capture.variant_at(each)[0].table.words
        same = (
            index
            for index, other in enumerate(words)
            if (other.text, other.occurrence) == (chosen.text, chosen.occurrence)
        )
        place, inputs = next(same, None), capture.text.get((name, each))
        if inputs is not None and not 0 <= head < inputs.heads:
            raise IndexError("head")
        if place is None or inputs is None:
            frames.append(None)
            continue
        keys = [inputs.text.start + row for row in word_rows(capture.variant_at(each))[place]]
        frames.append(map_values(inputs.columns(keys, head)[0]))
    return frames


def _rows_of(capture: AttentionCapture, step: int, word: int) -> list[int]:
    """Return the rows of the text embeddings of a word.

    Raises:
        IndexError: there is no such step or word.
    """
    if step not in capture.steps:
        raise IndexError("step")
    rows = word_rows(capture.variant_at(step))
    if not 0 <= word < len(rows):
        raise IndexError("word")
    return rows[word]
