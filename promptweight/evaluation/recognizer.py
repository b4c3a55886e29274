"""Recognizer of the built-in world's objects in an image, by matching every icon in every size and color.

The image is reduced to 64 pixels, in which all positions and sides are given. Each icon is compared with it
at every position of a grid; the score is the fraction of the image's difference from its background that the
icon explains (1 for all of it). There is nothing to train; `recognizer_accuracy` measures its errors on
rendered scenes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from promptweight.evaluation.statistics import Proportion
from promptweight.mini import (
    COLORS,
    GROUP_SIDE,
    KINDS,
    SINGLE_SIDES,
    UNITS,
    Scene,
    Thing,
    paint,
    random_scene,
    render,
)
from promptweight.mini.worlds import FIRST

SIDES = (GROUP_SIDE, *SINGLE_SIDES)
GRID = 2  # distance between tested positions, in 64ths of the image
MIN_FIT = 0.5  # fraction of the difference from the background that a detection must explain
MIN_ENERGY = 0.6  # summed squared difference (values 0 to 1) below which a square counts as background


@dataclass(frozen=True)
class Detection:
    """An object detected in an image: kind, color, square (64ths) and explained fraction (0 to 1)."""

    kind: str
    color: str
    x: int
    y: int
    side: int
    fit: float

    @property
    def center(self) -> tuple[float, float]:
        """The center of its square (x, y) in 64ths of the image."""
        return self.x + self.side / 2, self.y + self.side / 2


@dataclass(frozen=True)
class _Templates:
    """Every kind and color at one size, as the difference that it adds: alpha·(color − background)."""

    paint: Tensor  # (kinds·colors, 3, side, side), color premultiplied by its coverage
    coverage: Tensor  # (kinds·colors, side, side)
    names: tuple[tuple[str, str], ...]


@cache
def _templates(side: int) -> _Templates:
    paints, coverages, names = [], [], []
    for kind in KINDS:
        for color in COLORS:
            black, white = (
                paint(np.full((side, side, 3), background, np.float32), kind, color)
                for background in (0, 255)
            )
            paints.append(black.transpose(2, 0, 1) / 255)
            coverages.append(1 - (white - black).mean(2) / 255)
            names.append((kind, color))
    return _Templates(torch.from_numpy(np.stack(paints)), torch.from_numpy(np.stack(coverages)), tuple(names))


def background_color(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the background color (3,), 0 to 1: the median color of the outermost two pixels."""
    border = np.concatenate(
        [
            image[:2].reshape(-1, 3),
            image[-2:].reshape(-1, 3),
            image[:, :2].reshape(-1, 3),
            image[:, -2:].reshape(-1, 3),
        ]
    )
    return np.median(border, axis=0).astype(np.float32) / 255


