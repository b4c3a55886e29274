"""Timelines: against A1111's own schedules, and against each part parsed by itself."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptweight.errors import SettingError
from promptweight.prompt import make_timeline, parse, schedule

GOLDENS = Path(__file__).resolve().parents[2] / "../shared/goldens/a1111_schedule.json"


def cases():
    if not GOLDENS.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason="the golden cases are not on this machine"))]
    every = json.loads(GOLDENS.read_text("utf-8"))["cases"]
    ordinary = [case for case in every if case["hires_steps"] is None and not case["use_old_scheduling"]]
    return [pytest.param(case, id=case["id"]) for case in ordinary if case["expected"] is not None]


@pytest.mark.parametrize("case", cases())
def test_timeline_steps_match_the_schedules_of_a1111(case):
    timeline = make_timeline(parse(case["prompt"], "a1111").at(), case["base_steps"])
    assert len(timeline.steps) == case["base_steps"]
    first = 0
    for last, text in case["expected"]:
        for step in range(first, last):
            ((variant, _),) = timeline.at(step)
            assert timeline.variants[variant].text == parse(text, "a1111").at().text
        first = last


@given(st.text(alphabet="ab [](:|)0.5,", max_size=30), st.integers(1, 6))
def test_timeline_without_and_has_the_texts_of_the_schedule(text, steps):
    timeline = make_timeline(parse(text).at(), steps)
    texts = {}
    for last, said in reversed(schedule(text, steps)):
        texts |= dict.fromkeys(range(last), said)
    for step in range(steps):
        ((variant, weight),) = timeline.at(step)
        assert weight == 1
        assert timeline.variants[variant].text == parse(texts[step]).at().text


def test_timeline_parts_equal_each_part_parsed_alone():
    source = "um (gato:1.4) BREAK preto:0.5 AND (uma casa{steps=0-0.5})1.2 AND <lora:x:1>"
    timeline = make_timeline(parse(source).at(), 3)
    assert [weight for _, weight in timeline.at(0)] == [0.5, 1.0, 1.0]
    for variant, part in zip(timeline.variants, parse(source).at().parts, strict=True):
        alone = parse(part.text).at()
        assert (variant.text, variant.breaks) == (alone.text, alone.breaks)
        assert [(each.text, each.weight, each.options) for each in variant.spans] == [
            (each.text, each.weight, each.options) for each in alone.spans
        ]
    (gato,) = [span for span in timeline.variants[0].spans if span.text == "gato"]
    assert source[gato.start : gato.end] == "gato"
    assert timeline.variants[0].to_source(gato.clean_start) == source.index("gato")


def test_timeline_variants_keep_their_offsets_in_the_source():
    source = "um [gato:peixe:0.5] vermelho"
    for variant in make_timeline(parse(source).at(), 4).variants:
        for word in variant.text.split():
            assert variant.to_source(variant.text.index(word)) == source.index(word)


def test_timeline_constant_prompt_is_its_only_variant():
    prompt = parse("um (gato:1.4)").at()
    timeline = make_timeline(prompt, 3)
    assert timeline.variants == (prompt,)
    assert timeline.variants[0] is prompt
    assert timeline.is_plain
    assert not timeline.changes


def test_timeline_compel_parts_form_one_variant():
    assert make_timeline(parse('("a", "b").and()', "compel").at(), 3).is_plain


def test_timeline_without_steps_raises_setting_error():
    with pytest.raises(SettingError, match="steps must be at least 1; got 0"):
        make_timeline(parse("[a|b]").at(), 0)
