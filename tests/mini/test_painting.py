"""Tests of the painter: icons, patterns, places, weather, light and masks of rendered scenes."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from promptweight.mini import palette
from promptweight.mini.backdrops import GROUND_LINES, LIGHTS, PLACES, WATERLINE
from promptweight.mini.icons import ICONS, layers
from promptweight.mini.scenes import Scene, Thing, draw, render
from promptweight.mini.worlds import WHOLE

CIRCLE = Thing("circle", "red", 12, 12, 40)


def test_all_icons_differ_in_outline() -> None:
    silhouettes = {kind: layers(kind, 48)[0] > 0.5 for kind in ICONS}
    for first, second in combinations(ICONS, 2):
        one, other = silhouettes[first], silhouettes[second]
        assert (one & other).sum() / (one | other).sum() < 0.85, (first, second)


@pytest.mark.parametrize("kind", ICONS)
def test_an_icon_fills_its_square_and_shows_its_color(kind: str) -> None:
    picture, (mask,) = render(Scene((Thing(kind, "green", 12, 12, 40),)), 128)
    rows, columns = np.nonzero(mask > 0.5)
    assert max(np.ptp(rows), np.ptp(columns)) >= 0.75 * 80
    assert (picture == np.array(palette.COLORS["green"])).all(-1)[mask == 1].mean() > 0.15


def test_light_and_dark_are_on_their_sides_of_a_color() -> None:
    for color in palette.SHADES["light"]:
        light, plain, dark = (
            palette.luminance(palette.fill(color, shade)) for shade in ("light", "", "dark")
        )
        assert light - 10 > plain > dark + 10


@pytest.mark.parametrize("pattern", WHOLE.patterns)
def test_a_pattern_shows_two_colors_and_repeats_with_the_grid(pattern: str) -> None:
    picture, (mask,) = render(Scene((replace(CIRCLE, pattern=pattern),)), 128)
    first, second = palette.fill("red"), palette.second(palette.fill("red"))
    inside = picture[mask == 1].astype(np.float32)
    shares = [(np.abs(inside - color).max(-1) < 2).mean() for color in (first, second)]
    assert min(shares) > 0.1
    middle = picture[48:80, 48:80].astype(int)  # 8 pixels per latent
    assert (middle[:, 8:] == middle[:, :-8]).all()
    assert (middle[8:] == middle[:-8]).all()
    plain = render(Scene((CIRCLE,)), 128)[0].astype(int)
    assert np.abs(picture.astype(int) - plain).max(-1)[mask == 0].max() == 0


@pytest.mark.parametrize("place", PLACES)
def test_a_place_is_what_is_left_of_things(place: str) -> None:
    drawing, empty = draw(Scene((CIRCLE,), place=place), 128), draw(Scene((), place=place), 128)
    np.testing.assert_allclose(drawing.place, 1 - drawing.things[0], atol=1e-6)
    untouched = drawing.place == 1
    assert (drawing.picture == empty.picture)[untouched].all()
    assert (drawing.picture != empty.picture).any(-1)[drawing.things[0] == 1].all()
    if place in GROUND_LINES:
        line = 2 * GROUND_LINES[place]
        assert (
            np.abs(empty.picture[: line - 4].mean((0, 1)) - empty.picture[line + 4 :].mean((0, 1))).max() > 20
        )


def test_places_differ() -> None:
    pictures = [draw(Scene((), place=place), 128).picture.astype(float) for place in PLACES]
    for one, other in combinations(pictures, 2):
        assert np.abs(one - other).mean() > 25


@pytest.mark.parametrize("weather", WHOLE.weathers)
def test_more_falls_the_heavier_the_weather_and_behind_things(weather: str) -> None:
    covers = []
    for amount in (1, 2, 3):
        drawing = draw(Scene((CIRCLE,), "pink", weather=weather, amount=amount), 128)
        clear = draw(Scene((CIRCLE,), "pink"), 128)
        changed = (drawing.picture != clear.picture).any(-1)
        assert not changed[drawing.things[0] == 1].any()
        assert (drawing.weather[changed] > 0).all()
        covers.append(drawing.weather.mean())
    assert covers[0] < 0.7 * covers[1] < 0.49 * covers[2]


def test_light_darkens_the_whole_picture_alike() -> None:
    bright = draw(Scene((CIRCLE,), place="city"), 128).picture.astype(float)
    assert (draw(Scene((CIRCLE,), place="city", light="day"), 128).picture == bright).all()
    for light in ("dusk", "night"):
        shone = draw(Scene((CIRCLE,), place="city", light=light), 128).picture
        assert np.abs(shone - bright * np.array(LIGHTS[light])).max() <= 1
    assert shone.mean() < 0.6 * bright.mean()


def test_a_lake_shows_the_thing_upside_down_and_clearly() -> None:
    cat = Thing("cat", "red", 20, WATERLINE - 28, 28)
    drawing = draw(Scene((cat,), relation="mirror", place="lake"), 128)
    assert np.array_equal(drawing.reflection, drawing.things[0][::-1])
    inside = (drawing.reflection == 1) & (np.arange(128)[:, None] >= 2 * WATERLINE + 4)
    above = drawing.picture[::-1][inside].astype(float)
    below = drawing.picture[inside].astype(float)
    water = np.array((96, 152, 206))
    np.testing.assert_allclose(below, 0.85 * above + 0.15 * water, atol=1.5)


def test_masks_of_a_wearer_and_of_what_sits_inside_do_not_overlap() -> None:
    cat, hat = Thing("cat", "red", 16, 28, 32), Thing("hat", "blue", 20, 17, 20)
    for scene in (
        Scene((cat, hat), relation="wear"),
        Scene((Thing("cat", "red", 24, 32, 24), Thing("boat", "blue", 16, 20, 40)), relation="in"),
    ):
        drawing = draw(scene, 128)
        assert drawing.things.sum(0).max() <= 1 + 1e-6
        for thing, mask in zip(scene.things, drawing.things, strict=True):
            seen = drawing.picture[mask == 1].astype(int)
            assert len(seen) > 100
            own = np.abs(seen - np.array(palette.COLORS[thing.color])).max(-1) == 0
            assert own.mean() > 0.3
    head = drawing.things[0]
    assert head[: 2 * 46].sum() > 0
    assert head[2 * 48 :].sum() == 0  # below the edge of the boat
