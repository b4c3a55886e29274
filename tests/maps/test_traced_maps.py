"""Traced maps, against sums in float64 of the softmaxes of the denoiser and of the text encoders."""

from dataclasses import replace
from functools import partial

import pytest
import tiny_models
import torch

from promptweight.attention import PromptToPrompt, Record, attach, session_config
from promptweight.conditioning import Advice, encode_prompts, trace_rows
from promptweight.errors import ModelError, SettingError
from promptweight.maps import AttentionMaps, PlacedTable, RecordedSlot, Recording
from promptweight.render import upsample_maps

PROMPT = "um gato vermelho"
SIZE = {"height": 16, "width": 16}
FAMILIES = {
    "sd": (partial(tiny_models.sd, side=16), {}),
    "sdxl": (partial(tiny_models.sdxl, side=16), {}),
    "sd3": (partial(tiny_models.sd3, side=16), {"max_sequence_length": 24}),
    "flux": (tiny_models.flux, {"max_sequence_length": 24}),
}


@pytest.fixture(scope="module")
def sd():
    return tiny_models.sd(side=16)


def draw(pipe, session, **settings):
    defaults = {"num_inference_steps": 2, "guidance_scale": 4.0, "output_type": "latent", **SIZE}
    generator = torch.Generator().manual_seed(7)
    return pipe(**session.inputs, **defaults | settings, generator=generator).images


@pytest.mark.parametrize("family", FAMILIES)
def test_traced_map_of_every_grid_equals_float64(monkeypatch, family):
    """Σ over the rows of the embeddings of the row's softmax, times the word's part in the row."""
    make, length = FAMILIES[family]
    pipe = make()
    with attach(pipe, PROMPT, record=Record(trace=True), **length) as session:
        latents = draw(pipe, session)
    plain = attach(pipe, PROMPT, record=False, **length).inputs
    softmaxes = []
    attention = torch.nn.functional.scaled_dot_product_attention

    def recording_attention(query, key, value, attn_mask=None, **settings):
        logits = query.double() @ key.double().transpose(-1, -2) * query.shape[-1] ** -0.5
        softmaxes.append(logits.softmax(-1)[-1].mean(0))
        return attention(query, key, value, attn_mask=attn_mask, **settings)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", recording_attention)
    settings = {"num_inference_steps": 2, "guidance_scale": 4.0, "output_type": "latent", **SIZE}
    again = pipe(**plain, **settings, generator=torch.Generator().manual_seed(7)).images
    assert torch.equal(again, latents)
    monkeypatch.undo()

    encoded = encode_prompts(pipe, PROMPT, in_session=True, **length)
    rows = plain["prompt_embeds"].shape[1]
    held = torch.zeros(rows, dtype=torch.float64)
    for section in encoded.sections:
        table = section.positive[0]
        trace = trace_rows(pipe, section.encoders, table, encoded.settings).double()
        (word,) = table.find("gato")
        held[section.start : section.start + table.rows] = trace[:, list(word.positions)].sum(1)
    if family in ("sd", "sdxl"):
        softmaxes = [softmax for softmax in softmaxes if softmax.shape[-1] == rows]
    maps = session.maps
    slots = [slot for slot in maps.recording.slots if slot.kind == "words"]
    assert len(softmaxes) == 2 * len(slots)
    grids = {}
    for number, slot in enumerate(slots):
        of_layer = torch.stack(softmaxes[number :: len(slots)]).mean(0)
        pixels = slot.height * slot.width
        first = pixels if family == "sd3" else 0
        queries = slice(rows, None) if family == "flux" else slice(pixels)
        assert of_layer.shape[1] == (rows if family in ("sd", "sdxl") else rows + pixels)
        expected = (of_layer[queries, first : first + rows] * held).sum(1).view(slot.height, slot.width)
        grids.setdefault(slot.grid, []).append(expected.float())
    for grid, of_grid in grids.items():
        found = maps.layers(grid).traced().word("gato").tensor
        wanted = upsample_maps(torch.stack(of_grid).mean(0), found.shape)
        assert (found - wanted).abs().max() < 1e-5


