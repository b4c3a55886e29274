"""Regions of the image: names, boxes and masks on grids."""

import numpy as np
import pytest
import torch
from PIL import Image

from promptweight.attention.control.regions import NAMED_REGIONS, Box, make_region
from promptweight.errors import SettingError


def test_regions_rasterize_names_boxes_and_masks():
    assert NAMED_REGIONS["left"].rasterize(2, 4).tolist() == [[1, 1, 0, 0]] * 2
    assert NAMED_REGIONS["bottom"].rasterize(3, 1).flatten().tolist() == pytest.approx([0, 0.5, 1])
    assert Box(0.25, 0, 1, 1).rasterize(1, 2).tolist() == [[0.5, 1]]
    image = Image.new("L", (4, 2))
    image.putpixel((3, 0), 255)
    for mask in (image, np.asarray(image) > 0, torch.tensor([[0, 0, 0, 1.0], [0, 0, 0, 0]])):
        region = make_region(mask)
        assert region.rasterize(2, 4).tolist() == [[0, 0, 0, 1], [0, 0, 0, 0]]
        assert region.rasterize(1, 2).tolist() == [[0, 0.25]]
        assert region.rasterize(4, 8)[:2, 6:].min() == 1
    for wrong, message in [
        ("middle", "region must be one of left, .*; got 'middle'"),
        ((0.5, 0, 0.2, 1), "a box must be"),
        (np.full((2, 2), 3), "0 to 1"),
        (np.zeros(3), "shape"),
    ]:
        with pytest.raises(SettingError, match=message):
            make_region(wrong)
