"""Edits and shares of prompts that change during a run, against runs of prompts that do not."""

import pytest
import torch

from promptweight.attention import PromptToPrompt, attach
from promptweight.errors import SettingError, WordNotFoundError
from promptweight.generation import generate

STEPS = 6
EDIT = PromptToPrompt("replace", cross_replace_steps=0.9, self_replace_steps=0.7)


def run(pipe, prompts, *, instead=None, **settings):
    """Return the latents after every step and the session; `instead` replaces the latents of step 2."""
    latents = []

    def callback(_pipe, step, _timestep, tensors):
        if instead is not None and step == 2:
            tensors["latents"] = instead
        latents.append(tensors["latents"].clone())
        return tensors

    number = 1 if isinstance(prompts, str) else len(prompts)
    with attach(pipe, prompts, "x", num_inference_steps=STEPS, **settings) as session:
        pipe(
            **session.inputs,
            num_inference_steps=STEPS,
            guidance_scale=3.0,
            output_type="latent",
            generator=[torch.Generator().manual_seed(7) for _ in range(number)],
            callback_on_step_end=callback,
        )
    return latents, session


@pytest.mark.parametrize(
    ("changing", "first", "second"),
    [
        (
            ("um [gato:rato:0.5] feio", "um [gato:rato:0.5] azul"),
            ("um gato feio", "um gato azul"),
            ("um rato feio", "um rato azul"),
        ),
        (("um [gato:peixe grande:0.5]", "um rato"), ("um gato", "um rato"), ("um peixe grande", "um rato")),
        (("um gato", "um [rato:gato:0.5]"), ("um gato", "um rato"), ("um gato", "um gato")),
    ],
)
def test_edit_pairs_the_variants_of_each_step(tiny_pipe, changing, first, second):
    actual, session = run(tiny_pipe, changing, edit=EDIT)
    begun, _ = run(tiny_pipe, first, edit=EDIT)
    ended, _ = run(tiny_pipe, second, edit=EDIT, instead=actual[2])
    for step in range(3):
        assert torch.allclose(actual[step], begun[step], atol=1e-5)
        assert torch.allclose(actual[step + 3], ended[step + 3], atol=1e-5)
    unedited, _ = run(tiny_pipe, changing)
    assert torch.allclose(actual[-1][0], unedited[-1][0], atol=1e-5)
    assert not torch.allclose(actual[-1][1], unedited[-1][1], atol=1e-4)
    assert not any("edit has no effect" in line for line in session.warnings)


def test_edit_with_alternation_pairs_the_variants_of_each_step(tiny_pipe):
    actual, _ = run(tiny_pipe, ("um [gato|rato] feio", "um [gato|rato] azul"), edit=EDIT)
    odd, _ = run(tiny_pipe, ("um gato feio", "um gato azul"), edit=EDIT, instead=actual[2])
    even, _ = run(tiny_pipe, ("um rato feio", "um rato azul"), edit=EDIT, instead=actual[2])
    assert torch.allclose(actual[0], odd[0], atol=1e-5)
    assert torch.allclose(actual[3], even[3], atol=1e-5)
    assert not torch.allclose(actual[3], odd[3], atol=1e-4)


def test_words_without_counterparts_at_any_step_are_refused_before_the_run(tiny_pipe):
    prompts = ["um gato", "um [rato:gato azul:0.5]"]
    with pytest.raises(SettingError, match="'azul' of the edited prompt has no counterpart"):
        attach(tiny_pipe, prompts, edit=EDIT, num_inference_steps=STEPS)
    attach(tiny_pipe, prompts, edit=EDIT)  # without steps the first text stays
    attach(tiny_pipe, prompts, edit=PromptToPrompt("refine"), num_inference_steps=STEPS)


