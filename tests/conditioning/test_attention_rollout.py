"""Rollouts of text encoders, against products computed row by row in float64 from transformers' softmaxes."""

import copy

import pytest
import torch

from promptweight.conditioning import encode_prompts, trace_rows
from promptweight.errors import ModelError, SettingError

PROMPT = "um gato vermelho"


@torch.no_grad()
def expected_rollout(model, table, layers, ids=None):
    """Roll out the softmaxes of one chunk with explicit loops, (tokens, tokens) float64."""
    model = copy.deepcopy(model).double()
    model.set_attn_implementation("eager")
    ids = torch.tensor([table.ids[0]] if ids is None else [ids])
    softmaxes = [layer[0].mean(0) for layer in model(ids, output_attentions=True).attentions[:layers]]
    n = len(table.ids[0])
    held = [[float(row == token) for token in range(n)] for row in range(n)]
    texts = [token.position for token in table.tokens[:n] if token.kind == "text"]
    for softmax in softmaxes:
        before, held = held, []
        for row in range(n):
            total = sum(float(softmax[row, key]) for key in texts)
            mixed = list(before[row])
            if total > 0:
                for token in range(n):
                    got = sum(float(softmax[row, key]) / total * before[key][token] for key in texts)
                    mixed[token] = got / 2 + before[row][token] / 2
            held.append(mixed)
    return torch.tensor(held, dtype=torch.float64)


def count_hooks(model):
    return sum(len(module._forward_hooks) for module in model.modules())


def trace_first(pipe, prompt, section=0, **settings):
    encoded = encode_prompts(pipe, prompt, **settings)
    of_section = encoded.sections[section]
    table = of_section.positive[0]
    return table, trace_rows(pipe, of_section.encoders, table, encoded.settings)


def test_rows_of_one_clip_encoder_equal_float64(sd):
    table, trace = trace_first(sd, PROMPT)
    assert trace.dtype == torch.float32
    assert (trace - expected_rollout(sd.text_encoder, table, 3)).abs().max() < 1e-5
    assert torch.allclose(trace.sum(1), torch.ones(len(trace)), atol=1e-5)
    gato = table.find("gato")[0].positions[0]
    assert trace[gato + 1 :, gato].min() > 0
    assert trace[:gato, gato].max() == 0  # the encoder is causal


@pytest.mark.parametrize("clip_skip", [1, 2])
def test_clip_skip_leaves_out_the_last_layers(sd, clip_skip):
    table, trace = trace_first(sd, PROMPT, clip_skip=clip_skip)
    assert (trace - expected_rollout(sd.text_encoder, table, 3 - clip_skip)).abs().max() < 1e-5


def test_rows_of_two_encoders_have_the_mean_without_the_last_layer(sdxl):
    table, trace = trace_first(sdxl, PROMPT)
    second = sdxl.tokenizer_2(PROMPT, padding="max_length", max_length=77).input_ids
    rollouts = [
        expected_rollout(sdxl.text_encoder, table, 2),
        expected_rollout(sdxl.text_encoder_2, table, 2, second),
    ]
    assert (trace - torch.stack(rollouts).mean(0)).abs().max() < 1e-5
    assert (rollouts[0] - rollouts[1]).abs().max() > 1e-2


def test_t5_rows_hold_later_words_too(sd3):
    table, trace = trace_first(sd3, PROMPT, section=1, max_sequence_length=32)
    assert (trace - expected_rollout(sd3.text_encoder_3, table, 2)).abs().max() < 1e-5
    assert trace[table.find("um")[0].positions[0], table.find("vermelho")[0].positions[0]] > 0


def test_chunks_and_joined_parts_are_rolled_out_separately(sd):
    _, single = trace_first(sd, PROMPT)
    _, other = trace_first(sd, "um gato")
    expected = torch.block_diag(single, other, single)
    _, chunked = trace_first(sd, f"{PROMPT} BREAK um gato BREAK {PROMPT}")
    _, joined = trace_first(sd, f'("{PROMPT}", "um gato", "{PROMPT}").and()', dialect="compel")
    assert torch.allclose(chunked, expected, atol=1e-6)
    assert torch.allclose(joined, expected, atol=1e-6)


def test_chunk_of_a_shorter_prompt_keeps_its_tokens(sd):
    encoded = encode_prompts(sd, [PROMPT, "um BREAK gato"])
    (section,) = encoded.sections
    trace = trace_rows(sd, section.encoders, section.positive[0], encoded.settings)
    assert torch.equal(trace[77:, 77:], torch.eye(77))
    assert trace[:77, 77:].abs().max() == 0


def test_weights_inside_clip_change_the_rollout_and_weights_on_embeddings_do_not(sd):
    _, plain = trace_first(sd, PROMPT)
    table, masked = trace_first(sd, "um (gato:0) vermelho", weighting="clip-attention")
    _, scaled = trace_first(sd, "um (gato:0) vermelho", weighting="scale")
    gato = table.find("gato")[0].positions[0]
    assert masked[gato + 1 :, gato].abs().max() < 1e-6
    assert plain[gato + 1 :, gato].min() > 1e-3
    assert torch.allclose(scaled, plain, atol=1e-6)


def test_own_implementation_and_hooks_are_restored(sd):
    sd.text_encoder(torch.tensor([[0, 1, 2]]))  # transformers adds hooks of its own
    usual, hooks = sd.text_encoder.config._attn_implementation, count_hooks(sd.text_encoder)
    trace_first(sd, PROMPT)
    assert sd.text_encoder.config._attn_implementation == usual != "eager"
    assert count_hooks(sd.text_encoder) == hooks


def test_blends_and_absent_encoders_raise(sd, make_sd):
    with pytest.raises(SettingError, match="blends several texts"):
        trace_first(sd, '("um gato", "um rato").blend(1, 1)', dialect="compel")
    pipe = make_sd()
    encoded = encode_prompts(pipe, PROMPT)
    pipe.text_encoder = None
    with pytest.raises(ModelError, match="need the text encoder clip; this StableDiffusionPipeline"):
        trace_rows(pipe, ("clip",), encoded.positive[0], encoded.settings)


def test_encoders_with_different_tokens_raise(make_sdxl, make_clip_tokenizer):
    pipe = make_sdxl(tokenizer_2=make_clip_tokenizer(pad="!", merges=(("g", "a"),)))
    with pytest.raises(SettingError, match="clip_l and clip_g must tokenize the prompt alike"):
        trace_first(pipe, PROMPT)
