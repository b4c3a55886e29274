"""Tour of the app in a headless browser: every tab in both languages, with screenshots and timings.

    python -m tests.ui.tour out/tour
    python -m tests.ui.tour out/tour --url http://127.0.0.1:7860 --width 390 --theme dark

Without `--url` the app is started with a built-in model and ended afterwards. The folder gets a screenshot of
the whole page after each step, and `tour.json`: for each language the steps with their seconds, the elements
of each step in which axe-core finds a violation, by theme and impact (after `npm ci`), and the errors of
the page. The exit code is 1 if a page had an error.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from promptweight_ui.i18n import LANGUAGES, strings
from tests.ui import axe
from tests.ui.page_driving import AREA, PICTURE
from tests.ui.soak import serve

PROMPTS = {
    "en": "a red cat chases a (black mouse:1.5)",
    "pt-br": "um gato vermelho persegue um (rato cinza:1.5)",
}
TIMEOUT = 300.0
"""Seconds that a step may last."""


class Steps:
    """Record of the steps of one page: `seconds` and `axe.findings` by name of the step.

    Args:
        page: the page.
        folder: the folder of the screenshots.
        name: the beginning of their names.
    """

    def __init__(self, page: Page, folder: Path, name: str) -> None:
        self._page, self._folder, self._name = page, folder, name
        self.seconds: dict[str, float] = {}
        self.findings: dict[str, dict[str, dict[str, list[str]]]] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure the block, take a screenshot, and keep the findings of axe-core if it is installed."""
        begin = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - begin, 3)
        number = len(self.seconds)
        path = self._folder / f"{self._name}-{number:02d}-{name}.png"
        self._page.mouse.move(2, 2)
        self._page.screenshot(path=path, full_page=True)
        if axe.FILE.exists():
            self.findings[name] = axe.findings(self._page)


