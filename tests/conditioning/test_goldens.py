"""Chunks of prompts against golden cases of AUTOMATIC1111's webui and ComfyUI, real vocabulary."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from promptweight.conditioning import tokenize
from promptweight.prompt import parse

GOLDENS = Path(__file__).resolve().parents[2] / "../shared/goldens"


def cases(name):
    file = GOLDENS / f"{name}_chunks.json"
    if not file.is_file():
        reason = f"the golden cases (../shared/goldens/{file.name}) are not on this machine"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason), id=name)]
    return [pytest.param(case, id=case["id"]) for case in json.loads(file.read_text())["cases"]]


def chunks_of(table):
    rows = [table.tokens[start : start + 77] for start in range(0, table.rows, 77)]
    return [([token.id for token in chunk], [token.weight for token in chunk]) for chunk in rows]


def assert_chunks(case, dialect, tokenizer):
    table = tokenize(tokenizer, parse(case["prompt"], dialect).at())
    expected = case["chunks"]
    assert table.chunks == len(expected)
    for (ids, weights), chunk in zip(chunks_of(table), expected, strict=True):
        assert ids == chunk["ids"]
        assert weights == pytest.approx(chunk["weights"], abs=1e-6)
    return table


@pytest.mark.parametrize("case", cases("a1111"))
def test_a1111_chunks_equal_the_golden_cases(case, real_clip_tokenizer):
    assert_chunks(case, "a1111", real_clip_tokenizer)


@pytest.mark.parametrize("case", cases("comfy"))
def test_comfy_chunks_and_segments_equal_the_golden_cases(case, real_clip_tokenizer):
    table = assert_chunks(case, "comfy", real_clip_tokenizer)
    # ComfyUI numbers the weighted segments from 1; 0 is special or padding.
    segments = [token.span for token in table.tokens if token.kind == "text"]
    numbered = [number for chunk in case["chunks"] for number in chunk["word_ids"] if number > 0]
    assert len(segments) == len(numbered)
    assert [a == b for a, b in pairwise(segments)] == [a == b for a, b in pairwise(numbered)]
