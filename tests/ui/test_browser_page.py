"""Language of the page in a browser, and the servers that it contacts."""

from promptweight_ui.i18n import strings
from tests.ui.page_driving import AREA, BROWSER

pytestmark = BROWSER


def test_components_have_the_browsers_language_while_the_server_is_busy(served, browser):
    context = browser.new_context(locale="pt-BR")
    page = context.new_page()
    page.route("**/gradio_api/queue/**", lambda route: None)  # never answered
    page.route("**/gradio_api/run/**", lambda route: None)
    page.goto(served.url)
    page.wait_for_selector("#generate-picture .pw-empty")
    assert strings("pt-br")["picture_empty"] in page.inner_text("#generate-picture")
    context.close()


def test_language_follows_the_browser_and_the_switch(open_page):
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


def test_page_contacts_only_its_server(browser, served):
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(600_000)
    hosts = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]) if "//" in request.url else None)
    page.goto(served.url)
    page.wait_for_selector(f"{AREA}.pw-area")
    context.close()
    assert hosts <= {served.url.split("/")[2]}
