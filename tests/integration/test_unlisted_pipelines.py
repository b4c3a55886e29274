"""Pipelines in no listed family, whose models are probed, against the lists."""

import inspect
from dataclasses import replace

import pytest
import tiny_language_models
import tiny_models
import torch
from diffusers import (
    DDPMScheduler,
    FirstBlockCacheConfig,
    FlowMatchEulerDiscreteScheduler,
    IFPipeline,
    LuminaNextDiT2DModel,
    LuminaPipeline,
    UNet2DConditionModel,
)

import promptweight
from promptweight.attention import attach, read_layout
from promptweight.conditioning import family_lookup, find_family, look_up_family
from promptweight.errors import AttachError, ModelError
from promptweight.models.files import read_family
from tests.fixtures.attention_probe import find_keys, weighted_by_hand
from tests.integration.test_language_models import CASES, PICTURED, Case

STEPS = 2
UNET = {"stable diffusion": Case(tiny_models.sd, {"guidance_scale": 2.0})}
SLOW = [name for name in CASES if name not in ("qwen-image", "z-image", "sana", "auraflow")]


@pytest.fixture
def unlisted(monkeypatch):
    """Return a function that takes all families out of the list."""

    def forget():
        monkeypatch.setattr(family_lookup, "FAMILIES", ())

    return forget


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in CASES | UNET],
)
def case(request):
    return (CASES | UNET)[request.param]


def compare(layer):
    """Return a layer without what only lists of the model's blocks tell, and has no effect."""
    layer = replace(layer, processor=None)
    if layer.order == "cross":
        return replace(layer, self_attention="")
    return replace(layer, stride=1, multiple=1) if layer.order == "text" else layer


def test_probe_finds_what_the_lists_have(case, unlisted):
    pipe = case.make()
    family, listed = find_family(pipe), read_layout(pipe)
    unlisted()
    derived, probed = find_family(pipe), read_layout(pipe)
    assert derived.is_derived
    assert not family.outputs or derived.outputs == family.outputs
    assert derived.guidance_argument == family.guidance_argument
    for part in ("layers", "text_layers"):
        own, other = (
            {name: compare(layer) for name, (layer, _) in getattr(layout, part).items()}
            for layout in (listed, probed)
        )
        assert own == other
    names = ("text", "latents", "text_mask", "text_lengths", "trims_text", "row_order")
    assert all(getattr(listed.kind, name) == getattr(probed.kind, name) for name in names)
    # that a full mask is left out is seen only where the probe's text has one
    assert listed.kind.omits_full_mask >= probed.kind.omits_full_mask
    assert [warning.code for warning in probed.warnings] == ["model-probed"]


def test_weights_and_maps_have_the_bits_of_a_listed_pipeline(case, unlisted):
    pipe = case.make()
    accepted = inspect.signature(pipe.__call__).parameters
    settings = {"height": case.height, "width": case.width, "num_inference_steps": STEPS}
    weighting = "attention" if case in UNET.values() else None

    def run():
        with attach(
            pipe,
            "um (gato:0.5) (vermelho:2)",
            case.texts.get("negative_prompt", ""),
            weighting=weighting,
            **case.encoding,
        ) as session:
            latents = pipe(
                **settings | case.settings | case.guided | case.encoding,
                **session.inputs,
                generator=torch.Generator().manual_seed(0),
                output_type="latent",
            ).images
        return latents, session.maps.word("gato").tensor, [each.code for each in session.warnings]

    assert "generator" in accepted
    image, heat, warnings = run()
    unlisted()
    other_image, other_heat, other_warnings = run()
    assert torch.equal(image, other_image)
    assert torch.equal(heat, other_heat)
    assert other_warnings == [*warnings, "model-probed"]


@pytest.mark.parametrize("name", ["qwen-image", "z-image", "sana", "auraflow"])
def test_changing_prompts_have_the_bits_of_a_listed_pipeline(name, unlisted):
    case = CASES[name]

    def run():
        pipe = case.make()
        prompt, settings = "um [gato:vermelho:0.5] AND vermelho :0.5", {"num_inference_steps": STEPS}
        with attach(pipe, prompt, "feio", record=False, **settings, **case.encoding) as session:
            settings |= {"height": case.height, "width": case.width, "output_type": "latent"}
            settings |= case.settings | case.guided | case.encoding | session.inputs
            return pipe(**settings, generator=torch.Generator().manual_seed(0)).images

    expected = run()
    unlisted()
    assert torch.equal(run(), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["z-image inpaint", "qwen-image inpaint"])
def test_pipeline_with_a_picture_has_the_bits_of_a_listed_one(name, unlisted):
    make, arguments = PICTURED[name]
    pipe = make()

    def run():
        with attach(pipe, "um (gato:3) vermelho", "", record=False) as session:
            settings = {"height": 32, "width": 32, "num_inference_steps": STEPS, "output_type": "latent"}
            latents = pipe(**settings | arguments | session.inputs, generator=torch.manual_seed(0)).images
        return latents, [each.code for each in session.warnings]

    image, warnings = run()
    unlisted()
    other_image, other_warnings = run()
    assert torch.equal(image, other_image)
    assert other_warnings == [*warnings, "model-probed"]


@pytest.mark.slow
def test_further_image_tokens_among_packed_latents_are_refused(unlisted):
    pipe = PICTURED["flux.2 klein inpaint"][0]()
    unlisted()
    with pytest.raises(AttachError, match="the rows and columns of its 48 image tokens"):
        attach(pipe, "um gato")


def test_trial_step_leaves_random_numbers_and_pipeline_as_they_were(unlisted):
    unlisted()
    pipe = CASES["qwen-image"].make()
    scheduler, state = pipe.scheduler, dict(vars(pipe.scheduler))
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    attach(pipe, "um gato")
    assert torch.equal(torch.rand(3), expected)
    assert pipe.scheduler is scheduler
    assert vars(scheduler) == state
    assert not any(each._forward_pre_hooks for each in pipe.transformer.modules())


