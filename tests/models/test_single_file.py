"""Pipelines from single files: the kind of model in a file, and errors where it cannot be built."""

import re

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import save_file

from promptweight.errors import ModelError
from promptweight.generation import generate
from promptweight.models import ModelOrigin, get_origin, load

DENOISER = "model.diffusion_model.input_blocks.0.0.weight"
DECODER = "first_stage_model.decoder.conv_in.weight"
CROSS = "model.diffusion_model.input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight"
OPEN_CLIP = "conditioner.embedders.{}.model.transformer.resblocks.9.mlp.c_proj.bias"


def write(path, **changes):
    """Write a file with the tensor names that identify a kind of checkpoint, and tiny tensors."""
    shapes = {DENOISER: (1, 4), DECODER: (1, 1), **changes}
    save_file({name: torch.zeros(shape) for name, shape in shapes.items() if shape}, path)
    return path


@pytest.fixture
def requests(monkeypatch, tmp_path, tiny_pipe):
    """The arguments of the calls to the hub and to diffusers, which are replaced."""
    requests = {}

    def download(repository, **options):
        requests["original"] = repository
        return str(tmp_path)

    def from_single_file(cls, path, **options):
        requests.update(options, pipeline=cls, path=path)
        return StableDiffusionPipeline(**tiny_pipe.components, requires_safety_checker=False)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    for pipeline in (StableDiffusionPipeline, StableDiffusionXLPipeline):
        monkeypatch.setattr(pipeline, "from_single_file", classmethod(from_single_file))
    return requests


@pytest.mark.parametrize(
    ("names", "pipeline", "original"),
    [
        ({CROSS: (1, 768)}, StableDiffusionPipeline, "stable-diffusion-v1-5/stable-diffusion-v1-5"),
        ({CROSS: (1, 1024)}, StableDiffusionPipeline, "stabilityai/stable-diffusion-2-1"),
        ({OPEN_CLIP.format(1): (1,)}, StableDiffusionXLPipeline, "stabilityai/stable-diffusion-xl-base-1.0"),
    ],
    ids=["1", "2", "XL"],
)
def test_load_of_a_single_file_infers_its_pipeline(requests, tmp_path, names, pipeline, original):
    path = write(tmp_path / "my model.safetensors", **names)
    pipe = load(path, device="cpu", dtype="bfloat16")
    assert requests["pipeline"] is pipeline
    assert requests["original"] == original
    assert (requests["path"], requests["config"]) == (str(path), str(tmp_path))
    assert requests["torch_dtype"] is torch.bfloat16
    assert requests["local_files_only"] is True
    assert get_origin(pipe) == ModelOrigin("my model.safetensors")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ({DENOISER: (1, 9)}, "'inpainting'"),
        ({OPEN_CLIP.format(0): (1,)}, "'xl_refiner'"),
        ({DECODER: None}, DECODER),
        ({DENOISER: None, "lora_unet_mid.alpha": (1,)}, DENOISER),
    ],
    ids=["inpainting", "refiner", "no autoencoder", "lora"],
)
def test_load_of_an_unsupported_single_file_raises(requests, tmp_path, names, reason):
    path = write(tmp_path / "x.safetensors", **names)
    with pytest.raises(ModelError, match=f"complete text-to-image checkpoint.*x.safetensors .*{reason}"):
        load(path, device="cpu")
    assert requests == {}


def test_load_offline_names_the_missing_configuration(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    path = write(tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match=r"'stable-diffusion-v1-5/stable-diffusion-v1-5'.*local cache"):
        load(path, device="cpu")


def test_load_of_a_file_that_diffusers_rejects_raises(tmp_path, monkeypatch, model_folder):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: model_folder)
    with pytest.raises(ModelError, match=r"x\.safetensors cannot be loaded"):
        load(write(tmp_path / "x.safetensors"), device="cpu")


def test_load_of_a_damaged_file_describes_its_content(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"<html>404</html>")
    with pytest.raises(ModelError, match=r"x\.safetensors is damaged: it is a web page"):
        load(path, device="cpu")


RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET = [  # of blocks with one layer each
    (r"time_embedding\.linear_1", lambda m: "time_embed.0"),
    (r"time_embedding\.linear_2", lambda m: "time_embed.2"),
    (r"conv_in", lambda m: "input_blocks.0.0"),
    (r"conv_norm_out", lambda m: "out.0"),
    (r"conv_out", lambda m: "out.2"),
    (r"down_blocks\.(\d)\.resnets\.0\.(\w+)", lambda m: f"input_blocks.{2 * int(m[1]) + 1}.0.{RESNET[m[2]]}"),
    (r"down_blocks\.(\d)\.attentions\.0", lambda m: f"input_blocks.{2 * int(m[1]) + 1}.1"),
    (r"down_blocks\.(\d)\.downsamplers\.0\.conv", lambda m: f"input_blocks.{2 * int(m[1]) + 2}.0.op"),
    (r"mid_block\.resnets\.(\d)\.(\w+)", lambda m: f"middle_block.{2 * int(m[1])}.{RESNET[m[2]]}"),
    (r"mid_block\.attentions\.0", lambda m: "middle_block.1"),
    (
        r"up_blocks\.(\d)\.resnets\.(\d)\.(\w+)",
        lambda m: f"output_blocks.{2 * int(m[1]) + int(m[2])}.0.{RESNET[m[3]]}",
    ),
    (r"up_blocks\.(\d)\.attentions\.(\d)", lambda m: f"output_blocks.{2 * int(m[1]) + int(m[2])}.1"),
    (r"up_blocks\.0\.upsamplers\.0", lambda m: "output_blocks.1.1"),
]
AUTOENCODER = [  # of two blocks
    (r"encoder\.down_blocks\.(\d)\.resnets\.(\d)", lambda m: f"encoder.down.{m[1]}.block.{m[2]}"),
    (r"encoder\.down_blocks\.(\d)\.downsamplers\.0", lambda m: f"encoder.down.{m[1]}.downsample"),
    (r"decoder\.up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"decoder.up.{1 - int(m[1])}.block.{m[2]}"),
    (r"decoder\.up_blocks\.(\d)\.upsamplers\.0", lambda m: f"decoder.up.{1 - int(m[1])}.upsample"),
    (r"(\w+)\.mid_block\.resnets\.(\d)", lambda m: f"{m[1]}.mid.block_{int(m[2]) + 1}"),
    (r"(\w+)\.mid_block\.attentions\.0\.group_norm", lambda m: f"{m[1]}.mid.attn_1.norm"),
    (r"(\w+)\.mid_block\.attentions\.0\.to_([qkv])", lambda m: f"{m[1]}.mid.attn_1.{m[2]}"),
    (r"(\w+)\.mid_block\.attentions\.0\.to_out\.0", lambda m: f"{m[1]}.mid.attn_1.proj_out"),
    (r"(\w+)\.conv_norm_out", lambda m: f"{m[1]}.norm_out"),
]


def rename(name, rules):
    for pattern, new in rules:
        if match := re.match(pattern + r"(?=\.)", name):
            return new(match) + name[match.end() :]
    return name


def to_original_names(pipe):
    """Return the weights of the tiny pipeline under the names of the original Stable Diffusion."""
    tensors = {}
    for name, tensor in pipe.unet.state_dict().items():
        tensors["model.diffusion_model." + rename(name, UNET)] = tensor
    for name, tensor in pipe.vae.state_dict().items():
        new = rename(name, AUTOENCODER).replace("conv_shortcut", "nin_shortcut")
        is_convolution = re.search(r"attn_1\.(q|k|v|proj_out)\.weight", new)
        tensors["first_stage_model." + new] = tensor[..., None, None] if is_convolution else tensor
    for name, tensor in pipe.text_encoder.state_dict().items():
        inner = name.removeprefix("text_model.")
        tensors["cond_stage_model.transformer.text_model." + inner] = tensor
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def test_single_file_gives_the_images_of_its_pipeline(tiny_pipe, model_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: model_folder)
    save_file(to_original_names(tiny_pipe), tmp_path / "x.safetensors")
    pipe = load(tmp_path / "x.safetensors", device="cpu")
    settings = {"num_inference_steps": 2, "seed": 7}
    result, expected = (generate(each, "um (gato:1.4)", **settings) for each in (pipe, tiny_pipe))
    assert result.images[0].tobytes() == expected.images[0].tobytes()
    assert result.settings["model"] == "x.safetensors"
