"""One phrase's attention over the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from promptweight.errors import SettingError

if TYPE_CHECKING:
    from PIL import Image

    from promptweight.conditioning.token_table import Word


@dataclass(frozen=True)
class HeatMap:
    """One phrase's attention over the picture."""

    tensor: Tensor
    """(height, width) of the picture, float32, in the unit of the view that it was asked of."""
    text: str
    words: tuple[Word, ...]

    @property
    def mass(self) -> float:
        """The mean over the picture."""
        return float(self.tensor.mean())

    def normalized(self) -> Tensor:
        """The map moved to 0..1, lowest to highest value; zeros where it is the same everywhere."""
        low, high = self.tensor.min(), self.tensor.max()
        if high - low <= 1e-6 * high.abs():
            return torch.zeros_like(self.tensor)
        return (self.tensor - low) / (high - low)

    def mask(self, threshold: float = 0.4) -> Tensor:
        """Where the normalised map reaches `threshold` (0..1): a bool tensor (height, width).

        The default is that of DAAM (Tang et al., 2023).
        """
        if not 0 <= threshold <= 1:
            raise SettingError(f"threshold is {threshold}; it must lie between 0 and 1")
        return self.normalized() >= threshold

    def overlay(self, image: Image.Image, **options: Any) -> Image.Image:
        """The map laid over the picture; options as in `promptweight.render.overlay`."""
        from promptweight import render

        return render.overlay(image, self.tensor, **options)
