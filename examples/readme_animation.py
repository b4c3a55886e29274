"""README animation: the pointer moves over the words of a prompt, then a weight changes.

python examples/readme_animation.py                  examples/pictures/readme.webp
python examples/readme_animation.py --language pt    examples/pictures/readme.pt-br.webp

Left the image, right the same image with the attention map of the word under the pointer. The model generates
every still image from the prompt above it, on the same seed, and the map is recorded with it; the frames
between are fades.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from options import arguments
from PIL import Image, ImageDraw

import promptweight
from promptweight.render import ACCENT, BACKGROUND, FOREGROUND, draw_word_strip, enlarge, labels, overlay

if TYPE_CHECKING:
    from promptweight import Result

PICTURES = Path(__file__).parent / "pictures"
WEIGHTS = (0.7, 0.5, 0.4, 0.3, 0.0)
WIDTH, GAP, HEAD, LETTERS = 720, 12, 72, 27
CELL = (WIDTH - 3 * GAP) // 2  # of one of the two images
PANEL = (34, 36, 44)
FADE, STILL, SHORT_STILL = 50, 1300, 450
"""Durations in milliseconds: of a frame of a fade, and of still images."""


@dataclass(frozen=True)
class Script:
    """A prompt and what happens to it.

    Attributes:
        prompt: The prompt.
        pointed: The phrases under the pointer, in their order.
        weighted: The phrase whose weight changes.
        file: The name of the animation.
    """

    prompt: str
    pointed: tuple[str, ...]
    weighted: str
    file: str

    def at(self, weight: float) -> str:
        """Return the prompt with this weight on `weighted`."""
        if weight == 1:
            return self.prompt
        return self.prompt.replace(self.weighted, f"({self.weighted}:{weight:g})")


SCRIPTS = {
    "en": Script(
        "a red cat chases a blue mouse", ("red cat", "chases", "blue mouse"), "blue mouse", "readme.webp"
    ),
    "pt": Script(
        "um gato vermelho persegue um rato cinza",
        ("gato vermelho", "persegue", "rato cinza"),
        "rato cinza",
        "readme.pt-br.webp",
    ),
}


@dataclass(frozen=True)
class Still:
    """A still image beside its overlay.

    Attributes:
        phrase: The phrase under the pointer.
        prompt: The prompt that it was generated from.
        pair: The image, and the image with the attention map.
        strip: The color scale with the phrase.
        duration: Milliseconds.
    """

    phrase: str
    prompt: str
    pair: Image.Image
    strip: Image.Image
    duration: int


def main() -> None:
    """Generate the images and write the animation."""
    parser = arguments(__doc__, output=None, seed=4)
    parser.add_argument("--language", choices=SCRIPTS, default="en", help="language of the prompt")
    parser.add_argument("--fade", type=int, default=8, help="frames between two still images")
    options = parser.parse_args()

    script = SCRIPTS[options.language]
    output = options.output or PICTURES / script.file
    stills = make_stills(promptweight.load(options.model), script, options.seed, options.steps)
    frames = list(animate(stills, options.fade))
    output.parent.mkdir(parents=True, exist_ok=True)
    images, times = zip(*frames, strict=True)
    images[0].save(
        output,
        save_all=True,
        append_images=images[1:],
        duration=times,
        loop=0,
        quality=82,
        method=4,
    )
    print(f"{output}: {len(frames)} frames, {sum(times) / 1000:.1f} s")


def make_stills(pipe: Any, script: Script, seed: int, steps: int) -> list[Still]:
    """Generate the still images in their order; the last fades into the first."""
    settings = {"seed": seed, "num_inference_steps": steps}
    plain = promptweight.generate(pipe, script.prompt, **settings)
    pointed = [
        make_still(plain, each, script.prompt, value_range(plain, each), STILL) for each in script.pointed
    ]
    scale = value_range(plain, script.weighted)  # one scale for all weights, so that maps are comparable
    weighted = []
    for weight in WEIGHTS:
        result = promptweight.generate(pipe, script.at(weight), **settings)
        duration = STILL if weight == WEIGHTS[-1] else SHORT_STILL
        weighted.append(make_still(result, script.weighted, script.at(weight), scale, duration, weight))
    return [*pointed, *weighted]


def make_still(
    result: Result,
    phrase: str,
    prompt: str,
    scale: tuple[float, float],
    duration: int,
    weight: float | None = None,
) -> Still:
    """Draw a result beside the map of a phrase; `scale` is a range of probabilities."""
    image, heat = result.images[0], result.maps.word(phrase)
    pair = Image.new("RGB", (WIDTH - 2 * GAP, CELL), BACKGROUND)
    pair.paste(enlarge(image, CELL))
    pair.paste(overlay(image, heat, upscale=CELL, scale=scale), (CELL + GAP, 0))
    strip = draw_word_strip(pair.width, phrase, weight, "inferno", scale)
    return Still(phrase, prompt, pair, strip, duration)


def value_range(result: Result, phrase: str) -> tuple[float, float]:
    """Return the lowest and the highest probability in the map of a phrase."""
    heat = result.maps.word(phrase).tensor
    return float(heat.min()), float(heat.max())


def animate(stills: list[Still], fade: int) -> Iterator[tuple[Image.Image, int]]:
    """Yield frames and their milliseconds: each still, then its fade into the next one, in a circle."""
    for now, following in zip(stills, [*stills[1:], stills[0]], strict=True):
        yield draw_frame(now, now, 0.0), now.duration
        for number in range(1, fade):
            share = number / fade
            yield draw_frame(now, following, share * share * (3 - 2 * share)), FADE


def draw_frame(now: Still, following: Still, share: float) -> Image.Image:
    """Draw a frame of the fade between two stills; `share` is 0 at the first and 1 at the second."""
    nearer = now if share < 0.5 else following
    whole = Image.new("RGB", (WIDTH, HEAD + CELL + nearer.strip.height), BACKGROUND)
    whole.paste(Image.blend(now.pair, following.pair, share), (GAP, HEAD))
    whole.paste(nearer.strip, (GAP, HEAD + CELL))
    draw_prompt(whole, now, following, share)
    return whole


def draw_prompt(whole: Image.Image, now: Still, following: Still, share: float) -> None:
    """Draw the prompt in its box, the phrase under the pointer highlighted, and the pointer."""
    canvas = ImageDraw.Draw(whole)
    canvas.rounded_rectangle((GAP, GAP, WIDTH - GAP, HEAD - GAP), 10, fill=PANEL)
    prompt, middle = (now if share < 0.5 else following).prompt, HEAD / 2
    highlights = {now.phrase: 1 - share, following.phrase: share}
    if now.phrase == following.phrase:
        highlights = {now.phrase: 1.0}
    for phrase, part in highlights.items():
        left, right = extent(prompt, phrase)
        fill = tuple(round(a + 0.35 * part * (b - a)) for a, b in zip(PANEL, ACCENT, strict=True))
        canvas.rounded_rectangle((left - 3, GAP + 5, right + 3, HEAD - GAP - 5), 7, fill=fill)
    at = 2 * GAP
    for piece in prompt.replace("(", "\0(").replace(")", ")\0").split("\0"):
        labels.draw_text(
            canvas, (at, middle), piece, LETTERS, ACCENT if piece.startswith("(") else FOREGROUND
        )
        at += labels.load_font(LETTERS).getlength(piece)
    places = [sum(extent(prompt, each.phrase)) / 2 for each in (now, following)]
    draw_pointer(whole, places[0] + share * (places[1] - places[0]), middle + 6)


def extent(prompt: str, phrase: str) -> tuple[float, float]:
    """Return the start and end of a phrase on the line, in pixels from the left."""
    begin, measure = prompt.index(phrase), labels.load_font(LETTERS).getlength
    return 2 * GAP + measure(prompt[:begin]), 2 * GAP + measure(prompt[: begin + len(phrase)])


def draw_pointer(whole: Image.Image, x: float, y: float) -> None:
    """Draw a mouse pointer with its tip at (x, y), antialiased by drawing it four times larger."""
    arrow = [(0, 0), (0, 17), (4, 13), (7, 20), (10, 19), (7, 12), (12, 12)]
    large = Image.new("RGBA", (56, 96))
    outline = [(4 * a + 4, 4 * b + 4) for a, b in arrow]
    ImageDraw.Draw(large).polygon(outline, fill=(*FOREGROUND, 255), outline=(0, 0, 0, 255), width=4)
    small = large.resize((14, 24), Image.Resampling.LANCZOS)
    whole.paste(small, (round(x), round(y)), small)


if __name__ == "__main__":
    main()
