"""Help of the page, and the phrase with which the Regions tab opens, in a browser."""

import pytest

from promptweight import __version__
from promptweight_ui.i18n import strings
from tests.ui.page_driving import AREA, BROWSER

pytestmark = BROWSER


@pytest.mark.parametrize("language", ["en", "pt-br"])
def test_help_opens_and_closes_by_keyboard(open_page, language):
    page, texts = open_page(locale=language), strings(language)
    button = page.get_by_role("button", name=texts["help_open"], exact=True)
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    shown = page.inner_text("dialog")
    assert __version__ in shown
    assert __version__ in page.inner_text(".pw-title")
    for name in ("generate", "compare", "regions", "explore", "history"):
        assert texts[f"{name}_tab"] in shown
        assert texts[f"help_{name}"] in shown
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog:not([open])", state="attached")
    assert page.evaluate("document.activeElement.className") == "pw-help-open"


def test_regions_open_with_the_weighted_phrase_and_name_it(open_page):
    page = open_page(locale="pt-BR")
    texts = strings("pt-br")
    page.fill(AREA, "um gato vermelho e um (rato cinza:0.5)")
    page.get_by_role("tab", name=texts["regions_tab"], exact=True).click()
    page.wait_for_function("document.querySelector('#regions-orange input').value === 'rato cinza'")
    page.wait_for_selector(f"text={texts['regions_chosen_weighted'].format(word='rato cinza')}")
    assert page.input_value("#regions-blue input") == ""
    page.get_by_role("tab", name=texts["generate_tab"], exact=True).click()
    page.fill(AREA, "um gato")
    page.get_by_role("tab", name=texts["regions_tab"], exact=True).click()
    page.wait_for_function("document.querySelector('#regions-orange input').value === 'gato'")
    page.wait_for_selector(f"text={texts['regions_chosen_plain'].format(word='gato')}")