@pytest.mark.parametrize("prompts", [("um gato AND azul", "um rato"), ("um gato", "um rato AND um:0.5")])
def test_edit_refuses_and(tiny_pipe, prompts):
    with pytest.raises(SettingError, match="an edit pairs the words of two texts, and AND in"):
        attach(tiny_pipe, prompts, edit=EDIT, num_inference_steps=STEPS)


def test_edit_makes_both_images_of_changing_prompts(tiny_pipe):
    fast = {"seed": 3, "num_inference_steps": 4}
    source = generate(tiny_pipe, "um [gato:rato:0.5]", edit="um [gato:rato:0.5]", **fast)
    assert source.warnings == source.edited.warnings == ()
    assert source.images[0].tobytes() == source.edited.images[0].tobytes()
    assert [word.text for word in source.edited.words] == ["um", "gato", "rato"]
    alone = generate(tiny_pipe, "um [gato:rato:0.5]", **fast)
    images = [torch.tensor(list(each.images[0].tobytes()), dtype=torch.int16) for each in (source, alone)]
    assert (images[0] - images[1]).abs().max() <= 1


def test_share_is_kept_while_the_rest_of_the_prompt_changes(tiny_pipe):
    plain = run(tiny_pipe, "um gato (feio:=60%)")[1].share_results[0][0]
    actual = run(tiny_pipe, "um [gato:rato verde:0.5] (feio:=60%)")[1].share_results[0]
    assert [each.phrase for each in actual] == ["feio"]
    assert len(actual[0].weights) == len(actual[0].shares) == STEPS
    assert actual[0].weights[:3] == pytest.approx(plain.weights[:3], abs=1e-5)
    assert actual[0].weights[3] == pytest.approx(plain.weights[3], rel=0.5)  # what was known is gone on with
    assert actual[0].weights[3] != 1
    misses = [abs(share - 0.6) for share in actual[0].shares]
    assert max(misses[1:3] + misses[4:]) < misses[0] / 3


def test_share_is_measured_in_the_steps_with_its_word(tiny_pipe):
    (actual,) = run(tiny_pipe, "um [gato:(rato:=70%):0.5] feio")[1].share_results[0]
    assert (actual.phrase, len(actual.weights), actual.weights[0]) == ("rato", 3, 1.0)
    assert abs(actual.shares[-1] - 0.7) < abs(actual.shares[0] - 0.7) / 3
    (actual,) = run(tiny_pipe, "[um (rato:=70%)|feio gato azul]")[1].share_results[0]
    assert len(actual.weights) == 3
    assert abs(actual.shares[-1] - 0.7) < abs(actual.shares[0] - 0.7) / 3


def test_each_and_part_has_shares_of_its_own(tiny_pipe):
    actual = run(tiny_pipe, "um (gato:=70%) AND feio (rato:=20%) azul :0.5")[1].share_results[0]
    assert [(each.phrase, each.target) for each in actual] == [("gato", 0.7), ("rato", 0.2)]
    for each in actual:
        assert len(each.shares) == STEPS
        assert abs(each.shares[-1] - each.target) < abs(each.shares[0] - each.target) / 3


def test_targets_by_phrase_act_in_the_variants_with_it(tiny_pipe):
    prompt = "um [gato:rato verde:0.5] feio"
    actual = run(tiny_pipe, prompt, targets={"rato verde": 0.5, "feio": 0.2})[1].share_results[0]
    assert {each.phrase: len(each.weights) for each in actual} == {"feio": STEPS, "rato verde": 3}
    with pytest.raises(WordNotFoundError, match="'gato', 'rato', 'verde', 'feio'"):
        run(tiny_pipe, prompt, targets={"gato feio": 0.5, "casa": 0.2})


def test_shares_are_among_the_warnings_of_the_image(tiny_pipe):
    edited = generate(tiny_pipe, "um [gato:rato:0.5] (feio:=60%)", seed=1, num_inference_steps=4)
    warnings = [line for line in edited.warnings if "'feio' reached" in line]
    assert len(warnings) == 1
    assert "target: 60.0%" in warnings[0]
