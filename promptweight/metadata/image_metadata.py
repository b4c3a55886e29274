"""Metadata in image files: generation settings written to PNG, JPEG, WebP and AVIF files, and read from them.

An image of promptweight has three parts of metadata (`METADATA_PARTS`), each optional:

- `parameters`: the infotext, AUTOMATIC1111's settings text, which most tools and image sites read; a PNG text
  chunk of that name, the EXIF UserComment of a JPEG, WebP or AVIF;
- `promptweight`: the same and more as JSON, exact where the infotext is ambiguous; a PNG text chunk of that
  name, a property of the XMP packet elsewhere;
- `iptc`: the IPTC mark, in the XMP packet, of an image made by a trained model.
"""

from __future__ import annotations

import contextlib
import html
import io
import json
import os
import stat
import warnings
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin, UnidentifiedImageError

from promptweight import validation
from promptweight.errors import FileFormatError, SettingError
from promptweight.messages import message
from promptweight.metadata.a1111 import parse_infotext, replace_unwritable
from promptweight.metadata.generation_info import GenerationInfo
from promptweight.metadata.image_texts import collect_texts
from promptweight.metadata.text_encodings import decode_text
from promptweight.metadata.tools import read_generation_info, read_text_file

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's term for an image made by a trained model."""

_XMP_HEAD = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
"""
_XMP_MARK = f"""<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="{DIGITAL_SOURCE_TYPE}"/>
"""
_XMP_TAIL = """</rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""

XMP = _XMP_HEAD + _XMP_MARK + _XMP_TAIL
"""XMP packet with the IPTC mark alone."""

_XMP_RECORD = "promptweight:record"
_XMP_NAMESPACE = "urn:promptweight:1"

METADATA_PARTS = ("parameters", "promptweight", "iptc")
"""Parts of metadata in an image file."""

IMAGE_FORMATS: Mapping[str, str] = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP", "avif": "AVIF"}
"""Image formats that can be written, with Pillow's names of them."""

_MAX_JPEG_SEGMENT = 65_500
"""Bytes of EXIF data or XMP that fit into one segment of a JPEG, of 64 KiB with its header."""

_USER_COMMENT, _EXIF_IFD = 0x9286, 0x8769

_TEXT_SUFFIXES = (".txt", ".json")
_MAX_TEXT_FILE = 16 * 2**20
"""Bytes of a file of settings that are read."""
_HEAD_BYTES = 2**18
"""Bytes at the beginning of a file where content credentials are."""

_PARAMETERS, _RECORD, _XMP = "parameters", "promptweight", "XML:com.adobe.xmp"


@dataclass(frozen=True)
class ImageMetadata:
    """The metadata of an image file.

    Attributes:
        record: the JSON of promptweight, or None.
        infotext: AUTOMATIC1111's settings text, unchanged, or None.
        digital_source_type: IPTC's term for the origin of the image, or None.
        other_tool: the generation settings of another tool, with `error` where its prompt is not known; None
            without any.
    """

    record: dict[str, Any] | None
    infotext: str | None
    digital_source_type: str | None
    other_tool: GenerationInfo | None = None

    def generation_info(self) -> GenerationInfo | None:
        """Return the generation settings from the most exact part of the metadata; None without any.

        Raises:
            FileFormatError: the image is of another tool, and its prompt is not in the file.
        """
        if self.record is not None:
            record = dict(self.record)
            prompt, negative = (str(record.pop(name, "")) for name in ("prompt", "negative_prompt"))
            dialect = str(record.get("dialect", "pw"))
            return GenerationInfo("promptweight", prompt, negative, record, dialect)
        if self.other_tool is not None and self.other_tool.error is not None:
            raise FileFormatError(self.other_tool.error)
        return self.other_tool

    def find_info(self) -> GenerationInfo | None:
        """Return the generation settings, also those of another tool whose prompt is not in the file."""
        return self.other_tool if self.record is None else self.generation_info()

    def to_dict(self) -> dict[str, Any]:
        """Return all metadata as JSON data; `tool` is None in a file without generation settings."""
        found = self.find_info()
        values: dict[str, Any] = {"tool": None, "prompt": "", "negative_prompt": "", "settings": {}}
        if found is not None:
            values = {
                "tool": found.tool,
                "prompt": found.prompt,
                "negative_prompt": found.negative_prompt,
                "settings": dict(found.settings),
            }
        if self.record is not None and self.infotext is not None:
            _, negative, settings = parse_infotext(self.infotext)
            values["negative_prompt"] = values["negative_prompt"] or negative
            values["settings"] = settings or values["settings"]
        return {
            **values,
            "dialect": None if found is None else found.dialect,
            "options": {} if found is None else dict(found.options),
            "loras": [] if found is None else [asdict(lora) for lora in found.loras],
            "warnings": [] if found is None else list(found.warnings),
            "error": None if found is None else found.error,
            "promptweight": self.record,
            "parameters": self.infotext,
            "digital_source_type": self.digital_source_type,
        }


