"""Failures and waiting in a browser: every run ends in a page that tells what happened and works."""

from contextlib import contextmanager
from itertools import count
from threading import Event, Thread
from types import SimpleNamespace

import pytest

from tests.ui.conftest import called
from tests.ui.page_driving import AREA, BROWSER, PATIENCE, PICTURE, enter, fill_number, generate, run

REGIONS = "#regions-picture .pw-picture"
REASON = "The run failed (IndexError: index 26 is out of bounds in …)"
pytestmark = BROWSER


@contextmanager
def busy_model(served):
    """Hold the turn of another run inside the block."""
    turns, begun, ended = served.context.models.turns, Event(), Event()

    def hold():
        with turns.hold(turns.join()):
            begun.set()
            ended.wait(PATIENCE)

    thread = Thread(target=hold)
    thread.start()
    assert begun.wait(PATIENCE)
    try:
        yield
    finally:
        ended.set()
        thread.join(PATIENCE)


def test_failed_run_restores_the_page_and_says_why(open_page, fail_run):
    page = open_page()
    fail_run(1)
    generate(page)
    page.fill(AREA, "um gato aa")
    run(page)
    assert page.inner_text("#generate-picture .pw-status") == REASON
    page.wait_for_selector("#generate-go:visible")
    assert page.locator("#generate-stop:visible").count() == 0
    assert page.locator(f"{PICTURE} .pw-chip").count() == 2  # those of the image before
    page.click("#language label:has-text('Português')")
    page.wait_for_function(
        "document.querySelector('#generate-picture .pw-status').textContent.startsWith('A geração falhou')"
    )
    generate(page, "um aa")


def test_run_that_fails_later_keeps_its_finished_images(open_page, served, hold_run, monkeypatch):
    import promptweight

    whole = promptweight.generate

    def failing_generate(*arguments, callback, **options):
        def failing_callback(progress):
            if progress.image_number == 2:
                raise IndexError("index 26 is out of bounds in /home/ana/model")
            return callback(progress)

        return whole(*arguments, callback=failing_callback, **options)

    monkeypatch.setattr(promptweight, "generate", failing_generate)
    page = open_page()
    generate(page, images=3, ends="failed")
    assert page.inner_text("#generate-picture .pw-status") == REASON
    assert page.locator("#generate-picture .pw-image").get_attribute("src")
    enter(page, "History")
    page.wait_for_selector("#history-gallery img")


@pytest.mark.parametrize("prompt", ["", "  ", "BREAK", "AND", ","])
def test_prompt_without_words_makes_an_image(open_page, prompt):
    page = open_page()
    generate(page, prompt)
    assert page.locator("#generate-picture .pw-image").get_attribute("src")
    assert page.locator(f"{PICTURE} .pw-chip").count() == 0


def test_opened_settings_leave_the_size_to_the_model(open_page, served):
    page = open_page()
    page.click("text=More settings")
    page.wait_for_selector("#generate-width:visible")
    generate(page)
    assert served.context.sessions.last("result").result.images[0].size == (32, 32)
    page.fill("#generate-width input, #generate-width textarea", "64")
    page.press("#generate-width input, #generate-width textarea", "Tab")
    generate(page)
    assert served.context.sessions.last("result").result.images[0].size == (64, 32)
    page.fill("#generate-width input, #generate-width textarea", "2048")
    page.press("#generate-width input, #generate-width textarea", "Tab")
    run(page)
    assert "Width must be a whole number from 8 to 64" in page.inner_text("#generate-picture .pw-status")
    page.wait_for_selector("#generate-go:visible")


def test_failed_comparison_keeps_its_images_and_says_why(open_page, fail_run):
    page = open_page()
    page.fill(AREA, "um (gato:1.5)")
    fill_number(page, "generate-steps", 2)
    enter(page, "Compare")
    page.wait_for_function("document.querySelector('#compare-word input').value === 'gato'")
    fail_run(1)
    page.click("#compare-go")
    page.wait_for_selector("#compare-grid .pw-error")
    assert page.inner_text("#compare-grid .pw-error") == REASON
    assert page.locator(".pw-cell").count() == 1
    page.wait_for_function("!document.querySelector('#compare-stop')?.checkVisibility()")
    page.click("#compare-pair")
    page.wait_for_selector(".pw-versus")


