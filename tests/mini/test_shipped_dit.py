"""The shipped Stable Diffusion 3 weights: small, quiet where nothing is said, heard where something is."""

import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from safetensors import safe_open

import promptweight
from promptweight import mini
from promptweight.evaluate import drawing, localisation
from promptweight.mini.scenes import LEFT, RIGHT, Scene, Thing

PROMPT = "um gato vermelho persegue um rato cinza"


@pytest.fixture(scope="module")
def pipeline():
    pipe = promptweight.load("mini-dit")
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_the_folder_is_small_and_holds_half_precision_safetensors_alone() -> None:
    files = [path for path in mini.path("mini-dit").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 10_000_000
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".md", ".txt"}
    for path in files:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as tensors:
                assert {tensors.get_slice(name).get_dtype() for name in tensors.keys()} == {"F16"}  # noqa: SIM118


def test_diffusers_alone_loads_it(pipeline: StableDiffusion3Pipeline) -> None:
    alone = StableDiffusion3Pipeline.from_pretrained(
        mini.path("mini-dit"),
        text_encoder_3=None,
        tokenizer_3=None,
        dtype=torch.float32,
        use_safetensors=True,
    )
    same = zip(alone.transformer.parameters(), pipeline.transformer.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in same)


def test_padding_and_pooled_vector_say_next_to_nothing(pipeline: StableDiffusion3Pipeline) -> None:
    with torch.no_grad():
        said, _, pooled, _ = pipeline.encode_prompt(PROMPT, None, None, do_classifier_free_guidance=False)
        empty, _, silent, _ = pipeline.encode_prompt("", None, None, do_classifier_free_guidance=False)
    change = (said - empty)[0].square().mean(-1).sqrt()
    words = len(pipeline.tokenizer(PROMPT).input_ids) - 1
    assert change[words:].max() < 0.25 * change[1:words].mean()
    assert (pooled - silent).norm() < 0.25 * silent.norm()


def test_the_maps_of_phrases_point_at_their_things_far_above_chance(
    pipeline: StableDiffusion3Pipeline,
) -> None:
    measured = list(localisation.samples(pipeline, number=8, seed=99, timesteps=(200, 500)))
    table = localisation.summarise(measured)
    for name in ("pt phrase", "en phrase"):  # a thing covers a seventh of the picture
        assert table[name]["pointing"].value >= 0.8


@pytest.mark.parametrize("relation", [LEFT, RIGHT])
def test_colours_stand_as_is_said(pipeline: StableDiffusion3Pipeline, relation: str) -> None:
    scene = Scene((Thing("house", "red", 0, 0, 24), Thing("tree", "blue", 0, 0, 24)), relation=relation)
    drawn = drawing.draw(pipeline, [scene] * 4, seed=78, guidance_scale=4.5)
    right = 0
    for one in drawn:
        across = {found.colour: found.centre[0] for found in one.found}
        both = {"red", "blue"} <= across.keys()
        right += both and (across["red"] < across["blue"]) == (relation == LEFT)
    assert right >= 3


def test_everything_is_done_by_changing_one_word(tmp_path) -> None:
    result = promptweight.generate("um (gato:1.4) vermelho", "mini-dit", seed=1, space="attention")
    assert result.images[0].size == (64, 64)
    heat = result.maps.word("gato vermelho")
    assert heat.tensor.shape == (64, 64)
    assert result.save(tmp_path)
