"""Rules of axe-core in every tab, language and theme: no serious finding."""

import pytest

from promptweight_ui.i18n import LANGUAGES, strings
from tests.ui import axe
from tests.ui.page_driving import AREA, PICTURE, fill_number

TABS = ("generate", "compare", "regions", "explore", "history")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore"),  # other libraries warn inside the server's threads
    pytest.mark.skipif(not axe.FILE.exists(), reason="axe-core is not installed: npm ci"),
]


@pytest.mark.parametrize("language", LANGUAGES)
def test_tabs_have_no_serious_finding(open_page, language):
    page = open_page(locale=language)
    page.fill(AREA, "um (gato:1.5) aa ((")
    fill_number(page, "generate-steps", 2)
    page.click("#generate-go")
    page.wait_for_selector(f"{PICTURE}[data-state=done] .pw-chip")
    page.locator("#generate-picture .pw-chip").first.click()
    texts, found = strings(language), {}
    for name in TABS:
        page.get_by_role("tab", name=texts[f"{name}_tab"], exact=True).click()
        if name == "compare":
            page.wait_for_function("document.querySelector('#compare-word input')?.value === 'gato'")
            page.click("#compare-pair")
            page.wait_for_selector(".pw-versus")
        elif name == "explore":
            page.click("#explore-go")
            page.wait_for_selector(".pw-sum-table")
            page.click(".pw-tour-start")
            page.click("[name=tour-choice-0]")
        elif name == "history":
            page.wait_for_selector("#history-gallery button.thumbnail-item")
        if lines := axe.serious_findings(axe.findings(page)):
            found[name] = lines
    assert found == {}
