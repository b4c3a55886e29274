"""Controls of the Explore tab in a browser: vectors, mask, softmax, wall, film, projections and guidance."""

import math
import re
from threading import Event

import pytest
from PIL import Image

from promptweight_ui.explore import attention, guidance
from tests.ui.conftest import called
from tests.ui.page_driving import AREA, BROWSER, PATIENCE, PICTURE, enter, fill_number

pytestmark = BROWSER

READOUT = "#explore-inside .pw-try .pw-readout"


def explore(page, prompt="um (gato:0.5) um", steps=3):
    page.fill(AREA, prompt)
    fill_number(page, "generate-steps", steps)
    page.click("#generate-go")
    page.wait_for_selector(f"{PICTURE}[data-state=done]")
    enter(page, "Explore")
    page.click("#explore-go")


@pytest.fixture(scope="module")
def page(served, browser):
    """One page with the numbers of an image; it moves nothing by itself."""
    context = browser.new_context(
        locale="en-US", viewport={"width": 1280, "height": 900}, reduced_motion="reduce"
    )
    context.set_default_timeout(1000 * PATIENCE)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(served.url)
    page.wait_for_selector(f"{AREA}.pw-area")
    page.wait_for_selector("#language label.selected")
    explore(page)
    page.wait_for_selector("#explore-vectors .pw-strips")
    page.wait_for_selector(".pw-sum-table")
    page.wait_for_selector(".pw-wall-row")
    yield page
    context.close()
    assert errors == []


def slide(page, name, value):
    page.evaluate(f"document.querySelector('input[name={name}]').value = '{value}'")
    page.dispatch_event(f"input[name={name}]", "input")


def percents(text):
    return [float(number) / 100 for number in re.findall(r"([\d.]+)\u00a0%", text)]


def test_token_has_its_vectors_and_equal_words_differ_by_position(page):
    title = "#explore-vectors .pw-strips h4"
    page.click("#explore-vectors button[name=token-2]")
    page.wait_for_function(f"document.querySelector('{title}').textContent.includes('gato')")
    assert page.locator("#explore-vectors .pw-strips .pw-vector").count() == 3
    cell = page.locator("#explore-vectors .pw-matrix tr").nth(1).locator("td").nth(2)  # "um" and "um"
    assert cell.inner_text() == "1.00"
    page.select_option("#explore-vectors select[name=vectors-stage]", "sum")
    page.wait_for_selector("text=the same word at two places has two vectors")
    assert float(cell.inner_text().replace("−", "-")) < 1


def test_lifted_mask_gives_shares_to_later_tokens(page):
    masked = page.locator("#explore-text .pw-masked")
    assert masked.count() > 0
    page.uncheck("input[name=text-mask]")
    page.wait_for_function("!document.querySelector('#explore-text .pw-masked')")
    first = page.locator("#explore-text .pw-matrix tr").nth(1).locator("td").all_inner_texts()
    assert sum(int(text) for text in first) == pytest.approx(100, abs=len(first))
    assert int(first[0]) < 100
    page.check("input[name=text-mask]")
    page.wait_for_selector("#explore-text .pw-masked")


def test_softmax_moves_with_weight_and_temperature(page):
    page.click("button[name=try-reset]")
    (before,) = percents(page.inner_text(READOUT))
    slide(page, "try-weight", 3)
    shown, after = percents(page.inner_text(READOUT))
    assert shown == before
    weight = 3 * before / (1 - before + 3 * before)
    assert after == pytest.approx(weight, rel=0.06, abs=0.002)
    page.click("button[name=try-reset]")
    slide(page, "try-temperature", -2)  # T = 1/4: the distance of two logits is four times as large
    lines = page.locator(".pw-sum-table tr:has(td)")
    names = lines.locator("th").all_inner_texts()
    first, word = names.index("⟨start⟩"), names.index("gato")
    logits = [
        float(lines.nth(line).locator("td").nth(1).inner_text().replace("−", "-")) for line in (first, word)
    ]
    shares = percents(" ".join(page.locator(".pw-try .pw-bars .pw-value").all_inner_texts()))
    assert shares[first] / shares[word] == pytest.approx(math.exp(4 * (logits[0] - logits[1])), rel=0.2)
    page.uncheck("input[name=try-scaled]")
    page.click("button[name=try-reset]")
    assert page.is_checked("input[name=try-scaled]")
    assert percents(page.inner_text(READOUT)) == [before]