def test_refined_traced_map_is_the_traced_sum_of_refined_maps(sd):
    with attach(sd, PROMPT, record=Record(trace=True, refine=True)) as session:
        draw(sd, session)
    maps = session.maps
    refined = maps.refined()
    trace = maps.recording.tables["positive", 0][0].trace
    words = {word.text: word.positions for word in maps.words}
    (gato,) = words["gato"]
    ends = [token.position for token in maps.recording.tables["positive", 0][0].table.tokens][-3:]
    assert trace[ends, gato].min() > 0
    total = maps.refined().traced()
    of_words = sum(total.word(word).tensor for word in words)
    assert torch.allclose(
        of_words + total.beginning().tensor + total.rest().tensor, torch.ones(16, 16), atol=1e-5
    )
    assert total.word("gato").mass > refined.word("gato").mass
    assert torch.equal(maps.traced().refined().word("gato").tensor, total.word("gato").tensor)


TRACE = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0.4, 0.6, 0], [0, 0.5, 0.3, 0.2]])
"""Of the rows beginning, um, gato and end."""


@pytest.fixture
def by_hand(tiny):
    """Return a function that makes maps of "um gato" with one end, in which column c has values[c]."""
    table = replace(tiny.table_of("um gato"), tokens=tiny.table_of("um gato").tokens[:4])

    def make(values, trace=TRACE):
        sums = torch.zeros(1, 1, 1, 1, 6, len(values)) + torch.tensor(values)
        slot = RecordedSlot(("a",), 1, 2, 3, sums, torch.ones(1, 1, 1))
        tables = {("positive", 0): (PlacedTable(0, ("clip",), table, trace),)}
        return AttentionMaps.from_recording(Recording((slot,), ("positive",), tables, (4, 6)))

    return make


def test_traced_view_of_words_shares_and_rest_by_hand(by_hand):
    maps = by_hand([0.5, 0.1, 0.2, 0.1])
    traced = maps.traced()
    assert traced.word("um").mass == pytest.approx(0.1 + 0.4 * 0.2 + 0.5 * 0.1)
    assert traced.word("gato").mass == pytest.approx(0.6 * 0.2 + 0.3 * 0.1)
    assert traced.word("um gato").mass == pytest.approx(0.38)
    assert traced.beginning().mass == pytest.approx(0.5)
    assert traced.rest().mass == pytest.approx(0.12)
    assert maps.rest().mass == pytest.approx(0.2)  # the end is recorded but stays a part of the rest
    assert maps.word("gato").mass == pytest.approx(0.2)
    assert traced.share().word("um").mass == pytest.approx(0.23 / 0.38)
    assert maps.share().traced().word("gato").mass == pytest.approx(0.15 / 0.38)
    assert maps.share().word("gato").mass == pytest.approx(2 / 3)


def test_traced_view_without_traces_raises(by_hand):
    maps = by_hand([0.5, 0.1, 0.2], trace=None)
    assert maps.rest().mass == pytest.approx(0.2)
    with pytest.raises(SettingError, match=r"record them with Record\(trace=True\)"):
        maps.traced()


def test_traces_survive_files(sd, tmp_path):
    record = Record(trace=True, roles=("positive", "negative"))
    with attach(sd, [PROMPT, "um gato BREAK gato"], "feio", record=record) as session:
        draw(sd, session)
    maps = session.maps
    maps.save(tmp_path / "maps.safetensors")
    loaded = AttentionMaps.load(tmp_path / "maps.safetensors")
    for role, image, word in (("positive", 0, "gato"), ("positive", 1, "gato"), ("negative", 0, "feio")):
        expected = maps.traced().word(word, image=image, role=role).tensor
        assert torch.equal(loaded.traced().word(word, image=image, role=role).tensor, expected)


