"""Encoding benchmark: its prompts have one text, and its report every case."""

import pytest
import torch

from promptweight.benchmarks import encoding
from promptweight.conditioning import encode
from promptweight.prompt import parse


@pytest.fixture(scope="module")
def pipe():
    return encoding.build_pipeline(layers=1)


def test_cases_are_weightings_of_one_text():
    assert {parse(prompt).at().text for prompt in encoding.CASES.values()} == {encoding.TEXT}


def test_case_without_weights_has_the_embeddings_of_the_pipeline(pipe):
    with torch.no_grad():
        expected, negative = pipe.encode_prompt(encoding.TEXT, "cpu", 1, True, "")
        inputs = encode(pipe, encoding.CASES["without weights"], "")
    assert torch.equal(inputs["prompt_embeds"], expected)
    assert torch.equal(inputs["negative_prompt_embeds"], negative)


def test_report_has_a_line_for_each_case():
    head, plain, *lines = encoding.report_lines(rounds=1, layers=1)
    assert head.split() == ["prompt", "ms", "ratio"]
    assert plain.split()[0] == "pipeline"
    assert plain.split()[-1] == "1.00"
    assert [line[:22].strip() for line in lines] == list(encoding.CASES)
