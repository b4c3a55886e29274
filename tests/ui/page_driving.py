"""What people do on a page of the app: fill fields, choose from lists, change tabs, generate an image."""

import pytest

AREA = "#generate-prompt textarea"
PICTURE = "#generate-picture .pw-picture"
CHIP = "#generate-picture .pw-chip"
PATIENCE = 600  # seconds; a busy machine must not fail a test

BROWSER = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore"),  # other libraries warn inside the server's threads
]
"""Marks of the tests of a module that drives pages."""


def fill_number(page, name, value):
    page.fill(f"#{name} input[type=number]", str(value))
    page.press(f"#{name} input[type=number]", "Tab")


def pick(page, name, value):
    """Choose an entry of a list."""
    page.click(f"#{name} input")
    page.get_by_role("option", name=value, exact=True).click()
    page.wait_for_function("!document.querySelector('[role=option]')")  # it fades out


def enter(page, name):
    """Change to a tab."""
    page.get_by_role("tab", name=name, exact=True).click()


def run(page):
    """Click the button and wait for the last message of the run."""
    page.evaluate(f"document.querySelector('{PICTURE}').dataset.state = 'clicked'")
    page.click("#generate-go")
    page.wait_for_selector(f"{PICTURE}:is([data-state=done], [data-state=failed])")


def generate(page, prompt="um gato", images=1, ends="done"):
    """Generate images of two steps; the run must end in a state, "done" or "failed"."""
    page.fill(AREA, prompt)
    fill_number(page, "generate-steps", 2)
    fill_number(page, "generate-number", images)
    run(page)
    assert page.get_attribute(PICTURE, "data-state") == ends
