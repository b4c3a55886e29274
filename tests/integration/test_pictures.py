"""Pipelines that change or follow a picture: `generate` passes pictures on, and says which one is missing."""

from dataclasses import replace

import diffusers
import numpy as np
import pytest
import tiny_models
import torch
from diffusers import ControlNetModel, FluxTransformer2DModel, T2IAdapter, UNet2DConditionModel
from PIL import Image

from promptweight import AttentionMaps, attach, generate
from promptweight.conditioning import FAMILIES
from promptweight.errors import SettingError
from promptweight.generation import GenerateOptions, build_call
from promptweight.generation.pipeline_call import count_steps, list_needed_arguments
from tests.fixtures.attention_probe import find_keys, weighted_by_hand

SIDE = 32
NO_CHECKER = {"requires_safety_checker": False}


def picture(mode="RGB"):
    """Return a picture whose right half is bright."""
    pixels = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    pixels[:, SIDE // 2 :] = 200
    return Image.fromarray(pixels).convert(mode)


def parts_of(pipe, *absent):
    return {name: each for name, each in pipe.components.items() if name not in absent}


def control_net(unet):
    net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8,))
    generator = torch.Generator().manual_seed(5)
    zero = torch.nn.ModuleList([net.controlnet_down_blocks, net.controlnet_cond_embedding.conv_out])
    for parameter in zero.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    return net.eval()


def wide_unet(unet):
    """Make a UNet that takes the latents of a picture beside those of the image."""
    torch.manual_seed(0)
    settings = {name: value for name, value in unet.config.items() if not name.startswith("_")}
    return UNet2DConditionModel(**settings | {"in_channels": 8}).eval()


def make_control_flux():
    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        in_channels=32, out_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=96, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    parts = parts_of(tiny_models.flux(), "image_encoder", "feature_extractor", "transformer")
    return diffusers.FluxControlPipeline(**parts, transformer=transformer.eval())


def make(name):
    """Make a tiny pipeline of this class."""
    if name == "FluxControlPipeline":
        return make_control_flux()
    kind, more, absent = tiny_models.sd, {}, ()
    if name.startswith("StableDiffusionXL"):
        kind = tiny_models.sdxl
    elif name.startswith("StableDiffusion3"):
        kind = tiny_models.sd3
    elif name.startswith("Flux"):
        kind, absent = tiny_models.flux, ("image_encoder", "feature_extractor")
    else:
        more = NO_CHECKER
    pipe = kind()
    if "InstructPix2Pix" in name:
        more = more | {"unet": wide_unet(pipe.unet)}
        absent = ("image_encoder", "feature_extractor") if "XL" in name else ()
    if "ControlNet" in name:
        more = more | {"controlnet": control_net(pipe.unet)}
    if "Adapter" in name:
        torch.manual_seed(1)
        kinds = {"adapter_type": "full_adapter", "downscale_factor": 1}
        if "XL" in name:
            kinds = {"adapter_type": "full_adapter_xl", "downscale_factor": 2}
        else:
            absent = ("image_encoder",)
        more = more | {"adapter": T2IAdapter(channels=[32, 32], **kinds)}
    return getattr(diffusers, name)(**parts_of(pipe, *absent) | more)


CASES = {
    "StableDiffusionImg2ImgPipeline": {"image": picture()},
    "StableDiffusionInpaintPipeline": {"image": picture(), "mask_image": picture("L")},
    "StableDiffusionControlNetPipeline": {"image": picture()},
    "StableDiffusionControlNetImg2ImgPipeline": {"image": picture(), "control_image": picture()},
    "StableDiffusionXLImg2ImgPipeline": {"image": picture()},
    "StableDiffusion3Img2ImgPipeline": {"image": picture()},
    "FluxImg2ImgPipeline": {"image": picture()},
    "StableDiffusionInstructPix2PixPipeline": {"image": picture()},
    "StableDiffusionXLInstructPix2PixPipeline": {"image": picture()},
    "FluxControlPipeline": {"control_image": picture()},
    "FluxKontextPipeline": {"image": picture()},
}


@pytest.fixture
def pipe(request):
    made = make(request.param)
    made.set_progress_bar_config(disable=True)
    return made


def settings_for(name, pictures, steps=4):
    settings = {"seed": 1, "num_inference_steps": steps, **pictures}
    if name.startswith(("Flux", "StableDiffusion3")) or "Inpaint" in name or "XLInstruct" in name:
        settings |= {"height": SIDE, "width": SIDE}
    if "Kontext" in name:
        settings |= {"max_area": SIDE * SIDE, "_auto_resize": False}
    return settings


