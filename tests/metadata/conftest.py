"""Image files with the metadata of other tools, written by Pillow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.ExifTags import IFD
from PIL.PngImagePlugin import PngInfo

from promptweight.metadata import GenerationInfo, read_metadata
from promptweight.metadata.tools import ImageTexts, read_generation_info

USER_COMMENT = 0x9286


@pytest.fixture
def read_png(tmp_path: Path) -> Callable[[dict[str, str]], GenerationInfo | None]:
    """Function that writes a PNG with these text chunks and returns the settings read from it."""

    def read(texts: dict[str, str]) -> GenerationInfo | None:
        info = PngInfo()
        for name, text in texts.items():
            info.add_text(name, text)
        Image.new("RGB", (16, 24)).save(tmp_path / "a.png", pnginfo=info)
        return read_metadata(tmp_path / "a.png").generation_info()

    return read


@pytest.fixture
def save_exif(tmp_path: Path) -> Callable[..., Path]:
    """Function that writes an image with EXIF fields in the first directory, and a UserComment in its own."""

    def save(suffix: str, comment: bytes | None = None, fields: dict[int, Any] | None = None) -> Path:
        exif = Image.Exif()
        for tag, value in (fields or {}).items():
            exif[tag] = value
        if comment is not None:
            exif.get_ifd(IFD.Exif)[USER_COMMENT] = comment
        path = tmp_path / f"a{suffix}"
        Image.new("RGB", (16, 16)).save(path, exif=exif.tobytes())
        return path

    return save


def read_texts(**texts: str) -> GenerationInfo | None:
    """Return the settings in texts by their names, without an image."""
    return read_generation_info(ImageTexts(texts, size=(16, 24)))


@pytest.fixture(name="read_texts")
def read_texts_fixture() -> Callable[..., GenerationInfo | None]:
    """Function that returns the settings in texts by their names."""
    return read_texts
