"""Hostile LoRAs and textual inversions: sizes, shapes, kinds of files, and names that are paths."""

import os
import struct

import pytest
import torch
from safetensors.torch import save_file

from promptweight import generate
from promptweight.errors import ModelError, SettingError
from tests.attacks.conftest import safetensors_bytes, tensor_entry

pytestmark = pytest.mark.slow
LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"


@pytest.fixture
def draw(tiny_pipe, tmp_path):
    """Function that draws a prompt with the adapters in `adapters`."""
    folder = tmp_path / "adapters"
    folder.mkdir(exist_ok=True)

    def draw(prompt):
        return generate(
            tiny_pipe, prompt, num_inference_steps=1, seed=1, lora_dir=folder, embeddings_dir=folder
        )

    return draw


@pytest.fixture
def folder(draw, tmp_path):
    return tmp_path / "adapters"


@pytest.mark.parametrize("number", [0, 257, 1_000_000])
def test_inversion_of_too_many_vectors_is_refused_by_its_header(draw, folder, number):
    header = {"emb_params": tensor_entry([number, 32], 0, 128 * number)}
    with open(folder / "feio.safetensors", "wb") as file:
        file.write(safetensors_bytes(header))
        file.truncate(file.tell() + 128 * number)  # without blocks on the disk
    with pytest.raises(ModelError, match=rf"with 1 to 256 vectors; got {number}"):
        draw("um feio")


def test_inversion_of_the_most_vectors_works(draw, folder):
    save_file({"emb_params": torch.zeros(256, 32)}, folder / "feio.safetensors")
    assert draw("um feio").images


@pytest.mark.parametrize(
    "tensors",
    [
        {"lora_down.weight": torch.ones(0, 16), "lora_up.weight": torch.ones(16, 0)},
        {"lora_down.weight": torch.ones(4, 3), "lora_up.weight": torch.ones(3, 4)},
        {"lora_down.weight": torch.tensor(1.0), "lora_up.weight": torch.tensor(1.0)},
        {"lora_down.weight": torch.ones(4, 16)},
        {"lora_down.weight": torch.ones(4, 16), "lora_up.weight": torch.ones(16, 4), "alpha": torch.ones(9)},
        {"lora_down.weight": torch.ones(4, 16), "lora_up.weight": torch.ones(16, 8)},
        {"hada_w1_a": torch.ones(16, 4), "hada_w1_b": torch.ones(4, 16)},
        {"lokr_w1": torch.ones(10**6, 1), "lokr_w2": torch.ones(1, 1)},
    ],
    ids=["empty", "shape", "scalar", "half", "alpha", "ranks", "loha", "lokr"],
)
def test_lora_with_impossible_tensors_is_a_model_error(draw, folder, tiny_pipe, tensors):
    save_file({f"{LAYER}.{name}": tensor for name, tensor in tensors.items()}, folder / "x.safetensors")
    before = [name for name, _ in tiny_pipe.unet.named_parameters()]
    with pytest.raises(ModelError):
        draw("a <lora:x:1>")
    assert [name for name, _ in tiny_pipe.unet.named_parameters()] == before
    assert draw("a").images


@pytest.mark.parametrize("prompt", ["a <lora:x:1>", "a embedding:x"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "link to itself", "device", "header"])
def test_adapter_that_is_no_file_is_refused(draw, folder, prompt, kind):
    path = folder / "x.safetensors"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "header":
        path.write_bytes(struct.pack("<Q", 2**40))
    else:
        path.symlink_to("/dev/zero" if kind == "device" else path.name)
    with pytest.raises(ModelError, match="is damaged"):
        draw(prompt)


@pytest.mark.parametrize("tag", ["<lora:{}:1>", "embedding:{}"])
@pytest.mark.parametrize(
    "name", ["../fora", "{folder}/../fora", "..", "~/fora", "%2e%2e/fora", "fora\0", "/fora"]
)
def test_name_never_leaves_the_folder(draw, folder, tag, name):
    save_file({"emb_params": torch.zeros(1, 32)}, folder.parent / "fora.safetensors")
    with pytest.raises(SettingError, match="there is no"):
        draw(f"a {tag.format(name.format(folder=folder))}")


@pytest.mark.parametrize("tag", ["<lora:x:1>", "embedding:x"])
def test_pickle_is_not_opened(draw, folder, pickle_bytes, tag):
    (folder / "x.PT").write_bytes(pickle_bytes)
    with pytest.raises(SettingError, match="is a pickle"):
        draw(f"a {tag}")
