"""Vectors of tokens, compared with the tables of the encoder and its own output."""

import pytest
import torch
import torch.nn.functional as F

from promptweight_ui.explore import token_vectors
from promptweight_ui.explore.text_encoder import capture_text_attention, describe

PROMPT = "um gato (um:1.5) gato"


@pytest.fixture(scope="module")
def captured(tiny_pipe):
    return capture_text_attention(tiny_pipe, PROMPT, "clip")


@pytest.fixture(scope="module")
def tables(tiny_pipe):
    state = tiny_pipe.text_encoder.state_dict()
    return [
        next(state[key].float() for key in state if f"{name}_embedding.weight" in key)
        for name in ("token", "position")
    ]


def test_vectors_are_rows_of_the_tables_and_their_sum(captured, tables):
    (chunk,) = captured.vectors
    tokens, positions = tables
    torch.testing.assert_close(chunk.embedding, tokens[list(chunk.ids)])
    torch.testing.assert_close(chunk.position, positions[: len(chunk.ids)])
    torch.testing.assert_close(chunk.sum, tokens[list(chunk.ids)] + positions[: len(chunk.ids)])
    about = describe(captured)["vectors"]
    assert about["ids"] == [list(chunk.ids)]
    assert about["words"] == [["um", "gato", "um", "gato"]]
    assert about["dimensions"] == tokens.shape[1]
    assert about["positions"]


def test_output_is_that_of_the_encoder(captured, tiny_pipe):
    (chunk,) = captured.vectors
    ids = tiny_pipe.tokenizer("um gato um gato", padding="max_length", return_tensors="pt").input_ids
    assert ids[0, : len(chunk.ids)].tolist() == list(chunk.ids)
    with torch.no_grad():
        expected = tiny_pipe.text_encoder(ids).last_hidden_state[0, : len(chunk.ids)].float()
    torch.testing.assert_close(chunk.output, expected, atol=1e-4, rtol=1e-3)


def test_equal_words_differ_by_their_positions_alone(captured, tables):
    tokens, positions = tables
    request = {"chunk": 0, "token": 1, "stage": "embedding"}
    before = token_vectors.token_values(captured.vectors, request)["similarity"]
    assert before[0][2] == pytest.approx(1, abs=1e-4)
    after = token_vectors.token_values(captured.vectors, request | {"stage": "sum"})["similarity"]
    row = tokens[captured.vectors[0].ids[1]]
    expected = float(F.cosine_similarity(row + positions[1], row + positions[3], dim=0))
    assert after[0][2] == pytest.approx(expected, abs=1e-3)
    assert all(after[number][number] == pytest.approx(1, abs=1e-4) for number in range(4))


def test_values_of_a_token_are_its_vectors(captured):
    (chunk,) = captured.vectors
    values = token_vectors.token_values(captured.vectors, {"chunk": 0, "token": 2, "stage": "output"})
    for name in ("embedding", "position", "sum"):
        shown = torch.tensor(values[name])
        torch.testing.assert_close(shown, getattr(chunk, name)[2, : len(shown)], atol=1e-3, rtol=1e-3)


def test_chunks_have_their_own_words(tiny_pipe):
    captured = capture_text_attention(tiny_pipe, "um gato BREAK um", "clip")
    assert describe(captured)["vectors"]["words"] == [["um", "gato"], ["um"]]


@pytest.mark.parametrize(
    "request_data",
    [{}, {"chunk": 1, "token": 0, "stage": "sum"}, {"chunk": 0, "token": 99, "stage": "sum"},
     {"chunk": 0, "token": -1, "stage": "sum"}, {"chunk": 0, "token": 0, "stage": "words"},
     {"chunk": True, "token": 0, "stage": "sum"}, {"chunk": 0, "token": 0.0, "stage": "sum"}],
)  # fmt: skip
def test_missing_token_raises(captured, request_data):
    with pytest.raises(IndexError):
        token_vectors.token_values(captured.vectors, request_data)
