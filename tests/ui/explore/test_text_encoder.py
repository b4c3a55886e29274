"""Self-attention of a text encoder, compared with that of the library."""

import pytest
import torch

from promptweight.conditioning.text_attention import record_text_attention
from promptweight_ui.explore import text_encoder


def test_matrix_is_the_attention_without_padding(tiny_pipe):
    prompt = "um gato (um:1.5) gato"
    captured = text_encoder.capture_text_attention(tiny_pipe, prompt, "clip")
    whole = record_text_attention(tiny_pipe, prompt)
    tokens = len(captured.labels[0])
    assert [kind for kind, _ in captured.labels[0]] == ["bos", "text", "text", "text", "text", "eos"]
    assert [text for _, text in captured.labels[0][1:-1]] == ["um", "gato", "um", "gato"]
    for layer, head in ((0, 1), (None, None), (0, None)):
        layers, heads = ([] if index is None else [index] for index in (layer, head))
        expected = whole.tokens(layers, heads)[:tokens, :tokens]
        matrix = torch.tensor(text_encoder.attention_matrix(captured, 0, layer, head))
        torch.testing.assert_close(matrix, expected, atol=1e-3, rtol=1e-2)
    assert text_encoder.describe(captured)["causal"]


def test_chunks_are_separate(tiny_pipe):
    captured = text_encoder.capture_text_attention(tiny_pipe, "um gato BREAK um", "clip")
    assert [[text for kind, text in labels if kind == "text"] for labels in captured.labels] == [
        ["um", "gato"],
        ["um"],
    ]
    assert len(text_encoder.attention_matrix(captured, 1, None, None)) == 3


@pytest.mark.parametrize("indices", [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, 0, 2), (0, -1, None)])
def test_missing_selection_raises(tiny_pipe, indices):
    captured = text_encoder.capture_text_attention(tiny_pipe, "um gato", "clip")
    with pytest.raises(IndexError):
        text_encoder.attention_matrix(captured, *indices)


def test_encoder_names_are_those_of_the_pipeline(tiny_pipe):
    assert text_encoder.encoder_names(tiny_pipe) == ["clip"]
