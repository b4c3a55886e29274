"""Facts of a model from its folder, equal to those of the loaded pipeline."""

import json

import pytest

from promptweight.models import load
from promptweight_ui.model_facts import ModelFacts, facts_of, image_side, read_facts


@pytest.mark.parametrize("name", ["mini", "mini-dit"])
def test_folder_has_the_facts_of_the_pipeline(name):
    facts = read_facts(name)
    pipe = load(name, device="cpu")
    assert facts == facts_of(pipe)
    assert facts.side == pipe(prompt="gato", num_inference_steps=1, output_type="np").images[0].shape[0]
    assert facts.is_flow == (name == "mini-dit")


def test_side_of_a_tiny_pipeline_is_that_of_its_images(tiny_pipe):
    assert facts_of(tiny_pipe).side == 32


@pytest.mark.parametrize(
    ("latents", "side"), [(64, 512), ([64, 96], 768), (None, 1024), ("64", 1024), ([], 1024)]
)
def test_side_follows_from_the_latents_and_the_autoencoder(latents, side):
    assert image_side({"sample_size": latents}, {"block_out_channels": [1, 2, 3, 4]}) == side


def test_images_are_at_most_twice_as_large_as_those_of_the_training():
    assert [ModelFacts(side=side).max_side for side in (64, 512, 1024, 2048)] == [128, 1024, 2048, 2048]


@pytest.mark.parametrize("name", ["nobody/nothing-in-no-cache", "no-such-folder"])
def test_model_that_is_not_here_has_no_facts(name):
    assert read_facts(name) is None


def test_damaged_folder_has_no_facts(tmp_path):
    (tmp_path / "model_index.json").write_text(json.dumps({"scheduler": ["diffusers", "DDIMScheduler"]}))
    (tmp_path / "promptweight.json").write_text("{")
    assert read_facts(str(tmp_path)) is None
