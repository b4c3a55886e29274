"""Self-attention inside text encoders against softmaxes computed layer by layer in float64."""

import pytest
import torch
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from promptweight.conditioning import record_text_attention
from promptweight.errors import ModelError, SettingError

PROMPT = "um (gato:1.4) vermelho"


def randomize(model):
    """Set random weights large enough that no softmax is uniform."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    return model.eval()


@pytest.fixture(scope="module")
def clip(tiny):
    """A tiny pipeline whose tokenizer has letters and a few longer pieces."""
    letters = [chr(code) for code in range(97, 123)]
    merges = [("g", "a"), ("t", "o</w>"), ("ga", "to</w>"), ("u", "m</w>")]
    pieces = [*letters, *(letter + "</w>" for letter in letters), *(a + b for a, b in merges)]
    vocabulary = {piece: number for number, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    pipe = tiny.pipeline()
    pipe.tokenizer = CLIPTokenizer(
        vocab=vocabulary, merges=merges, pad_token="<|endoftext|>", model_max_length=77
    )
    config = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        bos_token_id=pipe.tokenizer.bos_token_id,
        eos_token_id=pipe.tokenizer.eos_token_id,
    )
    pipe.text_encoder = randomize(CLIPTextModel(config))
    return pipe


def compute_softmaxes(model, ids):
    """Return the softmax of every layer in float64, (layers, heads, tokens, tokens)."""
    model = model.double()
    states, found = model.embeddings(torch.tensor([ids])), []
    later = torch.full((len(ids), len(ids)), -torch.inf, dtype=torch.float64).triu(1)
    for layer in model.encoder.layers:
        attn, normed = layer.self_attn, layer.layer_norm1(states)
        heads = lambda projection: projection(normed).unflatten(-1, (4, 8)).transpose(1, 2)  # noqa: B023, E731
        logits = heads(attn.q_proj) @ heads(attn.k_proj).transpose(-1, -2) / 8**0.5 + later
        found.append(logits.softmax(-1))
        output = (found[-1] @ heads(attn.v_proj)).transpose(1, 2).flatten(2)
        states = states + attn.out_proj(output)
        states = states + layer.mlp(layer.layer_norm2(states))
    model.float()
    return torch.cat(found)


@torch.no_grad()
def test_clip_attention_of_every_layer_and_head_equals_float64(clip):
    before = clip.text_encoder(torch.tensor([[0, 1, 2]])).last_hidden_state
    usual = clip.text_encoder.config._attn_implementation
    found = record_text_attention(clip, PROMPT)
    assert clip.text_encoder.config._attn_implementation == usual != "eager"
    assert not any(module._forward_hooks for module in clip.text_encoder.modules())
    assert torch.equal(clip.text_encoder(torch.tensor([[0, 1, 2]])).last_hidden_state, before)
    wanted = compute_softmaxes(clip.text_encoder, found.table.ids[0])
    assert found.encoder == "clip"
    assert found.probabilities.shape == (1, 3, 4, 77, 77)
    assert found.probabilities.dtype == torch.float32
    assert (found.probabilities[0] - wanted).abs().max() < 1e-5
    assert (found.probabilities.triu(1) == 0).all()
    assert torch.equal(found.tokens([2], [1]), found.probabilities[0, 2, 1])
    assert torch.allclose(found.tokens(), wanted.mean((0, 1)).float(), atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("weight", [1.4, 0, -2])
def test_clip_attention_with_weights_multiplies_the_words_keys(clip, weight):
    """The first layer has the same states, so log |w| on the word's keys is the only change."""
    prompt = f"um (gato:{weight}) vermelho BREAK um gato vermelho"
    plain, found = (record_text_attention(clip, prompt, weighted=each) for each in (False, True))
    (row,) = found.table.find("gato")[0].positions
    wanted = plain.probabilities[:, 0].double()
    wanted[0, :, :, row] *= abs(weight)
    wanted /= wanted.sum(-1, keepdim=True)
    assert (found.probabilities[:, 0] - wanted).abs().max() < 1e-5
    assert torch.equal(found.probabilities[1], plain.probabilities[1])
    assert not torch.allclose(found.probabilities[0, 1], plain.probabilities[0, 1], atol=1e-3)


def test_word_attention_averages_rows_and_sums_columns(clip):
    found = record_text_attention(clip, PROMPT)
    assert [word.text for word in found.table.words] == ["um", "gato", "vermelho"]
    rows = [list(word.positions) for word in found.table.words]
    assert [len(positions) for positions in rows] == [1, 1, 8]
    matrix, tokens = found.words([-1]), found.probabilities[0, 2].mean(0)
    for reading in range(3):
        for read in range(3):
            wanted = tokens[rows[reading]][:, rows[read]].sum(1).mean()
            assert matrix[reading, read] == pytest.approx(float(wanted), abs=1e-6)
    assert (matrix.triu(1) == 0).all()
    assert (matrix.sum(1) < 1).all()
    assert matrix[2, 1] > 0


def test_attention_between_chunks_is_zero_also_for_equal_chunks(clip):
    found = record_text_attention(clip, "um gato BREAK um gato BREAK um")
    assert found.probabilities.shape[0] == 3
    assert torch.equal(found.probabilities[0], found.probabilities[1])
    assert not torch.equal(found.probabilities[0], found.probabilities[2])
    tokens = found.tokens()
    assert tokens.shape == (231, 231)
    assert torch.allclose(tokens.sum(1), torch.ones(231), atol=1e-5)
    assert (tokens[77:154, :77] == 0).all()
    assert (found.words()[2:4, :2] == 0).all()


def test_t5_attention_equals_the_output_of_transformers(tiny):
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁um", -3.0), ("▁gato", -3.0), ("▁", -9.0)]
    pipe = tiny.sd3_pipeline()
    pipe.tokenizer_3 = T5Tokenizer(
        vocab=[*pieces, *((letter, -9.0) for letter in "vermelho")], extra_ids=0, model_max_length=512
    )
    config = T5Config(
        vocab_size=len(pipe.tokenizer_3), d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4
    )
    pipe.text_encoder_3 = randomize(T5EncoderModel(config))
    found = record_text_attention(pipe, PROMPT, encoder="t5")
    assert found.probabilities.shape == (1, 2, 4, 256, 256)
    pipe.text_encoder_3.double().set_attn_implementation("eager")
    with torch.no_grad():
        wanted = pipe.text_encoder_3(torch.tensor(found.table.ids), output_attentions=True).attentions
    assert (found.probabilities[0] - torch.cat(wanted)).abs().max() < 1e-5
    assert found.words()[0, 2] > 0


def test_invalid_encoders_layers_and_heads_raise(clip, tiny):
    for call, error, text in [
        (
            lambda: record_text_attention(clip, "um", encoder="t5"),
            SettingError,
            "encoder must be one of: clip; got 't5'",
        ),
        (lambda: record_text_attention(tiny.pipeline(), "um"), ModelError, "without text encoders"),
        (
            lambda: record_text_attention(clip, "um").tokens([3]),
            SettingError,
            "layer must be from 0 to 2 .*; got 3",
        ),
        (
            lambda: record_text_attention(clip, "um").words(heads=[-5]),
            SettingError,
            "head must be from 0 to 3 .*; got -5",
        ),
    ]:
        with pytest.raises(error, match=text):
            call()
