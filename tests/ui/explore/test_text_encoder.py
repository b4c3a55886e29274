"""What the Explore tab tells of a text encoder, against the library's own reading of it."""

import pytest
import torch

from promptweight.conditioning.text_attention import record_text_attention
from promptweight_ui.explore import text_encoder


def test_matrix_is_the_attention_without_padding(tiny_pipe):
    prompt = "um gato (um:1.5) gato"
    read = text_encoder.read_text(tiny_pipe, prompt, "clip")
    whole = record_text_attention(tiny_pipe, prompt)
    tokens = len(read.labels[0])
    assert [kind for kind, _ in read.labels[0]] == ["bos", "text", "text", "text", "text", "eos"]
    assert [text for _, text in read.labels[0][1:-1]] == ["um", "gato", "um", "gato"]
    for layer, head in ((0, 1), (None, None), (0, None)):
        layers, heads = ([] if index is None else [index] for index in (layer, head))
        expected = whole.tokens(layers, heads)[:tokens, :tokens]
        found = torch.tensor(text_encoder.look(read, 0, layer, head))
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-2)
    assert text_encoder.about(read)["causal"]


def test_chunks_are_told_apart(tiny_pipe):
    read = text_encoder.read_text(tiny_pipe, "um gato BREAK um", "clip")
    assert [[text for kind, text in labels if kind == "text"] for labels in read.labels] == [
        ["um", "gato"],
        ["um"],
    ]
    assert len(text_encoder.look(read, 1, None, None)) == 3


@pytest.mark.parametrize("place", [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, 0, 2), (0, -1, None)])
def test_what_is_not_there_is_refused(tiny_pipe, place):
    read = text_encoder.read_text(tiny_pipe, "um gato", "clip")
    with pytest.raises(IndexError):
        text_encoder.look(read, *place)


def test_encoders_are_named(tiny_pipe):
    assert text_encoder.encoders_of(tiny_pipe) == ["clip"]
