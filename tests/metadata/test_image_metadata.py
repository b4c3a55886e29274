"""Metadata in image files against the PNG and XMP standards, and read back exactly."""

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
from promptweight.errors import FileFormatError, SettingError
from promptweight.metadata import DIGITAL_SOURCE_TYPE, METADATA_PARTS, XMP, ImageMetadata, encode_image
from promptweight.metadata.a1111 import format_infotext
from promptweight.metadata.image_metadata import build_png_info, read_metadata

SETTINGS = {"Steps": 25, "Sampler": "DDIM", "CFG scale": 4.5, "Seed": 1, "Size": "64x64", "Model": "mini"}


def make_image() -> Image.Image:
    return Image.linear_gradient("L").resize((16, 16)).convert("RGB")


def read_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Return the chunks of a PNG by its standard (ISO/IEC 15948), each checked against its CRC."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    found, at = [], 8
    while at < len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        data = content[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + data) == struct.unpack(">I", content[at + 8 + length : at + 12 + length])[0]
        found.append((kind, data))
        at += 12 + length
    return found


def test_saved_png_has_all_metadata_and_the_same_pixels(tmp_path):
    record = {"prompt": "um (gato:1.4)\nárvore 🐱", "seed": 1, "guidance_scale": 4.5, "revision": None}
    text = format_infotext(record["prompt"], "", SETTINGS)
    save_png(make_image(), tmp_path / "a.png", build_png_info(record, text))
    found = read_metadata(tmp_path / "a.png")
    assert found.record == record
    assert found.infotext == text
    assert found.digital_source_type == (
        "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    )
    with Image.open(tmp_path / "a.png") as saved:
        assert saved.tobytes() == make_image().tobytes()


def test_text_chunks_follow_the_png_standard_and_precede_the_pixels(tmp_path):
    save_png(make_image(), tmp_path / "a.png", build_png_info({"prompt": "é"}, "é\nSteps: 1"))
    content = (tmp_path / "a.png").read_bytes()
    kinds = [kind for kind, _ in read_chunks(content)]
    assert kinds.index(b"IDAT") > max(i for i, kind in enumerate(kinds) if kind in (b"tEXt", b"iTXt"))
    texts = {
        data.split(b"\0")[0]: (kind, data) for kind, data in read_chunks((tmp_path / "a.png").read_bytes())
    }
    assert texts[b"promptweight"] == (b"tEXt", b'promptweight\0{"prompt": "\\u00e9"}')
    assert texts[b"parameters"] == (b"iTXt", b"parameters\0\0\0\0\0" + "é\nSteps: 1".encode())
    assert texts[b"XML:com.adobe.xmp"][0] == b"iTXt"
    # Names that other tools use must not appear.
    assert not {b"prompt", b"workflow", b"Comment", b"Dream", b"negative_prompt"} & set(texts)


@given(st.text(st.characters(codec=None, exclude_categories=())) | st.just("\ud83d\udc31 \udc80 \0"))
def test_build_png_info_stores_any_text(text):
    image = make_image()
    texts = build_png_info({"prompt": text}, format_infotext(text, text, SETTINGS))
    file = io.BytesIO()
    image.save(file, format="PNG", pnginfo=texts)
    stored = {data.split(b"\0")[0]: data for kind, data in read_chunks(file.getvalue()) if kind == b"tEXt"}
    # JSON joins a pair of surrogates into one character; all other text is unchanged.
    paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    assert json.loads(stored[b"promptweight"].split(b"\0", 1)[1])["prompt"] == paired


def test_xmp_packet_is_valid_xml_with_the_iptc_mark():
    packet = ElementTree.fromstring(XMP.split("?>", 1)[1].rsplit("<?xpacket", 1)[0])
    rdf = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
    description = packet.find(f"{rdf}RDF/{rdf}Description")
    assert packet.tag == "{adobe:ns:meta/}xmpmeta"
    name = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    assert description.attrib[name] == DIGITAL_SOURCE_TYPE


def test_prompt_of_a_megabyte_survives_a_round_trip(tmp_path):
    text = "🐱á" * 250_000
    save_png(
        make_image(),
        tmp_path / "a.png",
        build_png_info({"prompt": text}, format_infotext(text, "", SETTINGS)),
    )
    found = read_metadata(tmp_path / "a.png")
    assert found.record == {"prompt": text}
    assert found.infotext is not None
    assert found.infotext.startswith(text)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_read_metadata_of_jpeg_and_webp(tmp_path, suffix):
    exif = Image.Exif()
    exif.get_ifd(IFD.Exif)[0x9286] = b"UNICODE\0" + "um gato\nSteps: 1".encode("utf-16-be")
    make_image().save(tmp_path / f"a{suffix}", exif=exif, xmp=XMP.encode())
    found = read_metadata(tmp_path / f"a{suffix}")
    assert found.infotext == "um gato\nSteps: 1"
    assert found.record is None
    assert found.digital_source_type == DIGITAL_SOURCE_TYPE


def test_read_metadata_of_a_plain_image_is_empty(tmp_path):
    make_image().save(tmp_path / "a.png")
    assert read_metadata(tmp_path / "a.png") == ImageMetadata(None, None, None)


@pytest.mark.parametrize("record", ["{", "[1]", '"x"', "[" * 100_000])
def test_read_metadata_ignores_invalid_records(tmp_path, record):
    info = build_png_info({}, "x")
    info.chunks = [chunk for chunk in info.chunks if not chunk[1].startswith(b"promptweight")]
    info.add_text("promptweight", record)
    save_png(make_image(), tmp_path / "a.png", info)
    assert read_metadata(tmp_path / "a.png").record is None


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x89PNG\r\n\x1a\n", None])
def test_read_metadata_of_a_damaged_image_raises(tmp_path, content):
    path = tmp_path / "a.png"
    if content is None:
        noise = Image.frombytes("RGB", (64, 64), random.Random(0).randbytes(64 * 64 * 3))
        noise.save(path)
        content = path.read_bytes()[:2000]
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"a\.png"):
        read_metadata(path)


