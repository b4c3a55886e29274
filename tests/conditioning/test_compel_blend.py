"""compel's `.and()` and `.blend()` against its formulas on the pipelines' own embeddings of each part."""

import pytest
import torch

from promptweight.conditioning import encode, encode_prompts, record_text_attention, tokenize
from promptweight.errors import SettingError, WordNotFoundError
from promptweight.prompt import convert, parse

LONG = ", ".join(["um gato cor mel"] * 30)


def reference(pipe, text, **settings):
    """Return the pipeline's own embeddings of one text, and its pooled vector or None."""
    with torch.no_grad():
        if "do_classifier_free_guidance" in pipe.encode_prompt.__code__.co_varnames:
            settings["do_classifier_free_guidance"] = False
        device = torch.device("cpu")
        if type(pipe).__name__ == "StableDiffusionPipeline":
            return pipe.encode_prompt(text, device, 1, **settings)[0], None
        if type(pipe).__name__ == "FluxPipeline":
            return pipe.encode_prompt(text, None, device, **settings)[:2]
        if type(pipe).__name__ == "StableDiffusion3Pipeline":
            embeds, _, pooled, _ = pipe.encode_prompt(text, None, None, device, **settings)
        else:
            embeds, _, pooled, _ = pipe.encode_prompt(text, None, device, **settings)
        return embeds, pooled


def encode_compel(pipe, text, **settings):
    return encode_prompts(pipe, text, None, dialect="compel", **settings)


def test_and_concatenates_the_embeddings_of_the_parts(sd):
    encoded = encode_compel(sd, '("um gato", "cor mel").and()')
    assert encoded.warnings == ()
    found = encoded.inputs["prompt_embeds"]
    assert torch.equal(found, torch.cat([reference(sd, "um gato")[0], reference(sd, "cor mel")[0]], 1))
    alone = encode_compel(sd, '("um gato").and()').inputs["prompt_embeds"]
    assert torch.equal(alone, reference(sd, "um gato")[0])


def test_and_with_weights_interpolates_between_part_and_empty_text(sd):
    found = encode_compel(sd, '("um gato", "cor mel").and(1, 0.3)').inputs["prompt_embeds"]
    empty, part = reference(sd, "")[0], reference(sd, "cor mel")[0]
    assert torch.equal(found[:, :77], reference(sd, "um gato")[0])
    assert torch.allclose(found[:, 77:], empty + (part - empty) * 0.3, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "first", "second"),
    [
        (".blend(0.7, 0.3)", 0.7, 0.3),
        (".blend(3, 1)", 0.75, 0.25),
        (".blend()", 0.5, 0.5),
        (".blend(1, -0.5)", 2.0, -1.0),
        (".blend(0.9, 0.4, no_normalize)", 0.9, 0.4),
    ],
)
def test_blend_is_the_weighted_sum_of_its_parts(sd, call, first, second):
    encoded = encode_compel(sd, f'("um gato", "cor mel ver"){call}')
    assert encoded.warnings == ()
    found = encoded.inputs["prompt_embeds"]
    wanted = first * reference(sd, "um gato")[0] + second * reference(sd, "cor mel ver")[0]
    assert torch.allclose(found, wanted, atol=1e-6)


def test_blend_of_parts_of_different_length_pads_with_empty_chunks(sd):
    found = encode_compel(sd, f'("um gato", "{LONG}").blend(1, 3)').inputs
    long = encode(sd, LONG, None, dialect="compel")["prompt_embeds"]
    chunks = long.shape[1] // 77
    assert chunks > 1
    short = torch.cat([reference(sd, "um gato")[0], *[reference(sd, "")[0]] * (chunks - 1)], 1)
    assert torch.allclose(found["prompt_embeds"], 0.25 * short + 0.75 * long, atol=1e-6)
    assert found["negative_prompt_embeds"].shape == found["prompt_embeds"].shape


def test_blend_of_weighted_words_weights_each_part(sd):
    found = encode_compel(sd, '("um gato++", "cor mel").blend(1, 1)', weighting="compel").inputs[
        "prompt_embeds"
    ]
    parts = [
        encode(sd, each, None, dialect="compel", weighting="compel") for each in ("um gato++", "cor mel")
    ]
    assert torch.allclose(found, sum(part["prompt_embeds"] for part in parts) / 2, atol=1e-6)


@pytest.mark.parametrize("call", [".blend(1, -1)", ".blend(0, 0)"])
def test_blend_with_weights_of_sum_zero_raises(sd, call):
    with pytest.raises(SettingError, match=r"must not sum to 0, because they are divided by their sum"):
        encode_compel(sd, f'("um gato", "cor mel"){call}')
    encode_compel(sd, f'("um gato", "cor mel"){call[:-1]}, no_normalize)')


