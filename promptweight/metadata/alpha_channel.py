"""Texts in the least significant bits of pixels ("stealth PNG info"), which NovelAI and an extension write.

The bits of one column of pixels follow those of the column before it: of the alpha channel, or of red, green
and blue. They are a signature of 15 characters, the length of the text in bits (32 bits), and the text,
compressed by gzip or not.
"""

from __future__ import annotations

import zlib

import numpy as np
from PIL import Image

_SIGNATURE_BYTES = 15
_HEADER_BITS = 8 * _SIGNATURE_BYTES + 32
_SIGNATURES = {
    b"stealth_pnginfo": ("RGBA", False),
    b"stealth_pngcomp": ("RGBA", True),
    b"stealth_rgbinfo": ("RGB", False),
    b"stealth_rgbcomp": ("RGB", True),
}
_MAX_BYTES = 16 * 2**20
"""Largest text, compressed or not."""


def read_hidden_text(image: Image.Image) -> str | None:
    """Return the text in the pixels of an image; None for an image without one."""
    if image.mode not in ("RGBA", "RGB") or image.width * image.height * 3 < _HEADER_BITS:
        return None
    for mode in ("RGBA", "RGB") if image.mode == "RGBA" else ("RGB",):
        header = _read_bits(image, mode, _HEADER_BITS)
        signature = header[:_SIGNATURE_BYTES]
        if signature in _SIGNATURES and _SIGNATURES[signature][0] == mode:
            size = int.from_bytes(header[_SIGNATURE_BYTES:], "big") // 8
            if size > _MAX_BYTES:
                return None
            content = _read_bits(image, mode, _HEADER_BITS + 8 * size)[_HEADER_BITS // 8 :]
            return _decode(content, is_compressed=_SIGNATURES[signature][1])
    return None


def _read_bits(image: Image.Image, mode: str, number: int) -> bytes:
    """Return the first bits of the pixels of the first columns, packed into bytes."""
    bits_per_pixel = 1 if mode == "RGBA" else 3
    columns = min(image.width, -(-number // (image.height * bits_per_pixel)))
    part = image.crop((0, 0, columns, image.height))
    pixels = np.asarray(part.getchannel("A") if mode == "RGBA" else part.convert("RGB"))
    bits = pixels.swapaxes(0, 1).reshape(-1)[:number] & 1
    return np.packbits(bits).tobytes()


def _decode(content: bytes, *, is_compressed: bool) -> str | None:
    if is_compressed:
        try:
            content = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(content, _MAX_BYTES)
        except zlib.error:
            return None
    return content.decode("utf-8", "replace").rstrip("\0") or None
