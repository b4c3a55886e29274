"""Places of text and image among the queries and keys of a layer, and the layers that have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from promptweight.attention.layers import Layer, grid_size
from promptweight.attention.probing.observation import Projected
from promptweight.errors import AttachError
from promptweight.messages import message

MAX_STRIDE = 64
MULTIPLES = (2, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True)
class LayerPlaces:
    """The positions of text and image in one layer."""

    name: str
    projected: Projected
    text_start: int
    """Position among the keys of the text's first row, which may be one that is left out."""
    image_queries: range
    """Positions of the image among the queries; empty where the text attends to itself."""
    image_keys: range
    """Positions of the image among the keys; empty where they are the text's alone."""
    cells: tuple[int, ...] = ()
    """Positions in the image of the places whose latents were changed; empty where they are not known."""


def place_image(
    pipeline: str, layer: str, own: Projected, start: int, changed: Sequence[Projected], row: int
) -> LayerPlaces:
    """Return where the image is in a layer whose queries and keys change with places of the latents.

    Args:
        pipeline: the name of the pipeline, for errors.
        layer: the name of the layer.
        own: its queries and keys.
        start: the position of the text's first row among its keys.
        changed: its queries and keys with each of the places changed.
        row: the batch row of the change.

    Raises:
        AttachError: the image is not at one range of positions.
    """
    queries, keys = (
        [find(own, each)[row] for each in changed]
        for find in (Projected.find_changed_queries, Projected.find_changed_keys)
    )
    if not any(bool(each.any()) for each in queries):
        return LayerPlaces(layer, own, start, range(0), range(0))
    if not any(bool(each.any()) for each in keys):
        # with convolutions between, neighbors change, too
        is_single = all(int(each.count_nonzero()) == 1 for each in queries)
        known = tuple(int(each.argmax()) for each in queries) if is_single else ()
        return LayerPlaces(layer, own, start, range(own.query.shape[2]), range(0), known)
    peaks = [[find_peak(change) for change in changes] for changes in (queries, keys)]
    if any(peak is None for each in peaks for peak in each):
        raise AttachError(message("probe-image", pipeline=pipeline, layer=layer))
    of_queries, of_keys = (range(each[0] or 0, (each[-1] or 0) + 1) for each in peaks)
    if len(of_queries) != len(of_keys):
        raise AttachError(message("probe-image", pipeline=pipeline, layer=layer))
    cells = tuple((peak or 0) - of_queries.start for peak in peaks[0])
    return LayerPlaces(layer, own, start, of_queries, of_keys, cells)


def list_forms(
    pipeline: str,
    found: LayerPlaces,
    length: int,
    size: tuple[int, int],
    side: int,
    places: Sequence[tuple[int, ...]],
) -> list[Layer]:
    """Return the forms of a layer that have the text and the image in these places.

    Args:
        pipeline: the name of the pipeline, for errors.
        found: the places.
        length: number of rows of the text.
        size: height and width of the latents.
        side: the side of a position of packed latents, in latents; 0 for latents that are not packed.
        places: the changed places of the latents, each a row and a column, or a position of packed latents.

    Raises:
        AttachError: no form has them there.
    """
    heads, start, cells = found.projected.query.shape[1], found.text_start, len(found.image_queries)
    if not cells:
        return [Layer(found.name, 1, heads, "text", leading=start)]
    strides = [side] if side else range(1, MAX_STRIDE + 1)
    stride = next((each for each in strides if _count_cells(size, each) == cells), 0)
    columns = grid_size(*size, stride or 1)[1]
    raster = [
        place[0] if len(place) == 1 else place[0] // stride * columns + place[1] // stride
        for place in places
        if stride
    ]
    if not stride or (found.cells and list(found.cells) != raster):
        raise AttachError(message("probe-image", pipeline=pipeline, layer=found.name))
    if not found.image_keys:
        if start:
            raise AttachError(message("probe-columns", pipeline=pipeline, layer=found.name))
        return [Layer(found.name, stride, heads)]
    keys = found.projected.key.shape[2]
    image = Layer(found.name, stride, heads, "image first", found.name)
    forms = []
    if found.image_keys.start == start + length:
        forms.append(replace(image, order="text first", leading=start))
    if found.image_keys.start == 0 and start == keys - length:
        forms.append(image)
    if found.image_keys.start == 0:
        for multiple in MULTIPLES:
            padded = _pad(cells, multiple)
            fits = keys >= padded + _pad(length, multiple) and not keys % multiple
            if start == padded and fits:
                forms.append(replace(image, multiple=multiple))
    if not forms:
        raise AttachError(message("probe-columns", pipeline=pipeline, layer=found.name))
    return forms


def find_peak(change: Tensor) -> int | None:
    """Return the position that changes at least twice as much as every other; None for none."""
    top = int(change.argmax())
    others = change.clone()
    others[top] = 0
    return top if change[top] > 0 and others.max() <= change[top] / 2 else None


def _count_cells(size: tuple[int, int], stride: int) -> int:
    rows, columns = grid_size(*size, stride)
    return rows * columns


def _pad(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