def reduce_image(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image (size, size, 3) reduced to (64, 64, 3) by the mean of squares of pixels.

    Raises:
        ValueError: the size is not a multiple of 64, or the image is not square.
    """
    scale = image.shape[0] // UNITS
    if scale < 1 or image.shape != (scale * UNITS, scale * UNITS, 3):
        raise ValueError(
            f"image must be square, with a side that is a multiple of {UNITS}; got {image.shape}"
        )
    squares = image.reshape(UNITS, scale, UNITS, scale, 3)
    reduced: NDArray[np.uint8] = np.rint(squares.mean((1, 3), dtype=np.float64)).astype(np.uint8)
    return reduced


def recognize(image: NDArray[np.uint8], max_objects: int = 4) -> list[Detection]:
    """Return up to `max_objects` detections in an image (size, size, 3), without overlap, the best first."""
    image = reduce_image(image)
    background = torch.from_numpy(background_color(image))[:, None, None]
    difference = torch.from_numpy(image).permute(2, 0, 1).float() / 255 - background  # (3, 64, 64)
    candidates: list[tuple[float, Detection]] = []
    for side in SIDES:
        templates = _templates(side)
        added = templates.paint - templates.coverage[:, None] * background
        energy = F.conv2d(difference.square().sum(0)[None, None], torch.ones(1, 1, side, side), stride=GRID)[
            0, 0
        ]
        overlap = F.conv2d(difference[None], added, stride=GRID)[0]  # (templates, rows, columns)
        explained = 2 * overlap - added.square().sum((1, 2, 3))[:, None, None]
        fit = explained / energy.clamp_min(MIN_ENERGY)
        for row, column in (fit.amax(0) >= MIN_FIT).nonzero().tolist():
            best = int(fit[:, row, column].argmax())
            kind, color = templates.names[best]
            score = round(float(fit[best, row, column]), 4)
            detection = Detection(kind, color, column * GRID, row * GRID, side, score)
            candidates.append((float(explained[best, row, column]), detection))
    return _suppress_overlaps(candidates, max_objects)


def _suppress_overlaps(candidates: list[tuple[float, Detection]], max_objects: int) -> list[Detection]:
    """Return the best (explained energy, detection) candidates without those that overlap a better one."""
    kept: list[Detection] = []
    for _, detection in sorted(candidates, key=lambda item: (-item[1].fit * item[0], item[1].x, item[1].y)):
        x, y = detection.center
        has_space = all(
            max(abs(x - other.center[0]), abs(y - other.center[1])) >= (other.side + detection.side) / 2 * 0.7
            for other in kept
        )
        if has_space:
            kept.append(detection)
        if len(kept) == max_objects:
            break
    return kept


def recognizer_accuracy(
    scenes: int = 400, seed: str | bytes = b"recogniser", size: int = FIRST.size
) -> dict[str, Proportion]:
    """Measure the recognizer on rendered scenes of one to three objects.

    Args:
        scenes: number of scenes.
        seed: selects the scenes; the default is that of the published reports.
        size: side of the rendered images in pixels.

    Returns:
        The proportions of objects ("objects") and of whole scenes ("scenes") that are recognized.
    """
    rng = Random(seed)
    correct = objects = correct_scenes = tested = 0
    while tested < scenes:
        scene: Scene = random_scene(rng)
        if scene.relation in ("ride", "mirror"):
            continue
        tested += 1
        detected = {(item.kind, item.color) for item in recognize(render(scene, size)[0])}
        expected = {(thing.kind, thing.color) for thing in scene.things}
        correct += len(detected & expected)
        objects += len(expected)
        correct_scenes += detected == expected
    return {"objects": Proportion(correct, objects), "scenes": Proportion(correct_scenes, tested)}


@dataclass(frozen=True)
class SceneAnalysis:
    """Detections and colored pixels of a scene's objects in an image."""

    matches: tuple[Detection | None, ...]
    """For each object the detection with its kind and color; None if it is missing."""
    has_kind: tuple[bool, ...]
    """For each object True if its kind is detected in any color."""
    color_masks: NDArray[np.bool_]
    """The pixels in an object's colors, (objects, height, width)."""

    def has(self, index: int) -> bool:
        """Return True if the object is present in its color."""
        return self.matches[index] is not None

    def area(self, index: int) -> float:
        """Return the fraction of the image in the object's colors."""
        return float(self.color_masks[index].mean())

    def box(self, index: int) -> NDArray[np.bool_]:
        """Return the detected square of the object as a mask (height, width); empty if it is missing."""
        inside = np.zeros(self.color_masks.shape[1:], bool)
        match = self.matches[index]
        if match is not None:
            inside[match.y : match.y + match.side, match.x : match.x + match.side] = True
        return inside


def object_colors(thing: Thing) -> NDArray[np.float32]:
    """Return the colors (2, 3; 0 to 1) of an object's fill and outline."""
    fill = np.array(COLORS[thing.color], np.float32)
    is_dark = float(fill @ np.array([0.299, 0.587, 0.114], np.float32)) < 70
    outline = np.float32(80) + fill * np.float32(0.3) if is_dark else fill * np.float32(0.58)
    colors: NDArray[np.float32] = (np.stack([fill, outline]) / 255).astype(np.float32)
    return colors


def analyze_image(image: NDArray[np.uint8], scene: Scene) -> SceneAnalysis:
    """Return the detections and colored pixels of a scene's objects in an image (size, size, 3).

    The masks of the colored pixels have the shape of the reduced image, (64, 64).
    """
    image = reduce_image(image)
    detections = recognize(image)
    palette = np.concatenate(
        [background_color(image)[None], *(object_colors(thing) for thing in scene.things), [[40 / 255] * 3]]
    )
    distances = np.linalg.norm(image[:, :, None].astype(np.float32) / 255 - palette, axis=-1)
    nearest = distances.argmin(-1)
    masks = np.stack([(nearest - 1) // 2 == index for index in range(len(scene.things))])
    masks &= (nearest > 0) & (nearest <= 2 * len(scene.things))
    return SceneAnalysis(
        tuple(
            next((each for each in detections if (each.kind, each.color) == (thing.kind, thing.color)), None)
            for thing in scene.things
        ),
        tuple(any(each.kind == thing.kind for each in detections) for thing in scene.things),
        masks,
    )
