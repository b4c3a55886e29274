"""Leaks of attributes noticed while a picture is made, and said in the warnings of `generate`."""

from typing import Any

import pytest

from promptweight import generate
from promptweight.attention import Record, binding
from promptweight.attention.phrases import phrases

PAIR = "um gato vermelho e um rato cinza"


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every look for leaks says that red leaks, and is noted with the number of steps recorded by then."""
    steps = []

    def leaks(maps: Any, image: int = 0) -> tuple[binding.Leak, ...]:
        slot = maps.recording.slots[0]
        steps.append(int(slot.counts.sum()))
        return (binding.Leak("vermelho", "gato", "rato cinza", 0.9),)

    monkeypatch.setattr(binding, "leaks", leaks)
    return steps


def test_a_leak_is_noticed_after_a_fifth_of_the_steps(tiny_pipe: Any, looked: list[int]) -> None:
    result = generate(PAIR, tiny_pipe, seed=1, num_inference_steps=10)
    assert looked == [2]
    assert result.warnings[-1] == (
        "picture 1: early in the run 'vermelho' looks at 'rato cinza' rather than at 'gato'; "
        "it may miss one of them or mix them up"
    )


@pytest.mark.parametrize(
    ("prompt", "record"),
    [("um gato vermelho", True), (PAIR, False), (PAIR, Record(lanes=("negative",)))],
)
def test_where_nothing_can_leak_or_is_recorded_nobody_looks(
    tiny_pipe: Any, looked: list[int], prompt: str, record: bool | Record
) -> None:
    generate(prompt, tiny_pipe, seed=1, num_inference_steps=2, record=record)
    assert looked == []


def test_a_fifth_of_the_steps_is_one_at_least() -> None:
    assert [binding.early_step(steps) for steps in (1, 4, 5, 25, 28, 1000)] == [1, 1, 1, 5, 6, 200]


def test_two_phrases_one_of_them_of_two_words_can_leak(tiny: Any) -> None:
    assert binding.can_leak(tiny.table_of(PAIR).words)
    assert not binding.can_leak(tiny.table_of("um gato vermelho").words)
    assert not binding.can_leak(tiny.table_of("um gato e um rato").words)


def test_what_may_be_a_verb_between_two_things_is_left_out(tiny: Any) -> None:
    def left(prompt: str) -> list[list[str]]:
        runs = binding.without_verbs(phrases(tiny.table_of(prompt).words))
        return [[word.text for word in run] for run in runs]

    assert left("um gato vermelho persegue um rato cinza") == [["gato", "vermelho"], ["rato", "cinza"]]
    assert left(PAIR) == [["gato", "vermelho"], ["rato", "cinza"]]
    assert left("um carro e um gato vermelho velho") == [["carro"], ["gato", "vermelho", "velho"]]
