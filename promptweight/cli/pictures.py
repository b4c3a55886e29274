"""Pictures of the command line: read, cut to a size, and given to a pipeline that takes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptweight.errors import SettingError
from promptweight.messages import message

FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM", "TGA")
"""Formats of pictures, by Pillow's names; others, such as EPS, are opened by programs that run code."""

if TYPE_CHECKING:
    from PIL import Image

    from promptweight.protocols import Pipeline


def read_pictures(image: Path | None, mask: Path | None, strength: float | None) -> dict[str, Any]:
    """Return the arguments of a pipeline for a picture to begin from.

    Args:
        image: the file of the picture.
        mask: the file of a picture of the same size that is white where the picture changes.
        strength: how much changes, 0 to 1; None is the pipeline's default.

    Raises:
        SettingError: a file is not a picture, both differ in size, or there is no picture to begin from.
    """
    if image is None:
        given = {"--mask": mask, "--strength": strength}
        if unused := [name for name, value in given.items() if value is not None]:
            raise SettingError(message("cli-picture-missing", options=", ".join(unused)))
        return {}
    pictures: dict[str, Any] = {"image": _read(image, "RGB")}
    if mask is not None:
        pictures["mask_image"] = _read(mask, "L")
        sizes = [f"{each.width} × {each.height}" for each in pictures.values()]
        if sizes[0] != sizes[1]:
            raise SettingError(message("cli-mask-size", mask=mask, size=sizes[1], image=sizes[0]))
    return pictures if strength is None else {**pictures, "strength": strength}


def read_control(control: Path | None, controlnet: str | None) -> dict[str, Any]:
    """Return the argument for a picture whose form the image follows.

    Raises:
        SettingError: the file is not a picture, or there is a ControlNet without a picture.
    """
    if control is None:
        if controlnet is not None:
            raise SettingError(message("cli-control-missing"))
        return {}
    return {"control_image": _read(control, "RGB")}


def choose_pipeline(pipe: Pipeline, arguments: Mapping[str, Any], controlnet: str | None) -> Pipeline:
    """Return the pipeline that takes the pictures among the arguments, made of the parts of `pipe`.

    Args:
        pipe: the pipeline that was loaded.
        arguments: the arguments of `read_pictures` and `read_control`, and others.
        controlnet: the name of the ControlNet that follows `control_image`; None where the pipeline does.

    Raises:
        ModelError: there is none, or the ControlNet cannot be loaded.
        SettingError: the pipeline follows no picture.
    """
    from promptweight.models import get_control_argument, load_controlnet, make_picture_pipeline

    names = [name for name in ("image", "mask_image") if arguments.get(name) is not None]
    loaded = None
    if controlnet is not None:
        device = pipe._execution_device
        loaded = load_controlnet(controlnet, device=str(device), dtype=pipe.dtype)
    made = make_picture_pipeline(pipe, names, loaded)
    if "control_image" in arguments and get_control_argument(made) in (None, *names):
        raise SettingError(message("cli-control-unused", pipeline=type(made).__name__))
    return made


def fit_pictures(
    arguments: Mapping[str, Any], pipe: Pipeline, width: int | None, height: int | None
) -> dict[str, Any]:
    """Return the arguments with pictures of a size, scaled and cut at the edges, by the pipeline's own names.

    The size is `width` × `height`, else that of a built-in model, else that of the picture.
    """
    from PIL import Image, ImageOps

    from promptweight.mini.worlds import world_of
    from promptweight.models import get_control_argument

    pictures = {name: each for name, each in arguments.items() if isinstance(each, Image.Image)}
    if not pictures:
        return dict(arguments)
    world = world_of(pipe)
    own = next(iter(pictures.values())).size if world is None else (world.size, world.size)
    size = (width or own[0], height or own[1])
    control = get_control_argument(pipe)
    fitted = {
        control if name == "control_image" and control is not None else name: ImageOps.fit(each, size)
        for name, each in pictures.items()
    }
    return {name: each for name, each in arguments.items() if name not in pictures} | fitted


def _read(path: Path, mode: str) -> Image.Image:
    from PIL import Image, ImageOps, UnidentifiedImageError

    from promptweight.metadata import is_special_file

    try:
        if is_special_file(path):
            raise SettingError(message("picture-unreadable", path=path, reason=message("image-not-a-file")))
        with Image.open(path, formats=FORMATS) as opened:
            return ImageOps.exif_transpose(opened).convert(mode)
    except SettingError:
        raise
    except UnidentifiedImageError as error:
        reason = message("picture-format", formats=", ".join(FORMATS))
        raise SettingError(message("picture-unreadable", path=path, reason=reason)) from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        text = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise SettingError(message("picture-unreadable", path=path, reason=text)) from error
