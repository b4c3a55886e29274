"""`promptweight generate --image`: pictures to begin from, masks and sizes, against diffusers' own runs."""

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    UNet2DConditionModel,
)
from PIL import Image

from promptweight.metadata import read_metadata

PROMPT = "um gato vermelho"


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (96, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


@pytest.fixture
def mask(tmp_path):
    pixels = np.zeros((96, 64), np.uint8)
    pixels[:48] = 255
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    return tmp_path / "mask.png"


@pytest.fixture
def generate(run, model_folder, tmp_path):
    def generate(*arguments, model=model_folder, prompt=PROMPT, folder="out"):
        common = ["--model", model, "--device", "cpu", "--steps", "4", "--seed", "1"]
        return run("generate", prompt, *common, "-o", tmp_path / folder, *arguments)

    return generate


def read(path):
    with Image.open(path) as image:
        return image.copy()


def drawn(out):
    return read(out.splitlines()[0])


def alone(kind, model_folder, **arguments):
    """Return the image of diffusers' own pipeline."""
    parts = {name: arguments.pop(name) for name in ("controlnet",) if name in arguments}
    pipe = kind.from_pretrained(model_folder, safety_checker=None, **parts)
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(1)
    return pipe(PROMPT, num_inference_steps=4, generator=generator, **arguments).images[0]


def test_image_to_image_is_that_of_diffusers(generate, picture, model_folder):
    code, out, _ = generate("--image", picture, "--strength", 0.5, "--guidance", 7.5)
    assert code == 0
    own = alone(StableDiffusionImg2ImgPipeline, model_folder, image=read(picture), strength=0.5)
    assert drawn(out).size == own.size == (64, 96)
    assert np.array_equal(drawn(out), own)


def test_inpainting_is_that_of_diffusers_and_keeps_the_size(generate, picture, mask, model_folder):
    code, out, _ = generate("--image", picture, "--mask", mask, "--guidance", 7.5)
    assert code == 0
    pictures = {"image": read(picture), "mask_image": read(mask)}
    own = alone(StableDiffusionInpaintPipeline, model_folder, **pictures, width=64, height=96)
    assert drawn(out).size == (64, 96)
    assert np.array_equal(drawn(out), own)


def test_weights_act_on_pictures(generate, picture):
    _, plain, _ = generate("--image", picture)
    code, weighted, _ = generate("--image", picture, prompt="um (gato:3) vermelho", folder="weighted")
    assert code == 0
    assert not np.array_equal(drawn(plain), drawn(weighted))


def test_picture_is_cut_to_a_given_size(generate, picture):
    _, out, _ = generate("--image", picture, "--width", 32, "--height", 32)
    assert drawn(out).size == (32, 32)


def test_picture_is_cut_to_the_size_of_a_built_in_model(generate, picture):
    _, out, _ = generate("--image", picture, "--strength", 0.5, model="mini")
    assert drawn(out).size == (128, 128)


@pytest.fixture(scope="module")
def controlnet(model_folder, tmp_path_factory):
    """Save a ControlNet of the model whose picture has an influence."""
    unet = UNet2DConditionModel.from_pretrained(model_folder, subfolder="unet")
    torch.manual_seed(0)
    model = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 8))
    for block in (*model.controlnet_down_blocks, model.controlnet_mid_block):
        torch.nn.init.normal_(block.weight, std=0.1)
    torch.nn.init.normal_(model.controlnet_cond_embedding.conv_out.weight, std=0.1)
    folder = tmp_path_factory.mktemp("controlnet")
    model.save_pretrained(folder)
    return folder


def test_controlled_image_is_that_of_diffusers(generate, picture, model_folder, controlnet):
    code, out, _ = generate("--control", picture, "--controlnet", controlnet, "--guidance", 7.5)
    assert code == 0
    model = ControlNetModel.from_pretrained(controlnet)
    own = alone(StableDiffusionControlNetPipeline, model_folder, controlnet=model, image=read(picture))
    assert drawn(out).size == own.size == (64, 96)
    assert np.array_equal(drawn(out), own)
    record = read_metadata(out.splitlines()[0]).record
    assert record["controlnet"] == controlnet.name


def test_controlled_image_to_image_is_that_of_diffusers(generate, picture, mask, model_folder, controlnet):
    control = ["--control", mask, "--controlnet", controlnet, "--guidance", 7.5]
    code, out, _ = generate("--image", picture, "--strength", 0.5, *control)
    assert code == 0
    own = alone(
        StableDiffusionControlNetImg2ImgPipeline,
        model_folder,
        controlnet=ControlNetModel.from_pretrained(controlnet),
        image=read(picture),
        control_image=read(mask).convert("RGB"),
        strength=0.5,
    )
    assert np.array_equal(drawn(out), own)


