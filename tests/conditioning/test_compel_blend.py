"""compel's `.and()` and `.blend()`: its formulas on what the pipelines make of each part alone."""

import pytest
import torch

from promptweight.attention import PromptToPrompt, attach
from promptweight.cli import prompt_report
from promptweight.cli.token_report import chunk_texts
from promptweight.conditioning import encode, encode_prompts, tokenize
from promptweight.conditioning.text_attention import record_text_attention
from promptweight.errors import SettingError, WordNotFoundError
from promptweight.prompt import convert, parse

LONG = ", ".join(["um gato cor mel"] * 30)


def own(pipe, text, **settings):
    """What the pipeline itself makes of one text: its embeddings, and the pooled vector where it has one."""
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


def joined(pipe, text, **settings):
    return encode_prompts(pipe, text, None, dialect="compel", **settings)


def test_parts_joined_by_and_follow_each_other(sd):
    encoded = joined(sd, '("um gato", "cor mel").and()')
    assert encoded.warnings == ()
    found = encoded.inputs["prompt_embeds"]
    assert torch.equal(found, torch.cat([own(sd, "um gato")[0], own(sd, "cor mel")[0]], 1))
    alone = joined(sd, '("um gato").and()').inputs["prompt_embeds"]
    assert torch.equal(alone, own(sd, "um gato")[0])


def test_a_weighted_part_lies_between_itself_and_nothing(sd):
    found = joined(sd, '("um gato", "cor mel").and(1, 0.3)').inputs["prompt_embeds"]
    empty, part = own(sd, "")[0], own(sd, "cor mel")[0]
    assert torch.equal(found[:, :77], own(sd, "um gato")[0])
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
def test_a_blend_is_the_weighted_sum_of_its_parts(sd, call, first, second):
    encoded = joined(sd, f'("um gato", "cor mel ver"){call}')
    assert encoded.warnings == ()
    found = encoded.inputs["prompt_embeds"]
    wanted = first * own(sd, "um gato")[0] + second * own(sd, "cor mel ver")[0]
    assert torch.allclose(found, wanted, atol=1e-6)


def test_shorter_parts_of_a_blend_are_lengthened_with_empty_chunks(sd):
    found = joined(sd, f'("um gato", "{LONG}").blend(1, 3)').inputs
    long = encode(sd, LONG, None, dialect="compel")["prompt_embeds"]
    chunks = long.shape[1] // 77
    assert chunks > 1
    short = torch.cat([own(sd, "um gato")[0], *[own(sd, "")[0]] * (chunks - 1)], 1)
    assert torch.allclose(found["prompt_embeds"], 0.25 * short + 0.75 * long, atol=1e-6)
    assert found["negative_prompt_embeds"].shape == found["prompt_embeds"].shape


def test_words_keep_their_weights_in_their_parts(sd):
    found = joined(sd, '("um gato++", "cor mel").blend(1, 1)', method="compel").inputs["prompt_embeds"]
    parts = [encode(sd, each, None, dialect="compel", method="compel") for each in ("um gato++", "cor mel")]
    assert torch.allclose(found, sum(part["prompt_embeds"] for part in parts) / 2, atol=1e-6)


@pytest.mark.parametrize("call", [".blend(1, -1)", ".blend(0, 0)"])
def test_weights_that_sum_to_nothing_are_refused(sd, call):
    with pytest.raises(SettingError, match=r"must not sum to 0, because they are divided by their sum"):
        joined(sd, f'("um gato", "cor mel"){call}')
    joined(sd, f'("um gato", "cor mel"){call[:-1]}, no_normalize)')


@pytest.mark.parametrize("family", ["sdxl", "sd3", "flux"])
def test_every_text_encoder_reads_every_part(family, request):
    pipe = request.getfixturevalue(family)
    settings = {} if family == "sdxl" else {"max_sequence_length": 16}
    (a, pool_a), (b, pool_b) = (own(pipe, text, **settings) for text in ("um gato", "vermelho"))
    blend = joined(pipe, '("um gato", "vermelho").blend(3, 1)', **settings)
    assert torch.allclose(blend.inputs["prompt_embeds"], 0.75 * a + 0.25 * b, atol=1e-5)
    assert torch.allclose(blend.inputs["pooled_prompt_embeds"], 0.75 * pool_a + 0.25 * pool_b, atol=1e-5)
    both = joined(pipe, '("um gato", "vermelho").and()', **settings)
    wanted, start = [], 0
    for section in joined(pipe, "um gato", **settings).sections:
        if section.encoders:
            wanted += [each[:, start : start + section.rows] for each in (a, b)]
            start += section.rows
    assert torch.equal(both.inputs["prompt_embeds"], torch.cat(wanted, 1))
    assert torch.equal(both.inputs["pooled_prompt_embeds"], pool_a)
    told = (
        "the text encoder t5 encodes each of the 2 .and() parts into 16 rows, 32 in total"
    )
    assert any(line.startswith(told) for line in both.warnings) == (family != "sdxl")
    assert not any(".and() parts" in line for line in blend.warnings)


def test_the_table_of_joined_parts(clip_tokenizer):
    source = '("um gato", "cor mel, um gato").and(1, 0.5)'
    table = tokenize(clip_tokenizer, parse(source, "compel"))
    assert table.chunks == 2
    assert len(table.tokens) == 154
    assert [token.position for token in table.tokens] == list(range(154))
    assert [token.kind for token in table.tokens if token.position in (0, 77)] == ["bos", "bos"]
    assert [word.text for word in table.words] == ["um", "gato", "cor", "mel", ",", "um", "gato"]
    assert [word.index for word in table.words] == list(range(7))
    assert [word.occurrence for word in table.words if word.text == "gato"] == [0, 1]
    for word in table.words:
        assert table.prompt.text[word.start : word.end] == word.text
        place = table.prompt.to_source(word.start)
        assert source[place : place + len(word.text)] == word.text
        for position in word.positions:
            token = table.tokens[position]
            assert table.prompt.text[token.start : token.end].strip() in word.text
            assert table.prompt.spans[token.span].clean_start <= token.start
            assert token.end <= table.prompt.spans[token.span].clean_end
    (gato,) = table.find("gato", 1)
    assert min(gato.positions) > 77


