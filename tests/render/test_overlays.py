"""Overlays: colors, opacity, sizes, labels and argument checks."""

import numpy as np
import pytest
from PIL import Image

from promptweight.errors import SettingError
from promptweight.render import WORD_COLORS, enlarge, overlay, overlay_words
from promptweight.render.colormaps import colormap_table
from promptweight.render.labels import BACKGROUND, format_weight


def blob(row: int, column: int, size: int = 16) -> np.ndarray:
    y, x = np.mgrid[0:size, 0:size]
    return np.exp(-((y - row) ** 2 + (x - column) ** 2) / 8).astype(np.float32) * 0.2


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=int)


@pytest.mark.parametrize("color", ["white", "black", "#3377aa"])
def test_overlay_low_heat_shows_image_and_peak_shows_color(color):
    base = Image.new("RGB", (64, 64), color)
    shown = pixels(overlay(base, blob(4, 12), alpha=1.0))
    assert shown.shape == (512, 512, 3)
    assert shown[400, 60].tolist() == pixels(base)[0, 0].tolist()
    assert np.abs(shown[144, 400] - colormap_table("inferno")[255]).max() <= 12


def test_overlay_alpha_0_equals_enlarged_image():
    base = Image.effect_mandelbrot((64, 64), (-2, -1.5, 1, 1.5), 40)
    assert overlay(base, blob(8, 8), alpha=0).tobytes() == enlarge(base, 512).tobytes()


def test_overlay_constant_heat_equals_enlarged_image():
    base = Image.new("RGB", (32, 32), "teal")
    assert overlay(base, np.full((16, 16), 0.4)).tobytes() == enlarge(base, 512).tobytes()


def test_overlay_opacity_increases_with_heat():
    base = Image.new("RGB", (64, 64), "white")
    ramp = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
    distance = (255 - pixels(overlay(base, ramp, colormap="gray", alpha=1.0))[256, :, 0]).astype(int)
    assert distance[:50].max() == 0
    assert distance[180:250].min() > 40


def test_overlay_keeps_image_edges_under_full_heat():
    base = Image.new("RGB", (256, 256), "white")
    base.paste("black", (128, 0, 256, 256))
    hot = np.ones((16, 16), dtype=np.float32)
    hot[0, 0] = 0
    shown = pixels(overlay(base, hot, alpha=1.0))
    assert shown[256, 250].sum() - shown[256, 262].sum() > 60


def test_overlay_upscale_none_or_large_image_keeps_size():
    base = Image.new("RGB", (640, 320))
    assert overlay(base, blob(8, 8)).size == (640, 320)
    assert overlay(base.resize((60, 30)), blob(8, 8), upscale=None).size == (60, 30)
    assert overlay(base.resize((60, 30)), blob(8, 8), upscale=120).size == (120, 60)


def test_overlay_label_adds_strip_and_keeps_image():
    base = Image.new("RGB", (64, 64), "white")
    plain, labeled = overlay(base, blob(8, 8)), overlay(base, blob(8, 8), label="coração", weight=1.4)
    assert labeled.width == 512
    assert labeled.height > 512
    assert labeled.crop((0, 0, 512, 512)).tobytes() == plain.tobytes()
    strip = pixels(labeled.crop((0, 512, 512, labeled.height)))
    assert (np.abs(strip - BACKGROUND).max(axis=-1) > 60).any()
    unweighted = overlay(base, blob(8, 8), label="coração")
    assert unweighted.tobytes() != labeled.tobytes()


@pytest.mark.parametrize("width", [1, 8, 40, 64])
def test_overlay_tiny_image_and_long_label_render(width):
    base = Image.new("RGB", (width, width))
    shown = overlay(base, blob(8, 8), label="w" * 5000 + "\ud800\n\x00", weight=-3.25, upscale=None)
    assert shown.width == width


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_overlay_converts_every_image_mode_to_rgb(mode):
    assert overlay(Image.new(mode, (16, 16)), blob(8, 8)).mode == "RGB"


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_overlay_alpha_out_of_range_raises(alpha):
    with pytest.raises(SettingError, match="between 0"):
        overlay(Image.new("RGB", (8, 8)), blob(8, 8), alpha=alpha)


def test_overlay_words_peaks_show_their_colors():
    base = Image.new("RGB", (64, 64), "white")
    shown = pixels(overlay_words(base, [blob(4, 4), blob(12, 12)], ["gato", "rato"], alpha=1.0))
    assert np.abs(shown[144, 144] - WORD_COLORS[0]).max() <= 12
    assert np.abs(shown[400, 400] - WORD_COLORS[1]).max() <= 12
    assert shown[30, 480].tolist() == [255, 255, 255]


def test_overlay_words_equal_heat_mixes_colors():
    base = Image.new("RGB", (64, 64), "white")
    shown = pixels(overlay_words(base, [blob(8, 8), blob(8, 8)], ["gato", "azul"], alpha=1.0))
    assert np.abs(shown[272, 272] - np.array(WORD_COLORS[:2]).mean(axis=0)).max() <= 12


def test_overlay_words_legend_wraps():
    base = Image.new("RGB", (64, 64))
    few = overlay_words(base, [blob(8, 8)] * 2, ["um", "dois"])
    many = overlay_words(base, [blob(8, 8)] * 20, ["palavra comprida"] * 20)
    assert many.height > few.height + 100


@pytest.mark.parametrize(("heats", "labels", "weights"), [(0, 0, None), (2, 1, None), (1, 1, [1.0, 2.0])])
def test_overlay_words_length_mismatch_raises(heats, labels, weights):
    with pytest.raises(SettingError, match="one entry per word"):
        overlay_words(Image.new("RGB", (8, 8)), [blob(8, 8)] * heats, ["a"] * labels, weights=weights)


def test_format_weight_omits_1_and_none():
    assert [format_weight(weight) for weight in (1.4, 1.0, None, 0, -1, 1.1**3)] == [
        "×1.4",
        "",
        "",
        "×0",
        "×-1",
        "×1.331",
    ]