def test_control_picture_changes_the_image_and_is_asked_for_again(
    generate, run, picture, mask, controlnet, tmp_path
):
    _, out, _ = generate("--control", picture, "--controlnet", controlnet)
    _, other, _ = generate("--control", mask, "--controlnet", controlnet, folder="other")
    assert not np.array_equal(drawn(out), drawn(other))
    again = ["generate", "--from", out.splitlines()[0], "-o", tmp_path / "again"]
    _, _, err = run(*again, "--model", "mini")
    assert "give it with --controlnet" in " ".join(err.split())
    assert "(control_image), which is not in it; give it with --control" in " ".join(err.split())


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("none", "is neither a folder nor a hub id of a ControlNet"),
        ("unet", "is not a ControlNet; it is a UNet2DConditionModel"),
        ("tokenizer", "tokenizer' cannot be loaded: Error no file named config.json"),
    ],
)
def test_controlnet_that_is_none_is_refused(generate, picture, model_folder, part, text):
    name = part if part == "none" else model_folder / part
    code, out, err = generate("--control", picture, "--controlnet", name)
    assert (code, out) == (1, "")
    assert text in " ".join(err.split())


def test_controlnet_of_another_size_is_refused(generate, picture, model_folder, tmp_path):
    unet = UNet2DConditionModel.from_pretrained(model_folder, subfolder="unet")
    wide = ControlNetModel.from_config({**ControlNetModel.from_unet(unet).config, "cross_attention_dim": 24})
    wide.save_pretrained(tmp_path / "wide")
    code, out, err = generate("--control", picture, "--controlnet", tmp_path / "wide")
    assert (code, out) == (1, "")
    own = unet.config.cross_attention_dim
    assert f"whose cross_attention_dim is {own}; that of 'wide' is 24" in " ".join(err.split())


def test_controlnet_of_another_family_is_refused(generate, picture, controlnet):
    code, out, err = generate("--control", picture, "--controlnet", controlnet, model="mini-dit")
    assert (code, out) == (1, "")
    assert f"got {controlnet.name!r}, a ControlNetModel for other models" in " ".join(err.split())


def test_controlnet_that_cannot_be_downloaded_advises_to_check_the_network(generate, picture, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    code, out, err = generate("--control", picture, "--controlnet", "some/model")
    assert (code, out) == (1, "")
    assert "'some/model' is neither a folder nor a hub id of a ControlNet" in " ".join(err.split())
    assert "check the name, the network" in " ".join(err.split())


@pytest.mark.parametrize(("model", "known"), [("mini", "4, 9"), ("mini-dit", "16, 33")])
def test_mask_for_a_model_that_does_not_inpaint_is_refused(generate, picture, mask, model, known, tmp_path):
    code, out, err = generate("--image", picture, "--mask", mask, model=model)
    assert (code, out) == (1, "")
    assert f"to take a mask: {known}; {model!r} has 8" in " ".join(err.split())
    assert not list((tmp_path / "out").glob("*"))


def test_infotext_has_the_strength(generate, picture):
    _, out, _ = generate("--image", picture, "--strength", 0.5)
    assert "Denoising strength: 0.5," in read_metadata(out.splitlines()[0]).infotext
    _, out, _ = generate(folder="plain")
    assert "Denoising" not in read_metadata(out.splitlines()[0]).infotext


def test_rerun_asks_for_the_picture(generate, run, picture, tmp_path):
    _, out, _ = generate("--image", picture, "--strength", 0.5, model="mini")
    file = out.splitlines()[0]
    assert read_metadata(file).record["pipeline_kwargs"]["strength"] == 0.5
    again = ["generate", "--from", file, "-o", tmp_path / "again"]
    code, _, err = run(*again)
    assert code == 2
    assert "--strength: a picture to begin from is missing" in " ".join(err.split())
    code, repeated, err = run(*again, "--image", picture)
    assert code == 0
    assert "picture" not in err
    assert np.array_equal(drawn(out), drawn(repeated))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--mask", "mask.png"], "--mask: a picture to begin from is missing; give it with --image"),
        (["--strength", 0.5], "--strength: a picture to begin from is missing; give it with --image"),
        (["--image", "none.png"], "none.png cannot be read as a picture: No such file or directory"),
        (["--image", "text.png"], "text.png cannot be read as a picture: its format is none of PNG, JPEG,"),
        (["--image", "picture.png", "--mask", "small.png"], "must have the size of the picture, 64 × 96"),
        (["--image", "picture.png", "--strength", 2], "strength must be"),
        (["--controlnet", "some/model"], "the picture that it follows is missing; give it with --control"),
        (["--control", "text.png"], "text.png cannot be read as a picture"),
        (["--control", "picture.png"], "StableDiffusionPipeline follows no picture; give a ControlNet"),
    ],
)
def test_unusable_pictures_are_refused(generate, picture, tmp_path, arguments, text):
    (tmp_path / "text.png").write_text("a text")
    Image.new("L", (32, 32)).save(tmp_path / "small.png")
    arguments = [tmp_path / each if str(each).endswith(".png") else each for each in arguments]
    code, out, err = generate(*arguments)
    assert (code, out) == (2, "")
    assert text in " ".join(err.split())