def test_map_of_the_wall_selects_its_layer_and_head(page):
    maps = page.locator(".pw-wall button")
    layers = page.locator("select[name=inside-layer] option").count()
    heads = page.locator("select[name=inside-head] option").count()
    assert maps.count() == layers * heads
    for place in ("0-1", f"{layers - 1}-0"):
        page.click(f".pw-wall button[data-place='{place}']")
        page.wait_for_selector(f".pw-wall button[data-place='{place}'][aria-pressed=true]")
        layer, head = place.split("-")
        assert page.input_value("select[name=inside-layer]") == layer
        assert page.input_value("select[name=inside-head]") == head
        page.wait_for_function(
            "text => document.querySelector('.pw-film h4').textContent.includes(text)",
            arg=f"layer {int(layer) + 1}, head {int(head) + 1}",
        )


def test_film_shows_each_step_and_plays_nothing_by_itself(page):
    output = ".pw-film output"
    slide(page, "film-step", 0)
    assert page.inner_text(output) == "1 of 3"
    assert page.inner_text("button[name=film-play]") == "Next step"
    for expected in ("2 of 3", "3 of 3", "1 of 3"):
        page.click("button[name=film-play]")
        assert page.inner_text(output) == expected


def test_projections_result_in_the_product_of_the_table(page):
    row = page.locator(".pw-sum-table tr.pw-chosen td").first.inner_text()
    assert f"q·k = {row}:" in page.inner_text("#explore-inside")
    assert page.locator(".pw-projections canvas.pw-weights").count() == 3


def test_guidance_slider_requests_the_image_of_its_scale(page, monkeypatch):
    def draw(pipe, step, scale, size):
        return Image.new("RGB", size, (round(20 * scale), 0, 0))

    monkeypatch.setattr(guidance, "predicted_image", draw)
    images = page.locator(".pw-guidance img")
    page.wait_for_selector("section[data-scale]")
    first = images.nth(2).get_attribute("src")
    page.select_option("select[name=inside-step]", "2")
    page.wait_for_function(
        "first => document.querySelectorAll('.pw-guidance img')[2].src !== first", arg=first
    )
    sources = [images.nth(number).get_attribute("src") for number in range(3)]
    assert len(set(sources)) == 3
    for scale, same in ((0, 0), (1, 1)):
        slide(page, "guidance-scale", scale)
        page.wait_for_selector(f"section[data-scale='{scale}']")
        assert images.nth(2).get_attribute("src") == sources[same]


def test_stopped_run_shows_the_steps_before(open_page, served, monkeypatch):
    held, released, capture_layers = Event(), Event(), attention.capture_layers

    def capture_held(pipe, result, image, callback):
        def hold(progress):
            if progress.step == 2:
                held.set()
                assert released.wait(PATIENCE)
            return callback(progress)

        return capture_layers(pipe, result, image, hold)

    monkeypatch.setattr(attention, "capture_layers", capture_held)
    page = open_page()
    explore(page, steps=6)
    page.wait_for_selector("#explore-stop:visible")
    assert held.wait(PATIENCE)
    stopped = called(served.context.sessions.last("run").run, "stop")
    page.click("#explore-stop")
    assert stopped.wait(PATIENCE)
    released.set()
    page.wait_for_selector(".pw-sum-table")
    page.wait_for_selector("#explore-go:visible")
    assert page.locator("select[name=inside-step] option").all_inner_texts() == ["1 of 6", "2 of 6"]