@pytest.mark.parametrize(("pipe", "pictures"), CASES.items(), ids=CASES, indirect=["pipe"])
def test_pictures_reach_the_pipeline(pipe, pictures):
    """Weights act, maps have the size of the picture, and another picture changes the image."""
    name = type(pipe).__name__
    settings, steps = settings_for(name, pictures), []
    plain = generate(pipe, "um gato", **settings)
    weighted = generate(
        pipe, "um (gato:9)", weighting="attention", callback=lambda done: steps.append(done.step), **settings
    )
    assert plain.images[0].size == (SIDE, SIDE)
    assert weighted.images[0].tobytes() != plain.images[0].tobytes()
    assert weighted.maps.word("gato").tensor.shape == (SIDE, SIDE)
    assert weighted.maps.word("gato").mass > plain.maps.word("gato").mass
    assert steps == list(range(1, len(steps) + 1))
    assert {warning.code for warning in plain.warnings} <= {"encoder-without-weights"}
    other = {each: Image.new(image.mode, image.size, 90) for each, image in pictures.items()}
    changed = generate(pipe, "um gato", **(settings | other))
    assert changed.images[0].tobytes() != plain.images[0].tobytes()


NEEDED = {name: pictures for name, pictures in CASES.items() if "Kontext" not in name}


@pytest.mark.parametrize(("pipe", "pictures"), NEEDED.items(), ids=NEEDED, indirect=["pipe"])
def test_missing_picture_is_named(pipe, pictures):
    """Each one, before anything runs."""
    for missing in pictures:
        others = {name: image for name, image in pictures.items() if name != missing}
        with pytest.raises(SettingError, match=rf"{type(pipe).__name__} needs {missing}; .*{missing}=…"):
            generate(pipe, "um gato", **others)
    if len(pictures) > 1:
        with pytest.raises(SettingError, match=" needs " + ", ".join(pictures)):
            generate(pipe, "um gato")


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_class_says_which_pictures_it_needs(family):
    """By what its documentation and its checks ask for."""
    for name in family.pipelines:
        needed = list_needed_arguments(getattr(diffusers, name))
        changes = any(part in name for part in ("Img2Img", "Inpaint", "Depth2Img", "Fill", "ImageToVideo"))
        follows = any(part in name for part in ("Control", "Adapter", "Edit", "Pix2Pix"))
        # videos follow frames, which are not pictures
        assert bool(needed) == (changes or (follows and not family.is_video))
        assert ("mask_image" in needed) == (
            ("Inpaint" in name or "Fill" in name)
            and not name.startswith(("StableDiffusion3ControlNet", "QwenImageControlNet"))
        )


THREE_WAY = ["StableDiffusionInstructPix2PixPipeline", "StableDiffusionXLInstructPix2PixPipeline"]


@pytest.mark.parametrize("negative", ["feio", "um gato vermelho"])
@pytest.mark.parametrize("pipe", THREE_WAY, indirect=True)
def test_weights_of_three_way_guidance_act_on_the_rows_of_their_prompt(pipe, negative):
    """Against runs in float64 by hand, also where both texts are equal."""

    def run(**inputs):
        settings = {"num_inference_steps": 2, "guidance_scale": 3.0, "image_guidance_scale": 1.5}
        noise = torch.Generator().manual_seed(0)
        return pipe(image=picture(), **settings, **inputs, generator=noise, output_type="latent").images

    texts = {"prompt": "um gato vermelho", "negative_prompt": negative}
    plain = run(**texts)
    with attach(pipe, *texts.values()) as session:
        assert torch.equal(run(**session.inputs), plain)
    token = pipe.tokenizer("gato", add_special_tokens=False).input_ids[0]
    found = find_keys(pipe, lambda: run(**texts), token)
    weighted = {"prompt": ["um (gato:3) vermelho", negative]}
    if "gato" in negative:
        weighted["negative_prompt"] = ["um gato vermelho", negative.replace("gato", "(gato:3)")]
    for role, prompts in weighted.items():
        rows = {0} if role == "prompt" else {1, 2}
        chosen = [{row: keys for row, keys in call.items() if row in rows} for call in found]
        with weighted_by_hand(pipe, chosen, 3):
            expected = run(**texts)
        with attach(pipe, *prompts, weighting="attention") as session:
            actual = run(**session.inputs)
        assert (actual - expected).abs().max() < 2e-2 * (expected - plain).abs().max()


ADAPTERS = ["StableDiffusionAdapterPipeline", "StableDiffusionXLAdapterPipeline"]


@pytest.mark.parametrize("pipe", ADAPTERS, indirect=True)
def test_pipelines_with_the_older_callback_report_their_steps(pipe):
    settings = {"image": picture(), "height": SIDE, "width": SIDE, "num_inference_steps": 3, "seed": 1}
    steps = []
    result = generate(
        pipe,
        "um (gato:2)",
        **settings,
        callback=lambda progress: steps.append((progress.step, progress.steps, progress.latents.shape[1])),
    )
    assert steps == [(1, 3, 4), (2, 3, 4), (3, 3, 4)]
    assert result.images[0].size == (SIDE, SIDE)
    stopped = generate(pipe, "um gato", **settings, callback=lambda _: False)
    assert stopped.images == ()


@pytest.mark.parametrize("pipe", ["StableDiffusionImg2ImgPipeline"], indirect=True)
def test_size_of_a_picture_is_not_set(pipe):
    with pytest.raises(SettingError, match="height must be None for StableDiffusionImg2ImgPipeline"):
        build_call(pipe, GenerateOptions(height=64, pipeline_kwargs={"image": picture()}))


