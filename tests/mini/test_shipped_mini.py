"""Tests of the shipped `mini` weights: tokens, prompt embeddings, attention maps and prompt fidelity."""

import pytest
import torch
from diffusers import StableDiffusionPipeline

from promptweight.evaluation import localization, prompt_fidelity
from promptweight.mini.captions import ADJECTIVES, NOUNS
from promptweight.mini.scenes import ABOVE, BELOW, KINDS, LEFT, RIGHT, Scene, Thing
from promptweight.models import builtin_path

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pipeline():
    pipe = StableDiffusionPipeline.from_pretrained(
        builtin_path("mini"), dtype=torch.float32, use_safetensors=True
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_every_noun_and_color_is_one_token(pipeline: StableDiffusionPipeline) -> None:
    words = [word for kind in KINDS for group in NOUNS[kind][1:] for word in group]
    words += [word for forms in ADJECTIVES.values() for word in forms if word != "gray"]
    split = [word for word in words if len(pipeline.tokenizer.tokenize(word)) != 1]
    assert split == []


def test_padding_says_next_to_nothing(pipeline: StableDiffusionPipeline) -> None:
    def encode(text: str) -> torch.Tensor:
        ids = pipeline.tokenizer(text, padding="max_length", return_tensors="pt").input_ids
        with torch.no_grad():
            return pipeline.text_encoder(ids).last_hidden_state[0]

    said, empty = encode("um gato vermelho persegue um rato cinza"), encode("")
    words = len(pipeline.tokenizer("um gato vermelho persegue um rato cinza").input_ids) - 1
    change = (said - empty).square().mean(-1).sqrt()
    assert change[words:].max() < 0.25 * change[1:words].mean()


def test_the_maps_of_phrases_find_their_things(pipeline: StableDiffusionPipeline) -> None:
    measured = list(localization.measure_words(pipeline, number=8, seed=99, timesteps=(200, 500)))
    table = localization.summarize_words(measured)
    for name in ("pt phrase", "en phrase"):
        assert table[name]["pointing"].value >= 0.95
        assert table[name]["iou"].value >= 0.6


def test_the_sentence_is_drawn_as_it_says(pipeline: StableDiffusionPipeline) -> None:
    drawn = prompt_fidelity.generate_and_recognize(
        pipeline, [prompt_fidelity.SENTENCE] * 5, seed=77, guidance_scale=4.5, languages=("pt",)
    )
    assert sum(prompt_fidelity.check_pair(one)[1] for one in drawn) >= 4


@pytest.mark.parametrize("relation", [LEFT, RIGHT, ABOVE, BELOW])
def test_things_stand_as_is_said(pipeline: StableDiffusionPipeline, relation: str) -> None:
    things = (
        Thing("fish", "blue", 0, 0, 24),
        Thing("star", "orange", 0, 0, 24),
    )  # positions do not affect the prompt
    scenes = [Scene(things, relation=relation)] * 4
    drawn = prompt_fidelity.generate_and_recognize(pipeline, scenes, seed=78, guidance_scale=4.5)
    assert sum(prompt_fidelity.check_pair(one)[1] for one in drawn) >= 3