def test_failed_look_inside_restores_the_page_and_says_why(open_page, monkeypatch):
    from promptweight_ui.explore import attention, text_encoder

    def fail(*_arguments):
        raise IndexError("index 26 is out of bounds in /home/ana/model")

    page = open_page()
    enter(page, "Explore")
    page.click("#explore-go")
    page.wait_for_selector("#explore-inside :text('Generate an image')")
    enter(page, "Generate")
    generate(page)
    enter(page, "Explore")
    for owner, name, button, place in (
        (attention, "capture_layers", "#explore-go", "#explore-inside"),
        (text_encoder, "capture_text_attention", "#explore-encode", "#explore-text"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            page.click(button)
            page.wait_for_selector(f"{place} :text('{REASON}')")
        page.wait_for_selector(f"{button}:visible")
        page.click(button)
        page.wait_for_selector(f"{place} table")
    assert page.locator("#explore-stop:visible").count() == 0


def test_waiting_run_tells_its_place_and_can_be_stopped(open_page, served):
    page = open_page()
    page.fill(AREA, "um gato")
    with busy_model(served):
        page.click("#generate-go")
        page.wait_for_selector("#generate-picture :text('In the queue: 1 of 1')")
        other = open_page()
        other.fill(AREA, "um gato")
        other.click("#generate-go")
        other.wait_for_selector("#generate-picture :text('In the queue: 2 of 2')")
        page.click("#generate-stop")
        page.wait_for_selector(f"{PICTURE}[data-state=stopped]")
        assert page.inner_text("#generate-picture .pw-status") == "Stopped before the first image"
        page.wait_for_selector("#generate-go:visible")
        other.wait_for_selector("#generate-picture :text('In the queue: 1 of 1')")
        fill_number(other, "generate-steps", 2)
    other.wait_for_selector(f"{PICTURE}[data-state=done]")


def paint(page):
    """Open the Regions tab, select the word "gato" and paint a stroke."""
    enter(page, "Regions")
    page.click("#regions-orange input")
    page.get_by_role("option", name="gato", exact=True).click()
    page.wait_for_selector("#regions-canvas canvas")
    box = page.locator("#regions-canvas canvas").first.bounding_box()
    x, y = box["x"] + box["width"] / 3, box["y"] + box["height"] / 3
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 40, steps=5)
    page.mouse.up()


def test_failed_regions_run_restores_the_page_and_says_why(open_page, fail_run):
    page = open_page()
    page.fill(AREA, "um gato")
    fill_number(page, "generate-steps", 2)
    paint(page)
    fail_run(0)
    page.click("#regions-go")
    page.wait_for_selector(f"{REGIONS}[data-state=failed]")
    assert page.inner_text("#regions-picture .pw-status") == REASON
    page.wait_for_selector("#regions-stop:visible", state="hidden")
    page.click("#regions-go")
    page.wait_for_selector(f"{REGIONS}[data-state=done] .pw-chip")


@pytest.mark.parametrize(
    ("tab", "go", "stop", "ended"),
    [
        ("Compare", "#compare-go", "#compare-stop", "#compare-grid :text('Stopped after 1 of 5 images')"),
        ("Regions", "#regions-go", "#regions-stop", "#regions-picture .pw-picture[data-state=stopped]"),
    ],
)
def test_stopped_run_keeps_what_is_made_and_restores_the_page(open_page, served, tab, go, stop, ended):
    page = open_page()
    page.fill(AREA, "um (gato:1.5)")
    fill_number(page, "generate-steps", 3)
    if tab == "Regions":
        paint(page)
    else:
        enter(page, tab)
        page.wait_for_function("document.querySelector('#compare-word input').value === 'gato'")
    with held_generation(number=1 if tab == "Compare" else 0) as held:
        page.click(go)
        assert held.wait()
        run = served.context.sessions.last("run").run
        stopped = called(run, "stop")
        page.click(stop)
        assert stopped.wait(PATIENCE)
    page.wait_for_selector(ended)
    page.wait_for_selector(f"{stop}:visible", state="hidden")
    page.wait_for_selector(f"{go}:visible")


@contextmanager
def held_generation(number):
    """Hold the n-th call of `generate`, from 0, at its second step inside the block."""
    import promptweight

    whole, calls, held, released = promptweight.generate, count(), Event(), Event()

    def held_generate(*arguments, callback, **options):
        is_held = next(calls) == number

        def held_callback(progress):
            if is_held and progress.step == 2:
                held.set()
                assert released.wait(PATIENCE)
            return callback(progress)

        return whole(*arguments, callback=held_callback, **options)

    promptweight.generate = held_generate
    try:
        yield SimpleNamespace(wait=lambda: held.wait(PATIENCE))
    finally:
        released.set()
        promptweight.generate = whole


def test_every_tab_tells_the_place_in_the_queue(open_page, served):
    page = open_page()
    generate(page, "um (gato:1.5)")
    for tab, button, place, stop in (
        ("Compare", "#compare-go", "#compare-grid", "#compare-stop"),
        ("Regions", "#regions-go", "#regions-picture", "#regions-stop"),
        ("Explore", "#explore-go", "#explore-inside", "#explore-stop"),
    ):
        if tab == "Regions":
            paint(page)
        enter(page, tab)
        with busy_model(served):
            page.click(button)
            page.wait_for_selector(f"{place} :text('In the queue: 1 of 1')")
            page.click(stop)
            page.wait_for_selector(f"{stop}:visible", state="hidden")
            page.wait_for_selector(f"{button}:visible")
