"""Swapped processor classes: FLUX and IP-Adapter; and the rows that perturbed-attention guidance adds."""

import pytest
import torch
from diffusers import DDIMScheduler, FluxKontextPipeline, StableDiffusionPAGPipeline
from diffusers.models import attention_dispatch
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor
from PIL import Image

from promptweight.attention import Record, attach
from promptweight.errors import AttachError


class EagerFlux(FluxAttnProcessor):
    """FLUX's own processor over a float64 softmax; keeps the probabilities of every call."""

    def __init__(self, weights=1.0):
        super().__init__()
        self.weights, self.calls = weights, []

    def __call__(self, *args, **kwargs):
        torch_attention = torch.nn.functional.scaled_dot_product_attention

        def attention(query, key, value, **_):
            scores = query.double() @ key.double().transpose(-1, -2) * query.shape[-1] ** -0.5
            weights = scores.softmax(-1) * self.weights
            weights = weights / weights.sum(-1, keepdim=True)
            self.calls.append(weights)
            return (weights @ value.double()).to(query.dtype)

        torch.nn.functional.scaled_dot_product_attention = attention
        try:
            return super().__call__(*args, **kwargs)
        finally:
            torch.nn.functional.scaled_dot_product_attention = torch_attention


def flux_blocks(pipe):
    return [*pipe.transformer.transformer_blocks, *pipe.transformer.single_transformer_blocks]


def test_flux_records_float64_columns_and_restores_classes(tiny):
    """On a wide image: the same latents, columns as in float64, every class restored."""
    pipe, encoded = tiny.flux_pipeline(), tiny.encode("um gato vermelho", negative=None)
    inputs = encoded.inputs | {"pooled_prompt_embeds": torch.ones(1, 32)}
    settings = {"height": 16, "width": 24, "guidance_scale": 3.5}
    plain = tiny.run(pipe, inputs, **settings)
    processors = pipe.transformer.attn_processors
    with attach(pipe, encoded, record=Record(steps="keep", heads="keep")) as session:
        assert all(isinstance(each, FluxAttnProcessor) for each in pipe.transformer.attn_processors.values())
        with pytest.raises(AttachError, match="attached already"), attach(pipe, encoded):
            pass
        assert torch.equal(tiny.run(pipe, inputs, **settings), plain)
    for name, processor in pipe.transformer.attn_processors.items():
        assert processor is processors[name]
        assert type(processor) is FluxAttnProcessor

    recording = session.maps.recording
    assert recording.size == (16, 24)
    assert session.maps.word("gato").tensor.shape == (16, 24)
    names = ["transformer_blocks.0", "single_transformer_blocks.0", "single_transformer_blocks.1"]
    assert [slot.layers for slot in recording.slots] == [(f"{name}.attn",) for name in names]
    for block in flux_blocks(pipe):
        block.attn.processor = EagerFlux()
    tiny.run(pipe, inputs, **settings)
    columns = recording.columns(("positive", 0))
    for slot, block in zip(recording.slots, flux_blocks(pipe), strict=True):
        for step, probabilities in enumerate(block.attn.processor.calls):
            actual = slot.sums[step, 0, 0][..., list(columns.values())]
            assert (actual - probabilities[0, :, tiny.rows :][..., list(columns)]).abs().max() < 2e-5


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_flux_separates_equal_prompts_by_the_order_of_calls(tiny, scale):
    """FLUX's pipeline calls the model once for each role, and for the negative only under guidance."""
    pipe, encoded = tiny.flux_pipeline(), tiny.encode("um gato", negative="um gato")
    settings = tiny.pooled(1) | {"true_cfg_scale": scale}
    record = Record(steps="keep", roles=("positive", "negative"))
    with attach(pipe, encoded, record=record) as session:
        for _ in range(2):
            tiny.run(pipe, session.inputs, **settings)
    counts = session.maps.recording.slots[0].counts
    assert counts.squeeze(-1).tolist() == [[1, float(scale > 1)]] * 3


def test_flux_with_another_attention_backend_is_refused(tiny, monkeypatch):
    """Both a backend of the model and a global one that is set during the session."""
    pipe, encoded = tiny.flux_pipeline(), tiny.encode("um gato", negative=None)

    def other(query, key, value, **_settings):
        return torch.zeros_like(query)

    monkeypatch.setitem(attention_dispatch._AttentionBackendRegistry._backends, "flex", other)
    with (
        attach(pipe, encoded) as session,
        attention_dispatch.attention_backend("flex"),
        pytest.raises(AttachError, match="must be 'native' during a session; got 'flex'"),
    ):
        tiny.run(pipe, session.inputs | {"pooled_prompt_embeds": torch.ones(1, 32)})
    assert {type(each) for each in pipe.transformer.attn_processors.values()} == {FluxAttnProcessor}
    for processor in pipe.transformer.attn_processors.values():
        processor._attention_backend = "flex"
    with pytest.raises(AttachError, match="FluxAttnProcessor on diffusers' attention backend 'flex'"):
        attach(pipe, encoded).__enter__()
    assert {type(each) for each in pipe.transformer.attn_processors.values()} == {FluxAttnProcessor}


