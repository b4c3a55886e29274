"""Model folders whose weights are incomplete, or numbers of a type that no model computes with."""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import promptweight
from promptweight.errors import ModelError
from promptweight.models import builtin_path

WEIGHTS = {
    "text_encoder": "text_encoder/model.safetensors",
    "unet": "unet/diffusion_pytorch_model.safetensors",
    "vae": "vae/diffusion_pytorch_model.safetensors",
}


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(builtin_path("mini"), tmp_path / "model")


def change(file, edit):
    tensors = load_file(file)
    edit(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


@pytest.mark.parametrize("part", WEIGHTS)
def test_missing_tensors_are_counted_and_named(folder, part):
    def remove_two(tensors):
        names.extend(sorted(tensors)[:2])
        for name in names:
            del tensors[name]

    names = []
    change(folder / WEIGHTS[part], remove_two)
    with pytest.raises(ModelError) as caught:
        promptweight.load(folder)
    assert caught.value.args[0].code == "weights-missing"
    assert caught.value.args[0].fields["number"] == 2
    assert caught.value.args[0].fields["part"] == part
    assert any(name.endswith(caught.value.args[0].fields["example"]) for name in names)


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8])
@pytest.mark.parametrize("part", WEIGHTS)
def test_integers_are_refused(folder, part, kind):
    def quantize(tensors):
        name = max(tensors, key=lambda each: tensors[each].numel())
        tensors[name] = (tensors[name] * 100).abs().to(kind)

    change(folder / WEIGHTS[part], quantize)
    with pytest.raises(ModelError) as caught:
        promptweight.load(folder)
    assert caught.value.args[0].code == "weights-integer"
    assert caught.value.args[0].fields["part"] == part


def test_the_settings_of_a_quantization_library_allow_integers(folder):
    from promptweight.models.component_weights import check_number_types

    file = folder / WEIGHTS["text_encoder"]
    change(file, lambda tensors: tensors.update(extra=torch.zeros(4, dtype=torch.uint8)))
    config = json.loads((folder / "text_encoder" / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"] = {"quant_method": "bitsandbytes"}
    (folder / "text_encoder" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    check_number_types(folder, "model")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.parametrize("file", ["model_index.json", "unet/config.json", "vae/extra.safetensors"])
def test_a_pipe_in_the_folder_is_refused(folder, file):
    (folder / file).unlink(missing_ok=True)
    os.mkfifo(folder / file)
    with pytest.raises(ModelError, match=file):
        promptweight.load(folder)


@pytest.mark.parametrize(
    "header", [b"", b"\xff" * 8, (5).to_bytes(8, "little") + b"[1,2}", b"\x02" + b"\x00" * 7 + b"[]"]
)
def test_a_damaged_header_is_left_to_the_loader(folder, header):
    (folder / WEIGHTS["vae"]).write_bytes(header)
    with pytest.raises(ModelError) as caught:
        promptweight.load(folder)
    assert "diffusion_pytorch_model" in str(caught.value) or "vae" in str(caught.value)
