"""The whole page in a browser: its language, and whom it talks to."""

import pytest

from promptweight_ui.i18n import strings

AREA = "#generate-prompt textarea"
# What other libraries warn of inside the server's threads is not about this package.
pytestmark = pytest.mark.filterwarnings("ignore")


def test_what_the_page_draws_itself_is_in_the_browsers_language_at_once(served, browser):
    """Also while the server is still busy: nothing of it waits for Gradio's switch."""
    context = browser.new_context(locale="pt-BR")
    page = context.new_page()
    page.route("**/gradio_api/queue/**", lambda route: None)  # never answered
    page.route("**/gradio_api/run/**", lambda route: None)
    page.goto(served.url)
    page.wait_for_selector("#generate-picture .pw-empty")
    assert "vai aparecer aqui" in page.inner_text("#generate-picture")
    context.close()


def test_the_language_follows_the_browser_and_the_switch(open_page):
    page = open_page(locale="pt-BR")
    portuguese, english = strings("pt-br"), strings("en")
    assert page.inner_text("#generate-go").strip() == portuguese["generate_go"]
    assert page.get_attribute("html", "lang") == "pt-BR"
    page.click("#language label:has-text('English')")
    page.wait_for_function(
        f"document.querySelector('#generate-go').innerText.trim() === '{english['generate_go']}'"
    )
    assert english["generate_negative"] in page.inner_text("body")
    assert portuguese["generate_negative"] not in page.inner_text("body")
    page.reload()
    page.wait_for_function(
        f"document.querySelector('#generate-go')?.innerText.trim() === '{english['generate_go']}'"
    )


def test_the_page_talks_to_nobody_else(browser, served):
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(600_000)
    hosts = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]) if "//" in request.url else None)
    page.goto(served.url)
    page.wait_for_selector(f"{AREA}.pw-area")
    context.close()
    assert hosts <= {served.url.split("/")[2]}
