"""Rows of a batch told apart by their embeddings."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from promptweight.attention.batch_rows import BatchRow, PromptEmbeds, match_rows


def rows(*seeds):
    return torch.stack([torch.randn(4, 3, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def named(lanes):
    return ["-" if lane is None else f"{lane.role[0]}{lane.prompt}{lane.image}" for lane in lanes]


def test_orders_of_a_batch():
    registered = PromptEmbeds(positive=rows(1, 2), negative=rows(8, 9))
    for seeds, wanted in [
        ((8, 9, 1, 2), "n00 n11 p00 p11"),
        ((1, 2, 8, 9), "p00 p11 n00 n11"),
        ((1, 2), "p00 p11"),
        ((1, 1, 2, 2), "p00 p01 p12 p13"),
        ((8, 8, 9, 9, 1, 1, 2, 2), "n00 n01 n12 n13 p00 p01 p12 p13"),
        ((2,), "p10"),
        ((5, 1, 6), "- p00 -"),
    ]:
        assert named(match_rows(rows(*seeds), registered, guidance=True)) == wanted.split()


def test_equal_negative_prompts_share_their_rows_in_order():
    registered = PromptEmbeds(positive=rows(1, 2), negative=rows(8, 8))
    lanes = match_rows(rows(8, 8, 8, 8, 1, 1, 2, 2), registered, guidance=True)
    assert named(lanes) == ["n00", "n01", "n12", "n13", "p00", "p01", "p12", "p13"]


def test_equal_prompts_share_their_rows_in_order():
    registered = PromptEmbeds(positive=rows(1, 1, 2), negative=None)
    assert named(match_rows(rows(1, 1, 1, 1, 2, 2), registered, guidance=False)) == [
        "p00",
        "p01",
        "p12",
        "p13",
        "p24",
        "p25",
    ]


def test_a_negative_prompt_equal_to_the_positive():
    registered = PromptEmbeds(positive=rows(1), negative=rows(1))
    assert named(match_rows(rows(1, 1), registered, guidance=True)) == ["n00", "p00"]
    assert named(match_rows(rows(1, 1, 1, 1), registered, guidance=True)) == ["n00", "n01", "p00", "p01"]
    assert named(match_rows(rows(1, 1), registered, guidance=False)) == ["p00", "p01"]


def test_a_call_of_one_role_shows_all_its_prompts():
    registered = PromptEmbeds(positive=rows(1, 2), negative=rows(2, 2))
    for seeds, wanted in [((1, 2), "p00 p11"), ((2, 2), "n00 n11"), ((2, 2, 2, 2), "n00 n01 n12 n13")]:
        for is_second in (False, True):
            lanes = match_rows(rows(*seeds), registered, guidance=False, is_second=is_second)
            assert named(lanes) == wanted.split()
    alike = PromptEmbeds(positive=rows(1), negative=rows(1))
    assert named(match_rows(rows(1), alike, guidance=False)) == ["p00"]
    assert named(match_rows(rows(1), alike, guidance=False, is_second=True)) == ["n00"]


def test_another_length_of_text_belongs_to_nobody():
    registered = PromptEmbeds(positive=rows(1), negative=None)
    assert match_rows(torch.zeros(2, 8, 3), registered, guidance=True) == (None, None)


def test_embeddings_cast_by_the_pipeline_are_recognized():
    registered = PromptEmbeds(positive=rows(1), negative=None)
    assert match_rows(rows(1).half(), registered, guidance=True) == (BatchRow("positive", 0, 0),)


@given(st.permutations([8, 9, 1, 2]))
def test_any_order(seeds):
    registered = PromptEmbeds(positive=rows(1, 2), negative=rows(8, 9))
    lanes = match_rows(rows(*seeds), registered, guidance=True)
    known = {1: ("positive", 0), 2: ("positive", 1), 8: ("negative", 0), 9: ("negative", 1)}
    assert [(lane.role, lane.prompt) for lane in lanes] == [known[seed] for seed in seeds]
