"""Places of texts in image files: PNG chunks, EXIF fields of both directories, comments and XMP packets."""

import zlib

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from promptweight.metadata import read_metadata

INFOTEXT = "um coração 赤い猫, (fox:1.2)\nNegative prompt: feio\nSteps: 20, Sampler: Euler a, Seed: 1"
ENCODED = b"UNICODE\0" + INFOTEXT.encode("utf-16-be")
SUFFIXES = [".jpg", ".webp", ".avif", ".png"]


def check(path):
    info = read_metadata(path).generation_info()
    assert (info.prompt, info.negative_prompt) == ("um coração 赤い猫, (fox:1.2)", "feio")
    assert info.options == {"num_inference_steps": 20, "seed": 1, "scheduler": "Euler a"}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_user_comment_is_read_from_its_directory(save_exif, suffix):
    check(save_exif(suffix, ENCODED))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("value", [ENCODED, b"UNICODE\0" + INFOTEXT.encode(), INFOTEXT.encode()])
def test_user_comment_in_the_first_directory_is_read(save_exif, suffix, value):
    check(save_exif(suffix, None, {0x9286: value}))


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
@pytest.mark.parametrize("order", ["MM", "II"])
def test_byte_order_of_the_exif_data_decides_where_both_are_valid(tmp_path, suffix, order):
    # An EXIF block written by hand: one directory with a UserComment of type UNDEFINED.
    big = "big" if order == "MM" else "little"
    text = "變".encode("utf-16-be" if order == "MM" else "utf-16-le")
    comment = b"UNICODE\0" + text
    entry = (
        0x9286.to_bytes(2, big) + (7).to_bytes(2, big) + len(comment).to_bytes(4, big) + (26).to_bytes(4, big)
    )
    header = order.encode() + (42).to_bytes(2, big) + (8).to_bytes(4, big)
    block = header + (1).to_bytes(2, big) + entry + bytes(4) + comment
    Image.new("RGB", (8, 8)).save(tmp_path / f"a{suffix}", exif=b"Exif\0\0" + block)
    assert read_metadata(tmp_path / f"a{suffix}").infotext == "變"


@pytest.mark.parametrize(
    ("tag", "value"),
    [(0x010E, INFOTEXT.encode()), (0x9C9C, INFOTEXT.encode("utf-16-le"))],
    ids=["ImageDescription", "XPComment"],
)
def test_infotext_in_other_exif_fields_is_read(save_exif, tag, value):
    check(save_exif(".jpg", None, {tag: value}))


def test_comment_of_a_jpeg_is_read(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", comment=INFOTEXT.encode())
    check(tmp_path / "a.jpg")


@pytest.mark.parametrize("kind", [b"tEXt", b"iTXt", b"zTXt", b"iTXt compressed"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_text_chunks_of_every_kind_are_read(tmp_path, kind, encoding):
    text = "um coração\nNegative prompt: feio\nSteps: 20, Seed: 1"
    content = text.encode("utf-8" if kind.startswith(b"iTXt") else encoding)
    info = PngInfo()
    head = {
        b"tEXt": b"parameters\0",
        b"zTXt": b"parameters\0\0",
        b"iTXt": b"parameters\0\0\0\0\0",
        b"iTXt compressed": b"parameters\0\1\0\0\0",
    }[kind]
    is_compressed = kind in (b"zTXt", b"iTXt compressed")
    info.add(kind[:4], head + (zlib.compress(content) if is_compressed else content))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=info)
    assert read_metadata(tmp_path / "a.png").infotext == text


def test_text_after_the_pixels_is_read(tmp_path):
    info = PngInfo()
    info.add(b"tEXt", b"parameters\0a cat\nSteps: 3, Seed: 1", after_idat=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=info)
    assert read_metadata(tmp_path / "a.png").generation_info().prompt == "a cat"


@pytest.mark.parametrize("text", ["Screenshot", "a holiday in Bahia", "charset=Ascii"])
def test_comment_of_a_camera_is_not_a_prompt(save_exif, text):
    metadata = read_metadata(save_exif(".jpg", b"ASCII\0\0\0" + text.encode()))
    assert metadata.generation_info() is None
    assert metadata.infotext == text
