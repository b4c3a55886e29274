"""Prompt-to-prompt against its formula in float64, from one layer to whole runs."""

import math

import pytest
import torch

from promptweight.attention import PromptToPrompt, Record, attach
from promptweight.attention.control.attention_injection import AttentionInjection
from promptweight.attention.control.prompt_to_prompt import build_mapping
from promptweight.attention.control.rules import AttentionTerms
from promptweight.attention.hooks.layer_hook import CallState, LayerHook
from promptweight.attention.recording.store import Slot
from promptweight.errors import SettingError
from promptweight.maps.prompt_words import PlacedTable


def mapping(tiny, source, edited, kind):
    tables = ((PlacedTable(0, ("clip",), tiny.table_of(text)),) for text in (source, edited))
    return build_mapping(*tables, kind, tiny.rows)


def test_build_mapping_swaps_words(tiny):
    """Each row of the mapping, for a position of the edited prompt; `vermelho` has two tokens, `azul` one."""
    same = torch.eye(tiny.rows)
    assert torch.equal(mapping(tiny, "um gato azul", "um rato azul", "replace"), same)
    assert torch.equal(mapping(tiny, "um gato azul", "um GATO azul", "refine"), same)

    shorter = mapping(tiny, "um vermelho gato", "um azul gato", "replace")
    assert shorter[2].tolist() == [0, 0, 1, 1] + [0] * 16  # both pieces on the one
    assert shorter[3].argmax() == 4  # gato, now one further to the front
    assert shorter[4].argmax() == 5  # the end
    assert shorter[5].sum() == 0  # padding where the source had its end
    assert torch.equal(shorter[6:], same[6:])

    longer = mapping(tiny, "um azul gato", "um vermelho gato", "replace")
    assert longer[2].tolist() == longer[3].tolist() == [0, 0, 0.5] + [0] * 17
    assert longer[4].argmax() == 3
    assert longer[:6].sum(0)[:5].tolist() == [1, 1, 1, 1, 1]  # nothing is lost on the way


def test_build_mapping_pairs_several_words_with_one(tiny):
    actual = mapping(tiny, "um gato preto come", "um gato come", "refine")
    assert [int(row.argmax()) for row in actual[:5]] == [0, 1, 2, 5, 6]
    block = mapping(tiny, "um gato come", "um rato azul come", "replace")
    assert block[2].tolist() == block[3].tolist() == [0, 0, 0.5] + [0] * 17
    assert block[4].argmax() == 3


def test_build_mapping_leaves_added_words_without_counterpart(tiny):
    actual = mapping(tiny, "um gato come", "um gato azul come peixe", "refine")
    taken = {row: int(actual[row].argmax()) for row in range(tiny.rows) if actual[row].sum() > 0}
    assert taken == {0: 0, 1: 1, 2: 2, 4: 3, 7: 4, **{row: row for row in range(8, 20)}}
    swapped = mapping(tiny, "um gato come", "um rato come", "refine")
    assert swapped[2].sum() == 0  # a swapped word is a new one there
    with pytest.raises(SettingError, match="'azul' of the edited prompt has no counterpart"):
        mapping(tiny, "um gato come", "um gato azul come", "replace")
    with pytest.raises(SettingError, match="'preto' of the source prompt has no counterpart"):
        mapping(tiny, "um gato preto come", "um gato come", "replace")


def test_invalid_settings_are_refused(pipe, tiny):
    for settings, message in [
        ({"kind": "swap"}, "kind must be one of: replace, refine; got 'swap'"),
        ({"cross_replace_steps": 1.2}, "cross_replace_steps must be between 0 and 1; got 1.2"),
        ({"self_replace_steps": math.nan}, "self_replace_steps must be between 0 and 1; got nan"),
    ]:
        with pytest.raises(SettingError, match=message):
            PromptToPrompt(**settings)
    with pytest.raises(SettingError, match="at least one edited prompt"):
        attach(pipe, tiny.encode("um gato"), edit=PromptToPrompt())
    two = tiny.encode("um gato", "um rato")
    with pytest.raises(SettingError, match="patches must be empty in an edit"):
        attach(pipe, two, edit=PromptToPrompt(), record=Record(patches=((0.5, 0.5),)))


