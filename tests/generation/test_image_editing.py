"""Editing a picture through its prompt: both pictures, what is said of them, and their files."""

import numpy as np
import pytest
import torch

import promptweight
from promptweight.attention import PromptToPrompt, attach
from promptweight.errors import SettingError
from promptweight.generation.image_editing import edit
from promptweight.generation.image_generation import generate
from promptweight.metadata import read_metadata

FAST = {"num_inference_steps": 2, "seed": 7}


def pixels(image):
    return np.asarray(image).astype(int)


@pytest.fixture(scope="module")
def made(tiny_pipe):
    return edit("um gato vermelho", "um (rato:1.2) vermelho", tiny_pipe, negative_prompt="feio", **FAST)


def test_two_results(made):
    assert [result.prompt.text for result in made] == ["um gato vermelho", "um rato vermelho"]
    assert made.source.images[0].size == made.edited.images[0].size
    assert made.source.seeds == made.edited.seeds == (7,)
    assert {word.text: word.weight for word in made.edited.words} == {"um": 1, "rato": 1.2, "vermelho": 1}
    assert made.warnings == ()
    about = {
        "kind": "replace",
        "cross_replace_steps": 0.8,
        "self_replace_steps": 0.4,
        "source": "um gato vermelho",
        "edited": "um (rato:1.2) vermelho",
    }
    for result in made:
        assert result.settings["edit"] == about
        assert result.settings["negative_prompt"] == "feio"
        assert result.stopped_after is None


def test_the_source_is_the_picture_that_generate_makes(made, tiny_pipe):
    """To rounding, since the batch is larger; at most one step of 255."""
    alone = generate("um gato vermelho", tiny_pipe, negative_prompt="feio", **FAST)
    assert np.abs(pixels(made.source.images[0]) - pixels(alone.images[0])).max() <= 1
    masses = [maps.word("gato").mass for maps in (made.source.maps, alone.maps)]
    assert masses[0] == pytest.approx(masses[1], rel=1e-4)


def test_maps_of_both(made):
    """Over the steps of the edit the new word has the attention of the one in whose place it stands."""
    source, edited = made.source.maps, made.edited.maps
    for maps in (source, edited):
        with pytest.raises(SettingError, match="image 1 was not recorded"):
            maps.word("vermelho", image=1)
    assert torch.allclose(source.word("gato").tensor, edited.word("rato").tensor, rtol=1e-3, atol=1e-6)


def test_it_is_what_attaching_gives(made, tiny_pipe):
    prompts = ["um gato vermelho", "um (rato:1.2) vermelho"]
    with attach(tiny_pipe, prompts, "feio", edit=PromptToPrompt()) as session:
        generators = [torch.Generator().manual_seed(7) for _ in prompts]
        images = tiny_pipe(**session.inputs, num_inference_steps=2, generator=generators).images
    assert [image.tobytes() for image in images] == [result.images[0].tobytes() for result in made]


def test_the_same_prompt_twice(tiny_pipe):
    made = edit("um gato", "um gato", tiny_pipe, record=False, **FAST)
    assert np.abs(pixels(made.source.images[0]) - pixels(made.edited.images[0])).max() <= 1
    assert made.source.maps is None


def test_files(made, tmp_path):
    files = made.save(tmp_path)
    assert [file.name for file in files] == [
        "00001-7-um-gato-vermelho.png",
        "00002-7-um-rato-vermelho.png",
        "00002-7-um-rato-vermelho.edit.png",
    ]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    for file in files:
        assert read_metadata(file).record["edit"]["source"] == "um gato vermelho"
    assert read_metadata(files[0]).record["prompt"] == "um gato vermelho"
    assert made.sheet().width > 2 * 256


def test_a_run_that_is_stopped(tiny_pipe, tmp_path):
    made = edit("um gato", "um rato", tiny_pipe, callback=lambda progress: False, **FAST)
    assert made.source.stopped_after == made.edited.stopped_after == 1
    assert len(made.save(tmp_path)) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "swap"}, "kind must be one of: replace, refine; got 'swap'"),
        ({"cross_replace_steps": 2}, "cross_replace_steps is 2"),
        ({"self_replace_steps": -1}, "self_replace_steps is -1"),
        ({"edited_prompt": "um gato grande"}, "'grande' of the edited prompt stands in no other's place"),
        ({"edited_prompt": "um gato AND um rato"}, "an edit pairs the words of two texts, and AND in"),
        ({"mode": "embedding"}, "mode is 'embedding'"),
        ({"edited_prompt": 3}, "a prompt is text or a Prompt, not int"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_what_cannot_be_done_is_said(tiny_pipe, changes, message):
    settings = {"source_prompt": "um gato", "edited_prompt": "um rato", **FAST}
    before = dict(tiny_pipe.unet.attn_processors)
    with pytest.raises(SettingError, match=message):
        edit(model=tiny_pipe, **settings | changes)
    assert all(tiny_pipe.unet.attn_processors[name] is each for name, each in before.items())


def test_a_lora_of_the_edited_prompt_is_left_out(tiny_pipe):
    made = edit("um gato", "um rato <lora:tinta:1>", tiny_pipe, record=False, **FAST)
    assert any("the LoRA 'tinta' has no effect" in warning for warning in made.warnings)


def test_words_that_are_added(tiny_pipe):
    made = edit("um gato", "um gato vermelho", tiny_pipe, kind="refine", **FAST)
    shared = [result.maps.word("gato").tensor for result in made]
    assert torch.allclose(*shared, rtol=1e-3, atol=1e-6)
    assert made.edited.maps.word("vermelho").mass > 0


def test_it_is_a_public_name():
    assert promptweight.edit is edit
    assert promptweight.Edit.__name__ == "Edit"
