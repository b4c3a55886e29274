"""Tour through the Explore tab in a browser: by keyboard, at the width of a phone, and after a reload."""

import pytest

from promptweight_ui.i18n import LANGUAGES, strings
from tests.ui.page_driving import AREA, BROWSER

pytestmark = BROWSER

CARD, TITLE = ".pw-tour", "#pw-tour-title"
NUMBER = ".pw-tour header small"
PHONE = {"width": 390, "height": 844}


def enter_explore(page, language, prompt="red cat cat"):
    page.fill(AREA, prompt)
    page.get_by_role("tab", name=strings(language)["explore_tab"], exact=True).click()
    page.wait_for_selector("#explore-text .pw-matrix td[style]")


def focused(page):
    return page.evaluate("document.activeElement.name || document.activeElement.className")


def show(page, name):
    """Continue to a card by its title."""
    title = strings("en")[f"tour_{name}_title"]
    for _ in range(20):
        if page.inner_text(TITLE) == title:
            return
        page.click("[name=tour-next]")
    raise AssertionError(f"there is no card {title}")


def test_tour_asks_before_it_answers(open_page):
    page = open_page(reduced_motion="reduce")
    enter_explore(page, "en")
    page.click(".pw-tour-start")
    assert page.locator(".pw-tour-here .pw-token").count() > 0
    assert page.inner_text(f"{CARD} [role=status]") == ""
    page.click("[name=tour-choice-0]")
    answer = page.inner_text(f"{CARD} [role=status]")
    tokens = page.locator("#explore-vectors .pw-token").count()
    assert answer.startswith(f"{strings('en')['tour_wrong']} {strings('en')['tour_tokens_answer']}")
    assert f"Here: {tokens} tokens" in answer
    assert "examples/notebooks/what_is_attention.ipynb" in answer
    page.dispatch_event("[name=tour-choice-2]", "click")  # a card is answered once
    assert page.inner_text(f"{CARD} [role=status]") == answer
    show(page, "cost")
    page.click("[name=tour-choice-1]")
    answer = page.inner_text(f"{CARD} [role=status]")
    assert answer.startswith(strings("en")["tour_right"])
    assert f"{tokens} × {tokens} = {tokens**2} numbers" in answer


def test_tour_fills_its_section_and_shows_its_numbers(open_page):
    page = open_page(reduced_motion="reduce")
    page.fill(AREA, "um (gato:0.5) um")
    page.fill("#generate-steps input[type=number]", "2")
    page.click("#generate-go")
    page.wait_for_selector("#generate-picture .pw-picture[data-state=done]")
    enter_explore(page, "en", "um (gato:0.5) um")
    page.click(".pw-tour-start")
    show(page, "root")
    page.click("[name=tour-choice-1]")
    page.click("[name=tour-fill]")
    page.wait_for_selector(f"{CARD} .pw-readout")
    product, scaled = page.locator(".pw-sum-table tr.pw-chosen td").all_inner_texts()[:2]
    answer = page.inner_text(f"{CARD} .pw-readout")
    assert answer.endswith(f" = {scaled}.")
    assert f"and {product} ÷ " in answer
    page.click("[name=tour-back]")
    page.click("[name=tour-next]")
    assert page.get_attribute(".pw-tour-here", "data-tour") == "root"
    page.click(".pw-heads button[aria-pressed=false] >> nth=0")  # another head has other numbers
    page.wait_for_function(
        "before => document.querySelector('.pw-tour .pw-readout').textContent !== before", arg=answer
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_tour_works_by_keyboard_on_a_phone(open_page, language):
    page, texts = open_page(locale=language, viewport=PHONE, reduced_motion="reduce"), strings(language)
    enter_explore(page, language)
    page.focus(".pw-tour-start")
    page.keyboard.press("Enter")
    assert focused(page) == "pw-tour"
    assert page.get_attribute(CARD, "aria-labelledby") == TITLE[1:]
    page.keyboard.press("Tab")
    assert focused(page) == "tour-close"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert focused(page) == "tour-choice-0"
    page.focus("[name=tour-next]")
    page.keyboard.press("Enter")
    assert focused(page) == "pw-tour"
    assert page.inner_text(TITLE) == texts["tour_vectors_title"]
    assert page.inner_text(NUMBER) == texts["tour_number"].format(index=2, number=15)
    box = page.locator(CARD).bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE["width"]
    assert box["y"] > PHONE["height"] / 4
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.keyboard.press("Escape")
    page.wait_for_selector(CARD, state="hidden")
    assert "pw-tour-start" in focused(page)
    assert page.locator(".pw-tour-here").count() == 0


def test_tour_continues_after_a_reload_at_its_card(open_page):
    page = open_page(reduced_motion="reduce")
    enter_explore(page, "en")
    assert page.inner_text(".pw-tour-start") == strings("en")["tour_start"].format(number=15)
    page.click(".pw-tour-start")
    page.click("[name=tour-choice-2]")
    show(page, "mask")
    page.reload()
    page.wait_for_selector(f"{AREA}.pw-area")
    enter_explore(page, "en")
    page.click(f"text={strings('en')['tour_continue'].format(index=3, number=15)}")
    assert page.inner_text(TITLE) == strings("en")["tour_mask_title"]
    page.click("[name=tour-back]")
    page.click("[name=tour-back]")
    assert page.inner_text(f"{CARD} [role=status]").startswith(strings("en")["tour_right"])
    show(page, "limits")
    assert page.inner_text(".pw-tour footer small") == "1 of 15 right"
    page.click("[name=tour-again]")
    assert page.inner_text(TITLE) == strings("en")["tour_tokens_title"]
    assert page.inner_text(f"{CARD} [role=status]") == ""