def test_read_metadata_of_a_missing_file_raises(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_metadata(tmp_path / "none.png")


@pytest.mark.parametrize("suffix", ["png", "jpeg", "webp", "avif"])
@pytest.mark.parametrize("parts", [(), ("parameters",), ("promptweight",), ("iptc",), METADATA_PARTS])
def test_encode_image_writes_only_the_given_parts(tmp_path, suffix, parts):
    record = {"prompt": "um <gato> & 🐱 à", "seed": 1}
    content, warnings = encode_image(
        Image.new("RGB", (16, 16)), suffix, record, "um gato 🐱\nSteps: 1", parts
    )
    (tmp_path / "a").write_bytes(content)
    found = read_metadata(tmp_path / "a")
    assert warnings == ()
    assert found.record == (record if "promptweight" in parts else None)
    assert found.infotext == ("um gato 🐱\nSteps: 1" if "parameters" in parts else None)
    assert (found.digital_source_type is not None) == ("iptc" in parts)


def test_encode_image_of_long_settings_as_jpeg_warns_and_leaves_them_out(tmp_path):
    text = "á" * 100_000
    content, warnings = encode_image(Image.new("RGB", (8, 8)), "jpeg", {"prompt": text}, text)
    (tmp_path / "a.jpeg").write_bytes(content)
    found = read_metadata(tmp_path / "a.jpeg")
    assert len(warnings) == 2
    assert (found.record, found.infotext) == (None, None)
    assert found.digital_source_type == DIGITAL_SOURCE_TYPE
    content, warnings = encode_image(Image.new("RGB", (8, 8)), "webp", {"prompt": text}, text)
    (tmp_path / "a.webp").write_bytes(content)
    assert warnings == ()
    assert read_metadata(tmp_path / "a.webp").record == {"prompt": text}


@pytest.mark.parametrize(("format", "parts"), [("gif", ()), ("png", ("exif",))])
def test_encode_image_with_an_unknown_format_or_part_raises(format, parts):  # noqa: A002
    with pytest.raises(SettingError, match="must be one of: "):
        encode_image(Image.new("RGB", (8, 8)), format, {}, "", parts)


@pytest.mark.parametrize("content", [b"", b"# a page", b"\x89PNG\r\n\x1a\n"])
def test_file_of_no_known_format_is_named_without_a_python_object(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(FileFormatError) as caught:
        read_metadata(path)
    assert str(path) in str(caught.value)
    assert "<" not in str(caught.value)
