"""Screenshots of the app for the documentation, taken with a headless browser.

python examples/app_screenshots.py --output examples/pictures

Needs `pip install "promptweight[test]"` and a Chromium: the system's, or `playwright install chromium`.
"""

import shutil
from typing import Any

from options import arguments
from playwright.sync_api import Page, sync_playwright

from promptweight_ui.app import launch

PROMPT = "um (gato:1.2) vermelho e um [peixe] azul"
TIMEOUT = 900_000  # milliseconds


def main() -> None:
    """Take one screenshot for each language, light and dark, and one on a phone."""
    options = arguments(__doc__, output="examples/pictures", seed=3).parse_args()
    options.output.mkdir(parents=True, exist_ok=True)

    app = launch([options.model], prevent_thread_lock=True, quiet=True)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        wide = {"viewport": {"width": 1280, "height": 1040}}
        for name, query, settings in (
            ("app-pt-br", "", {"locale": "pt-BR", **wide}),
            ("app-dark", "?__theme=dark", {"locale": "en-US", **wide}),
            ("app-phone", "", {"locale": "pt-BR", "viewport": {"width": 390, "height": 844}}),
        ):
            context = browser.new_context(**settings)
            context.set_default_timeout(TIMEOUT)
            page = context.new_page()
            page.goto(f"{app.local_url}{query}")
            generate(page, options)
            select_words(page, name)
            page.screenshot(path=options.output / f"{name}.png")
            context.close()
        browser.close()
    app.close()


def generate(page: Page, options: Any) -> None:
    """Generate the image in the app."""
    page.wait_for_selector("#generate-prompt textarea.pw-area")
    page.wait_for_selector("#generate-prompt-report .pw-count")  # the model is loaded
    page.fill("#generate-prompt textarea", PROMPT)
    page.uncheck("#generate-random input")
    for name, value in (("steps", options.steps), ("seed", options.seed)):
        page.fill(f"#generate-{name} input[type=number]", str(value))
        page.press(f"#generate-{name} input[type=number]", "Tab")
    page.press("#generate-prompt textarea", "Control+Enter")
    # The image with which the page opens has other words.
    page.wait_for_selector("#generate-picture .pw-picture[data-state=done] .pw-chip:has-text('peixe')")


def select_words(page: Page, name: str) -> None:
    """Select two words, or one with a changed weight."""
    for number in (3, 7) if name != "app-dark" else (7,):
        page.click(f"#generate-picture .pw-chip:nth-child({number})")
    if name == "app-phone":
        page.evaluate("document.querySelector('.pw-chips').scrollIntoView({block: 'start'})")
        page.wait_for_timeout(500)
        return
    page.focus("#generate-picture .pw-chip:nth-child(7)")
    page.keyboard.press("+")
    page.wait_for_selector("#generate-picture .pw-chip:nth-child(7).pw-changed")
    stage = page.locator("#generate-picture .pw-stage").bounding_box()
    page.mouse.move(stage["x"] + 0.62 * stage["width"], stage["y"] + 0.6 * stage["height"])
    page.wait_for_timeout(500)


if __name__ == "__main__":
    main()
