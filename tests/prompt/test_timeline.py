"""What a prompt says at every step: against A1111's own schedules, and against each part read by itself."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptweight.errors import SettingError
from promptweight.prompt import parse
from promptweight.prompt.timeline import schedule, script_of

GOLDENS = Path(__file__).resolve().parents[2] / "../shared/goldens/a1111_schedule.json"


def cases():
    if not GOLDENS.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason="the golden cases are not on this machine"))]
    every = json.loads(GOLDENS.read_text("utf-8"))["cases"]
    ordinary = [case for case in every if case["hires_steps"] is None and not case["use_old_scheduling"]]
    return [pytest.param(case, id=case["id"]) for case in ordinary if case["expected"] is not None]


@pytest.mark.parametrize("case", cases())
def test_each_step_says_what_a1111_says(case):
    script = script_of(parse(case["prompt"], "a1111"), case["base_steps"])
    assert len(script.turns) == case["base_steps"]
    first = 0
    for last, text in case["expected"]:
        for step in range(first, last):
            ((variant, _),) = script.at(step)
            assert script.variants[variant].text == parse(text, "a1111").text
        first = last


@given(st.text(alphabet="ab [](:|)0.5AND,", max_size=30), st.integers(1, 6), st.sampled_from(["pw", "a1111"]))
def test_any_text_has_a_script(text, steps, dialect):
    prompt = parse(text, dialect)
    script = script_of(prompt, steps)
    assert len(script.turns) == steps
    assert {variant for turn in script.turns for variant, _ in turn} == set(range(len(script.variants)))
    for variant in script.variants:
        assert "".join(span.text for span in variant.spans) == variant.text
        assert all(0 <= place <= len(variant.text) for place in variant.breaks)
        assert variant.source == text


@given(st.text(alphabet="ab [](:|)0.5,", max_size=30), st.integers(1, 6))
def test_without_and_the_texts_are_those_of_the_schedule(text, steps):
    script = script_of(parse(text), steps)
    texts = {}
    for last, said in reversed(schedule(text, steps)):
        texts |= dict.fromkeys(range(last), said)
    for step in range(steps):
        ((variant, weight),) = script.at(step)
        assert weight == 1
        assert script.variants[variant].text == parse(texts[step]).text


def test_parts_are_what_each_is_by_itself():
    source = "um (gato:1.4) BREAK preto:0.5 AND (uma casa{steps=0-0.5})1.2 AND <lora:x:1>"
    script = script_of(parse(source), 3)
    assert [weight for _, weight in script.at(0)] == [0.5, 1.0, 1.0]
    for variant, part in zip(script.variants, parse(source).parts, strict=True):
        alone = parse(part.text)
        assert (variant.text, variant.breaks) == (alone.text, alone.breaks)
        assert [(each.text, each.weight, each.options) for each in variant.spans] == [
            (each.text, each.weight, each.options) for each in alone.spans
        ]
    (gato,) = [span for span in script.variants[0].spans if span.text == "gato"]
    assert source[gato.start : gato.end] == "gato"
    assert script.variants[0].to_source(gato.clean_start) == source.index("gato")


def test_places_in_the_source_are_kept_from_step_to_step():
    source = "um [gato:peixe:0.5] vermelho"
    for variant in script_of(parse(source), 4).variants:
        for word in variant.text.split():
            assert variant.to_source(variant.text.index(word)) == source.index(word)


def test_a_prompt_that_says_one_thing_is_its_own_script():
    prompt = parse("um (gato:1.4)")
    script = script_of(prompt, 3)
    assert script.variants == (prompt,)
    assert script.variants[0] is prompt
    assert script.is_plain
    assert not script.changes


def test_other_tools_parts_are_not_joined_by_the_model():
    assert script_of(parse('("a", "b").and()', "compel"), 3).is_plain


def test_a_run_has_at_least_one_step():
    with pytest.raises(SettingError, match="steps=0 is too few"):
        script_of(parse("[a|b]"), 0)
