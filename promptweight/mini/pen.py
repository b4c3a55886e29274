"""Drawing pen for the silhouette and ink layers of an icon, in unit coordinates."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

Point = tuple[float, float]


class Pen:
    """Pen in unit coordinates (0 to 1, y downward) with a silhouette layer and an ink layer."""

    def __init__(self, side: int) -> None:
        self.side = side
        self.silhouette = Image.new("L", (side, side))
        self.ink = Image.new("L", (side, side))
        self._draw = {"fill": ImageDraw.Draw(self.silhouette), "ink": ImageDraw.Draw(self.ink)}

    def polygon(self, points: Sequence[Point], layer: str = "fill") -> None:
        """Fill a polygon."""
        self._draw[layer].polygon([(x * self.side, y * self.side) for x, y in points], fill=255)

    def ellipse(self, x: float, y: float, rx: float, ry: float | None = None, layer: str = "fill") -> None:
        """Fill an ellipse with center (x, y) and half-axes rx and ry (default: ry = rx)."""
        ry = rx if ry is None else ry
        box = [(x - rx) * self.side, (y - ry) * self.side, (x + rx) * self.side, (y + ry) * self.side]
        self._draw[layer].ellipse(box, fill=255)

    def box(
        self, x0: float, y0: float, x1: float, y1: float, radius: float = 0.0, layer: str = "fill"
    ) -> None:
        """Fill a rectangle with corners (x0, y0) and (x1, y1) and corner radius `radius`."""
        box = [x0 * self.side, y0 * self.side, x1 * self.side, y1 * self.side]
        self._draw[layer].rounded_rectangle(box, radius * self.side, fill=255)

    def stroke(self, points: Sequence[Point], width: float, layer: str = "fill") -> None:
        """Draw a polyline of the given width, with round ends and joints."""
        scaled = [(x * self.side, y * self.side) for x, y in points]
        self._draw[layer].line(scaled, fill=255, width=round(width * self.side), joint="curve")
        for x, y in points:
            self.ellipse(x, y, width / 2, layer=layer)

    def cut_ellipse(
        self, x: float, y: float, rx: float, ry: float | None = None, layer: str = "fill"
    ) -> None:
        """Erase an ellipse from the layer; parameters as in `ellipse`."""
        ry = rx if ry is None else ry
        box = [(x - rx) * self.side, (y - ry) * self.side, (x + rx) * self.side, (y + ry) * self.side]
        self._draw[layer].ellipse(box, fill=0)

    def cut_box(self, x0: float, y0: float, x1: float, y1: float, layer: str = "fill") -> None:
        """Erase a rectangle with corners (x0, y0) and (x1, y1) from the layer."""
        box = [x0 * self.side, y0 * self.side, x1 * self.side, y1 * self.side]
        self._draw[layer].rectangle(box, fill=0)