IMAGE, TEXT = 6, 5
MAP = torch.tensor([[1.0, 0, 0, 0, 0], [0, 0.5, 0, 0, 0], [0, 0.5, 0, 0, 0], [0] * 5, [0, 0, 1, 1, 0]])
WHOLE = torch.eye(5).roll(1, 0)


def softmax(query, key, bias):
    return (query.double() @ key.double().transpose(-1, -2) / query.shape[-1] ** 0.5 + bias).softmax(-1)


@pytest.mark.parametrize("order", ["cross", "image first", "text first"])
@pytest.mark.parametrize("injects_self_attention", [True, False])
@pytest.mark.parametrize("matrix", [MAP, WHOLE, None], ids=["some", "whole", "none"])
@pytest.mark.parametrize("local", [True, False])
def test_layer_output_and_columns_match_the_formula(order, injects_self_attention, matrix, local):
    """Rows [alone, source, edited, alone]; weights on the logits, on the values, and in a region."""
    image = slice(0, IMAGE) if order != "text first" else slice(TEXT, TEXT + IMAGE)
    text = {"cross": slice(0, TEXT), "image first": slice(IMAGE, IMAGE + TEXT)}.get(order, slice(0, TEXT))
    keys = TEXT if order == "cross" else IMAGE + TEXT
    queries = IMAGE if order == "cross" else IMAGE + TEXT
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(4, 2, length, 8, generator=generator) for length in (queries, keys, keys)
    )
    bias = torch.randn(4, 1, IMAGE if local else 1, TEXT, generator=generator)
    factors = torch.rand(4, 1, TEXT, 1, generator=generator)
    excess = torch.randn(4, 1, IMAGE, 1, generator=generator)
    call = CallState(
        AttentionTerms(bias, factors, *((torch.full((4, 1), 2), excess) if local else (None, None))), TEXT
    )
    call.injection = AttentionInjection(
        torch.tensor([1]),
        torch.tensor([2]),
        None if matrix is None else matrix[None, None],
        injects_self_attention,
        matrix is WHOLE,
    )
    call.recorded_rows, call.slot_indices = torch.tensor([1, 2]), torch.tensor([0, 1])
    call.recorded_columns = torch.tensor([[0, 1, 2, 3], [4, 3, 2, 1]])
    hook = LayerHook(call, order)
    silent = hook.attend(query, key, value)
    hook.word_slot = Slot(("layer",), 1, 2, 3, torch.zeros(2, 2, IMAGE, 4), torch.zeros(2))
    actual = hook.attend(query, key, value)
    assert torch.equal(actual, silent)

    added = torch.zeros(4, 1, queries, keys, dtype=torch.float64)
    added[:, :, image, text] = bias.double()
    if not local:
        added[:, :, :, text] = bias.double()
    shares = softmax(query, key, added)
    source, edited = shares[1].clone(), shares[2].clone()
    if matrix is not None:
        mapped = source[:, image, text] @ matrix.double().T
        new = matrix.sum(1) == 0
        edited[:, image, text] = torch.where(new, edited[:, image, text], mapped)
    if injects_self_attention and order != "cross":
        edited[:, image, image] = source[:, image, image]
    shares[2] = edited
    scaled = torch.ones(4, 1, queries, keys, dtype=torch.float64)
    scaled[..., text] = factors.double().transpose(-1, -2)
    if local:
        scaled[:, :, image, text.start + 2] *= 1 + excess[..., 0].double()
    expected = (shares * scaled) @ value.double()
    assert (actual - expected).abs().max() < 1e-5
    for index, row in enumerate((1, 2)):
        columns = shares[row][:, image, text][..., call.recorded_columns[index]]
        assert (hook.word_slot.sums[index] - columns).abs().max() < 1e-6


