"""What is written into picture files about their making, and how it is read back.

A picture of promptweight carries three texts (`METADATA_PARTS`), of which any may be left out:

- `parameters`: the settings as AUTOMATIC1111 writes them, which most tools and picture sites read; a PNG's
  text chunk of that name, the EXIF UserComment of a JPEG, WebP or AVIF;
- `promptweight`: the same and more as JSON, exact where the first is ambiguous; a PNG's text chunk of that
  name, a property of the XMP packet elsewhere;
- `iptc`: the mark of the IPTC, in the XMP packet, that the picture was made by a trained model.

`promptweight.metadata.a1111` writes and reads the first, `promptweight.metadata.other_tools` reads what other tools write.
"""

from __future__ import annotations

import contextlib
import html
import io
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image, PngImagePlugin

from promptweight import validation
from promptweight.errors import PromptweightError, SettingError
from promptweight.metadata.a1111 import parse_infotext, writable
from promptweight.metadata.other_tools import GenerationInfo, exif_texts, read_foreign_info

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's term for a picture made by a trained model."""

_XMP_HEAD = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
"""
_XMP_MARK = f"""<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="{DIGITAL_SOURCE_TYPE}"/>
"""
_XMP_TAIL = """</rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""

XMP = _XMP_HEAD + _XMP_MARK + _XMP_TAIL
"""The XMP packet that holds the mark alone."""

_XMP_RECORD = "promptweight:record"
_XMP_NAMESPACE = "urn:promptweight:1"

METADATA_PARTS = ("parameters", "promptweight", "iptc")
"""What a picture file may carry."""

IMAGE_FORMATS: Mapping[str, str] = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP", "avif": "AVIF"}
"""The picture formats that are written, and Pillow's names of them."""

_MOST_JPEG = 65_500
"""A segment of a JPEG, which holds the EXIF data or the XMP packet, has 64 KiB."""

_USER_COMMENT, _EXIF_IFD = 0x9286, 0x8769

_PARAMETERS, _OWN, _XMP = "parameters", "promptweight", "XML:com.adobe.xmp"


@dataclass(frozen=True)
class ImageMetadata:
    """What a picture file says about its making.

    Attributes:
        record: the JSON of promptweight, or None.
        parameters: the AUTOMATIC1111 text, as it stands in the file, or None.
        digital_source_type: IPTC's term for how the picture came to be, or None.
        foreign: what ComfyUI, InvokeAI or SwarmUI wrote, or None.
    """

    record: dict[str, Any] | None
    parameters: str | None
    digital_source_type: str | None
    foreign: GenerationInfo | None = None

    def making(self) -> GenerationInfo | None:
        """Return in one form how the picture was made, by the most exact of what the file holds."""
        if self.record is not None:
            record = dict(self.record)
            prompt, negative = (str(record.pop(name, "")) for name in ("prompt", "negative_prompt"))
            return GenerationInfo("promptweight", prompt, negative, record)
        if self.foreign is not None:
            return self.foreign
        if self.parameters is None:
            return None
        return GenerationInfo("AUTOMATIC1111", *parse_infotext(self.parameters))


def check_parts(parts: Collection[str]) -> None:
    """Raise `SettingError` where one of `parts` is none of `METADATA_PARTS`."""
    for part in parts:
        validation.check_choice("metadata", part, METADATA_PARTS)


def parse_parts(text: str) -> tuple[str, ...]:
    """Return which of `METADATA_PARTS` a text such as `parameters,iptc` names; `none` is none of them.

    >>> read_parts("iptc, parameters"), read_parts("none")
    (('iptc', 'parameters'), ())

    Raises:
        SettingError: one of them is none.
    """
    if text.strip() == "none":
        return ()
    parts = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for part in parts:
        validation.check_choice("metadata", part, (*METADATA_PARTS, "none"))
    if "none" in parts:
        raise SettingError(f"metadata is {text!r}; none stands alone")
    return parts


def build_png_info(
    record: Mapping[str, Any], parameters: str, parts: Collection[str] = METADATA_PARTS
) -> PngImagePlugin.PngInfo:
    """Return the text chunks of a picture that was made with `record` (any JSON values) and `parameters`."""
    info = PngImagePlugin.PngInfo()
    if "iptc" in parts:
        info.add_itxt(_XMP, XMP)
    if "parameters" in parts:
        _add(info, _PARAMETERS, writable(parameters))
    if "promptweight" in parts:
        _add(info, _OWN, _own_json(record))
    return info


def encode_image(
    image: Image.Image,
    format: str,  # noqa: A002
    record: Mapping[str, Any],
    parameters: str,
    parts: Collection[str] = METADATA_PARTS,
) -> tuple[bytes, tuple[str, ...]]:
    """Return the file of a picture, and warnings about what it could not hold.

    Args:
        image: the picture.
        format: one of `IMAGE_FORMATS`; WebP and PNG are lossless, JPEG and AVIF of high quality.
        record: any JSON values.
        parameters: AUTOMATIC1111's text.
        parts: which of `METADATA_PARTS` are written.

    Raises:
        SettingError: there is no such format or part.
    """
    validation.check_choice("format", format, tuple(IMAGE_FORMATS))
    check_parts(parts)
    file = io.BytesIO()
    if format == "png":
        image.save(file, format="PNG", pnginfo=build_png_info(record, parameters, parts))
        return file.getvalue(), ()
    warnings = []
    exif = _exif(parameters) if "parameters" in parts else b""
    xmp = _xmp(record if "promptweight" in parts else None, marked="iptc" in parts)
    if format == "jpeg" and len(exif) > _MOST_JPEG:
        exif = b""
        warnings.append("the settings are too long for a JPEG, so its EXIF data has none")
    if format == "jpeg" and len(xmp) > _MOST_JPEG:
        xmp = _xmp(None, marked="iptc" in parts)
        warnings.append("the settings are too long for a JPEG, so its XMP packet has none")
    options = {"quality": 95} if format in ("jpeg", "avif") else {"lossless": True}
    given = {name: value for name, value in (("exif", exif), ("xmp", xmp)) if value}
    image.save(file, format=IMAGE_FORMATS[format], **options, **given)
    return file.getvalue(), tuple(warnings)