def main() -> None:
    """Visit the app in both languages, and print the seconds of each step."""
    options = parse(sys.argv[1:])
    options.folder.mkdir(parents=True, exist_ok=True)
    with served(options.url, options.model) as url, sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        found = {
            language: visit(browser, url, language, options.folder, options.width, options.theme)
            for language in LANGUAGES
        }
        browser.close()
    (options.folder / "tour.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    for language, about in found.items():
        for name, seconds in about["seconds"].items():
            found_here = about["findings"].get(name, {})
            shown = "; ".join(f"{theme}: {_counts(by)}" for theme, by in found_here.items())
            print(f"{language:6} {name:16} {seconds:7.2f} s  {shown}")
        for error in about["errors"]:
            print(f"{language:6} {error}")
    sys.exit(any(about["errors"] for about in found.values()))


def _counts(by_impact: dict[str, list[str]]) -> str:
    return ", ".join(f"{len(lines)} {impact}" for impact, lines in by_impact.items())


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options of a command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("folder", type=Path, help="folder of the screenshots and the timings")
    parser.add_argument("--url", help="address of a running app; one is started without it")
    parser.add_argument("--model", default="mini", help="model of the app that is started")
    parser.add_argument("--width", type=int, default=1440, help="width of the window in pixels")
    parser.add_argument("--theme", choices=("light", "dark"), default="light")
    return parser.parse_args(arguments)


@contextmanager
def served(url: str | None, model: str) -> Iterator[str]:
    """Yield the address of the running app, or of one that runs inside the block."""
    if url is not None:
        yield url.rstrip("/")
        return
    with tempfile.TemporaryDirectory() as folder:
        own, server = serve(model, folder)
        try:
            yield own
        finally:
            server.terminate()
            server.wait()


def visit(
    browser: Any, url: str, language: str, folder: Path, width: int = 1440, theme: str = "light"
) -> dict[str, Any]:
    """Drive one page through all tabs.

    Args:
        browser: Playwright's browser.
        url: the address of the app.
        language: the language of the browser, one of `LANGUAGES`.
        folder: the folder of the screenshots.
        width: the width of the window in pixels.
        theme: "light" or "dark".

    Returns:
        The `seconds` and the `findings` of axe-core of each step by its name, and the `errors` of the page.
    """
    viewport = {"width": width, "height": 900}
    context = browser.new_context(locale=language, viewport=viewport, reduced_motion="reduce")
    context.set_default_timeout(1000 * TIMEOUT)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    steps, texts = Steps(page, folder, f"{language}-{theme}-{width}"), strings(language)
    with steps.step("open"):
        page.goto(f"{url}/?__theme={theme}")
        page.wait_for_selector(f"{AREA}.pw-area")
        page.wait_for_selector("#language label.selected")
        page.wait_for_function("document.querySelector('#generate-prompt-report').textContent.length > 4")
    _generate(page, steps, PROMPTS[language], texts)
    _compare(page, steps, texts)
    _explore(page, steps, texts)
    with steps.step("history"):
        _enter(page, texts, "history")
        page.wait_for_selector("#history-gallery button.thumbnail-item")
        page.locator("#history-gallery button.thumbnail-item").first.click()
        page.wait_for_selector("#history-send:not([disabled])")
    _regions(page, steps, texts)  # last: without a GPU its canvas slows the page down
    context.close()
    return {"seconds": steps.seconds, "findings": steps.findings, "errors": errors}


def _enter(page: Page, texts: Any, name: str) -> None:
    page.get_by_role("tab", name=texts[f"{name}_tab"], exact=True).click()


def _generate(page: Page, steps: Steps, prompt: str, texts: Any) -> None:
    """Generate an image, then let a run fail by a width that no built-in model has."""
    with steps.step("generate"):
        page.fill(AREA, prompt)
        _run(page, "done")
        page.wait_for_selector(f"{PICTURE} .pw-chip")
    with steps.step("word"):
        page.locator(f"{PICTURE} .pw-chip").first.click()
        page.wait_for_selector(f"{PICTURE} .pw-chip[aria-pressed=true]")
    page.get_by_text(texts["generate_more"], exact=True).click()
    width = "#generate-width input, #generate-width textarea"
    page.wait_for_selector("#generate-width:visible")
    with steps.step("failure"):
        page.fill(width, "2048")
        page.press(width, "Tab")
        _run(page, "failed")
        page.wait_for_selector("#generate-go:visible")
    page.fill(width, "")
    page.press(width, "Tab")


def _run(page: Page, state: str) -> None:
    page.evaluate(f"document.querySelector('{PICTURE}').dataset.state = 'clicked'")
    page.click("#generate-go")
    page.wait_for_selector(f"{PICTURE}[data-state={state}]")


def _compare(page: Page, steps: Steps, texts: Any) -> None:
    """Compare the image with and without the weight."""
    with steps.step("compare"):
        _enter(page, texts, "compare")
        page.wait_for_function("document.querySelector('#compare-word input')?.value.length > 0")
        page.click("#compare-pair")
        page.wait_for_selector(".pw-versus")
        page.wait_for_function("!document.querySelector('#compare-stop')?.checkVisibility()")


def _regions(page: Page, steps: Steps, texts: Any) -> None:
    """Paint a stroke for the word with which the tab opens."""
    with steps.step("regions"):
        _enter(page, texts, "regions")
        page.wait_for_function("document.querySelector('#regions-orange input')?.value.length > 0")
        page.wait_for_selector("#regions-canvas canvas")
        canvas = page.locator("#regions-canvas canvas").first
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        assert box is not None
        left, top = box["x"] + box["width"] / 3, box["y"] + box["height"] / 3
        page.mouse.move(left, top)
        page.mouse.down()
        page.mouse.move(left + 60, top + 40, steps=5)
        page.mouse.up()
        page.click("#regions-go")
        page.wait_for_selector("#regions-picture .pw-picture[data-state=done] .pw-chip")


def _explore(page: Page, steps: Steps, texts: Any) -> None:
    """Show the numbers of the last image, and answer a card of the tour."""
    with steps.step("explore-text"):
        _enter(page, texts, "explore")
        page.wait_for_selector("#explore-text .pw-matrix td[style]")
    with steps.step("explore-image"):
        page.click("#explore-go")
        page.wait_for_selector(".pw-sum-table")
        page.wait_for_selector(".pw-wall-row")
    with steps.step("explore-tour"):
        page.click(".pw-tour-start")
        page.click("[name=tour-choice-0]")
        page.wait_for_selector(".pw-tour .pw-readout")
    page.keyboard.press("Escape")


if __name__ == "__main__":
    main()
