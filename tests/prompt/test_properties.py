"""What holds for any text at all: reading never fails, offsets slice back, writing and reading agree."""

import math
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptweight.cli import prompt_report
from promptweight.prompt import (
    DIALECTS,
    adjust_weight,
    convert,
    detect,
    expand,
    parse,
    schedule,
    to_fragments,
    write,
)
from promptweight.prompt.conversion import meaning, means_same

TOKENS = [
    *"()[]{}:|\\<>\"'#,.+-= \n\t",
    *(
        "a",
        "b c",
        "gato",
        "ação",
        "👩‍🚀",
        "e\u0301",
        "\u202e",
        "\x00",
        "\ud800",
        "16:9",
        "1.2",
        "0.5",
        "3",
        "-1",
    ),
    *("1e999", "nan", "BREAK", "AND", " BREAK ", " AND ", "(x:1.5)", "(y)", "[z]", "((", "))", "[a:b:3]"),
    *("[c:0.5]", "[d|e]", "[f::2]", "(g:1.2{steps=0.2-0.8})", "(h:0.9{to=1,region=left,mode=logit})"),
    *("{steps=", "<lora:n:0.5>", "<lora:", "embedding:foo", "\\(", "\\)", "\\:", "# c\n", ":1.2)", ":-.5)"),
    *(" :0.7 ", "i++", "(j)1.3", '"k l"+', ".and(", ".blend(1, 2)", '("m","n")', ".swap(o)", ".attend(1.1)"),
    *("useLora(p,1)", "__q__", "2$$", "::"),
]

prompts = st.one_of(
    st.lists(st.sampled_from(TOKENS), max_size=24).map("".join),
    st.text(st.characters(exclude_categories=()), max_size=40),
)
settings.register_profile("prompt", deadline=None, max_examples=120)
settings.load_profile("prompt")

dialects = st.sampled_from(DIALECTS)


@given(prompts, dialects)
def test_any_text_gives_a_prompt_whose_parts_fit_together(text, dialect):
    prompt = parse(text, dialect).at()
    assert "".join(span.text for span in prompt.spans) == prompt.text
    place = 0
    for span in prompt.spans:
        assert span.clean_start == place
        assert prompt.text[span.clean_start : span.clean_end] == span.text != ""
        assert 0 <= span.start <= span.end <= len(text)
        assert math.isfinite(span.weight)
        place = span.clean_end
    assert place == len(prompt.text)
    assert list(prompt.breaks) == sorted(set(prompt.breaks))
    assert all(0 < offset <= len(prompt.text) for offset in prompt.breaks)
    assert prompt.parts
    assert all(0 <= part.clean_start <= part.clean_end <= len(prompt.text) for part in prompt.parts)
    assert all(text or weight == -1.0 for text, weight in to_fragments(prompt))


@given(prompts, dialects)
def test_what_was_copied_slices_back_to_the_source(text, dialect):
    prompt = parse(text, dialect).at()
    end = 0
    for clean_start, source_start, length in prompt.runs:
        assert clean_start >= end
        assert (
            text[source_start : source_start + length]
            == prompt.text[clean_start : clean_start + length]
            != ""
        )
        assert prompt.to_source(clean_start + length - 1) == source_start + length - 1
        end = clean_start + length
    assert 0 <= prompt.to_source(len(prompt.text)) <= len(text)


@given(prompts, dialects)
def test_diagnostics_point_into_the_source_and_speak_both_languages(text, dialect):
    prompt = parse(text, dialect).at()
    for diagnostic in prompt.diagnostics:
        assert 0 <= diagnostic.start <= diagnostic.end <= len(text)
        assert diagnostic.severity in ("info", "warning", "error")
        assert diagnostic.message
        assert diagnostic.message_pt
        assert diagnostic.message != diagnostic.message_pt
    prompt_report.to_dict(prompt)
    prompt_report.list_diagnostics(prompt)
    prompt_report.make_table(prompt)


@given(prompts, dialects)
def test_what_str_writes_reads_the_same(text, dialect):
    prompt = parse(text, dialect).at()
    written = write(prompt.tree)
    assert meaning(parse(written, dialect).at()) == meaning(prompt)
    assert means_same(parse(text, dialect), parse(written, dialect))


@given(prompts)
def test_str_of_pw_is_balanced_and_settled(text):
    written = write(parse(text))
    if written != text:
        codes = {diagnostic.code for diagnostic in parse(written).at().diagnostics}
        assert not codes & {
            "unclosed-group",
            "stray-closer",
            "crossed-groups",
            "option-unknown",
            "option-value",
        }
        assert write(parse(written)) == written


@given(prompts, dialects, dialects)
def test_conversion_without_losses_reads_the_same(text, source, target):
    conversion = convert(text, source, target)
    assert all(0 <= loss.start <= loss.end <= len(text) for loss in conversion.losses)
    loose = "compel" in (source, target)
    if not conversion.losses and source != target:
        assert meaning(parse(conversion.text, target).at(), loose) == meaning(parse(text, source).at(), loose)


@given(prompts, dialects, st.integers(1, 40))
def test_a_schedule_ends_with_the_last_step(text, dialect, steps):
    found = schedule(text, steps, dialect)
    untils = [until for until, _ in found]
    assert untils == sorted(set(untils))
    assert untils[-1] == steps
    assert untils[0] >= 1
    if not parse(text, dialect).at().scheduled and dialect != "a1111":
        assert found == [(steps, text)]


@given(prompts, st.integers(-2, 60), st.integers(-2, 60), st.sampled_from([0.1, -0.1, 0.05]))
def test_nudging_keeps_the_text_and_gives_a_selection_in_it(text, start, end, step):
    written, new_start, new_end = adjust_weight(text, start, end, step)
    assert 0 <= new_start <= new_end <= len(written)
    detect(text)


@given(prompts, st.integers())
def test_expanding_is_the_same_for_the_same_seed(text, seed):
    assert expand(text, seed) == expand(text, seed)
    if not {"{", "}"} & set(text):
        assert expand(text, seed) == text


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "text",
    [
        "(" * 10_000,
        ")" * 10_000,
        "[" * 10_000 + "a" + "]" * 10_000,
        "(" * 10_000 + "a" + ")" * 10_000,
        '"' * 9_999,
        "[a:" * 5_000,
        "[a|" * 5_000,
        "a.swap(" * 5_000,
        "(a:" * 5_000 + "1.1)" * 5_000,
        "(((" * 3_000 + "a)" * 3_000,
    ],
)
def test_depth_costs_no_recursion(text, dialect):
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(300)
    try:
        prompt = parse(text, dialect).at()
        schedule(text, 4, dialect)
    finally:
        sys.setrecursionlimit(limit)
    assert prompt.source == text
