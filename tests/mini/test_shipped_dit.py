"""Tests of the shipped `mini-dit` weights: prompt embeddings, attention maps and prompt fidelity."""

import numpy as np
import pytest
import torch
from diffusers import StableDiffusion3Pipeline

import promptweight
from promptweight.evaluation import localization, prompt_fidelity
from promptweight.evaluation.recognizer import recognize
from promptweight.mini.scenes import LEFT, RIGHT, Scene, Thing
from promptweight.mini.training.mmdit import GUIDANCE_SCALE

pytestmark = pytest.mark.slow

PROMPT = "um gato vermelho persegue um rato cinza"


@pytest.fixture(scope="module")
def pipeline():
    pipe = promptweight.load("mini-dit")
    pipe.set_progress_bar_config(disable=True)
    return pipe


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
    measured = list(localization.measure_words(pipeline, number=20, seed=99, timesteps=(200, 500)))
    table = localization.summarize_words(measured)
    for name in ("pt phrase", "en phrase"):  # an object covers about a seventh of the image
        assert table[name]["pointing"].value >= 0.95
        assert table[name]["iou"].value >= 0.75


def test_the_sentence_is_drawn_as_it_says(pipeline: StableDiffusion3Pipeline) -> None:
    drawn = prompt_fidelity.generate_and_recognize(
        pipeline, [prompt_fidelity.SENTENCE] * 5, seed=77, guidance_scale=GUIDANCE_SCALE, languages=("pt",)
    )
    assert sum(prompt_fidelity.check_pair(one)[1] for one in drawn) >= 4


def test_a_thing_is_drawn_in_its_shape_and_colour(pipeline: StableDiffusion3Pipeline) -> None:
    scenes = list(prompt_fidelity.held_out_scenes(16, 1, False, seed=80))
    drawn = prompt_fidelity.generate_and_recognize(pipeline, scenes, seed=80, guidance_scale=GUIDANCE_SCALE)
    assert sum(one.match(one.scene.things[0]) is not None for one in drawn) >= 14


def test_a_white_thing_is_drawn_though_little_but_its_outline_is_seen(
    pipeline: StableDiffusion3Pipeline,
) -> None:
    kinds = ("cat", "house", "fish", "star", "circle", "triangle", "astronaut", "sun")
    scenes = [Scene((Thing(kind, "white", 0, 0, 0),)) for kind in kinds]
    drawn = prompt_fidelity.generate_and_recognize(pipeline, scenes, seed=81, guidance_scale=GUIDANCE_SCALE)
    assert sum(one.match(one.scene.things[0]) is not None for one in drawn) >= 6


def test_of_two_unrelated_things_both_are_drawn(pipeline: StableDiffusion3Pipeline) -> None:
    scenes = list(prompt_fidelity.held_out_scenes(16, 2, False, seed=79))
    drawn = prompt_fidelity.generate_and_recognize(pipeline, scenes, seed=79, guidance_scale=GUIDANCE_SCALE)
    assert sum(prompt_fidelity.check_pair(one)[0] for one in drawn) >= 14


@pytest.mark.parametrize("relation", [LEFT, RIGHT])
def test_colours_stand_as_is_said(pipeline: StableDiffusion3Pipeline, relation: str) -> None:
    scene = Scene((Thing("house", "red", 0, 0, 24), Thing("tree", "blue", 0, 0, 24)), relation=relation)
    drawn = prompt_fidelity.generate_and_recognize(
        pipeline, [scene] * 4, seed=78, guidance_scale=GUIDANCE_SCALE
    )
    right = 0
    for one in drawn:
        across = {found.color: found.center[0] for found in one.detections}
        both = {"red", "blue"} <= across.keys()
        right += both and (across["red"] < across["blue"]) == (relation == LEFT)
    assert right >= 3


@pytest.mark.parametrize(
    ("prompt", "left"),
    [
        ("um (gato vermelho:0) e uma casa azul", ("house", "blue")),
        ("a (yellow star:0) to the left of a green tree", ("tree", "green")),
    ],
)
def test_a_phrase_of_weight_0_is_seldom_drawn(
    pipeline: StableDiffusion3Pipeline, prompt: str, left: tuple[str, str]
) -> None:
    # the embeddings of later words depend on the first of the two phrases
    encoded = promptweight.encode(pipeline, [prompt] * 6)
    generators = [torch.Generator().manual_seed(seed) for seed in range(6)]
    drawn = pipeline(
        **encoded,
        num_inference_steps=20,
        guidance_scale=GUIDANCE_SCALE,
        generator=generators,
        output_type="np",
    )
    found = [recognize((picture * 255).round().astype(np.uint8)) for picture in drawn.images]
    assert [{(one.kind, one.color) for one in each} for each in found].count({left}) >= 3
