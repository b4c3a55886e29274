"""Recorded sums, against a softmax computed in float64 by processors of the test."""

import pytest
import torch
import torch.nn.functional as F

from promptweight.attention import Record, attach


class Eager:
    """Cross-attention in single steps that records the float64 probabilities of every call."""

    def __init__(self, bias=0.0, signs=1.0):
        self.bias, self.signs, self.calls = bias, signs, []

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        query = attn.to_q(hidden_states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        key = attn.to_k(encoder_hidden_states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        value = attn.to_v(encoder_hidden_states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        logits = query.double() @ key.double().transpose(-1, -2) * query.shape[-1] ** -0.5
        probabilities = (logits + self.bias).softmax(-1)
        self.calls.append(probabilities)
        output = (probabilities @ (value.double() * self.signs)).to(query.dtype)
        return attn.to_out[0](output.transpose(1, 2).flatten(2))


class Recording(Eager):
    """The same, but with the output of torch's attention, so that the images equal the pipeline's."""

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        super().__call__(attn, hidden_states, encoder_hidden_states)
        split = lambda tensor: tensor.unflatten(-1, (attn.heads, -1)).transpose(1, 2)  # noqa: E731
        output = F.scaled_dot_product_attention(
            split(attn.to_q(hidden_states)),
            split(attn.to_k(encoder_hidden_states)),
            split(attn.to_v(encoder_hidden_states)),
        )
        return attn.to_out[0](output.transpose(1, 2).flatten(2))


def install_processors(pipe, make):
    """Set the test's processors in the cross-attention layers of the UNet; return them by name."""
    processors = {}
    for name, module in pipe.unet.named_modules():
        if name.endswith("attn2"):
            module.processor = processors[name] = make()
    return processors


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [(32, 32), (48, 80)])
@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_recorded_columns_equal_softmax(tiny, dtype, size, guidance):
    encoded = tiny.encode("um gato vermelho", "casa", dtype=dtype)
    settings = {"height": size[0], "width": size[1], "guidance_scale": guidance}
    pipe = tiny.pipeline(dtype)
    with attach(
        pipe, encoded, record=Record(steps="keep", heads="keep", roles=("negative", "positive"))
    ) as s:
        tiny.run(pipe, s.inputs, **settings)
    recording = s.maps.recording
    truth = install_processors(pipe, Recording)
    tiny.run(pipe, encoded.inputs, **settings)

    assert sorted(slot.layers for slot in recording.slots) == sorted((name,) for name in truth)
    for slot in recording.slots:
        calls = truth[slot.layers[0]].calls
        assert slot.sums.shape[0] == len(calls) == 3
        assert slot.height * slot.width == calls[0].shape[2]
        for role, first in (("negative", 0), ("positive", 2)) if guidance > 1 else (("positive", 0),):
            place = recording.roles.index(role)
            for image in range(2):
                columns = recording.columns((role, image))
                assert (slot.counts[:, place, image] == 1).all()
                for step, probabilities in enumerate(calls):
                    expected = probabilities[first + image][..., list(columns)]
                    found = slot.sums[step, place, image][..., list(columns.values())]
                    assert (found - expected).abs().max() < (1e-5 if dtype == torch.float32 else 1e-4)
    if guidance == 1:
        assert all((slot.counts[:, recording.roles.index("negative")] == 0).all() for slot in recording.slots)


def test_words_beginning_and_rest_sum_to_one(pipe, tiny):
    with attach(pipe, tiny.encode("um gato, vermelho")) as session:
        tiny.run(pipe, session.inputs)
    maps = session.maps
    total = maps.beginning().tensor + maps.rest().tensor
    total = total + sum(maps.word(word.text).tensor for word in maps.words)
    assert torch.allclose(total, torch.ones_like(total), atol=1e-5)
    assert maps.rest().tensor.min() > 0


def test_summed_recording_equals_mean_of_kept_steps_and_heads(pipe, tiny):
    encoded = tiny.encode("um gato vermelho")
    found = []
    for record in (True, Record(steps="keep", heads="keep")):
        with attach(pipe, encoded, record=record) as session:
            tiny.run(pipe, session.inputs)
        found.append(session.maps)
    brief, full = found
    assert torch.allclose(brief.word("gato").tensor, full.word("gato").tensor, atol=1e-6)
    by_step = [full.steps(step, step + 1).word("gato").tensor for step in range(3)]
    assert torch.allclose(torch.stack(by_step).mean(0), brief.word("gato").tensor, atol=1e-6)
    by_head = [full.heads(head).word("gato").tensor for head in range(4)]
    assert torch.allclose(torch.stack(by_head).mean(0), brief.word("gato").tensor, atol=1e-6)
    assert not torch.allclose(by_step[0], by_step[2], atol=1e-6)


def test_recorded_maps_are_independent_of_batch(pipe, tiny):
    """Images and maps of one prompt alone and in a batch, up to rounding."""
    alone, mates = (
        tiny.encode("um gato:2 vermelho", weighting="attention"),
        tiny.encode("casa:0.3", "um gato:2 vermelho", "sol azul:-1", weighting="attention"),
    )
    noise = torch.randn(3, 4, 16, 16, generator=torch.Generator().manual_seed(5))
    found = []
    for encoded, latents in ((alone, noise[1:2]), (mates, noise)):
        with attach(pipe, encoded) as session:
            pictures = tiny.run(pipe, session.inputs | {"latents": latents})
        found.append((pictures, session.maps))
    assert torch.allclose(found[0][0][0], found[1][0][1], rtol=1e-4, atol=1e-4)
    for word in ("um", "gato", "vermelho", "gato vermelho"):
        one, other = found[0][1].word(word).tensor, found[1][1].word(word, image=1).tensor
        assert torch.allclose(one, other, atol=1e-5)


def test_recorded_maps_are_independent_of_row_order(pipe, tiny):
    """One call per role, the positive first, records the same as one stacked call."""
    encoded = tiny.encode("um gato vermelho")
    positive, negative = encoded.inputs["prompt_embeds"], encoded.inputs["negative_prompt_embeds"]
    sample = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    record = Record(roles=("positive", "negative"), steps="keep")

    def recorded(*calls):
        with attach(pipe, encoded, record=record) as session, torch.no_grad():
            pipe.scheduler.set_timesteps(3)
            for embeds in calls:
                pipe.unet(sample.expand(len(embeds), -1, -1, -1), 10, encoder_hidden_states=embeds)
        return session.maps

    stacked = recorded(torch.cat([negative, positive]))
    for other in (recorded(torch.cat([positive, negative])), recorded(positive, negative)):
        for role, word in (("positive", "gato"), ("negative", "feio")):
            first = stacked.steps(0, 1).word(word, role=role).tensor
            assert torch.allclose(first, other.steps(0, 1).word(word, role=role).tensor, atol=1e-6)


def test_recording_odd_sizes_at_every_level(tiny):
    pipe = tiny.pipeline(
        block_out_channels=(8, 16, 32),
        attention_head_dim=2,
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
    )
    encoded = tiny.encode("um gato")
    with attach(pipe, encoded) as session, torch.no_grad():
        pipe.unet(torch.zeros(1, 4, 13, 9), 1, encoder_hidden_states=encoded.inputs["prompt_embeds"])
    grids = {slot.grid for slot in session.maps.recording.slots}
    assert grids == {"13x9", "7x5", "4x3"}
    assert session.maps.word("gato").tensor.shape == (26, 18)


def test_record_layers_selects_by_name(pipe, tiny):
    with attach(pipe, tiny.encode("um gato"), record=Record(layers=("up_blocks.1", "mid"))) as session:
        tiny.run(pipe, session.inputs)
    names = [slot.layers[0] for slot in session.maps.recording.slots]
    assert len(names) == 3
    assert all(name.startswith(("up_blocks.1", "mid_block")) for name in names)


def test_record_small_budget_reduces_detail_and_warns(pipe, tiny):
    encoded = tiny.encode("um gato vermelho")
    found = {}
    for budget in (512, 0.2, 0.05, 0.012):
        record = Record(steps="keep", heads="keep", max_mb=budget)
        with attach(pipe, encoded, record=record) as session:
            tiny.run(pipe, session.inputs)
        slots = session.maps.recording.slots
        held = sum(slot.sums.numel() for slot in slots) * 4 / 2**20
        assert held <= budget
        shape = (slots[0].sums.shape[0], slots[0].sums.shape[3], len(slots))
        found[budget] = (shape, len(session.warnings), session.maps.word("gato").tensor)
    assert [found[budget][:2] for budget in found] == [
        ((3, 4, 7), 0),
        ((3, 1, 7), 1),
        ((1, 1, 7), 2),
        ((1, 1, 2), 3),
    ]
    for _, _, heat in found.values():
        assert torch.allclose(heat, found[512][2], atol=1e-6)
