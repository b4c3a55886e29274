"""Texts in image files: PNG text chunks, EXIF fields, XMP packets, comments, and text hidden in pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image, PngImagePlugin

from promptweight.metadata.alpha_channel import read_hidden_text
from promptweight.metadata.text_encodings import decode_text, decode_user_comment, repair_text

_EXIF_IFD = 0x8769
_USER_COMMENT = 0x9286
_EXIF_FIELDS = {
    0x010E: "ImageDescription",
    0x010F: "Make",
    0x0110: "Model",
    0x0131: "Software",
    0x013B: "Artist",
    0x927C: "MakerNote",
    0x9C9B: "XPTitle",
    0x9C9C: "XPComment",
    0x9C9E: "XPKeywords",
    0x9C9F: "XPSubject",
}
"""EXIF fields that programs write settings to, besides the UserComment."""
_XMP_NAMES = ("xmp", "XML:com.adobe.xmp")


@dataclass(frozen=True)
class ImageTexts:
    """The texts in an image file.

    Attributes:
        texts: texts by the name of the PNG chunk or EXIF field (`exif:Make`), or `comment` of a JPEG.
        user_comments: the EXIF UserComments, of which a file may have two.
        xmp: the XMP packet.
        hidden: text in the least significant bits of the pixels.
        manifest: the beginning of a file with content credentials (C2PA), which name the program.
        size: width and height in pixels.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    user_comments: tuple[str, ...] = ()
    xmp: str = ""
    hidden: str | None = None
    manifest: str = ""
    size: tuple[int, int] = (0, 0)


def collect_texts(image: Image.Image, head: bytes = b"") -> ImageTexts:
    """Return the texts of an image; pixels are decoded where they can hold a text, or one can follow them."""
    if image.format == "PNG":
        image.load()  # text chunks can follow the pixels
    xmp = next((image.info[name] for name in _XMP_NAMES if image.info.get(name)), "")
    if isinstance(xmp, bytes):
        xmp = decode_text(xmp.strip(b"\0"))
    texts: dict[str, str] = {}
    for name, value in image.info.items():
        if isinstance(value, str) and name not in _XMP_NAMES:
            texts[str(name)] = value if isinstance(value, PngImagePlugin.iTXt) else repair_text(value)
        elif name == "comment" and isinstance(value, bytes):
            texts["comment"] = decode_text(value.strip(b"\0"))
    exif_texts, comments = _read_exif(image.getexif())
    hidden = read_hidden_text(image) if image.format in ("PNG", "WEBP") else None
    manifest = head.decode("latin-1") if b"c2pa" in head else ""
    return ImageTexts({**exif_texts, **texts}, tuple(comments), xmp, hidden, manifest, image.size)


def _read_exif(exif: Image.Exif) -> tuple[dict[str, str], list[str]]:
    """Return the texts of EXIF fields by name, and the UserComments."""
    texts: dict[str, str] = {}
    comments: list[str] = []
    big_endian = exif.endian != "<"
    for fields in (exif.get_ifd(_EXIF_IFD), exif):
        for tag, name in _EXIF_FIELDS.items():
            if (text := _read_field(fields.get(tag), tag, big_endian=big_endian)) is not None:
                texts.setdefault(f"exif:{name}", text)
        comment = decode_user_comment(_join(fields.get(_USER_COMMENT)), big_endian=big_endian)
        if comment is not None and comment not in comments:
            comments.append(comment)
    return texts, comments


def _read_field(value: Any, tag: int, *, big_endian: bool) -> str | None:
    value = _join(value)
    if isinstance(value, bytes):
        # Windows' own fields are UTF-16 of little endian, whatever the byte order of the data.
        is_windows = tag >= 0x9C9B
        value = decode_text(
            value, "unicode" if is_windows else "undefined", big_endian=big_endian and not is_windows
        )
    elif isinstance(value, str):
        value = repair_text(value)
    return value.strip("\ufeff\0") or None if isinstance(value, str) else None


def _join(value: Any) -> Any:
    """Return an EXIF field of several byte values as bytes."""
    if isinstance(value, tuple) and all(isinstance(each, int) and 0 <= each < 256 for each in value):
        return bytes(value)
    return value
