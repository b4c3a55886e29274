"""Arguments of a model's call, passed by position or by name, and the size of the latents among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from promptweight.errors import AttachError
from promptweight.messages import message

Argument = tuple[int, str]
"""Position and name of an argument of a model's call."""

LatentSize = Callable[[tuple[Any, ...], dict[str, Any]], tuple[int, int]]
"""Function of a call's arguments that gives height and width of its latents."""


def get_argument(args: tuple[Any, ...], kwargs: dict[str, Any], position: int, name: str) -> Any:
    """Return an argument of a call, passed by position or by name."""
    return args[position] if len(args) > position else kwargs[name]


def set_argument(
    args: tuple[Any, ...], kwargs: dict[str, Any], position: int, name: str, value: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a call with another value of one that it has by position or by name."""
    if len(args) > position:
        return (*args[:position], value, *args[position + 1 :]), kwargs
    return args, kwargs | {name: value}


def make_latent_size(position: int, name: str) -> LatentSize:
    """Make a function that reads the size from latents (batch, channels, height, width)."""

    def read_size(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, int]:
        latents = get_argument(args, kwargs, position, name)
        if not isinstance(latents, Tensor):
            latents = latents[0]
        return latents.shape[-2], latents.shape[-1]

    return read_size


def read_given_size(args: tuple[Any, ...], kwargs: dict[str, Any], position: int) -> tuple[int, int]:
    """Return height and width in latents: the argument `height` at this position, `width` at the next."""
    height = get_argument(args, kwargs, position, "height")
    width = get_argument(args, kwargs, position + 1, "width")
    return int(height), int(width)


class PackedLatentSize:
    """Reader of the size of FLUX's packed latents from their positions, `img_ids` (tokens, 3 or 4).

    The first of them is 0 for the image that is drawn, and more for one that it is drawn after; the next are
    row and column. A run passes the same tensor at every step; it is read once.

    Args:
        position: the position of `img_ids` among the arguments of a call.
        side: the side in latents of an image token; 1 where the pipeline counts a token as one latent.
    """

    def __init__(self, position: int = 4, side: int = 2) -> None:
        self._position, self._side = position, side
        self._cache: tuple[Tensor | None, tuple[int, int]] = (None, (0, 0))

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, int]:
        """Return height and width in latents."""
        positions = get_argument(args, kwargs, self._position, "img_ids")
        if self._cache[0] is not positions:
            of_first = positions.reshape(-1, *positions.shape[-2:])[0]
            is_drawn = of_first[:, 0] == 0
            drawn = of_first[: int(is_drawn.sum())]
            rows, columns = (int(drawn[:, axis].max()) + 1 if len(drawn) else 0 for axis in (1, 2))
            if not len(drawn) or rows * columns != len(drawn) or not bool(is_drawn[: len(drawn)].all()):
                tokens = len(drawn)
                raise AttachError(message("image-tokens", rows=rows, columns=columns, tokens=tokens))
            self._cache = (positions, (self._side * rows, self._side * columns))
        return self._cache[1]


class RasterPositions:
    """Reader of the size of packed latents from rotary positions (…, tokens, axes) among a call's arguments.

    The positions of the image are the last ones; a row and a column are two consecutive numbers of each. A
    run passes the same tensor at every step; it is read once.

    Args:
        argument: the positions among the arguments of a call.
        latents: the latents (batch, tokens, channels).
        axis: index of the row among the numbers of a position.
        side: the side of a position in latents.
    """

    def __init__(self, argument: Argument, latents: Argument, axis: int, side: int = 1) -> None:
        self._argument, self._latents, self._axis, self._side = argument, latents, axis, side
        self._cache: tuple[Any, tuple[int, int]] = (None, (0, 0))

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, int]:
        """Return height and width in latents."""
        positions = get_argument(args, kwargs, *self._argument)
        if self._cache[0] is not positions:
            tokens = get_argument(args, kwargs, *self._latents).shape[1]
            rows, columns = self._count(positions, tokens, self._axis)
            if rows * columns != tokens:
                raise AttachError(message("image-tokens", rows=rows, columns=columns, tokens=tokens))
            self._cache = (positions, (self._side * rows, self._side * columns))
        return self._cache[1]

    @staticmethod
    def _count(positions: Tensor, tokens: int, axis: int) -> tuple[int, int]:
        """Return the numbers of rows and columns of the last positions."""
        last = positions.reshape(-1, *positions.shape[-2:])[0][-tokens:, axis : axis + 2]
        rows, columns = (int(each) for each in last.amax(0) - last.amin(0) + 1)
        return rows, columns

    @classmethod
    def find_axis(cls, value: Any, grid: tuple[int, int]) -> int | None:
        """Return the index of the row in positions of a grid of rows and columns; None for another value."""
        tokens = grid[0] * grid[1]
        if not isinstance(value, Tensor) or value.ndim < 2 or value.shape[-2] < tokens or value.shape[-1] > 4:
            return None
        axes = range(value.shape[-1] - 1)
        return next((axis for axis in axes if cls._is_raster(value, grid, axis)), None)

    @classmethod
    def _is_raster(cls, positions: Tensor, grid: tuple[int, int], axis: int) -> bool:
        """Return whether the last positions are those of a grid, row after row."""
        tokens = grid[0] * grid[1]
        if cls._count(positions, tokens, axis) != grid:
            return False
        last = positions.reshape(-1, *positions.shape[-2:])[0][-tokens:, axis : axis + 2]
        rows, columns = (last - last.amin(0)).round().long().unbind(1)
        return (rows * grid[1] + columns).tolist() == list(range(tokens))


class ImageShapes:
    """Reader of the size of packed latents from a list of the images' shapes, which may be in another list.

    A shape is (frames, rows, columns) of image tokens; the drawn image is the first.

    Args:
        argument: the shapes among the arguments of a call.
        side: the side of an image token in latents.
    """

    def __init__(self, argument: Argument, side: int = 2) -> None:
        self._argument, self._side = argument, side

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, int]:
        """Return height and width in latents."""
        frames, rows, columns = self._read_first(get_argument(args, kwargs, *self._argument))
        if frames != 1:
            tokens = frames * rows * columns
            raise AttachError(message("image-tokens", rows=rows, columns=columns, tokens=tokens))
        return self._side * rows, self._side * columns

    @classmethod
    def has_grid(cls, value: Any, grid: tuple[int, int]) -> bool:
        """Return whether a value is a list of shapes of which the first has these rows and columns."""
        try:
            return cls._read_first(value) == (1, *grid)
        except (TypeError, ValueError, LookupError):
            return False

    @staticmethod
    def _read_first(shapes: Any) -> tuple[int, int, int]:
        first = shapes[0]  # of one image, or of a list of them
        frames, rows, columns = first if isinstance(first[0], int) else first[0]
        return frames, rows, columns
