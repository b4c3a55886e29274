"""Reach of weights in a browser: an answer in both languages, and a sentence for a prompt without weights."""

import re

import pytest

from promptweight.generation import measure_reach
from tests.ui.page_driving import AREA, fill_number

ANSWER = "#generate-reach li"

pytestmark = pytest.mark.browser


def ask(page, prompt):
    page.fill(AREA, prompt)
    fill_number(page, "generate-steps", 3)
    page.click("#generate-reach-go")


def test_answer_has_the_numbers_of_the_model_in_both_languages(open_page, served):
    page = open_page()
    page.uncheck("#generate-random input")
    page.fill("#generate-seed input", "7")
    ask(page, "um (gato:0.5) e um (rato:2)")
    page.wait_for_selector(ANSWER)
    english = page.locator(ANSWER).all_inner_texts()
    with served.context.models.use(served.context.models.names[0]) as pipe:
        report = measure_reach(pipe, "um (gato:0.5) e um (rato:2)", seed=7, num_inference_steps=3)
    assert english == [str(found.summary()) for found in report.phrases]
    page.click("#language label:has-text('Português')")
    page.wait_for_function("document.querySelector('#generate-reach li').textContent.startsWith('o peso')")
    portuguese = page.locator(ANSWER).all_inner_texts()
    numbers = [re.findall(r"\d+(?:[.,]\d+)?%", text) for text in english]
    assert [re.findall(r"\d+(?:[.,]\d+)?%", text) for text in portuguese] == numbers


def test_prompt_without_weights_is_told_what_to_do_and_can_be_mended(open_page):
    page = open_page()
    ask(page, "um gato")
    toast = page.wait_for_selector(".toast-body")
    assert "must have a weighted phrase" in toast.inner_text()
    ask(page, "um (gato:0.5)")
    page.wait_for_selector(ANSWER)
