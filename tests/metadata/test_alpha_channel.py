"""Texts hidden in pixels, encoded bit by bit as the extension "stealth PNG info" does."""

import gzip
import json

import pytest
from PIL import Image

from promptweight.metadata import read_metadata
from promptweight.metadata.alpha_channel import read_hidden_text

INFOTEXT = "um coração\nNegative prompt: feio\nSteps: 20, Sampler: Euler a, Seed: 7"
RECORD = {
    "Description": "1girl, {cat}", "Software": "NovelAI", "Source": "Stable Diffusion XL 7BCCAA2C",
    "Comment": json.dumps({"prompt": "1girl, {cat}", "steps": 28, "scale": 5.0, "seed": 9, "uc": "bad",
                           "sampler": "k_euler_ancestral", "noise_schedule": "karras"}),
}  # fmt: skip


def hide(text: str, signature: str, size=(40, 50), length: int | None = None) -> Image.Image:
    """Write a text into the last bits of the pixels, one column after the other."""
    mode = "RGBA" if "png" in signature else "RGB"
    content = gzip.compress(text.encode()) if signature.endswith("comp") else text.encode()
    bits = "".join(f"{byte:08b}" for byte in signature.encode())
    bits += f"{8 * len(content) if length is None else length:032b}"
    bits += "".join(f"{byte:08b}" for byte in content)
    image = Image.new(mode, size, (200, 100, 50, 254)[: len(mode)])
    pixels = image.load()
    places = [(x, y, each) for x in range(size[0]) for y in range(size[1])
              for each in ((3,) if mode == "RGBA" else (0, 1, 2))]  # fmt: skip
    for (x, y, each), bit in zip(places, bits, strict=False):
        values = list(pixels[x, y])
        values[each] = values[each] // 2 * 2 + int(bit)
        pixels[x, y] = tuple(values)
    return image


@pytest.mark.parametrize(
    "signature", ["stealth_pnginfo", "stealth_pngcomp", "stealth_rgbinfo", "stealth_rgbcomp"]
)
def test_hidden_infotext_is_read(tmp_path, signature):
    hide(INFOTEXT, signature).save(tmp_path / "a.png")
    info = read_metadata(tmp_path / "a.png").generation_info()
    assert (info.tool, info.prompt, info.negative_prompt) == ("AUTOMATIC1111", "um coração", "feio")
    assert info.options["seed"] == 7


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_hidden_record_of_novelai_is_read(tmp_path, suffix):
    hide(json.dumps(RECORD), "stealth_pngcomp", (60, 60)).save(
        tmp_path / f"a{suffix}", lossless=True, exact=True
    )
    info = read_metadata(tmp_path / f"a{suffix}").generation_info()
    assert (info.tool, info.prompt, info.negative_prompt) == ("NovelAI", "1girl, (cat:1.05)", "bad")
    assert info.options == {
        "num_inference_steps": 28, "guidance_scale": 5.0, "seed": 9, "width": 60, "height": 60,
        "scheduler": "Euler a", "weighting": "a1111",
    }  # fmt: skip


@pytest.mark.parametrize(
    "image",
    [
        hide(INFOTEXT, "stealth_pngcomp", length=2**32 - 1),
        hide(INFOTEXT, "stealth_pngcomp", length=8 * 10),
        hide("", "stealth_pnginfo"),
        Image.new("RGBA", (1, 1)),
        Image.new("RGBA", (1, 1000)),
        Image.new("L", (100, 100)),
        Image.new("RGBA", (100, 100), (0, 0, 0, 255)),
    ],
)
def test_damaged_or_missing_hidden_text_is_none(image):
    assert read_hidden_text(image) is None


def test_hidden_text_of_enormous_expansion_is_cut():
    text = read_hidden_text(hide(" " * 40_000_000 + "x", "stealth_pngcomp", (700, 700)))
    assert len(text) <= 16 * 2**20