def test_scheduled_prompts_and_parts_are_traced_in_each_text(sd):
    """The text at a step alone is traced there, so its map equals that of a prompt that does not change."""
    prompt = "um [gato:ver:0.5] mel AND um mel"
    record = Record(trace=True, steps="keep")
    with attach(sd, prompt, record=record, num_inference_steps=2) as session:
        draw(sd, session)
    maps = session.maps.traced()
    assert len(maps.texts()) == 3
    texts = maps.recording.variants(("positive", 0))
    for variant, text in zip(texts, maps.texts(), strict=True):
        encoded = encode_prompts(sd, text)
        expected = trace_rows(sd, ("clip",), encoded.positive[0], encoded.settings)
        assert torch.allclose(variant[0].trace, expected, atol=1e-6)
    assert maps.steps(0, 1).word("gato").mass > 0
    assert maps.steps(1).word("gato").mass == 0
    assert maps.steps(1).word("ver").mass > 0


def test_edit_with_traces_keeps_images_and_maps(sd):
    prompts = [PROMPT, "um mel vermelho"]
    found = []
    for trace in (False, True):
        record = Record(trace=trace)
        with attach(sd, prompts, edit=PromptToPrompt("replace"), record=record) as session:
            generators = [torch.Generator().manual_seed(7) for _ in prompts]
            settings = {"num_inference_steps": 2, "output_type": "latent", **SIZE}
            latents = sd(**session.inputs, **settings, generator=generators).images
        found.append((latents, session.maps.word("mel", image=1).tensor))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.allclose(found[0][1], found[1][1], atol=1e-6)


def test_blends_and_pipelines_without_text_encoders_raise(sd, tiny):
    blend = '("um gato", "um rato").blend(1, 1)'
    with pytest.raises(SettingError, match="blends several texts"):
        attach(sd, blend, dialect="compel", record=Record(trace=True))
    encoded = encode_prompts(sd, PROMPT, in_session=True)
    pipe = tiny_models.sd(side=16, text_encoder=None, tokenizer=None)
    with pytest.raises(ModelError, match="traced maps need the text encoder clip"):
        attach(pipe, encoded, record=Record(trace=True))
    with attach(pipe, encoded):
        pass


def test_model_that_advises_traces_records_them_where_it_can(sd, monkeypatch):
    advice = Advice(7.5, traces_words=True)
    monkeypatch.setattr(session_config, "advice_of", lambda _: advice)

    def has_traces(pipe, prompt, record=True, **settings):
        with attach(pipe, prompt, record=record, **settings) as session:
            draw(pipe, session)
        return session.maps.recording.has_traces

    assert has_traces(sd, PROMPT)
    assert has_traces(sd, PROMPT, Record(steps="keep"))
    assert not has_traces(sd, PROMPT, Record(trace=False))
    assert not has_traces(sd, '("um gato", "um rato").blend(1, 1)', dialect="compel")
    encoded = encode_prompts(sd, PROMPT, in_session=True)
    assert not has_traces(tiny_models.sd(side=16, text_encoder=None, tokenizer=None), encoded)


def test_overlays_show_traced_single_words_and_plain_phrases(sd):
    found = []
    for trace in (True, False):
        with attach(sd, PROMPT, record=Record(trace=trace)) as session:
            draw(sd, session)
        found.append(session.maps)
    traced, plain = found
    assert torch.equal(traced.overlay_word("gato").tensor, traced.traced().word("gato").tensor)
    assert not torch.allclose(traced.overlay_word("gato").tensor, traced.word("gato").tensor)
    assert torch.equal(traced.overlay_word("gato  vermelho").tensor, traced.word("gato vermelho").tensor)
    assert torch.equal(plain.overlay_word("gato").tensor, plain.word("gato").tensor)
