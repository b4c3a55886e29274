"""Animation of the first minute of the app: arrival, a word, its weight, the new image, the comparison.

python examples/app_animation.py                  examples/pictures/app.webp
python examples/app_animation.py --language pt    examples/pictures/app.pt-br.webp

A headless browser makes each step, and the frames between two screenshots move the pointer. Needs
`pip install "promptweight[test]"` and a Chromium: the system's, or `playwright install chromium`.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from options import arguments
from PIL import Image, ImageDraw
from playwright.sync_api import Locator, Page, sync_playwright
from readme_animation import draw_pointer

from promptweight.render import BACKGROUND, FOREGROUND, labels
from promptweight_ui.app import launch
from promptweight_ui.i18n import strings

PICTURES = Path(__file__).parent / "pictures"
FILES = {"en": "app.webp", "pt": "app.pt-br.webp"}
LOCALES = {"en": "en-US", "pt": "pt-BR"}
CAPTIONS = {
    "en": {
        "arrive": "The app opens with a finished image and a weighted phrase.",
        "word": "The pointer over a phrase shows where it acts.",
        "weight": "− lowers its weight, here and in the prompt.",
        "image": "The same seed with weight 0.",
        "compare": "Compare: one image for each weight, and what the weight did.",
    },
    "pt": {
        "arrive": "O aplicativo abre com uma imagem pronta e um trecho com peso.",
        "word": "O ponteiro sobre um trecho mostra onde ele age.",
        "weight": "− diminui o peso dele, aqui e no prompt.",
        "image": "A mesma semente com peso 0.",
        "compare": "Comparar: uma imagem para cada peso, e o que o peso fez.",
    },
}
VIEWPORT = {"width": 1440, "height": 860}
WIDTH, CAPTION, LETTERS = 1080, 44, 20
MOVES, MOVE, CLICK, STILL = 7, 45, 300, 2200
"""Frames of a movement, and milliseconds of each, after a click, and of a still image."""
TIMEOUT = 900_000  # milliseconds
CHIP = "#generate-picture .pw-chip"


@dataclass(frozen=True)
class Scene:
    """A screenshot after a step.

    Attributes:
        image: the screenshot.
        pointer: the place of the pointer on the page.
        caption: the sentence below.
        duration: milliseconds.
    """

    image: Image.Image
    pointer: tuple[float, float]
    caption: str
    duration: int


class Recording:
    """Scenes of one page.

    Args:
        page: the page.
        captions: the sentences by name.
    """

    def __init__(self, page: Page, captions: dict[str, str]) -> None:
        self._page, self._captions = page, captions
        self._pointer = (VIEWPORT["width"] / 2, VIEWPORT["height"] - 60.0)
        self.scenes: list[Scene] = []

    def point(self, target: Locator) -> None:
        """Move the pointer to the middle of an element."""
        box = target.bounding_box()
        assert box is not None
        self._pointer = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self._page.mouse.move(*self._pointer)

    def shoot(self, caption: str, duration: int = STILL) -> None:
        """Add the page as it is, without the seconds of the run."""
        page = self._page
        page.evaluate("window.getSelection().removeAllRanges()")
        page.wait_for_function("document.getAnimations().every((each) => each.playState !== 'running')")
        page.evaluate(
            "document.querySelectorAll('.pw-status, .pw-compare-status').forEach((each) => {"
            " each.textContent = each.textContent.replace(/ · [\\d.,]+\\ss(?= |$)/, ''); })"
        )
        image = Image.open(io.BytesIO(page.screenshot(caret="hide"))).convert("RGB")
        self.scenes.append(Scene(image, self._pointer, self._captions[caption], duration))


def main() -> None:
    """Record the page and write the animation."""
    parser = arguments(__doc__, output=None)
    parser.add_argument("--language", choices=FILES, default="en", help="language of the page")
    options = parser.parse_args()
    output = options.output or PICTURES / FILES[options.language]

    app = launch([options.model], output_dir=None, prevent_thread_lock=True, quiet=True)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(
            locale=LOCALES[options.language], viewport=VIEWPORT, reduced_motion="reduce"
        )
        context.set_default_timeout(TIMEOUT)
        page = context.new_page()
        page.goto(app.local_url)
        scenes = record(page, options)
        browser.close()
    app.close()
    images, times = zip(*animate(scenes), strict=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    images[0].save(
        output, save_all=True, append_images=images[1:], duration=times, loop=0, quality=80, method=4
    )
    print(f"{output}: {len(images)} frames, {sum(times) / 1000:.1f} s")


def record(page: Page, options: Any) -> list[Scene]:
    """Do what a visitor does in the first minute, and return the scenes."""
    texts = strings("pt-br" if options.language == "pt" else "en")
    recording = Recording(page, CAPTIONS[options.language])
    page.wait_for_selector(f"#generate-picture .pw-picture[data-state=done] {CHIP.split()[-1]}")
    page.wait_for_selector("#generate-prompt-report .pw-count")
    page.fill("#generate-steps input[type=number]", str(options.steps))
    page.press("#generate-steps input[type=number]", "Tab")
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    recording.shoot("arrive")

    phrase = page.locator(f"{CHIP}:has(.pw-weight:not(:empty))").first
    recording.point(phrase)
    recording.shoot("word")

    if phrase.get_attribute("aria-pressed") != "true":  # a page may open with the phrase selected
        phrase.click()
    less = page.locator("#generate-picture .pw-step").first
    recording.point(less)
    area = page.locator("#generate-prompt textarea")
    while ":0)" not in (prompt := area.input_value()).replace("0.0", "0"):
        less.click()
        page.wait_for_function(
            "before => document.querySelector('#generate-prompt textarea').value !== before", arg=prompt
        )
        recording.shoot("weight", CLICK)

    seed = page.get_by_role("button", name=texts["picture_use_seed"], exact=True).first
    recording.point(seed)
    seed.click()
    recording.shoot("image", CLICK)
    go = page.locator("#generate-go")
    recording.point(go)
    page.evaluate("document.querySelector('#generate-picture .pw-picture').dataset.state = 'clicked'")
    go.click()
    page.wait_for_selector("#generate-picture .pw-picture[data-state=done]")
    page.wait_for_selector("#generate-go")
    recording.shoot("image")

    tab = page.get_by_role("tab", name=texts["compare_tab"], exact=True)
    recording.point(tab)
    tab.click()
    page.wait_for_function("document.querySelector('#compare-word input')?.value.length > 0")
    recording.shoot("compare", CLICK)
    make = page.locator("#compare-go")
    recording.point(make)
    make.click()
    page.wait_for_selector("#compare-grid .pw-summary:not(:empty)")
    page.wait_for_function("!document.querySelector('#compare-stop')?.checkVisibility()")
    recording.shoot("compare", 2 * STILL)
    return recording.scenes


def animate(scenes: list[Scene]) -> Iterator[tuple[Image.Image, int]]:
    """Yield frames and their milliseconds: each scene, then the movement of the pointer to the next."""
    for now, following in zip(scenes, [*scenes[1:], scenes[0]], strict=True):
        yield draw_frame(now, now.pointer), now.duration
        if now.pointer == following.pointer or following is scenes[0]:
            continue
        for number in range(1, MOVES):
            share = number / MOVES
            eased = share * share * (3 - 2 * share)
            x, y = (a + eased * (b - a) for a, b in zip(now.pointer, following.pointer, strict=True))
            yield draw_frame(now, (x, y)), MOVE


def draw_frame(scene: Scene, pointer: tuple[float, float]) -> Image.Image:
    """Draw a screenshot with the pointer and the caption below it."""
    scale = WIDTH / scene.image.width
    shown = scene.image.resize((WIDTH, round(scene.image.height * scale)), Image.Resampling.LANCZOS)
    whole = Image.new("RGB", (WIDTH, shown.height + CAPTION), BACKGROUND)
    whole.paste(shown)
    draw_pointer(whole, pointer[0] * scale, pointer[1] * scale)
    labels.draw_text(
        ImageDraw.Draw(whole), (16, shown.height + CAPTION / 2), scene.caption, LETTERS, FOREGROUND
    )
    return whole


if __name__ == "__main__":
    main()