def check_parts(parts: Collection[str]) -> None:
    """Raise `SettingError` where one of `parts` is not in `METADATA_PARTS`."""
    for part in parts:
        validation.check_choice("metadata", part, METADATA_PARTS)


def parse_parts(text: str) -> tuple[str, ...]:
    """Parse a list of `METADATA_PARTS` such as `parameters,iptc`; `none` is the empty list.

    >>> parse_parts("iptc, parameters"), parse_parts("none")
    (('iptc', 'parameters'), ())

    Raises:
        SettingError: a part is unknown, or `none` is combined with others.
    """
    if text.strip() == "none":
        return ()
    parts = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for part in parts:
        validation.check_choice("metadata", part, (*METADATA_PARTS, "none"))
    if "none" in parts:
        raise SettingError(message("metadata-parts", text=text))
    return parts


def build_png_info(
    record: Mapping[str, Any], infotext: str, parts: Collection[str] = METADATA_PARTS
) -> PngImagePlugin.PngInfo:
    """Build the text chunks of a PNG from `record` (any JSON values) and the infotext."""
    info = PngImagePlugin.PngInfo()
    if "iptc" in parts:
        info.add_itxt(_XMP, XMP)
    if "parameters" in parts:
        _add_text(info, _PARAMETERS, replace_unwritable(infotext))
    if "promptweight" in parts:
        _add_text(info, _RECORD, _to_json(record))
    return info


def encode_image(
    image: Image.Image,
    format: str,  # noqa: A002
    record: Mapping[str, Any],
    infotext: str,
    parts: Collection[str] = METADATA_PARTS,
) -> tuple[bytes, tuple[str, ...]]:
    """Encode an image file with metadata; also return warnings about metadata that the format cannot store.

    Args:
        image: the image.
        format: one of `IMAGE_FORMATS`; WebP and PNG are lossless, JPEG and AVIF of high quality.
        record: any JSON values.
        infotext: AUTOMATIC1111's settings text.
        parts: the `METADATA_PARTS` to write.

    Raises:
        SettingError: the format or a part is unknown.
    """
    validation.check_choice("format", format, tuple(IMAGE_FORMATS))
    check_parts(parts)
    file = io.BytesIO()
    if format == "png":
        image.save(file, format="PNG", pnginfo=build_png_info(record, infotext, parts))
        return file.getvalue(), ()
    warnings = []
    exif = _build_exif(infotext) if "parameters" in parts else b""
    xmp = _build_xmp(record if "promptweight" in parts else None, marked="iptc" in parts)
    if format == "jpeg" and len(exif) > _MAX_JPEG_SEGMENT:
        exif = b""
        warnings.append("the settings are too long for the EXIF data of a JPEG and are left out")
    if format == "jpeg" and len(xmp) > _MAX_JPEG_SEGMENT:
        xmp = _build_xmp(None, marked="iptc" in parts)
        warnings.append("the settings are too long for the XMP packet of a JPEG and are left out")
    options = {"quality": 95} if format in ("jpeg", "avif") else {"lossless": True}
    blocks = {name: value for name, value in (("exif", exif), ("xmp", xmp)) if value}
    image.save(file, format=IMAGE_FORMATS[format], **options, **blocks)
    return file.getvalue(), tuple(warnings)


def _to_json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=True, allow_nan=False)


def _build_exif(infotext: str) -> bytes:
    """Build EXIF data with the infotext in its UserComment, encoded as by AUTOMATIC1111 (piexif)."""
    exif = Image.Exif()
    exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = b"UNICODE\0" + replace_unwritable(infotext).encode("utf-16-be")
    return exif.tobytes()