def test_injection_respects_the_models_mask_and_half_precision():
    """With the model's own mask, one for all rows; in bfloat16 to its rounding."""
    generator = torch.Generator().manual_seed(1)
    query, key, value = (torch.randn(2, 2, n, 8, generator=generator) for n in (IMAGE, TEXT, TEXT))
    mask = torch.randn(1, 1, 1, TEXT, generator=generator)
    call = CallState(text_length=TEXT)
    call.injection = AttentionInjection(torch.tensor([0]), torch.tensor([1]), MAP[None, None], True, False)
    actual = LayerHook(call).attend(query, key, value, mask=mask)
    shares = softmax(query, key, mask.double())
    new = MAP.sum(1) == 0
    shares[1] = torch.where(new, shares[1], shares[0] @ MAP.double().T)
    assert (actual - shares @ value.double()).abs().max() < 1e-5
    half = LayerHook(call).attend(query.bfloat16(), key.bfloat16(), value.bfloat16(), mask=mask.bfloat16())
    assert half.dtype == torch.bfloat16
    assert (half.float() - actual).abs().max() < 0.05


class Eager:
    """A UNet's attention in float64, where row 3 of the batch uses row 2's probabilities."""

    def __init__(self, matrix, is_cross):
        self.matrix, self.is_cross = matrix.double(), is_cross

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        text = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        split = lambda tensor: tensor.double().unflatten(-1, (attn.heads, -1)).transpose(1, 2)  # noqa: E731
        query, key, value = split(attn.to_q(hidden_states)), split(attn.to_k(text)), split(attn.to_v(text))
        shares = softmax(query, key, 0.0)
        if self.is_cross:
            new = self.matrix.sum(1) == 0
            shares[3] = torch.where(new, shares[3], shares[2] @ self.matrix.T)
        else:
            shares[3] = shares[2]
        return attn.to_out[0]((shares @ value).to(hidden_states.dtype).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("kind", ["replace", "refine"])
def test_unet_output_matches_the_formula(tiny, kind):
    pipe = tiny.pipeline()
    texts = ("um gato come", "um vermelho come" if kind == "replace" else "um gato vermelho come")
    encoded = tiny.encode(*texts)
    embeds = torch.cat([encoded.inputs["negative_prompt_embeds"], encoded.inputs["prompt_embeds"]])
    sample = torch.randn(4, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    before = dict(pipe.unet.attn_processors)
    with torch.no_grad():
        plain = pipe.unet(sample, 300, encoder_hidden_states=embeds).sample
        with attach(pipe, encoded, edit=PromptToPrompt(kind)) as session:
            actual = pipe.unet(sample, 300, encoder_hidden_states=embeds).sample
        after = pipe.unet.attn_processors
        assert list(after) == list(before)
        assert all(after[name] is processor for name, processor in before.items())
        matrix = mapping(tiny, *texts, kind)
        for name, module in pipe.unet.named_modules():
            if name.endswith(("attn1", "attn2")):
                module.processor = Eager(matrix, name.endswith("attn2"))
        expected = pipe.unet(sample, 300, encoder_hidden_states=embeds).sample
    assert torch.equal(actual[:3], plain[:3])
    assert torch.allclose(actual, expected, atol=2e-5)
    assert not torch.allclose(actual[3], plain[3], atol=1e-3)
    assert session.maps.word("come", image=1).mass == pytest.approx(session.maps.word("come").mass)


def two(pipe, tiny, encoded, edit, **settings):
    """Return the latents of source and edited image, from the same noise, and the session."""
    generators = [torch.Generator().manual_seed(7) for _ in encoded.inputs["prompt_embeds"]]
    defaults = {"num_inference_steps": 3, "guidance_scale": 4.0, "output_type": "latent"}
    size = {"height": 32, "width": 32}
    with attach(pipe, encoded, edit=edit) as session:
        latents = pipe(**session.inputs, **defaults, **size, **settings, generator=generators).images
    return latents, session


def test_edit_into_the_same_prompt_changes_nothing(pipe, tiny):
    """Both images equal the plain one up to rounding, since products are summed in another order."""
    encoded = tiny.encode("um gato come", "um gato come")
    latents, _ = two(pipe, tiny, encoded, PromptToPrompt("replace", 1, 1))
    assert torch.allclose(latents[0], latents[1], atol=1e-4)
    alone = tiny.run(pipe, tiny.encode("um gato come").inputs)
    assert torch.allclose(latents[0], alone[0], atol=1e-4)


def test_edit_acts_in_the_first_steps_only(pipe, tiny):
    """With zero steps nothing changes; each fraction acts in its steps from the first on."""
    encoded = tiny.encode("um gato come", "um rato come")
    plain, _ = two(pipe, tiny, encoded, None)
    assert torch.equal(two(pipe, tiny, encoded, PromptToPrompt("replace", 0, 0))[0], plain)
    edited = {
        shares: two(pipe, tiny, encoded, PromptToPrompt("replace", *shares))[0]
        for shares in [(0.3, 0), (0.33, 0), (0.34, 0), (0, 0.3), (1, 1)]
    }
    for latents in edited.values():
        assert torch.equal(latents[0], plain[0])
        assert not torch.allclose(latents[1], plain[1], atol=1e-5)
    assert torch.equal(edited[0.3, 0], edited[0.33, 0])  # the first of three steps
    assert not torch.equal(edited[0.3, 0], edited[0.34, 0])  # the second too


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_edits_do_not_depend_on_the_batch(pipe, tiny, guidance):
    """Two edited prompts in one batch, and two noises, give the same images as each alone."""
    texts = ("um gato come", "um rato come", "um peixe come")
    edit = PromptToPrompt()
    negative = None if guidance == 1 else "feio"
    settings = {"guidance_scale": guidance}
    defaults = {"num_inference_steps": 2, "output_type": "latent", "height": 32, "width": 32}

    def run(prompts, seeds):
        encoded = tiny.encode(*prompts, negative=negative)
        generators = [torch.Generator().manual_seed(seed) for _ in prompts for seed in seeds]
        with attach(pipe, encoded, edit=edit) as session:
            number = {"num_images_per_prompt": len(seeds)}
            return pipe(**session.inputs, **settings, **defaults, **number, generator=generators).images

    together = run(texts, [3])
    for index in (1, 2):
        alone = run((texts[0], texts[index]), [3])
        assert torch.allclose(together[[0, index]], alone, atol=1e-4)
    noises = run(texts[:2], [3, 4])
    assert torch.allclose(noises[[0, 2]], together[:2], atol=1e-4)
    assert torch.allclose(noises[[1, 3]], run(texts[:2], [4]), atol=1e-4)


@pytest.mark.parametrize("family", ["sdxl", "sd3", "flux"])
def test_edit_in_other_families_keeps_source_and_maps(tiny, family):
    """The source is unchanged, an edit into the same prompt too, and a swapped word keeps the word's map."""
    pipe = getattr(tiny, f"{family}_pipeline")()

    def run(prompts, edit):
        encoded = tiny.encode(*prompts)
        if family == "flux":
            encoded.inputs.pop("negative_prompt_embeds")
            pooled = {"pooled_prompt_embeds": torch.ones(2, 32)}
        else:
            pooled = tiny.pooled(2)
        latents, session = two(pipe, tiny, encoded, edit, **pooled)
        return latents, session.maps

    same, _ = run(("um gato come", "um gato come"), PromptToPrompt())
    assert torch.allclose(same[0], same[1], atol=1e-4)
    words = ("um gato come", "um rato come")
    (plain, _), (edited, maps) = run(words, None), run(words, PromptToPrompt("replace", 1, 1))
    assert torch.equal(edited[0], plain[0])
    assert not torch.allclose(edited[1], plain[1], atol=1e-4)
    first, second = (maps.word(word, image=index).tensor for index, word in enumerate(("gato", "rato")))
    assert torch.allclose(first, second, rtol=1e-3, atol=1e-5)


def test_refined_maps_of_swapped_words_agree_and_missing_source_warns(pipe, tiny):
    """With self-attention injected too, the refined maps of a swapped word are those of the source's word."""
    encoded = tiny.encode("um gato come", "um rato come")
    embeds = encoded.inputs["prompt_embeds"]
    sample = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0)).expand(2, -1, -1, -1)
    edit = PromptToPrompt("replace", 1, 1)
    with torch.no_grad(), attach(pipe, encoded, edit=edit, record=Record(refine=True)) as session:
        pipe.unet(sample, 300, encoder_hidden_states=embeds)
        refined = session.maps.refined()
        first, second = refined.word("gato").tensor, refined.word("rato", image=1).tensor
        assert torch.allclose(first, second, rtol=1e-3, atol=1e-6)
        assert session.warnings == []
        pipe.unet(sample[:1], 300, encoder_hidden_states=embeds[1:])
    assert "source and the edited image" in session.warnings[0]
