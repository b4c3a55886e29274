"""Matching of batch rows to prompts by their embeddings."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from promptweight.attention.batch_rows import BatchRow, PromptEmbeds, match_rows


def rows(*seeds):
    return torch.stack([torch.randn(4, 3, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def describe(matched):
    return ["-" if row is None else f"{row.role[0]}{row.prompt}{row.image}" for row in matched]


def test_rows_match_their_prompts_in_many_orders():
    known = PromptEmbeds(positive=rows(1, 2), negative=rows(8, 9))
    for seeds, expected in [
        ((8, 9, 1, 2), "n00 n11 p00 p11"),
        ((1, 2, 8, 9), "p00 p11 n00 n11"),
        ((1, 2), "p00 p11"),
        ((1, 1, 2, 2), "p00 p01 p12 p13"),
        ((8, 8, 9, 9, 1, 1, 2, 2), "n00 n01 n12 n13 p00 p01 p12 p13"),
        ((2,), "p10"),
        ((5, 1, 6), "- p00 -"),
    ]:
        assert describe(match_rows(rows(*seeds), known, guidance=True)) == expected.split()


def test_match_matchedof_equal_negative_prompts_in_order():
    known = PromptEmbeds(positive=rows(1, 2), negative=rows(8, 8))
    matched = match_rows(rows(8, 8, 8, 8, 1, 1, 2, 2), known, guidance=True)
    assert describe(matched) == ["n00", "n01", "n12", "n13", "p00", "p01", "p12", "p13"]


def test_match_matchedof_equal_prompts_in_order():
    known = PromptEmbeds(positive=rows(1, 1, 2), negative=None)
    assert describe(match_rows(rows(1, 1, 1, 1, 2, 2), known, guidance=False)) == [
        "p00",
        "p01",
        "p12",
        "p13",
        "p24",
        "p25",
    ]


def test_match_matchedof_a_negative_prompt_equal_to_the_positive():
    known = PromptEmbeds(positive=rows(1), negative=rows(1))
    assert describe(match_rows(rows(1, 1), known, guidance=True)) == ["n00", "p00"]
    assert describe(match_rows(rows(1, 1, 1, 1), known, guidance=True)) == ["n00", "n01", "p00", "p01"]
    other_order = {"guidance": True, "row_order": ("positive", "negative")}
    assert describe(match_rows(rows(1, 1), known, **other_order)) == ["p00", "n00"]
    three = {"guidance": True, "row_order": ("positive", "negative", "negative")}
    assert describe(match_rows(rows(1, 1, 1), known, **three)) == ["p00", "n00", "n01"]
    assert describe(match_rows(rows(1, 1), known, guidance=False)) == ["p00", "p01"]


def test_match_matchedof_a_call_with_one_role():
    known = PromptEmbeds(positive=rows(1, 2), negative=rows(2, 2))
    for seeds, expected in [((1, 2), "p00 p11"), ((2, 2), "n00 n11"), ((2, 2, 2, 2), "n00 n01 n12 n13")]:
        for is_second in (False, True):
            matched = match_rows(rows(*seeds), known, guidance=False, is_second=is_second)
            assert describe(matched) == expected.split()
    alike = PromptEmbeds(positive=rows(1), negative=rows(1))
    assert describe(match_rows(rows(1), alike, guidance=False)) == ["p00"]
    assert describe(match_rows(rows(1), alike, guidance=False, is_second=True)) == ["n00"]


def test_match_matchedof_another_text_length_matches_none():
    known = PromptEmbeds(positive=rows(1), negative=None)
    assert match_rows(torch.zeros(2, 8, 3), known, guidance=True) == (None, None)


def test_match_matchedaccepts_embeddings_in_another_type():
    known = PromptEmbeds(positive=rows(1), negative=None)
    assert match_rows(rows(1).half(), known, guidance=True) == (BatchRow("positive", 0, 0),)


@given(st.permutations([8, 9, 1, 2]))
def test_rows_match_their_prompts_in_any_order(seeds):
    known = PromptEmbeds(positive=rows(1, 2), negative=rows(8, 9))
    matched = match_rows(rows(*seeds), known, guidance=True)
    owners = {1: ("positive", 0), 2: ("positive", 1), 8: ("negative", 0), 9: ("negative", 1)}
    assert [(row.role, row.prompt) for row in matched] == [owners[seed] for seed in seeds]
