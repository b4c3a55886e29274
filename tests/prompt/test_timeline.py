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


def pick_as_a1111(scheduled, step):
    """Return the text at a step, from 0, as A1111's `reconstruct_cond_batch` picks it."""
    for last, text in scheduled:
        if step <= last:
            return text
    return scheduled[0][1]


@pytest.mark.parametrize("case", cases())
def test_timeline_steps_match_the_schedules_of_a1111(case):
    timeline = make_timeline(parse(case["prompt"], "a1111").at(), case["base_steps"])
    assert len(timeline.steps) == case["base_steps"]
    for step in range(case["base_steps"]):
        ((variant, _),) = timeline.at(step)
        text = pick_as_a1111(case["expected"], step)
        assert timeline.variants[variant].text == parse(text, "a1111").at().text


@pytest.mark.parametrize(
    ("prompt", "a1111", "pw"),
    [
        ("[a:b:2]", "aaab", "aabb"),
        ("[a:b:0.5]", "aaab", "aabb"),
        ("[a:b:.5]", "aaab", "aabb"),
        ("[a:b:0.6]", "aaab", "aabb"),
        ("[a:b:1]", "aabb", "abbb"),
        ("[a:b:1.0]", "aaaa", "aaaa"),
        ("[a:b:1.5]", "aaaa", "aaaa"),
        ("[a:b:0]", "bbbb", "bbbb"),
        ("[a:b:0.0]", "bbbb", "bbbb"),
        ("[a:b:0.2]", "bbbb", "bbbb"),
        ("[a:b:0.25]", "aabb", "abbb"),
        ("[a:b:3]", "aaaa", "aaab"),
        ("[a:b:4]", "aaaa", "aaaa"),
        ("[a:b:9]", "aaaa", "aaaa"),
        ("[a:b:-1]", "bbbb", "bbbb"),
        ("x[a:2]", "x x x xa", "x x xa xa"),
        ("x[a::2]", "xa xa xa x", "xa xa x x"),
        ("[a|b]", "aaba", "abab"),
        ("[a|b|c]", "aabc", "abca"),
        ("[a:[b:c:3]:1]", "aabb", "abbc"),
        ("[[a|b]:c:2]", "aabc", "abcc"),
    ],
)
def test_timeline_has_the_text_of_each_step_of_four(prompt, a1111, pw):
    for dialect, expected in (("a1111", a1111), ("pw", pw)):
        timeline = make_timeline(parse(prompt, dialect).at(), 4)
        texts = [timeline.variants[timeline.at(step)[0][0]].text for step in range(4)]
        assert texts == (expected.split(" ") if " " in expected else list(expected))
    assert [pick_as_a1111(schedule(prompt, 4, "a1111"), step) for step in range(4)] == (
        a1111.split(" ") if " " in a1111 else list(a1111)
    )


@pytest.mark.parametrize("steps", [1, 2])
def test_timeline_of_a_short_run_in_a1111_has_no_text_that_is_never_drawn(steps):
    timeline = make_timeline(parse("[a|b]", "a1111").at(), steps)
    assert [variant.text for variant in timeline.variants] == ["a"]
    assert timeline.steps == (((0, 1.0),),) * steps


@pytest.mark.parametrize(
    ("prompt", "second"),
    [
        ("[a:b:5]", [(1, "a"), (4, "b")]),
        ("[a:b:2]", [(4, "b")]),
        ("[a:b:4]", [(4, "b")]),
        ("[a:b:8]", [(4, "a")]),
        ("[a:b:0.5]", [(4, "b")]),
        ("[a:b:1.0]", [(4, "b")]),
        ("[a:b:1.5]", [(2, "a"), (4, "b")]),
        ("[a:b:2.0]", [(4, "a")]),
    ],
)
def test_schedule_of_the_second_pass_counts_on(prompt, second):
    assert schedule(prompt, 4, "a1111", second_pass_steps=4) == second


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
