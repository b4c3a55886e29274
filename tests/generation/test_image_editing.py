"""`edit`: both images, their maps, settings and files."""

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
def result(tiny_pipe):
    return edit("um gato vermelho", "um (rato:1.2) vermelho", tiny_pipe, negative_prompt="feio", **FAST)


def test_edit_has_a_source_and_an_edited_result(result):
    assert [each.prompt.text for each in result] == ["um gato vermelho", "um rato vermelho"]
    assert result.source.images[0].size == result.edited.images[0].size
    assert result.source.seeds == result.edited.seeds == (7,)
    assert {word.text: word.weight for word in result.edited.words} == {"um": 1, "rato": 1.2, "vermelho": 1}
    assert result.warnings == ()
    about = {
        "kind": "replace",
        "cross_replace_steps": 0.8,
        "self_replace_steps": 0.4,
        "source": "um gato vermelho",
        "edited": "um (rato:1.2) vermelho",
    }
    for each in result:
        assert each.settings["edit"] == about
        assert each.settings["negative_prompt"] == "feio"
        assert each.stopped_after is None


def test_source_image_is_that_of_generate(result, tiny_pipe):
    """Up to the rounding of a larger batch: at most one level of 255."""
    alone = generate("um gato vermelho", tiny_pipe, negative_prompt="feio", **FAST)
    assert np.abs(pixels(result.source.images[0]) - pixels(alone.images[0])).max() <= 1
    masses = [maps.word("gato").mass for maps in (result.source.maps, alone.maps)]
    assert masses[0] == pytest.approx(masses[1], rel=1e-4)


def test_new_word_has_the_attention_of_the_replaced_one(result):
    """In the steps of the edit the new word takes the attention of the word at its position."""
    source, edited = result.source.maps, result.edited.maps
    for maps in (source, edited):
        with pytest.raises(SettingError, match="image 1 was not recorded"):
            maps.word("vermelho", image=1)
    assert torch.allclose(source.word("gato").tensor, edited.word("rato").tensor, rtol=1e-3, atol=1e-6)


def test_edit_is_bit_identical_to_attach(result, tiny_pipe):
    prompts = ["um gato vermelho", "um (rato:1.2) vermelho"]
    with attach(tiny_pipe, prompts, "feio", edit=PromptToPrompt()) as session:
        generators = [torch.Generator().manual_seed(7) for _ in prompts]
        images = tiny_pipe(**session.inputs, num_inference_steps=2, generator=generators).images
    assert [image.tobytes() for image in images] == [each.images[0].tobytes() for each in result]


def test_edit_to_the_same_prompt_changes_nothing(tiny_pipe):
    made = edit("um gato", "um gato", tiny_pipe, record=False, **FAST)
    assert np.abs(pixels(made.source.images[0]) - pixels(made.edited.images[0])).max() <= 1
    assert made.source.maps is None


def test_save_writes_both_images_and_a_sheet(result, tmp_path):
    files = result.save(tmp_path)
    assert [file.name for file in files] == [
        "00001-7-um-gato-vermelho.png",
        "00002-7-um-rato-vermelho.png",
        "00002-7-um-rato-vermelho.edit.png",
    ]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    for file in files:
        assert read_metadata(file).record["edit"]["source"] == "um gato vermelho"
    assert read_metadata(files[0]).record["prompt"] == "um gato vermelho"
    assert result.sheet().width > 2 * 256


def test_stopped_edit_keeps_both_unfinished_images(tiny_pipe, tmp_path):
    made = edit("um gato", "um rato", tiny_pipe, callback=lambda progress: False, **FAST)
    assert made.source.stopped_after == made.edited.stopped_after == 1
    assert len(made.save(tmp_path)) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "swap"}, "kind must be one of: replace, refine; got 'swap'"),
        ({"cross_replace_steps": 2}, "cross_replace_steps must be between 0 and 1; got 2"),
        ({"self_replace_steps": -1}, "self_replace_steps must be between 0 and 1; got -1"),
        ({"edited_prompt": "um gato grande"}, "'grande' of the edited prompt has no counterpart"),
        ({"edited_prompt": "um gato AND um rato"}, "an edit pairs the words of two texts, and AND in"),
        ({"mode": "embedding"}, "mode must be one of: .*; got 'embedding'"),
        ({"edited_prompt": 3}, "prompt must be text or a Prompt; got int"),
        ({"seed": -1}, "seed must be between .*; got -1"),
    ],
)
def test_invalid_argument_is_rejected_before_the_model_changes(tiny_pipe, changes, message):
    settings = {"source_prompt": "um gato", "edited_prompt": "um rato", **FAST}
    before = dict(tiny_pipe.unet.attn_processors)
    with pytest.raises(SettingError, match=message):
        edit(model=tiny_pipe, **settings | changes)
    assert all(tiny_pipe.unet.attn_processors[name] is each for name, each in before.items())


def test_lora_of_the_edited_prompt_is_ignored_with_a_warning(tiny_pipe):
    made = edit("um gato", "um rato <lora:tinta:1>", tiny_pipe, record=False, **FAST)
    assert any("the LoRA 'tinta' has no effect" in warning for warning in made.warnings)


def test_refine_keeps_the_attention_of_shared_words(tiny_pipe):
    made = edit("um gato", "um gato vermelho", tiny_pipe, kind="refine", **FAST)
    shared = [result.maps.word("gato").tensor for result in made]
    assert torch.allclose(*shared, rtol=1e-3, atol=1e-6)
    assert made.edited.maps.word("vermelho").mass > 0


def test_edit_is_a_public_name():
    assert promptweight.edit is edit
    assert promptweight.Edit.__name__ == "Edit"