@pytest.mark.parametrize("family", ["sdxl", "sd3", "flux"])
def test_joined_parts_pass_through_every_text_encoder(family, request):
    pipe = request.getfixturevalue(family)
    settings = {} if family == "sdxl" else {"max_sequence_length": 16}
    (a, pool_a), (b, pool_b) = (reference(pipe, text, **settings) for text in ("um gato", "vermelho"))
    blend = encode_compel(pipe, '("um gato", "vermelho").blend(3, 1)', **settings)
    assert torch.allclose(blend.inputs["prompt_embeds"], 0.75 * a + 0.25 * b, atol=1e-5)
    assert torch.allclose(blend.inputs["pooled_prompt_embeds"], 0.75 * pool_a + 0.25 * pool_b, atol=1e-5)
    both = encode_compel(pipe, '("um gato", "vermelho").and()', **settings)
    wanted, start = [], 0
    for section in encode_compel(pipe, "um gato", **settings).sections:
        if section.encoders:
            wanted += [each[:, start : start + section.rows] for each in (a, b)]
            start += section.rows
    assert torch.equal(both.inputs["prompt_embeds"], torch.cat(wanted, 1))
    assert torch.equal(both.inputs["pooled_prompt_embeds"], pool_a)
    warned = any(warning.code == "and-rows" for warning in both.warnings)
    assert warned == (family != "sdxl")
    assert not any(warning.code == "and-rows" for warning in blend.warnings)


def test_token_table_of_and_numbers_tokens_and_words_of_the_whole_prompt(clip_tokenizer):
    source = '("um gato", "cor mel, um gato").and(1, 0.5)'
    table = tokenize(clip_tokenizer, parse(source, "compel").at())
    assert table.chunks == 2
    assert len(table.tokens) == 154
    assert [token.position for token in table.tokens] == list(range(154))
    assert [token.kind for token in table.tokens if token.position in (0, 77)] == ["bos", "bos"]
    assert [word.text for word in table.words] == ["um", "gato", "cor", "mel", ",", "um", "gato"]
    assert [word.index for word in table.words] == list(range(7))
    assert [word.occurrence for word in table.words if word.text == "gato"] == [0, 1]
    for word in table.words:
        assert table.prompt.text[word.start : word.end] == word.text
        start = table.prompt.to_source(word.start)
        assert source[start : start + len(word.text)] == word.text
        for position in word.positions:
            token = table.tokens[position]
            assert table.prompt.text[token.start : token.end].strip() in word.text
            assert table.prompt.spans[token.span].clean_start <= token.start
            assert token.end <= table.prompt.spans[token.span].clean_end
    (gato,) = table.find("gato", 1)
    assert min(gato.positions) > 77


def test_token_table_of_blend_has_the_words_of_all_parts(clip_tokenizer):
    table = tokenize(clip_tokenizer, parse('("um gato", "cor mel ver um").blend(1, 1)', "compel").at())
    assert table.chunks == 1
    assert len(table.tokens) == 77
    assert [word.text for word in table.words] == ["um", "gato", "cor", "mel", "ver", "um"]
    assert table.find("um")[0].positions == table.find("cor")[0].positions[:1] == (1,)
    last = max(row for word in table.words for row in word.positions)
    kinds = [token.kind for token in table.tokens]
    assert kinds == ["bos", *["text"] * last, "eos", *["pad"] * (75 - last)]
    with pytest.raises(WordNotFoundError, match="'mel', 'ver'"):
        table.find("azul")


def test_empty_parts_have_the_embeddings_of_an_empty_text(sd):
    empty = reference(sd, "")[0]
    found = encode_compel(sd, '("um gato", "").and()').inputs["prompt_embeds"]
    assert torch.equal(found[:, 77:], empty)
    found = encode_compel(sd, '("um gato", "").blend(1, 1)').inputs["prompt_embeds"]
    assert torch.allclose(found, (reference(sd, "um gato")[0] + empty) / 2, atol=1e-6)


def test_joined_prompts_are_independent_of_the_batch(sd):
    texts = ['("um gato", "cor mel").blend(2, 1)', "um gato", '("um gato", "cor").and(1, 2)']
    together = encode(sd, texts, None, dialect="compel")["prompt_embeds"]
    for row, text in zip(together, texts, strict=True):
        alone = encode(sd, text, None, dialect="compel")["prompt_embeds"][0]
        assert torch.equal(row[: len(alone)], alone)


def test_break_equals_and(sd):
    source = '("um gato", "cor mel").and()'
    other = convert(source, "compel", "pw").text
    assert "BREAK" in other
    assert torch.equal(encode(sd, other)["prompt_embeds"], encode_compel(sd, source).inputs["prompt_embeds"])


def test_text_attention_of_a_blend_raises_and_of_and_has_all_rows(sd):
    with pytest.raises(SettingError, match="encodes separately; pass one of them"):
        record_text_attention(sd, '("um gato++", "cor mel").blend(1, 1)', dialect="compel")
    attention = record_text_attention(sd, '("um", "gato").and()', dialect="compel")
    assert attention.tokens().shape == (154, 154)
