"""What a browser keeps: the form, the result and the images, across a reload and a restart of the server."""

import socket
import warnings

import pytest

from promptweight_ui.context import Context
from promptweight_ui.models import Models
from promptweight_ui.outputs import Outputs
from tests.ui.conftest import serving, tracked_sessions
from tests.ui.page_driving import AREA, BROWSER, PICTURE, enter, fill_number, generate, pick

GALLERY = "#history-gallery .grid-container img"
SHOWN = "#history-prompt textarea"
pytestmark = BROWSER


def fill_form(page):
    page.fill(AREA, "um (gato:1.3) azul")
    page.fill("#generate-negative textarea", "feio")
    fill_number(page, "generate-steps", 7)
    pick(page, "generate-sampler", "Euler")
    pick(page, "generate-schedule", "Karras")
    page.uncheck("#generate-random input")
    fill_number(page, "generate-seed", 42)
    page.wait_for_function("localStorage.getItem('promptweight.form')?.includes('42')")


def assert_form(page):
    """Wait until every field has its value: the choices of a list follow those of another one."""
    for selector, value in (
        (AREA, "um (gato:1.3) azul"),
        ("#generate-negative textarea", "feio"),
        ("#generate-steps input[type=number]", "7"),
        ("#generate-sampler input", "Euler"),
        ("#generate-schedule input", "Karras"),
        ("#generate-seed input[type=number]", "42"),
    ):
        page.wait_for_function(
            "([selector, value]) => document.querySelector(selector)?.value === value",
            arg=[selector, value],
            timeout=60_000,
        )
    assert not page.is_checked("#generate-random input")


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def make_context(model_folder):
    """Returns a context with the tiny model, as a server has that begins."""

    def make(outputs=None):
        return Context(Models([str(model_folder)], device="cpu"), tracked_sessions(), outputs or Outputs())

    return make


def test_form_is_there_again_after_a_reload(open_page):
    page = open_page()
    fill_form(page)
    page.reload()
    assert_form(page)


def test_browser_without_a_form_has_that_of_the_server(open_page):
    page = open_page()
    fill_form(page)
    page = open_page()  # another browser
    assert page.input_value(AREA) != "um (gato:1.3) azul"
    assert page.input_value("#generate-steps input[type=number]") == "25"


def test_result_is_there_again_after_a_reload(open_page):
    page = open_page()
    generate(page, "um (gato:1.3)", images=2)
    before = page.get_attribute("#generate-picture .pw-image", "src")
    page.reload()
    page.wait_for_selector(f"{PICTURE}[data-state=done] .pw-chip")
    assert page.get_attribute("#generate-picture .pw-image", "src") == before
    assert page.locator("#generate-picture .pw-thumbs img").count() == 2
    page.click("#generate-picture button[name=use_seed]")
    page.wait_for_function("!document.querySelector('#generate-random input').checked")


def test_server_that_goes_away_and_comes_back_loses_nothing(open_page, make_context):
    port = free_port()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with serving(make_context(), port) as app:
            page = open_page(url=app.url)
            fill_form(page)
            page.fill(AREA, "um (gato:1.3) azul")
        page.focus(AREA)
        page.keyboard.press("End")
        page.keyboard.type(" e")
        page.wait_for_selector("#generate-prompt-report .pw-error")
        page.click("#generate-go")
        page.wait_for_selector("#generate-go:visible")
        page.fill(AREA, "um (gato:1.3) azul")
        page.wait_for_function(
            "JSON.parse(localStorage.getItem('promptweight.form')).prompt === 'um (gato:1.3) azul'"
        )
        with serving(make_context(), port) as app:
            again = page.context.new_page()  # Gradio may load the first page again at any moment
            page.close()
            page = again
            page.goto(app.url)
            assert_form(page)
            generate(page)
            assert page.get_attribute("#generate-picture .pw-image", "src")


@pytest.mark.parametrize("is_listed", [True, False])
def test_history_lists_the_output_folder_only_where_it_may(open_page, make_context, tmp_path, is_listed):
    folder = tmp_path / "out"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for images in (1, 2):  # a server that begins anew
            with serving(make_context(Outputs(folder, is_listed=is_listed))) as app:
                page = open_page(url=app.url)
                generate(page, images=images)
                status = page.inner_text("#generate-picture .pw-status")
                assert (str(folder) in status) == is_listed
                enter(page, "History")
                expected = 3 if is_listed and images == 2 else images
                page.wait_for_function(
                    f"number => document.querySelectorAll('{GALLERY}').length === number", arg=expected
                )
                page.locator(GALLERY).last.click()
                page.wait_for_function(f"document.querySelector('{SHOWN}').value === 'um gato'")
                page.close()
    assert len(list(folder.glob("*.png"))) == 3


def test_picture_leads_to_the_other_tabs_with_its_seed(open_page, served):
    page = open_page()
    generate(page, "um (gato:1.3) aa", images=2)
    result = served.context.sessions.last("result").result
    page.locator("#generate-picture .pw-thumbs button").first.click()
    page.click("#generate-picture button[name=use_seed]")
    page.wait_for_function(
        "seed => document.querySelector('#generate-seed input[type=number]').value === seed",
        arg=str(result.seeds[0]),
    )
    page.wait_for_function("!document.querySelector('#generate-random input').checked")
    page.locator("#generate-picture .pw-chip", has_text="aa").first.click()
    page.click("#generate-picture button[name=to_compare]")
    page.wait_for_selector("#compare-go:visible")
    page.wait_for_function("document.querySelector('#compare-word input').value === 'aa'")
    enter(page, "Generate")
    page.click("#generate-picture button[name=to_regions]")
    page.wait_for_selector("#regions-go:visible")
    enter(page, "Generate")
    page.click("#generate-picture button[name=to_explore]")
    page.wait_for_selector("#explore-go:visible")
    assert page.input_value("#explore-number input") == "1"


@pytest.mark.parametrize("content", [b"not an image", b"\x89PNG\r\n\x1a\n broken", b""])
def test_unreadable_file_leaves_no_settings_of_another_behind(open_page, served, tmp_path, content):
    page = open_page()
    generate(page, "um (gato:1.3)")
    enter(page, "History")
    page.locator("#history-gallery img").first.click()
    page.wait_for_function("document.querySelector('#history-prompt textarea').value === 'um (gato:1.3)'")
    file = tmp_path / "broken.png"
    file.write_bytes(content)
    page.set_input_files("#history-upload input[type=file]", file)
    page.wait_for_selector("#history-tool :text('not a readable image')")
    damaged = "This file is not a readable image, or it is damaged."
    assert page.inner_text("#history-tool").strip() == f"broken.png · {damaged}"  # no path of the server
    assert page.input_value("#history-prompt textarea") == ""
    assert page.is_disabled("#history-send")
    page.set_input_files("#history-upload input[type=file]", file.rename(tmp_path / "second.png"))
    page.wait_for_selector("#history-tool :text('second.png')")