def test_the_table_of_a_blend_has_the_words_of_all_parts(clip_tokenizer):
    table = tokenize(clip_tokenizer, parse('("um gato", "cor mel ver um").blend(1, 1)', "compel"))
    assert table.chunks == 1
    assert len(table.tokens) == 77
    assert [word.text for word in table.words] == ["um", "gato", "cor", "mel", "ver", "um"]
    assert table.find("um")[0].positions == table.find("cor")[0].positions[:1] == (1,)
    last = max(place for word in table.words for place in word.positions)
    kinds = [token.kind for token in table.tokens]
    assert kinds == ["bos", *["text"] * last, "eos", *["pad"] * (75 - last)]
    with pytest.raises(WordNotFoundError, match="'mel', 'ver'"):
        table.find("azul")


def test_empty_parts(sd):
    empty = own(sd, "")[0]
    found = joined(sd, '("um gato", "").and()').inputs["prompt_embeds"]
    assert torch.equal(found[:, 77:], empty)
    found = joined(sd, '("um gato", "").blend(1, 1)').inputs["prompt_embeds"]
    assert torch.allclose(found, (own(sd, "um gato")[0] + empty) / 2, atol=1e-6)


def test_a_prompt_does_not_depend_on_its_batch_mates(sd):
    texts = ['("um gato", "cor mel").blend(2, 1)', "um gato", '("um gato", "cor").and(1, 2)']
    together = encode(sd, texts, None, dialect="compel")["prompt_embeds"]
    for row, text in zip(together, texts, strict=True):
        alone = encode(sd, text, None, dialect="compel")["prompt_embeds"][0]
        assert torch.equal(row[: len(alone)], alone)


def test_break_joins_as_and_does(sd):
    source = '("um gato", "cor mel").and()'
    other = convert(source, "compel", "pw").text
    assert "BREAK" in other
    assert torch.equal(encode(sd, other)["prompt_embeds"], joined(sd, source).inputs["prompt_embeds"])


def run(pipe, session):
    generator = torch.Generator().manual_seed(0)
    return pipe(
        **session.inputs,
        num_inference_steps=2,
        generator=generator,
        output_type="latent",
        height=16,
        width=16,
    ).images


def test_words_of_all_parts_have_maps(sd):
    with attach(sd, '("um gato", "cor mel").and(1, 0.5)', dialect="compel") as session:
        run(sd, session)
    maps = session.maps
    assert [word.text for word in session.words()] == ["um", "gato", "cor", "mel"]
    assert not torch.equal(maps.word("gato").tensor, maps.word("mel").tensor)
    with attach(sd, '("um gato", "cor mel").blend(1, 1)', dialect="compel") as session:
        run(sd, session)
    assert torch.equal(session.maps.word("um gato").tensor, session.maps.word("cor").tensor)
    assert any("these words share one map" in line for line in session.warnings)
    shares = sum(session.maps.share().word(word).mass for word in ("um gato", "mel"))
    assert shares <= 1 + 1e-5


def test_what_rows_of_a_blend_cannot_bear_is_refused(sd):
    weighted = '("um gato++", "cor mel").blend(1, 1)'
    with pytest.raises(SettingError, match=r"attention weights inside .blend\(\)"):
        attach(sd, weighted, dialect="compel", space="attention")
    attach(sd, weighted, dialect="compel")
    attach(sd, weighted.replace("blend", "and"), dialect="compel", space="attention")
    with pytest.raises(SettingError, match="an edit pairs words by their rows"):
        attach(sd, [weighted, "um gato"], dialect="compel", edit=PromptToPrompt("refine"))
    with pytest.raises(SettingError, match="encodes separately; pass one of them"):
        record_text_attention(sd, weighted, dialect="compel")
    assert record_text_attention(sd, '("um", "gato").and()', dialect="compel").tokens().shape == (154, 154)


def test_weights_in_attention_act_in_joined_parts(sd):
    with attach(sd, '("um gato", "cor mel").and()', dialect="compel", space="attention") as session:
        plain = run(sd, session)
        session.set_weight("mel", 3.0)
        heavy = run(sd, session)
    with attach(sd, '("um gato", "cor (mel)3.0").and()', dialect="compel", space="attention") as session:
        assert torch.equal(run(sd, session), heavy)
    assert not torch.equal(plain, heavy)


@pytest.mark.parametrize(
    ("call", "texts", "joint"),
    [
        (".and(1, 0.5)", ["um gato", "cor mel"], "— .and(1, 0.5) —"),
        (".blend(1, 2)", ["um gato + cor mel"], "— .blend(1, 2) —"),
        (".blend(1, 2, no_normalize)", ["um gato + cor mel"], "— .blend(1, 2, no_normalize) —"),
    ],
)
def test_what_parse_shows_of_joined_parts(clip_tokenizer, call, texts, joint):
    prompt = parse(f'("um gato", "cor mel"){call}', "compel")
    assert chunk_texts(tokenize(clip_tokenizer, prompt)) == texts
    cells = list(prompt_report.table(prompt).columns[0].cells)
    assert [str(cell) for cell in cells] == ["um gato", joint, "cor mel"]
