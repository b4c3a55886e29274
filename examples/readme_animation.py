"""Draws the moving picture of the README: the pointer goes over a prompt's words, then a weight changes.

python examples/readme_animation.py --output examples/pictures/readme.webp

Left the picture, right the same with the heat of the word under the pointer. Every picture that rests is one
that the model made for the prompt above it, from the same seed, and its heat is what was recorded with it;
only the fades between them are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from options import arguments
from PIL import Image, ImageDraw

import promptweight
from promptweight.render import ACCENT, BACKGROUND, FOREGROUND, draw_word_strip, enlarge, labels, overlay

if TYPE_CHECKING:
    from promptweight import Result

WORDS = "um gato vermelho persegue um rato cinza"
POINTED = ("gato vermelho", "persegue", "rato cinza")
WEIGHTED, WEIGHTS = "rato cinza", (0.7, 0.5, 0.4, 0.3, 0.0)
WIDTH, GAP, HEAD, LETTERS = 720, 12, 72, 27
CELL = (WIDTH - 3 * GAP) // 2  # of a picture; two lie side by side
PANEL = (34, 36, 44)
FRAME, REST, SHORT_REST = 50, 1300, 450
"""Milliseconds: of a frame of a fade, and how long a picture rests."""


@dataclass(frozen=True)
class Still:
    """A picture that rests, beside its heat.

    Attributes:
        phrase: what is pointed at.
        weight: that of `WEIGHTED`.
        pair: the picture, and the picture under the heat.
        strip: what the colors mean.
        rest: for how long, in milliseconds.
    """

    phrase: str
    weight: float
    pair: Image.Image
    strip: Image.Image
    rest: int


def main() -> None:
    """Make the pictures and writes the animation."""
    parser = arguments(__doc__, output="examples/pictures/readme.webp", seed=4)
    parser.add_argument("--fade", type=int, default=8, help="frames from one picture to the next")
    options = parser.parse_args()

    made = stills(promptweight.load(options.model), options.seed, options.steps)
    frames = list(animated(made, options.fade))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    pictures, times = zip(*frames, strict=True)
    pictures[0].save(
        options.output,
        save_all=True,
        append_images=pictures[1:],
        duration=times,
        loop=0,
        quality=82,
        method=4,
    )
    print(f"{options.output}: {len(frames)} frames, {sum(times) / 1000:.1f} s")


def stills(pipe: Any, seed: int, steps: int) -> list[Still]:
    """Every picture that the animation rests on, in its order; the last leads back to the first."""
    plain = promptweight.generate(WORDS, pipe, seed=seed, num_inference_steps=steps)
    pointed = [still(plain, each, 1.0, ends(plain, each), REST) for each in POINTED]
    scale = ends(plain, WEIGHTED)  # one scale for all weights, so that a weaker word is seen to be weaker
    weighted = []
    for weight in WEIGHTS:
        result = promptweight.generate(prompt_at(weight), pipe, seed=seed, num_inference_steps=steps)
        rest = REST if weight == WEIGHTS[-1] else SHORT_REST
        weighted.append(still(result, WEIGHTED, weight, scale, rest))
    return [*pointed, *weighted]


def still(result: Result, phrase: str, weight: float, scale: tuple[float, float], rest: int) -> Still:
    """A result, with the heat of a phrase on a scale of probabilities."""
    image, heat = result.images[0], result.maps.word(phrase)
    pair = Image.new("RGB", (WIDTH - 2 * GAP, CELL), BACKGROUND)
    pair.paste(enlarge(image, CELL))
    pair.paste(overlay(image, heat, upscale=CELL, scale=scale), (CELL + GAP, 0))
    strip = draw_word_strip(pair.width, phrase, None if weight == 1 else weight, "inferno", scale)
    return Still(phrase, weight, pair, strip, rest)


def ends(result: Result, phrase: str) -> tuple[float, float]:
    """The lowest and the highest probability of a phrase."""
    heat = result.maps.word(phrase).tensor
    return float(heat.min()), float(heat.max())


def prompt_at(weight: float) -> str:
    """The prompt as it is written with this weight."""
    return WORDS if weight == 1 else WORDS.replace(WEIGHTED, f"({WEIGHTED}:{weight:g})")


def animated(made: list[Still], fade: int) -> Iterator[tuple[Image.Image, int]]:
    """Frames and their milliseconds: each picture rests, then fades into the next, at last into the first."""
    for now, following in zip(made, [*made[1:], made[0]], strict=True):
        yield frame(now, now, 0.0), now.rest
        for number in range(1, fade):
            share = number / fade
            yield frame(now, following, share * share * (3 - 2 * share)), FRAME


def frame(now: Still, following: Still, share: float) -> Image.Image:
    """The whole picture on the way from one still to the next, 0..1."""
    nearer = now if share < 0.5 else following
    whole = Image.new("RGB", (WIDTH, HEAD + CELL + nearer.strip.height), BACKGROUND)
    whole.paste(Image.blend(now.pair, following.pair, share), (GAP, HEAD))
    whole.paste(nearer.strip, (GAP, HEAD + CELL))
    draw_prompt(whole, now, following, share)
    return whole


def draw_prompt(whole: Image.Image, now: Still, following: Still, share: float) -> None:
    """Write the prompt in its box, the pointed words on a ground of their own, and the pointer on them."""
    canvas = ImageDraw.Draw(whole)
    canvas.rounded_rectangle((GAP, GAP, WIDTH - GAP, HEAD - GAP), 10, fill=PANEL)
    prompt, middle = prompt_at((now if share < 0.5 else following).weight), HEAD / 2
    lit = {now.phrase: 1 - share, following.phrase: share}
    if now.phrase == following.phrase:
        lit = {now.phrase: 1.0}
    for phrase, part in lit.items():
        left, right = extent(prompt, phrase)
        ground = tuple(round(a + 0.35 * part * (b - a)) for a, b in zip(PANEL, ACCENT, strict=True))
        canvas.rounded_rectangle((left - 3, GAP + 5, right + 3, HEAD - GAP - 5), 7, fill=ground)
    at = 2 * GAP
    for piece in prompt.replace("(", "\0(").replace(")", ")\0").split("\0"):
        labels.draw_text(canvas, (at, middle), piece, LETTERS, ACCENT if piece.startswith("(") else FOREGROUND)
        at += labels.load_font(LETTERS).getlength(piece)
    places = [sum(extent(prompt, each.phrase)) / 2 for each in (now, following)]
    draw_pointer(whole, places[0] + share * (places[1] - places[0]), middle + 6)


def extent(prompt: str, phrase: str) -> tuple[float, float]:
    """Where a phrase begins and ends on the line, in pixels from the left."""
    begin, measure = prompt.index(phrase), labels.load_font(LETTERS).getlength
    return 2 * GAP + measure(prompt[:begin]), 2 * GAP + measure(prompt[: begin + len(phrase)])


def draw_pointer(whole: Image.Image, x: float, y: float) -> None:
    """Draw a mouse pointer whose tip is at (x, y), four times as large and then made small."""
    arrow = [(0, 0), (0, 17), (4, 13), (7, 20), (10, 19), (7, 12), (12, 12)]
    large = Image.new("RGBA", (56, 96))
    outline = [(4 * a + 4, 4 * b + 4) for a, b in arrow]
    ImageDraw.Draw(large).polygon(outline, fill=(*FOREGROUND, 255), outline=(0, 0, 0, 255), width=4)
    small = large.resize((14, 24), Image.Resampling.LANCZOS)
    whole.paste(small, (round(x), round(y)), small)


if __name__ == "__main__":
    main()