def test_cache_of_layers_is_off_during_the_probe_alone(unlisted):
    unlisted()
    pipe = CASES["qwen-image"].make()
    pipe.transformer.enable_cache(FirstBlockCacheConfig(threshold=0.2))
    assert len(attach(pipe, "um gato").config.layout.layers) == len(pipe.transformer.transformer_blocks)
    assert pipe.transformer.is_cache_enabled


def test_adapters_and_fused_projections_are_probed_anew(unlisted):
    unlisted()
    pipe = tiny_models.sd()
    before = attach(pipe, "um gato").config.layout.layers
    pipe.unet.fuse_qkv_projections()
    after = attach(pipe, "um gato").config.layout.layers
    assert before.keys() == after.keys()
    assert {each.processor.__name__ for each, _ in after.values()} == {"FusedAttnProcessor2_0"}


def test_generate_draws_with_an_unlisted_pipeline_and_says_so(unlisted):
    unlisted()
    case = CASES["qwen-image"]
    result = promptweight.generate(
        case.make(), "um (gato:1.5)", seed=1, num_inference_steps=STEPS, height=case.height, width=case.width
    )
    assert "model-probed" in [warning.code for warning in result.warnings]
    assert result.maps.word("gato").tensor.shape == (case.height, case.width)


def test_failing_trial_step_is_reported_with_its_reason(unlisted, monkeypatch):
    unlisted()
    pipe = CASES["qwen-image"].make()

    def fail(*_args, **_kwargs):
        raise RuntimeError("no such layer")

    monkeypatch.setattr(pipe.transformer, "forward", fail)
    with pytest.raises(AttachError, match="a trial step of it failed: no such layer"):
        attach(pipe, "um gato")


def lumina_next():
    """Make a tiny Lumina-Next pipeline, whose transformer averages the text into its modulation."""
    parts = tiny_language_models.lumina2().components
    transformer = LuminaNextDiT2DModel(
        sample_size=4,
        patch_size=2,
        in_channels=4,
        hidden_size=24,
        num_layers=2,
        num_attention_heads=3,
        num_kv_heads=1,
        multiple_of=16,
        cross_attention_dim=parts["text_encoder"].config.hidden_size,
        qk_norm=True,
    )
    return LuminaPipeline(
        transformer=tiny_models.randomize(transformer),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=tiny_models.autoencoder(4),
        text_encoder=parts["text_encoder"],
        tokenizer=parts["tokenizer"],
    )


def test_weight_in_a_class_without_a_list_equals_a_float64_run_by_hand():
    pipe = lumina_next()
    token = pipe.tokenizer(" gato", add_special_tokens=False).input_ids[-1]
    settings = {"height": 64, "width": 32, "num_inference_steps": STEPS, "output_type": "latent"}

    def run(**inputs):
        return pipe(**settings, **inputs, generator=torch.Generator().manual_seed(0)).images

    texts = {"prompt": "um gato vermelho", "negative_prompt": "feio"}
    plain, keys = run(**texts), find_keys(pipe, lambda: run(**texts), token)
    # the mean of the text changes all keys of the image a little; those of the word are one in each row
    keys = [{row: found for row, found in of_call.items() if len(found) == 1} for of_call in keys]
    assert any(keys)
    with weighted_by_hand(pipe, keys, 3):
        expected = run(**texts)
    with attach(pipe, *texts.values()) as session:
        assert torch.equal(run(**session.inputs), plain)
    assert [each.code for each in session.warnings] == ["model-probed", "text-outside-attention"]
    assert session.maps.word("gato").tensor.shape == (64, 32)
    with attach(pipe, "um (gato:3) vermelho", "feio", record=False) as session:
        actual = run(**session.inputs)
    assert (actual - expected).abs().max() < 2e-2 * (expected - plain).abs().max()


def deepfloyd():
    """Make a tiny DeepFloyd IF pipeline, in whose attention a norm mixes the tokens of the text."""
    parts = tiny_models.sd3().components
    encoder, tokenizer = parts["text_encoder_3"], parts["tokenizer_3"]
    dim = encoder.config.d_model
    blocks = {
        "down_block_types": ("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
        "up_block_types": ("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
    }
    unet = UNet2DConditionModel(
        sample_size=32,
        block_out_channels=(32, 64),
        layers_per_block=1,
        in_channels=3,
        out_channels=6,
        cross_attention_dim=dim,
        encoder_hid_dim=dim,
        attention_head_dim=8,
        addition_embed_type="text",
        addition_embed_type_num_heads=2,
        cross_attention_norm="group_norm",
        resnet_time_scale_shift="scale_shift",
        act_fn="gelu",
        **blocks,
    )
    return IFPipeline(
        tokenizer=tokenizer,
        text_encoder=encoder,
        unet=unet,
        scheduler=DDPMScheduler(variance_type="learned_range"),
        safety_checker=None,
        feature_extractor=None,
        watermarker=None,
        requires_safety_checker=False,
    )


def test_model_that_mixes_the_tokens_of_the_text_is_refused():
    with pytest.raises((AttachError, ModelError), match="IFPipeline"):
        attach(deepfloyd(), "um gato")


@pytest.mark.parametrize("name", ["MochiPipeline", "StableAudioPipeline", "StableDiffusionUpscalePipeline"])
def test_classes_that_draw_no_single_images_from_text_have_no_family(name):
    import diffusers

    assert look_up_family(object.__new__(getattr(diffusers, name))) is None
    with pytest.raises(ModelError, match=name):
        read_family({"_class_name": name}, "model")
