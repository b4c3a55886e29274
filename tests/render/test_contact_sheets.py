"""Contact sheets: order, columns, captions and aspect ratios of the images."""

import numpy as np
import pytest
from PIL import Image

from promptweight.errors import SettingError
from promptweight.render import contact_sheet
from promptweight.render.labels import BACKGROUND

COLORS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (200, 30, 200)]


def tiles(shown: Image.Image) -> list[tuple[int, int, int]]:
    """The colors of the sheet in reading order, each once."""
    found = []
    for color in np.asarray(shown).reshape(-1, 3).tolist():
        if tuple(color) in COLORS and tuple(color) not in found:
            found.append(tuple(color))
    return found


def test_contact_sheet_keeps_reading_order():
    shown = contact_sheet([Image.new("RGB", (64, 64), color) for color in COLORS], columns=2)
    assert tiles(shown) == COLORS
    assert shown.height > shown.width


@pytest.mark.parametrize(
    ("pictures", "columns", "expected"), [(1, None, 1), (4, None, 2), (5, None, 3), (3, 9, 3)]
)
def test_contact_sheet_columns_are_as_given_or_nearly_square(pictures, columns, expected):
    shown = contact_sheet([Image.new("RGB", (50, 50), "white")] * pictures, columns=columns)
    row = np.asarray(shown)[shown.height // (2 * -(-pictures // expected))]
    starts = np.flatnonzero(np.diff((row == 255).all(axis=-1).astype(int)) == 1)
    assert len(starts) == expected


def test_contact_sheet_captions_and_title_add_height_and_ink():
    images = [Image.new("RGB", (64, 64), "white")] * 2
    plain = contact_sheet(images)
    captioned = contact_sheet(images, ["coração", ""])
    titled = contact_sheet(images, ["coração", ""], title="um título")
    assert plain.height < captioned.height < titled.height
    ink = np.asarray(titled)[: titled.height - captioned.height]
    assert np.abs(ink.astype(int) - BACKGROUND).max() > 100


def test_contact_sheet_keeps_aspect_ratios():
    shown = contact_sheet(
        [Image.new("RGB", (100, 50), COLORS[0]), Image.new("RGB", (50, 100), COLORS[1])], cell=200
    )
    for color, size in zip(COLORS, [(200, 100), (100, 200)], strict=False):
        rows, columns = np.nonzero((np.asarray(shown) == color).all(axis=-1))
        assert (np.ptp(columns) + 1, np.ptp(rows) + 1) == size


@pytest.mark.parametrize(
    ("count", "options", "message"),
    [
        (0, {}, "at least one"),
        (2, {"labels": ["a"]}, "got 1 for 2 images"),
        (1, {"columns": 0}, "columns=0"),
        (1, {"cell": 0}, "cell=0"),
    ],
)
def test_contact_sheet_invalid_arguments_raise(count, options, message):
    with pytest.raises(SettingError, match=message):
        contact_sheet([Image.new("RGB", (8, 8))] * count, **options)
