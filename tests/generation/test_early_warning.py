"""Early detection of phrases without a distinct attention region, and the warnings of `generate`."""

from typing import Any

import pytest
import torch

from promptweight import generate
from promptweight.attention import Record, attach
from promptweight.conditioning.tokenization import tokenize
from promptweight.generation import early_warning
from promptweight.models.loading import load
from promptweight.prompt import parse

PAIR = "um gato vermelho e um rato cinza"
CALL = {"num_inference_steps": 5, "output_type": "latent"}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """Tokenizer that splits commas from words."""
    return load("mini", device="cpu").tokenizer


@pytest.fixture
def checked_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Recorded steps of every check; each check finds the leak of the cat."""
    steps = []

    def leaks(maps: Any, image: int = 0) -> tuple[early_warning.Leak, ...]:
        slot = maps.recording.slots[0]
        steps.append(int(slot.counts.sum()))
        return (early_warning.Leak("gato vermelho", "rato cinza", 0.9),)

    monkeypatch.setattr(early_warning, "find_leaks", leaks)
    return steps


def test_leak_after_a_fifth_of_the_steps_is_a_warning(tiny_pipe: Any, checked_steps: list[int]) -> None:
    result = generate(tiny_pipe, PAIR, seed=1, num_inference_steps=10)
    assert checked_steps == [1]
    assert result.warnings[-1] == (
        "image 1: 'gato vermelho' has no distinct attention region in the early steps (most similar: "
        "'rato cinza'); it may be missing or mixed up"
    )


@pytest.mark.parametrize("steps", ["sum", "keep"])
def test_checked_step_is_recorded_by_itself(tiny_pipe: Any, steps: Any) -> None:
    with attach(tiny_pipe, PAIR, record=Record(steps="keep")) as session:
        tiny_pipe(**session.inputs, **CALL, generator=torch.Generator().manual_seed(1))
        fourth = session.maps.steps(3, 4)
    with attach(tiny_pipe, PAIR, record=Record(steps=steps)) as session:
        check = early_warning.EarlyLeakCheck(session, 1)

        def after_step(_pipe: Any, step: int, _time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            check.on_step_end(step + 1, 20)  # as the first steps of twenty
            return tensors

        noise = torch.Generator().manual_seed(1)
        tiny_pipe(**session.inputs, **CALL, generator=noise, callback_on_step_end=after_step)
    assert check.maps is not None
    for seen, wanted in ((check.maps, fourth), (check.maps.share(), fourth.share())):
        found = seen.word("gato vermelho").tensor
        assert torch.allclose(found, wanted.word("gato vermelho").tensor, atol=1e-6)
    assert check.leaks == (early_warning.find_leaks(fourth),)


@pytest.mark.parametrize(
    ("prompt", "record"),
    [("um gato vermelho", True), (PAIR, False), (PAIR, Record(roles=("negative",)))],
)
def test_prompt_that_cannot_leak_and_run_without_maps_are_not_checked(
    tiny_pipe: Any, checked_steps: list[int], prompt: str, record: bool | Record
) -> None:
    generate(tiny_pipe, prompt, seed=1, num_inference_steps=2, record=record)
    assert checked_steps == []


def test_prompt_with_too_many_objects_is_not_checked(tiny_pipe: Any, checked_steps: list[int]) -> None:
    most = ", ".join(["um gato"] * early_warning.MAX_OBJECTS)
    with attach(tiny_pipe, [most, f"{most}, um rato"], record=Record(steps="keep")) as session:
        check = early_warning.EarlyLeakCheck(session, 2)

        def after_step(_pipe: Any, step: int, _time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            check.on_step_end(step + 1, 5)
            return tensors

        tiny_pipe(**session.inputs, **CALL, callback_on_step_end=after_step)
    assert len(checked_steps) == 1
    assert [len(leaks) for leaks in check.leaks] == [1, 0]


def test_check_step_is_a_fifth_and_at_least_one() -> None:
    assert [early_warning.check_step(steps) for steps in (1, 4, 5, 25, 28, 1000)] == [1, 1, 1, 5, 6, 200]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (PAIR, ["gato vermelho", "rato cinza"]),
        ("um gato e um rato", ["gato", "rato"]),
        ("a red cat, the gray mouse and an old house", ["red cat", "gray mouse", "old house"]),
        ("um gato vermelho persegue um rato cinza", ["gato vermelho", "rato cinza"]),
        ("a cat chases a mouse", ["cat", "mouse"]),
        ("um gato vermelho correndo atrás de um rato", ["gato vermelho", "rato"]),
        ("um carro e um gato vermelho velho", ["carro", "gato vermelho velho"]),
        ("um gato à esquerda do rato", ["gato", "rato"]),
        ("a red cat in the dark forest, oil painting, highly detailed", ["red cat"]),
        ("um gato em um fundo azul e uma casa no campo", ["gato", "casa"]),
        ("red cat, gray mouse, masterpiece", []),
    ],
)
def test_object_phrases_exclude_places_styles_and_verbs(
    tokenizer: Any, prompt: str, expected: list[str]
) -> None:
    words = tokenize(tokenizer, parse(prompt).at()).words
    assert [early_warning.phrase_text(run) for run in early_warning.object_phrases(words)] == expected
    assert early_warning.can_leak(words) == (len(expected) > 1)
