"""`generate` with an edit: both images, their maps, settings and files."""

import numpy as np
import pytest
import torch

from promptweight.attention import PromptToPrompt, attach
from promptweight.errors import SettingError
from promptweight.generation import PromptEdit, generate
from promptweight.metadata import read_metadata

FAST = {"num_inference_steps": 2, "seed": 7}


def pixels(image):
    return np.asarray(image).astype(int)


def both(result):
    return result, result.edited


@pytest.fixture(scope="module")
def result(tiny_pipe):
    """A source image, and the edited one."""
    edit = "um (rato:1.2) vermelho"
    return generate(tiny_pipe, "um gato vermelho", edit=edit, negative_prompt="feio", **FAST)


def test_edit_has_a_source_and_an_edited_result(result):
    assert [each.prompt.text for each in both(result)] == ["um gato vermelho", "um rato vermelho"]
    assert result.images[0].size == result.edited.images[0].size
    assert result.seeds == result.edited.seeds == (7,)
    assert result.edited.edited is None
    assert {word.text: word.weight for word in result.edited.words} == {"um": 1, "rato": 1.2, "vermelho": 1}
    assert result.warnings == result.edited.warnings == ()
    about = {
        "kind": "replace",
        "cross_replace_steps": 0.8,
        "self_replace_steps": 0.4,
        "source": "um gato vermelho",
        "edited": "um (rato:1.2) vermelho",
    }
    for each in both(result):
        assert each.settings["edit"] == about
        assert each.settings["negative_prompt"] == "feio"
        assert each.stopped_after is None


def test_source_image_is_that_of_generate(result, tiny_pipe):
    """Up to the rounding of a larger batch: at most one level of 255."""
    alone = generate(tiny_pipe, "um gato vermelho", negative_prompt="feio", **FAST)
    assert np.abs(pixels(result.images[0]) - pixels(alone.images[0])).max() <= 1
    masses = [maps.word("gato").mass for maps in (result.maps, alone.maps)]
    assert masses[0] == pytest.approx(masses[1], rel=1e-4)


def test_new_word_has_the_attention_of_the_replaced_one(result):
    """In the steps of the edit the new word takes the attention of the word at its position."""
    source, edited = result.maps, result.edited.maps
    for maps in (source, edited):
        with pytest.raises(SettingError, match="image 1 was not recorded"):
            maps.word("vermelho", image=1)
    assert torch.allclose(source.word("gato").tensor, edited.word("rato").tensor, rtol=1e-3, atol=1e-6)


def test_edit_is_bit_identical_to_attach(result, tiny_pipe):
    prompts = ["um gato vermelho", "um (rato:1.2) vermelho"]
    with attach(tiny_pipe, prompts, "feio", edit=PromptToPrompt()) as session:
        generators = [torch.Generator().manual_seed(7) for _ in prompts]
        images = tiny_pipe(**session.inputs, num_inference_steps=2, generator=generators).images
    assert [image.tobytes() for image in images] == [each.images[0].tobytes() for each in both(result)]


def test_edit_to_the_same_prompt_changes_nothing(tiny_pipe):
    made = generate(tiny_pipe, "um gato", edit="um gato", record=False, **FAST)
    assert np.abs(pixels(made.images[0]) - pixels(made.edited.images[0])).max() <= 1
    assert made.maps is made.edited.maps is None


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
    assert result.edit_sheet().width > 2 * 256


def test_stopped_edit_keeps_both_unfinished_images(tiny_pipe, tmp_path):
    made = generate(tiny_pipe, "um gato", edit="um rato", callback=lambda progress: False, **FAST)
    assert made.stopped_after == made.edited.stopped_after == 1
    assert len(made.save(tmp_path)) == 3


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (PromptEdit("um gato grande"), "'grande' of the edited prompt has no counterpart"),
        ("um gato AND um rato", "an edit pairs the words of two texts, and AND in"),
        (3, "edit must be text or a Prompt; got int"),
    ],
)
def test_invalid_edit_is_rejected_before_the_model_changes(tiny_pipe, edit, message):
    before = dict(tiny_pipe.unet.attn_processors)
    with pytest.raises(SettingError, match=message):
        generate(tiny_pipe, "um gato", edit=edit, **FAST)
    assert all(tiny_pipe.unet.attn_processors[name] is each for name, each in before.items())


def test_edit_with_targets_is_rejected(tiny_pipe):
    for prompt, targets in (("um gato", {"gato": 0.5}), ("um (gato:=50%)", {})):
        with pytest.raises(SettingError, match="its words cannot have target shares"):
            generate(tiny_pipe, prompt, edit="um rato", targets=targets, **FAST)


def test_lora_of_the_edited_prompt_is_ignored_with_a_warning(tiny_pipe):
    made = generate(tiny_pipe, "um gato", edit="um rato <lora:tinta:1>", record=False, **FAST)
    assert any("the LoRA 'tinta' has no effect" in warning for warning in made.warnings)


def test_refine_keeps_the_attention_of_shared_words(tiny_pipe):
    made = generate(tiny_pipe, "um gato", edit=PromptEdit("um gato vermelho", kind="refine"), **FAST)
    shared = [each.maps.word("gato").tensor for each in both(made)]
    assert torch.allclose(*shared, rtol=1e-3, atol=1e-6)
    assert made.edited.maps.word("vermelho").mass > 0


def test_each_seed_has_its_source_and_edited_image(tiny_pipe, result):
    passed = []
    edit = "um (rato:1.2) vermelho"
    settings = {"edit": edit, "negative_prompt": "feio", "num_inference_steps": 2}
    made = generate(
        tiny_pipe, "um gato vermelho", seed=6, num_images_per_prompt=2, on_image=passed.append, **settings
    )
    assert [each.seeds for each in (made, made.edited)] == [(6, 7)] * 2
    for whole, alone, one in zip(both(made), both(result), both(passed[1]), strict=True):
        assert whole.images[1].tobytes() == alone.images[0].tobytes() == one.images[0].tobytes()
    assert torch.equal(made.edited.maps.word("rato", image=1).tensor, result.edited.maps.word("rato").tensor)


def test_file_of_an_edited_image_reproduces_it(tiny_pipe, result, tmp_path):
    record = read_metadata(result.save(tmp_path)[1]).record
    about = record["edit"]
    names = ("negative_prompt", "weighting", "num_inference_steps", "guidance_scale", "seed")
    kept = ("kind", "cross_replace_steps", "self_replace_steps")
    edit = PromptEdit(about["edited"], **{name: about[name] for name in kept})
    again = generate(tiny_pipe, about["source"], edit=edit, **{name: record[name] for name in names})
    assert again.edited.images[0].tobytes() == result.edited.images[0].tobytes()


def test_sheet_without_an_edit_is_rejected(tiny_pipe):
    with pytest.raises(SettingError, match="pass edit to generate"):
        generate(tiny_pipe, "um gato", record=False, **FAST).edit_sheet()