CHANGING = ["StableDiffusionImg2ImgPipeline", "StableDiffusion3Img2ImgPipeline", "FluxImg2ImgPipeline"]


@pytest.mark.parametrize(
    ("pipe", "steps", "strength"),
    [
        *((name, *each) for name in CHANGING for each in ((10, 0.3), (7, 0.5), (4, 1.0), (3, 0.7))),
        *((name, 10, 0.05) for name in CHANGING[1:]),  # a UNet is left no step
    ],
    indirect=["pipe"],
)
def test_changing_prompts_follow_the_steps_that_a_picture_leaves(pipe, steps, strength):
    """The number of steps is the pipeline's own."""
    name = type(pipe).__name__
    settings = settings_for(name, {"image": picture(), "strength": strength}, steps)
    seen = []
    result = generate(
        pipe, "um [gato:feio:0.5]", callback=lambda progress: seen.append(progress.steps), **settings
    )
    assert set(seen) == {len(seen)} == {count_steps(pipe, settings)}
    assert "steps-differ" not in {warning.code for warning in result.warnings}


@pytest.mark.parametrize(
    ("pipe", "settings"),
    [
        ("StableDiffusionImg2ImgPipeline", {"num_inference_steps": 10, "strength": 0.05}),
        ("StableDiffusionXLImg2ImgPipeline", {"num_inference_steps": 3}),  # by its default strength of 0.3
        ("StableDiffusionInpaintPipeline", {"mask_image": picture("L"), "strength": 0}),
        ("StableDiffusion3Img2ImgPipeline", {"strength": 0}),
        ("FluxImg2ImgPipeline", {"strength": 0}),
    ],
    indirect=["pipe"],
)
def test_strength_without_a_step_is_refused(pipe, settings):
    with pytest.raises(SettingError, match="strength must leave at least one of"):
        generate(pipe, "um gato", image=picture(), **settings)


@pytest.mark.parametrize("pipe", CHANGING[:1], indirect=True)
@pytest.mark.parametrize("strength", [1.1, -0.1, "x", None])
def test_strength_out_of_range_is_refused(pipe, strength):
    with pytest.raises(SettingError, match=r"^strength must be (between 0 and 1|a finite number); got"):
        generate(pipe, "um gato", image=picture(), strength=strength)


BOX = (40, 8, 72, 40)
"""Masked part of a picture of 96 × 64 pixels, near its right edge."""


@pytest.fixture
def inpainting():
    made = make("StableDiffusionInpaintPipeline")
    made.set_progress_bar_config(disable=True)
    return made


def draw_crop(pipe, session, **options):
    mask = Image.new("L", (96, 64))
    mask.paste(255, BOX)
    noise = torch.Generator().manual_seed(1)
    whole = {"image": Image.new("RGB", (96, 64), (90, 140, 60)), "mask_image": mask}
    size = {"height": SIDE, "width": SIDE, "num_inference_steps": 2}
    return pipe(**session.inputs, **whole, **size, generator=noise, **options).images[0]


def test_maps_of_a_crop_lie_where_the_crop_is_in_the_picture(inpainting, tmp_path):
    with attach(inpainting, "um gato") as session:
        image = draw_crop(inpainting, session, padding_mask_crop=4)
        maps = session.maps
    heat = maps.word("gato").tensor
    assert heat.shape == image.size[::-1] == (64, 96)
    (left, top, right, bottom), _ = maps.recording.placement
    # the mask and 4 pixels around it, in the aspect ratio of the drawn image
    assert (left, top, right, bottom) == (BOX[0] - 4, BOX[1] - 4, BOX[2] + 4, BOX[3] + 4)
    inside = heat[top:bottom, left:right]
    assert (inside > 0).all()
    assert heat.sum().item() == pytest.approx(inside.sum().item(), rel=1e-6)
    drawn = AttentionMaps.from_recording(replace(maps.recording, placement=None)).word("gato")
    assert drawn.tensor.shape == (SIDE, SIDE)
    assert inside.mean().item() == pytest.approx(drawn.mass, rel=0.01)
    maps.save(tmp_path / "maps.safetensors")
    assert AttentionMaps.load(tmp_path / "maps.safetensors").word("gato").tensor.equal(heat)


def test_a_run_without_a_crop_has_maps_of_the_whole_image(inpainting):
    with attach(inpainting, "um gato") as session:
        draw_crop(inpainting, session, padding_mask_crop=4)
        draw_crop(inpainting, session)
        assert session.maps.recording.placement is None
        assert session.maps.word("gato").tensor.shape == (SIDE, SIDE)
    assert "get_crop_region" not in vars(inpainting.mask_processor)


def test_observing_a_crop_changes_no_bit_of_the_picture(inpainting):
    with attach(inpainting, "um gato", record=False) as session:
        plain = draw_crop(inpainting, session, padding_mask_crop=4)
    with attach(inpainting, "um gato") as session:
        assert draw_crop(inpainting, session, padding_mask_crop=4).tobytes() == plain.tobytes()
