"""Encodings of EXIF UserComments: every name and no name, valid and wrong ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptweight.metadata.text_encodings import decode_text, decode_user_comment, repair_text

INFOTEXT = "um coração 赤い猫 🐱, (fox:1.2)\nNegative prompt: feio\nSteps: 20, Sampler: Euler a, Seed: 1"
NAMES = {
    "unicode": b"UNICODE\0",
    "ascii": b"ASCII\0\0\0",
    "undefined": b"\0" * 8,
    "jis": b"JIS\0\0\0\0\0",
    "utf-8": b"UTF8\0\0\0\0",
    "none": b"",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-16-le"])
@pytest.mark.parametrize("big_endian", [True, False])
def test_infotext_is_decoded_under_any_name(name, encoding, big_endian):
    comment = NAMES[name] + INFOTEXT.encode(encoding)
    assert decode_user_comment(comment, big_endian=big_endian) == INFOTEXT


@pytest.mark.parametrize(
    "text", ["赤い猫と白い犬", "рыжий кот", "빨간 여우", "中文 提示词", "شمس", "coração"]
)
@pytest.mark.parametrize("order", ["utf-16-be", "utf-16-le"])
@pytest.mark.parametrize("big_endian", [True, False])
def test_byte_order_is_found_without_ascii_settings(text, order, big_endian):
    assert decode_user_comment(b"UNICODE\0" + text.encode(order), big_endian=big_endian) == text


@pytest.mark.parametrize("encoding", ["iso2022_jp", "euc_jp", "shift_jis", "utf-8"])
def test_jis_text_is_decoded(encoding):
    text = "赤い猫と白い犬が雪の中で遊んでいる"
    assert decode_user_comment(b"JIS\0\0\0\0\0" + text.encode(encoding)) == text


@pytest.mark.parametrize("name", sorted(NAMES.keys() - {"jis"}))
def test_latin_1_text_is_decoded(name):
    assert decode_user_comment(NAMES[name] + "coração é".encode("latin-1")) == "coração é"


def test_text_that_a_library_decoded_as_latin_1_is_decoded_anew():
    assert decode_user_comment(INFOTEXT.encode().decode("latin-1")) == INFOTEXT
    assert decode_user_comment(INFOTEXT) == INFOTEXT
    assert repair_text("coração") == "coração"
    assert repair_text("coração".encode().decode("latin-1")) == "coração"


@pytest.mark.parametrize("comment", [None, 3, b"", b"\0" * 8, b"UNICODE\0", b"ASCII\0\0\0\0\0", "", [1]])
def test_comment_without_text_is_none(comment):
    assert decode_user_comment(comment) is None


@given(st.binary(max_size=300), st.sampled_from(sorted(NAMES)), st.booleans())
def test_any_bytes_are_decoded(content, name, big_endian):
    assert isinstance(decode_text(content, name, big_endian=big_endian), str)
    decode_user_comment(NAMES[name] + content, big_endian=big_endian)
