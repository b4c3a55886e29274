"""Rules of axe-core in every tab, language and theme: no serious finding."""

from pathlib import Path

import pytest

from promptweight_ui.i18n import LANGUAGES, strings
from tests.ui.page_driving import AREA, PICTURE, fill_number

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
TABS = ("generate", "compare", "regions", "explore", "history")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore"),  # other libraries warn inside the server's threads
    pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: npm ci"),
]


def findings(page):
    """Return each serious finding as its rule and the first elements that break it."""
    found = page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]
    return [
        f"{each['id']}: {node['html'][:160]} {node['failureSummary'].splitlines()[1:2]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"][:4]
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_tabs_have_no_serious_finding(open_page, language):
    page = open_page(locale=language)
    page.add_script_tag(path=AXE)
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
        for theme in ("light", "dark"):
            page.evaluate("(isDark) => document.body.classList.toggle('dark', isDark)", theme == "dark")
            page.wait_for_function("document.getAnimations().every((each) => each.playState !== 'running')")
            found |= {(name, theme): lines} if (lines := findings(page)) else {}
    assert found == {}
