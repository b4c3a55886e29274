"""Tests common to all built-in models: model folder, loading, and selection by name."""

from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors import safe_open

import promptweight
from promptweight.mini import worlds
from promptweight.models import BUILTIN_MODELS, builtin_path

WITHOUT_T5 = {"text_encoder_3": None, "tokenizer_3": None}


@pytest.mark.parametrize("name", BUILTIN_MODELS)
def test_the_folder_is_small_and_holds_half_precision_safetensors_alone(name: str) -> None:
    files = [path for path in builtin_path(name).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 10_000_000
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".md", ".txt"}
    for path in files:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as tensors:
                assert {tensors.get_slice(name).get_dtype() for name in tensors.keys()} == {"F16"}  # noqa: SIM118


@pytest.mark.parametrize("name", BUILTIN_MODELS)
def test_the_folder_names_the_world_that_the_model_was_trained_on(name: str) -> None:
    assert worlds.read(builtin_path(name)) == worlds.FIRST
    assert worlds.world_of(promptweight.load(name)) == worlds.FIRST


@pytest.mark.parametrize(("name", "absent"), [("mini", {}), ("mini-dit", WITHOUT_T5)])
def test_diffusers_alone_loads_the_same_networks(name: str, absent: dict[str, None]) -> None:
    ours = promptweight.load(name)
    alone = DiffusionPipeline.from_pretrained(
        builtin_path(name), dtype=torch.float32, use_safetensors=True, **absent
    )
    assert type(alone) is type(ours)
    for part, network in alone.components.items():
        if isinstance(network, torch.nn.Module):
            same = zip(network.parameters(), ours.components[part].parameters(), strict=True)
            assert all(torch.equal(one, other) for one, other in same)


@pytest.mark.parametrize("name", BUILTIN_MODELS)
def test_everything_is_done_by_changing_one_word(name: str, tmp_path: Path) -> None:
    result = promptweight.generate(name, "um (gato:1.4) vermelho", seed=1, weighting="attention")
    assert result.images[0].size == (128, 128)
    assert result.maps.word("gato vermelho").tensor.shape == (128, 128)
    assert result.save(tmp_path)
