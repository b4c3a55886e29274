"""Explore, Compare, History and Regions in a browser with one image, and invalid requests."""

import io
import re

import pytest
from PIL import Image

from promptweight_ui.explore.cache import Cache
from promptweight_ui.tabs import explore
from tests.ui.page_driving import AREA, enter, fill_number

# other libraries warn inside the server's threads
pytestmark = pytest.mark.filterwarnings("ignore")

DONE = "#generate-picture .pw-picture[data-state=done]"
PATIENCE = 600_000  # milliseconds; a busy machine must not fail a test
PROMPT = "um (gato:1.4) <img src=x onerror=document.title='run'>"


@pytest.fixture(scope="module")
def page(served, browser):
    """One page with an image of three steps; an error on the page fails the last test that uses it."""
    context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(served.url)
    page.wait_for_selector(f"{AREA}.pw-area")
    page.wait_for_selector("#language label.selected")
    page.fill(AREA, PROMPT)
    fill_number(page, "generate-steps", 3)
    page.press(AREA, "Control+Enter")
    page.wait_for_selector(f"{DONE} .pw-chip")
    yield page
    assert page.title() != "run"
    context.close()
    assert errors == []


def pixels(page, selector):
    return page.evaluate(
        """selector => {
            const canvas = document.querySelector(selector);
            return [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data];
        }""",
        selector,
    )


def percents(texts):
    return [float(re.search(r"[\d.]+", text)[0]) for text in texts]


@pytest.mark.browser
def test_text_matrix_shows_the_self_attention(page):
    enter(page, "Explore")
    page.wait_for_selector("#explore-text .pw-matrix")  # the tab opens with the prompt of the page
    page.fill("#explore-prompt textarea, #explore-prompt input", "um gato <b>um</b>")
    page.click("#explore-encode")
    page.wait_for_function("document.querySelector('#explore-text .pw-matrix').innerText.includes('100')")
    rows = page.locator("#explore-text .pw-matrix tr").count() - 1
    masked = page.locator("#explore-text .pw-matrix .pw-masked").count()
    assert masked == rows * (rows - 1) / 2
    assert page.locator("#explore-text .pw-matrix b").count() == 0
    lines = [line.split() for line in page.locator("#explore-text .pw-matrix tr").all_inner_texts()[1:]]
    for line in lines:
        assert sum(int(cell) for cell in line if cell.isdigit()) == pytest.approx(100, abs=rows)
    page.locator("#explore-text .pw-matrix td.pw-masked").first.hover()
    assert "cannot attend" in page.inner_text("#explore-text .pw-readout")


@pytest.mark.browser
def test_attention_view_follows_patch_and_word(page):
    enter(page, "Explore")
    page.click("#explore-go")
    page.wait_for_selector(".pw-sum-table")
    shares = percents(page.locator(".pw-bars:not(.pw-try .pw-bars) .pw-value").all_inner_texts())
    assert sum(shares) == pytest.approx(100, abs=2)
    assert page.inner_text(".pw-total").split()[1] == "100"
    before = pixels(page, ".pw-figures figure:nth-child(2) canvas.pw-grid")
    mark = page.get_attribute(".pw-figures figure:nth-child(1) .pw-mark", "style")
    page.focus(".pw-figures figure:nth-child(1) canvas.pw-grid")
    page.keyboard.press("ArrowRight" if "left: 0" in mark else "ArrowLeft")
    page.wait_for_function(
        "style => document.querySelector('.pw-mark').getAttribute('style') !== style", arg=mark
    )
    assert pixels(page, ".pw-figures figure:nth-child(2) canvas.pw-grid") != before
    where = pixels(page, ".pw-figures figure:nth-child(1) canvas.pw-grid")
    page.locator("#explore-inside .pw-chip", has_text="um").first.click()
    page.wait_for_selector("#explore-inside .pw-chip[aria-pressed=true]:has-text('um')")
    assert pixels(page, ".pw-figures figure:nth-child(1) canvas.pw-grid") != where
    assert page.locator("#explore-inside img[src=x]").count() == 0


@pytest.mark.browser
def test_compare_shows_grid_charts_and_difference(page):
    enter(page, "Compare")
    page.wait_for_function("document.querySelector('#compare-word input').value === 'gato'")
    page.fill("#compare-across-values textarea, #compare-across-values input", "1, 3")
    page.press("#compare-across-values textarea, #compare-across-values input", "Tab")
    page.click("#compare-go")
    page.wait_for_selector(".pw-versus")
    assert page.locator(".pw-cell").count() == 2
    assert page.locator(".pw-cell[aria-pressed=true]").count() == 2
    assert page.locator(".pw-charts circle").count() == 4
    page.wait_for_function("document.querySelector('.pw-versus figcaption').textContent.length > 9")
    address = page.locator(".pw-cell-under a").nth(1).evaluate("link => link.href")
    picture = Image.open(io.BytesIO(page.request.get(address).body()))
    assert picture.text["parameters"].startswith("um (gato:3)")
    page.locator(".pw-cell").first.click()  # chosen before, and so it stays
    assert page.locator(".pw-cell[aria-pressed=true]").count() == 2
    assert page.locator(".pw-versus").count() == 1


@pytest.mark.browser
def test_history_sends_an_image_back_to_generate(page):
    enter(page, "Generate")
    page.fill(AREA, "something else")
    enter(page, "History")
    page.wait_for_selector("#history-gallery img")
    page.locator("#history-gallery img").last.click()  # the oldest: comparisons come after it
    page.wait_for_function(
        "prompt => document.querySelector('#history-prompt textarea').value === prompt", arg=PROMPT
    )
    page.click("#history-send")
    page.wait_for_function(
        "([area, prompt]) => document.querySelector(area).value === prompt", arg=[AREA, PROMPT]
    )
    page.wait_for_selector("#generate-go:visible")
    assert page.input_value("#generate-steps input[type=number]") == "3"
    assert not page.is_checked("#generate-random input")


@pytest.mark.browser
def test_regions_without_paint_are_refused(page):
    enter(page, "Regions")
    page.click("#regions-go")
    page.wait_for_selector("text=Select a word for a color")


@pytest.mark.parametrize(
    "request_data",
    [None, 3, [], "key", {}, {"key": None}, {"key": ["x"]}, {"key": "unknown", "layer": 0}],
)
def test_request_without_a_known_key_has_no_values(request_data):
    cache = Cache()
    cache.add("secret", 1)
    assert explore.layer_values(cache, request_data) == {"error": "gone"}
    assert explore.text_values(cache, request_data) == {"error": "gone"}


@pytest.mark.parametrize("value", [None, "0", 0.0, True, float("nan"), [0]])
def test_indices_that_are_not_integers_are_refused(value):
    cache = Cache()
    indices = {"key": cache.add(object(), 1), "layer": 0, "head": 0, "step": 0, "patch": 0, "word": 0}
    for name in ("layer", "head", "step", "patch", "word"):
        assert explore.layer_values(cache, indices | {name: value}) == {"error": "no_such"}
    assert explore.text_values(cache, indices | {"chunk": value}) == {"error": "no_such"}
