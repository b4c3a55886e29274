"""Decoding of texts in image files, whose encoding is often unnamed or named wrongly.

An EXIF UserComment begins with eight bytes that name its encoding (JEITA CP-3451, 4.6.5). Programs leave
them out, or write UTF-8 or either byte order of UTF-16 after `UNICODE`; so the name only orders the guesses,
and the encoding in which the bytes are the most likely text is taken.
"""

from __future__ import annotations

import unicodedata

_NAMES = {
    b"ASCII\0\0\0": "ascii",
    b"UNICODE\0": "unicode",
    b"Unicode\0": "unicode",
    b"JIS\0\0\0\0\0": "jis",
    b"UTF8\0\0\0\0": "utf-8",
    b"UTF-8\0\0\0": "utf-8",
    b"\0" * 8: "undefined",
}
_PADDING = "\ufeff\0"
_SAMPLE = 4096
"""Number of characters by which an encoding is judged."""


def decode_user_comment(value: object, *, big_endian: bool = True) -> str | None:
    """Decode an EXIF UserComment, with or without the name of its encoding; None without text.

    Args:
        value: bytes, or the text into which a library decoded them as Latin-1.
        big_endian: the byte order of the EXIF data, for UTF-16 that is valid in both orders.
    """
    if isinstance(value, str):
        value = value.encode("utf-8" if any(ord(letter) > 0xFF for letter in value) else "latin-1")
    if not isinstance(value, bytes):
        return None
    name = _NAMES.get(value[:8])
    text = decode_text(value[8:] if name else value, name or "undefined", big_endian=big_endian)
    return text.strip(_PADDING) or None


def decode_text(content: bytes, name: str = "undefined", *, big_endian: bool = True) -> str:
    """Decode bytes by the encoding in which they are the most likely text.

    Args:
        content: the bytes.
        name: `ascii`, `unicode`, `jis`, `utf-8` or `undefined`; the encoding that the file names.
        big_endian: the byte order of UTF-16 that is valid in both orders.

    >>> decode_text("gato à".encode("utf-16-le"), "unicode"), decode_text("gato à".encode(), "unicode")
    ('gato à', 'gato à')
    """
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content[: len(content) // 2 * 2].decode("utf-16", "replace")
    wide = [_decode(content, f"utf-16-{order}") for order in ("be", "le")[:: 1 if big_endian else -1]]
    wide.sort(key=lambda text: _count_blocks(text or ""))
    order = {"unicode": ("utf-8", "", "cp1252"), "jis": ("iso2022_jp", "utf-8", "euc_jp", "shift_jis", "")}
    guesses: list[str | None] = []
    for encoding in order.get(name, ("utf-8", "cp1252", "")):
        guesses += [_decode(content, encoding)] if encoding else wide
    likely = min((guess for guess in guesses if guess is not None), key=_count_strange, default=None)
    return content.decode("latin-1") if likely is None else likely


def _decode(content: bytes, encoding: str) -> str | None:
    usable = content[: len(content) // 2 * 2] if encoding.startswith("utf-16") else content
    try:
        return usable.decode(encoding).strip(_PADDING)
    except UnicodeError:
        return None


def _count_strange(text: str) -> float:
    """Return the share of characters that texts do not hold."""
    letters = [each for each in text[:_SAMPLE] if each not in "\t\r\n"]
    strange = sum(unicodedata.category(each) in ("Cc", "Cn", "Co", "Cs") for each in letters)
    return strange / (len(letters) or 1)


def _count_blocks(text: str) -> int:
    """Return the number of blocks of 256 characters in a text, less that of ASCII characters.

    UTF-16 in the wrong byte order gives more blocks, and fewer ASCII characters.
    """
    sample = text[:_SAMPLE]
    return len({ord(each) >> 8 for each in sample}) - sum(map(str.isascii, sample))


def repair_text(text: str) -> str:
    """Return text that a library decoded as Latin-1, decoded anew where its bytes are UTF-8.

    >>> repair_text("coraÃ§Ã£o"), repair_text("coração")
    ('coração', 'coração')
    """
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
