"""Metadata: what other tools read, and what we read back exactly."""

import io
import json
import random
import struct
import zlib
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.ExifTags import IFD

from promptweight.atomic_files import save_png
from promptweight.errors import PromptweightError
from promptweight.metadata import DIGITAL_SOURCE_TYPE, XMP, ImageMetadata
from promptweight.metadata.a1111 import format_infotext
from promptweight.metadata.image_metadata import build_png_info, read_metadata

SETTINGS = {"Steps": 25, "Sampler": "DDIM", "CFG scale": 4.5, "Seed": 1, "Size": "64x64", "Model": "mini"}


def picture() -> Image.Image:
    return Image.linear_gradient("L").resize((16, 16)).convert("RGB")


def chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a PNG, by the format's own rules (ISO/IEC 15948), each checked against its CRC."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    found, at = [], 8
    while at < len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        data = content[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + data) == struct.unpack(">I", content[at + 8 + length : at + 12 + length])[0]
        found.append((kind, data))
        at += 12 + length
    return found


def test_a_saved_picture_says_everything_and_is_unchanged(tmp_path):
    record = {"prompt": "um (gato:1.4)\nárvore 🐱", "seed": 1, "guidance_scale": 4.5, "revision": None}
    text = format_infotext(record["prompt"], "", SETTINGS)
    save_png(picture(), tmp_path / "a.png", build_png_info(record, text))
    found = read_metadata(tmp_path / "a.png")
    assert found.record == record
    assert found.parameters == text
    assert found.digital_source_type == (
        "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    )
    with Image.open(tmp_path / "a.png") as saved:
        assert saved.tobytes() == picture().tobytes()


def test_chunks_follow_the_png_standard_and_stand_before_the_pixels(tmp_path):
    save_png(picture(), tmp_path / "a.png", build_png_info({"prompt": "é"}, "é\nSteps: 1"))
    kinds = [kind for kind, _ in chunks((tmp_path / "a.png").read_bytes())]
    assert kinds.index(b"IDAT") > max(i for i, kind in enumerate(kinds) if kind in (b"tEXt", b"iTXt"))
    texts = {data.split(b"\0")[0]: (kind, data) for kind, data in chunks((tmp_path / "a.png").read_bytes())}
    assert texts[b"promptweight"] == (b"tEXt", b'promptweight\0{"prompt": "\\u00e9"}')
    assert texts[b"parameters"] == (b"iTXt", b"parameters\0\0\0\0\0" + "é\nSteps: 1".encode())
    assert texts[b"XML:com.adobe.xmp"][0] == b"iTXt"
    # Names that other tools read as their own must not appear.
    assert not {b"prompt", b"workflow", b"Comment", b"Dream", b"negative_prompt"} & set(texts)


@given(st.text(st.characters(codec=None, exclude_categories=())) | st.just("\ud83d\udc31 \udc80 \0"))
def test_no_text_breaks_a_save(text):
    image = picture()
    texts = build_png_info({"prompt": text}, format_infotext(text, text, SETTINGS))
    file = io.BytesIO()
    image.save(file, format="PNG", pnginfo=texts)
    kept = {data.split(b"\0")[0]: data for kind, data in chunks(file.getvalue()) if kind == b"tEXt"}
    # Two surrogates that belong together are one character to JSON; everything else comes back as it was.
    paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    assert json.loads(kept[b"promptweight"].split(b"\0", 1)[1])["prompt"] == paired


def test_the_mark_is_xmp_by_its_own_rules():
    packet = ElementTree.fromstring(XMP.split("?>", 1)[1].rsplit("<?xpacket", 1)[0])
    rdf = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
    description = packet.find(f"{rdf}RDF/{rdf}Description")
    assert packet.tag == "{adobe:ns:meta/}xmpmeta"
    name = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    assert description.attrib[name] == DIGITAL_SOURCE_TYPE


def test_a_megabyte_of_prompt_comes_back(tmp_path):
    text = "🐱á" * 250_000
    save_png(picture(), tmp_path / "a.png", build_png_info({"prompt": text}, format_infotext(text, "", SETTINGS)))
    found = read_metadata(tmp_path / "a.png")
    assert found.record == {"prompt": text}
    assert found.parameters is not None
    assert found.parameters.startswith(text)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_pictures_of_other_formats_are_read(tmp_path, suffix):
    exif = Image.Exif()
    exif.get_ifd(IFD.Exif)[0x9286] = b"UNICODE\0" + "um gato\nSteps: 1".encode("utf-16-be")
    picture().save(tmp_path / f"a{suffix}", exif=exif, xmp=XMP.encode())
    found = read_metadata(tmp_path / f"a{suffix}")
    assert found.parameters == "um gato\nSteps: 1"
    assert found.record is None
    assert found.digital_source_type == DIGITAL_SOURCE_TYPE


def test_a_picture_without_metadata_has_none(tmp_path):
    picture().save(tmp_path / "a.png")
    assert read_metadata(tmp_path / "a.png") == ImageMetadata(None, None, None)


@pytest.mark.parametrize("record", ["{", "[1]", '"x"', "[" * 100_000])
def test_foreign_json_is_no_record(tmp_path, record):
    info = build_png_info({}, "x")
    info.chunks = [chunk for chunk in info.chunks if not chunk[1].startswith(b"promptweight")]
    info.add_text("promptweight", record)
    save_png(picture(), tmp_path / "a.png", info)
    assert read_metadata(tmp_path / "a.png").record is None


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x89PNG\r\n\x1a\n", None])
def test_damaged_pictures_are_named(tmp_path, content):
    path = tmp_path / "a.png"
    if content is None:
        noise = Image.frombytes("RGB", (64, 64), random.Random(0).randbytes(64 * 64 * 3))
        noise.save(path)
        content = path.read_bytes()[:2000]
    path.write_bytes(content)
    with pytest.raises(PromptweightError, match=r"a\.png"):
        read_metadata(path)


def test_a_missing_file_is_the_systems_own_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_metadata(tmp_path / "none.png")