def _build_xmp(record: Mapping[str, Any] | None, *, marked: bool) -> bytes:
    description = ""
    if record is not None:
        description = (
            f'<rdf:Description rdf:about="" xmlns:promptweight="{_XMP_NAMESPACE}">\n'
            f"<{_XMP_RECORD}>{html.escape(_to_json(record), quote=False)}</{_XMP_RECORD}>\n"
            "</rdf:Description>\n"
        )
    content = (_XMP_MARK if marked else "") + description
    return f"{_XMP_HEAD}{content}{_XMP_TAIL}".encode() if content else b""


def read_metadata(path: str | os.PathLike[str]) -> ImageMetadata:
    """Read the metadata of a PNG, JPEG, WebP or AVIF file, or of a text file with the settings of an image.

    A `.txt` or `.json` file of the same name beside an image without settings is read in their place.

    Raises:
        OSError: the file cannot be opened.
        FileFormatError: the file is not an image, is damaged, or is a pipe, socket or device.
    """
    if is_special_file(path):
        kind = message("image-not-a-file")
        raise FileFormatError(message("image-unreadable", path=os.fspath(path), reason=kind))
    if Path(path).suffix.casefold() in _TEXT_SUFFIXES:
        return _read_text_file(Path(path))
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
        file.seek(0)
        try:
            with warnings.catch_warnings():
                # What is wrong with a file is an error or has no effect; larger images are refused by Pillow.
                warnings.simplefilter("ignore")
                with Image.open(file) as image:
                    found = collect_texts(image, head)
        except Exception as error:  # decoders raise many kinds of errors for damaged files
            is_unknown = isinstance(error, UnidentifiedImageError)
            reason = message("image-format-unknown") if is_unknown else str(error)
            raise FileFormatError(message("image-unreadable", path=os.fspath(path), reason=reason)) from error
    record: object = None
    with contextlib.suppress(ValueError, RecursionError):
        record = json.loads(found.texts.get(_RECORD) or _extract_record(found.xmp))
    metadata = ImageMetadata(
        record=record if isinstance(record, dict) else None,
        infotext=found.texts.get(_PARAMETERS) or next(iter(found.user_comments), None),
        digital_source_type=_find_source_type(found.xmp),
        other_tool=read_generation_info(found),
    )
    is_empty = metadata.record is None and metadata.infotext is None
    if is_empty and (metadata.other_tool is None or metadata.other_tool.error is not None):
        beside = _read_beside(Path(path))
        return metadata if beside is None else replace(metadata, other_tool=beside)
    return metadata


def is_special_file(path: str | os.PathLike[str]) -> bool:
    """Return True for a pipe, socket or device, whose opening can wait forever.

    Raises:
        OSError: the path does not exist.
    """
    mode = os.stat(path).st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _read_text_file(path: Path) -> ImageMetadata:
    """Read a file of settings without an image."""
    with open(path, "rb") as file:
        text = decode_text(file.read(_MAX_TEXT_FILE))
    info = read_text_file(text)
    return ImageMetadata(None, text if text.strip() else None, None, info)


def _read_beside(path: Path) -> GenerationInfo | None:
    """Read the file of settings that some tools write beside an image; None where it has no settings."""
    for suffix in _TEXT_SUFFIXES:
        beside = path.with_suffix(suffix)
        with contextlib.suppress(OSError):
            info = _read_text_file(beside).other_tool if beside.is_file() else None
            if info is not None and info.error is None and info.options:
                return info
    return None


def _extract_record(xmp: str) -> str:
    """Return the JSON in an XMP packet; a text search, since hostile XML can occupy a parser without end."""
    start = xmp.find(f"<{_XMP_RECORD}>")
    end = xmp.find(f"</{_XMP_RECORD}>", start)
    return html.unescape(xmp[start + len(_XMP_RECORD) + 2 : end]) if 0 <= start < end else ""


def _find_source_type(xmp: str) -> str | None:
    base = DIGITAL_SOURCE_TYPE.rpartition("/")[0] + "/"
    start = xmp.find(base)
    if start < 0:
        return None
    end = start + len(base)
    while end < len(xmp) and xmp[end].isalnum():
        end += 1
    return xmp[start:end]


def _add_text(info: PngImagePlugin.PngInfo, name: str, text: str) -> None:
    """Add an uncompressed text; Pillow does not read compressed texts above 1 MiB."""
    if text.isascii():
        info.add_text(name, text)
    else:
        info.add_itxt(name, text)