def _own_json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=True, allow_nan=False)


def _exif(parameters: str) -> bytes:
    """Return EXIF data whose UserComment holds a text as AUTOMATIC1111 (by piexif) writes it."""
    exif = Image.Exif()
    exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = b"UNICODE\0" + writable(parameters).encode("utf-16-be")
    return exif.tobytes()


def _xmp(record: Mapping[str, Any] | None, *, marked: bool) -> bytes:
    own = ""
    if record is not None:
        own = (
            f'<rdf:Description rdf:about="" xmlns:promptweight="{_XMP_NAMESPACE}">\n'
            f"<{_XMP_RECORD}>{html.escape(_own_json(record), quote=False)}</{_XMP_RECORD}>\n"
            "</rdf:Description>\n"
        )
    inside = (_XMP_MARK if marked else "") + own
    return f"{_XMP_HEAD}{inside}{_XMP_TAIL}".encode() if inside else b""


def read_metadata(path: str | os.PathLike[str]) -> ImageMetadata:
    """Return what the picture file at `path` says about its making; PNG, JPEG, WebP and AVIF.

    Raises:
        OSError: the file cannot be opened.
        PromptweightError: it is not a picture, or it is damaged.
    """
    with open(path, "rb") as file:
        try:
            with Image.open(file) as image:
                if image.format == "PNG":
                    image.load()  # text chunks may stand behind the pixels
                texts = {
                    str(name): _as_meant(text) for name, text in image.info.items() if isinstance(text, str)
                }
                exif = image.getexif()
                exif_comment = exif.get_ifd(_EXIF_IFD).get(_USER_COMMENT)
                texts |= exif_texts(exif)
                xmp = image.info.get("xmp") or texts.get(_XMP) or ""
        except Exception as error:  # a damaged file makes the decoders raise nearly anything
            raise PromptweightError(
                f"{os.fspath(path)!r} is not a picture that can be read: {error}"
            ) from error
    if isinstance(xmp, bytes):
        xmp = xmp.decode("utf-8", "replace")
    record: object = None
    with contextlib.suppress(ValueError, RecursionError):
        record = json.loads(texts.get(_OWN) or _record_text(xmp))
    parameters = texts.get(_PARAMETERS) or _user_comment(exif_comment)
    return ImageMetadata(
        record=record if isinstance(record, dict) else None,
        parameters=parameters,
        digital_source_type=_source_type(xmp),
        foreign=read_foreign_info(texts, parameters),
    )


def _as_meant(text: str) -> str:
    """Return the text of a PNG's chunk: Latin-1 by the standard, but UTF-8 where that can be read."""
    if text.isascii() or isinstance(text, PngImagePlugin.iTXt):
        return text
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _record_text(xmp: str) -> str:
    """Return the JSON in an XMP packet; found as text, since an XML parser can be made to work for ever."""
    start = xmp.find(f"<{_XMP_RECORD}>")
    end = xmp.find(f"</{_XMP_RECORD}>", start)
    return html.unescape(xmp[start + len(_XMP_RECORD) + 2 : end]) if 0 <= start < end else ""


def _user_comment(value: object) -> str | None:
    """Return the text of an EXIF UserComment: eight bytes that name the encoding, then the text."""
    if not isinstance(value, bytes) or len(value) < 8:
        return None
    name, text = value[:8], value[8:]
    if name == b"UNICODE\0":
        return text.decode(_utf_16_of(text), "replace").strip("\ufeff\0")
    return text.decode("ascii", "replace").strip("\0") if name == b"ASCII\0\0\0" else None


def _utf_16_of(text: bytes) -> str:
    """Return the byte order of a UTF-16 text: its mark's, else that in which letters look like letters."""
    if text[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16-le" if text[:2] == b"\xff\xfe" else "utf-16-be"
    return "utf-16-le" if text[1::2].count(0) > text[0::2].count(0) else "utf-16-be"


def _source_type(xmp: str) -> str | None:
    base = DIGITAL_SOURCE_TYPE.rpartition("/")[0] + "/"
    start = xmp.find(base)
    if start < 0:
        return None
    end = start + len(base)
    while end < len(xmp) and xmp[end].isalnum():
        end += 1
    return xmp[start:end]


def _add(info: PngImagePlugin.PngInfo, name: str, text: str) -> None:
    """Add a text uncompressed: compressed ones above 1 MiB are not read back by Pillow."""
    if text.isascii():
        info.add_text(name, text)
    else:
        info.add_itxt(name, text)
