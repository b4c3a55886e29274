"""Self-attention of a text encoder, compared with that of the library."""

from dataclasses import replace

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


def test_attention_without_the_mask_is_that_of_the_same_queries_and_keys(tiny_pipe):
    prompt = "um gato um BREAK gato BREAK um gato um"
    captured = text_encoder.capture_text_attention(tiny_pipe, prompt, "clip")
    assert text_encoder.describe(captured)["unmasked"]
    model, tokenizer = tiny_pipe.text_encoder, tiny_pipe.tokenizer
    for chunk, text in enumerate(prompt.split(" BREAK ")):
        ids = tokenizer(text, padding="max_length", max_length=77, return_tensors="pt").input_ids
        with torch.no_grad():
            inputs = model(ids, output_hidden_states=True).hidden_states
        tokens = len(captured.labels[chunk])
        text_model = getattr(model, "text_model", model)
        for number, layer in enumerate(text_model.encoder.layers):
            states = layer.layer_norm1(inputs[number])[0, :tokens]
            attention = layer.self_attn
            query, key = (project(states).double() for project in (attention.q_proj, attention.k_proj))
            size = query.shape[1] // attention.num_heads
            for head in range(attention.num_heads):
                part = slice(head * size, head * size + size)
                expected = (query[:, part] @ key[:, part].T / size**0.5).softmax(-1)
                matrix = text_encoder.attention_matrix(captured, chunk, number, head, is_masked=False)
                torch.testing.assert_close(torch.tensor(matrix).double(), expected, atol=1e-3, rtol=1e-2)
                assert matrix[0][1] > 0


def test_encoder_without_a_mask_has_none_to_lift(tiny_pipe):
    captured = text_encoder.capture_text_attention(tiny_pipe, "um gato", "clip")
    both_ways = replace(captured, chunks=captured.unmasked, unmasked=())
    about = text_encoder.describe(both_ways)
    assert (about["causal"], about["unmasked"]) == (False, False)
    with pytest.raises(IndexError):
        text_encoder.attention_matrix(both_ways, 0, 0, 0, is_masked=False)


@pytest.mark.parametrize("indices", [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, 0, 2), (0, -1, None)])
def test_missing_selection_raises(tiny_pipe, indices):
    captured = text_encoder.capture_text_attention(tiny_pipe, "um gato", "clip")
    with pytest.raises(IndexError):
        text_encoder.attention_matrix(captured, *indices)


def test_encoder_names_are_those_of_the_pipeline(tiny_pipe):
    assert text_encoder.encoder_names(tiny_pipe) == ["clip"]
