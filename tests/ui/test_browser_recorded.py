"""Recorded run of the Explore tab, opened from a file: no request, and no control without effect."""

import math
import re
from pathlib import Path

import pytest

from promptweight_ui.i18n import strings
from promptweight_ui.recorded_page import write_pages
from tests.ui.page_driving import BROWSER

pytestmark = BROWSER

PAGE = Path(__file__).parents[2] / "docs" / "app.md"
READOUT = ".pw-try .pw-readout"
SERVER_CONTROLS = (
    "#explore-go, #explore-stop, #explore-encode, #explore-prompt, select[name=inside-step], [name=tour-fill]"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("recorded")
    write_pages(target, steps=3)
    return target


@pytest.fixture
def open_file(browser, folder):
    """Opens a page of the folder; a request for anything but files and data, or an error, fails the test."""
    contexts, faults = [], []

    def opened(name, **settings):
        context = browser.new_context(reduced_motion="reduce", **settings)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: faults.append(request.url) if is_remote(request.url) else None)
        page.goto((folder / name).as_uri())
        page.wait_for_selector(".pw-wall-row")
        page.wait_for_selector("section[data-scale]")
        return page

    def is_remote(url):
        return not url.startswith(("file:", "data:"))

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


def percents(text):
    return [float(number.replace(",", ".")) / 100 for number in re.findall(r"([\d.,]+)\u00a0%", text)]


def slide(page, name, value):
    page.evaluate(f"document.querySelector('input[name={name}]').value = '{value}'")
    page.dispatch_event(f"input[name={name}]", "input")


@pytest.mark.parametrize(("name", "language"), [("index.html", "en"), ("pt-br.html", "pt-br")])
def test_page_shows_every_section_and_moves_the_weight(open_file, name, language):
    page, texts = open_file(name, viewport={"width": 390, "height": 844}), strings(language)
    assert page.get_attribute("html", "lang") == language
    assert page.locator(SERVER_CONTROLS).count() == 0
    assert page.locator("button:disabled").count() == 0
    sections = "#explore-vectors .pw-strip, #explore-text .pw-matrix, .pw-figures canvas, .pw-film canvas"
    assert page.locator(sections).count() >= 6
    assert page.locator(".pw-wall-row button").count() == 24
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    # the word has weight 2; with weight 1 its share p is that of p ÷ (2 − p)
    (before,) = percents(page.inner_text(READOUT))
    assert texts["explore_try_recorded"].split("}")[-1].strip() in page.inner_text(READOUT)
    slide(page, "try-weight", 1)
    shown, after = percents(page.inner_text(READOUT))[:2]
    assert shown == before
    assert after == pytest.approx(before / (2 - before), rel=0.06, abs=0.002)


def test_selections_change_the_numbers_without_a_server(open_file):
    page = open_file("index.html")
    chosen = ".pw-sum-table tr.pw-chosen"
    first = page.inner_text(chosen)
    page.click(".pw-wall button[data-place='4-1']")
    page.wait_for_selector(".pw-wall button[data-place='4-1'][aria-pressed=true]")
    assert page.inner_text(chosen) != first
    page.get_by_role("button", name="house", exact=True).last.click()
    page.wait_for_selector(f"{chosen}:has-text('house')")
    before = page.inner_text(chosen)
    page.locator(".pw-patches .pw-grid").first.press("ArrowDown")
    page.wait_for_function(
        "before => document.querySelector('.pw-sum-table tr.pw-chosen').innerText !== before", arg=before
    )
    lines = page.locator(".pw-sum-table tr:has(td):not(.pw-total)")
    cells = [lines.nth(line).locator("td").all_inner_texts() for line in range(lines.count() - 1)]
    scaled = [float(each[1].replace("−", "-")) + bias(each[2]) for each in cells]
    shares = page.locator(".pw-try .pw-bars .pw-value").all_inner_texts()
    top = max(range(len(scaled)), key=scaled.__getitem__)
    start = percents(shares[0])[0] / percents(shares[top])[0]
    assert start == pytest.approx(math.exp(scaled[0] - scaled[top]), rel=0.3, abs=0.02)
    slide(page, "film-step", 0)
    assert page.inner_text(".pw-film output") == "1 of 3"
    guided = page.locator(".pw-guidance img").nth(2)
    sources = []
    for scale in (0, 12):
        slide(page, "guidance-scale", scale)
        page.wait_for_selector(f"section[data-scale='{scale}']")
        sources.append(guided.get_attribute("src"))
    assert sources[0] == page.locator(".pw-guidance img").first.get_attribute("src") != sources[1]
    page.uncheck("input[name=text-mask]")
    page.wait_for_function("!document.querySelector('#explore-text .pw-masked')")


def bias(text):
    return float(text.removeprefix("+ ").replace("−", "-") or 0)


def test_tour_has_numbers_on_every_card(open_file):
    page = open_file("index.html")
    page.click(".pw-tour-start")
    for _ in range(14):
        page.click("[name=tour-choice-0]")
        assert "{" not in page.inner_text(".pw-tour .pw-readout")
        page.click("[name=tour-next]")


@pytest.mark.parametrize("name", ["index.html", "pt-br.html"])
def test_every_idea_of_the_documentation_has_its_element(open_file, name):
    text = PAGE.read_text(encoding="utf-8")
    _, _, table = text.partition("## The ideas in Explore")
    selectors = re.findall(r"^\| .* \| `(.+)` \|$", table.partition("\n## ")[0], re.MULTILINE)
    assert len(selectors) >= 20
    page = open_file(name)
    assert [each for each in selectors if not page.locator(each).count()] == []


def test_pages_are_small(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["index.html", "pt-br.html"]
    for path in folder.iterdir():
        assert path.stat().st_size < 2_000_000