@pytest.mark.parametrize("region", [None, "left"])
def test_flux_weights_match_float64(tiny, region):
    pipe, encoded = tiny.flux_pipeline(), tiny.encode("um gato vermelho", negative=None)
    inputs = encoded.inputs | {"pooled_prompt_embeds": torch.ones(1, 32)}
    settings = {"height": 16, "width": 16, "num_inference_steps": 1}
    plain = tiny.run(pipe, inputs, **settings)
    with attach(pipe, encoded) as session:
        session.set_weight("gato", 4, region=region)
        actual = tiny.run(pipe, inputs, **settings)
    tokens = len(session.maps.recording.slots[0].sums[0, 0, 0, 0])
    weights = torch.ones(1, 1, tiny.rows + tokens, tiny.rows + tokens)
    if region is None:
        weights[..., 2] = 4
    else:
        side = int(tokens**0.5)
        weights[:, :, tiny.rows :, 2].unflatten(-1, (side, side))[..., : side // 2] = 4
    for block in flux_blocks(pipe):
        block.attn.processor = EagerFlux(weights)
    assert torch.allclose(actual, tiny.run(pipe, inputs, **settings), atol=2e-5)
    assert not torch.allclose(actual, plain, atol=2e-5)


def make_kontext(tiny):
    """Make a pipeline that draws an image after another one, whose tokens follow those of the first."""
    pipe = FluxKontextPipeline(**tiny.flux_pipeline().components)
    pipe.vae.register_to_config(shift_factor=0.0)
    pipe.set_progress_bar_config(disable=True)
    return pipe


KONTEXT = {
    "image": Image.linear_gradient("L").resize((24, 8)).convert("RGB"),
    "height": 16,
    "width": 16,
    "max_area": 256,
    "_auto_resize": False,
}


@pytest.mark.parametrize("weight", [1.0, 4.0])
@pytest.mark.parametrize("region", [None, "left"])
def test_flux_with_a_second_image_matches_float64(tiny, weight, region):
    """Maps and regions are those of the image that is drawn; without a region all positions are weighted."""
    pipe, encoded = make_kontext(tiny), tiny.encode("um gato vermelho", negative=None)
    inputs = encoded.inputs | {"pooled_prompt_embeds": torch.ones(1, 32)}
    plain = tiny.run(pipe, inputs, **KONTEXT)
    with attach(pipe, encoded, record=Record(steps="keep", heads="keep")) as session:
        session.set_weight("gato", weight, region=region)
        actual = tiny.run(pipe, inputs, **KONTEXT)
    assert torch.equal(actual, plain) == (weight == 1)
    recording, tokens = session.maps.recording, 16
    assert recording.size == (16, 16)
    second = 2 * 6
    weights = torch.ones(1, 1, tiny.rows + tokens + second, tiny.rows + tokens + second)
    if region is None:
        weights[..., 2] = weight
    else:
        weights[:, :, tiny.rows : tiny.rows + tokens, 2].unflatten(-1, (4, 4))[..., :2] = weight
    for block in flux_blocks(pipe):
        block.attn.processor = EagerFlux(weights)
    assert torch.allclose(actual, tiny.run(pipe, inputs, **KONTEXT), atol=2e-5)
    columns = recording.columns(("positive", 0))
    for slot, block in zip(recording.slots, flux_blocks(pipe), strict=True):
        for step, probabilities in enumerate(block.attn.processor.calls):
            drawn = probabilities[0, :, tiny.rows : tiny.rows + tokens]
            difference = slot.sums[step, 0, 0][..., list(columns.values())] - drawn[..., list(columns)]
            assert difference.abs().max() < 2e-5


@pytest.mark.parametrize("negative_guidance", ["nag", "vsf"])
def test_negative_prompts_in_attention_refuse_a_second_image(tiny, negative_guidance):
    pipe, encoded = make_kontext(tiny), tiny.encode("um gato", negative="feio")
    inputs = {name: each for name, each in encoded.inputs.items() if "negative" not in name}
    inputs["pooled_prompt_embeds"] = torch.ones(1, 32)
    with attach(pipe, encoded, negative_guidance=negative_guidance):
        with pytest.raises(AttachError, match="16 of the image and 20 of the text"):
            tiny.run(pipe, inputs, **KONTEXT)
        tiny.run(pipe, inputs, **{**KONTEXT, "image": None})


@pytest.mark.parametrize(
    "positions", [[[0, 0, 0], [0, 1, 1]], [[1, 0, 0], [0, 0, 0]], [[1, 0, 0], [1, 0, 1]]]
)
def test_flux_with_other_positions_is_refused(tiny, positions):
    """The drawn image is a whole grid, and comes first."""
    pipe, encoded = tiny.flux_pipeline(), tiny.encode("um gato", negative=None)
    arguments = {
        "pooled_projections": torch.ones(1, 32),
        "timestep": torch.tensor([0.5]),
        "img_ids": torch.tensor(positions),
    }
    arguments |= {
        "txt_ids": torch.zeros(tiny.rows, 3),
        "encoder_hidden_states": encoded.inputs["prompt_embeds"],
    }
    with attach(pipe, encoded), pytest.raises(AttachError, match="image tokens of the model must begin with"):
        pipe.transformer(torch.zeros(1, len(positions), 16), **arguments)


@pytest.fixture
def with_ip_adapter(tiny):
    """A pipeline whose cross-attention layers also attend to an image, by IP-Adapter's processors."""
    pipe = tiny.pipeline()
    pipe.unet.register_to_config(encoder_hid_dim_type="ip_image_proj")
    pipe.unet.encoder_hid_proj = torch.nn.Module()
    pipe.unet.encoder_hid_proj.forward = lambda embeds: [embed * 0.5 for embed in embeds]
    torch.manual_seed(4)
    for name, module in pipe.unet.named_modules():
        if name.endswith("attn2"):
            module.set_processor(IPAdapterAttnProcessor2_0(module.inner_dim, 32, num_tokens=(3,), scale=0.7))
    return pipe


def test_ip_adapter_stays_in_use_and_is_restored(with_ip_adapter, tiny):
    encoded = tiny.encode("um gato vermelho")
    image = [torch.randn(2, 1, 3, 32, generator=torch.Generator().manual_seed(5))]
    embeds = torch.cat([encoded.inputs["negative_prompt_embeds"], encoded.inputs["prompt_embeds"]])
    sample = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))

    def output():
        conditions = {"image_embeds": image}
        with torch.no_grad():
            return with_ip_adapter.unet(sample, 300, embeds, added_cond_kwargs=conditions).sample

    plain, state = output(), list(with_ip_adapter.unet.state_dict())
    with attach(with_ip_adapter, encoded) as session:
        assert torch.equal(output(), plain)
        assert list(with_ip_adapter.unet.state_dict()) == state
        for processor in with_ip_adapter.unet.attn_processors.values():
            if isinstance(processor, IPAdapterAttnProcessor2_0):
                processor.scale = [0.0]  # as `set_ip_adapter_scale` does, during the session
        assert not torch.equal(output(), plain)
        session.set_weight("gato", 0)
        session.reset()
        output()
    assert session.maps.word("gato").mass == 0
    total = session.maps.beginning().mass + session.maps.rest().mass + session.maps.word("vermelho").mass
    assert total + session.maps.word("um").mass == pytest.approx(1, abs=1e-5)
    kinds = {type(each).__name__ for each in with_ip_adapter.unet.attn_processors.values()}
    assert kinds == {"AttnProcessor2_0", "IPAdapterAttnProcessor2_0"}


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_perturbed_rows_are_not_recorded(tiny, guidance):
    unet = tiny.unet()
    pipe = StableDiffusionPAGPipeline(
        vae=tiny.vae(),
        text_encoder=tiny.pipeline().text_encoder,
        tokenizer=None,
        unet=unet,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        pag_applied_layers="mid",
    )
    pipe.set_progress_bar_config(disable=True)
    encoded = tiny.encode("um gato", "uma casa")
    settings = {"pag_scale": 2.0, "guidance_scale": guidance}
    plain = tiny.run(pipe, encoded.inputs, **settings)
    before = unet.attn_processors
    with attach(pipe, encoded) as session:
        assert torch.equal(tiny.run(pipe, session.inputs, **settings), plain)
    assert all(unet.attn_processors[name] is each for name, each in before.items())
    recording = session.maps.recording
    assert list(recording.tables) == [("positive", 0), ("positive", 1)]
    assert recording.tables["positive", 1][0].table is encoded.positive[1]
    assert all((slot.counts == 3).all() for slot in recording.slots)
