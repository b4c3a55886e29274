"""Color maps, against the published tables and CIE lightness."""

import numpy as np
import pytest

from promptweight.errors import SettingError
from promptweight.render.colormaps import COLORMAPS, WORD_COLORS, colorize, colormap_table

# Quarter points of the tables as published with matplotlib 1.5 (BIDS/colormap, CC0).
PUBLISHED = {
    "inferno": [(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)],
    "magma": [(0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191)],
    "viridis": [(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)],
}


def lightness(colors: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB colors 0..255."""
    linear = np.where(colors <= 10.31475, colors / 255 / 12.92, ((colors / 255 + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(luminance > 216 / 24389, 116 * np.cbrt(luminance) - 16, luminance * 24389 / 27)


@pytest.mark.parametrize("name", PUBLISHED)
def test_colormap_table_quarter_points_equal_published_table(name):
    quarters = colormap_table(name)[np.round(np.linspace(0, 255, 5)).astype(int)].astype(int)
    assert np.abs(quarters - np.array(PUBLISHED[name])).max() <= 5


@pytest.mark.parametrize("name", COLORMAPS)
def test_colormap_table_lightness_is_monotone(name):
    steps = np.diff(lightness(colormap_table(name).astype(float)))
    assert steps.min() >= -0.05
    assert colormap_table(name).shape == (256, 3)


@pytest.mark.parametrize("name", ["inferno", "magma", "viridis", "gray"])
def test_colormap_table_lightness_halves_are_similar(name):
    values = lightness(colormap_table(name).astype(float))
    halves = values[127] - values[0], values[255] - values[127]
    assert max(halves) / min(halves) < 1.5


def test_colorize_out_of_range_values_are_clipped():
    colors = colorize(np.array([[-1.0, 0.0, 1.0, 7.0]]), "viridis")
    assert colors.tolist() == [[[68, 1, 84], [68, 1, 84], [253, 231, 37], [253, 231, 37]]]


def test_colormap_table_unknown_name_raises_with_valid_names():
    with pytest.raises(SettingError, match=r"inferno.*viridis.*'jet'"):
        colormap_table("jet")


def test_word_colors_differ_under_color_vision_deficiencies():
    # Viénot, Brettel & Mollon (1999): linear RGB without L cones (protan) and without M cones (deutan).
    protan = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
    deutan = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
    linear = (np.array(WORD_COLORS) / 255) ** 2.2
    for eye in (np.eye(3), protan, deutan):
        perceived = (linear @ eye.T).clip(0, 1) ** (1 / 2.2) * 255
        distances = np.linalg.norm(perceived[:, None] - perceived[None], axis=-1)[
            np.triu_indices(len(perceived), 1)
        ]
        assert distances.min() > 30
