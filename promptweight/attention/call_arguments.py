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


class JointPositionSize:
    """Reader of the size of the latents from Krea 2's `position_ids` of text and image, (tokens, 3).

    Those of the image follow those of the text; row and column are the second and third. A run passes the
    same tensor at every step; it is read once.
    """

    def __init__(self) -> None:
        self._cache: tuple[Tensor | None, tuple[int, int]] = (None, (0, 0))

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, int]:
        """Return height and width in latents, of which an image token has two by two."""
        positions = get_argument(args, kwargs, 3, "position_ids")
        if self._cache[0] is not positions:
            tokens = get_argument(args, kwargs, 0, "hidden_states").shape[1]
            rows, columns = (int(each) + 1 for each in positions[-tokens:, 1:].amax(0))
            if rows * columns != tokens:
                raise AttachError(message("image-tokens", rows=rows, columns=columns, tokens=tokens))
            self._cache = (positions, (2 * rows, 2 * columns))
        return self._cache[1]


def read_image_shapes(args: tuple[Any, ...], kwargs: dict[str, Any], position: int = 4) -> tuple[int, int]:
    """Return height and width in latents of the first image of Qwen-Image's `img_shapes`.

    They are (frames, rows, columns) of image tokens of two by two latents; the drawn image is the first.

    Args:
        args: positional arguments of a call.
        kwargs: named arguments of the call.
        position: the position of `img_shapes` among the arguments.
    """
    shapes: Any = get_argument(args, kwargs, position, "img_shapes")
    first = shapes[0]  # of one image, or of a list of them
    frames, rows, columns = first if isinstance(first[0], int) else first[0]
    if frames != 1:
        raise AttachError(message("image-tokens", rows=rows, columns=columns, tokens=frames * rows * columns))
    return 2 * rows, 2 * columns
