"""Properties of any text: parsing never fails, offsets slice back, writing and parsing agree."""

import math
import pickle
import sys
from itertools import pairwise

import pytest
from hypothesis import given
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
    to_data,
    to_fragments,
    write,
)
from promptweight.prompt.conversion import meaning, means_same
from tests.prompt.strategies import any_text, dialects, edited_text, scheduling_dialects

CORRECTED_CODES = {"unclosed-group", "stray-closer", "crossed-groups", "option-unknown", "option-value"}
DEEP_TEXTS = [
    "(" * 2_000,
    ")" * 2_000,
    "[" * 2_000 + "a" + "]" * 2_000,
    "(" * 2_000 + "a" + ")" * 2_000,
    '"' * 1_999,
    "[a:" * 1_500,
    "[a|" * 1_500,
    "[a|" * 1_500 + "]" * 1_500,
    "[a:" * 1_500 + ":3]" * 1_500,
    "a.swap(" * 1_500,
    "a.swap(" * 1_500 + "b" + ")" * 1_500,
    "(a:" * 1_500 + "1.1)" * 1_500,
    "(((" * 1_000 + "a)" * 1_000,
]


@given(any_text, dialects)
def test_parse_any_text_gives_spans_that_cover_the_clean_text(text, dialect):
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


@given(any_text, dialects)
def test_parse_any_text_gives_runs_that_slice_back_to_the_source(text, dialect):
    prompt = parse(text, dialect).at()
    end = 0
    for clean_start, source_start, length in prompt.runs:
        assert clean_start >= end
        copied = prompt.text[clean_start : clean_start + length]
        assert text[source_start : source_start + length] == copied != ""
        assert prompt.to_source(clean_start + length - 1) == source_start + length - 1
        end = clean_start + length
    assert 0 <= prompt.to_source(len(prompt.text)) <= len(text)


@given(any_text, dialects)
def test_tree_of_any_text_has_nested_nodes_in_source_order(text, dialect):
    tree = parse(text, dialect)
    assert tree.scanned <= 14 * len(text) + 14
    for part in tree.parts:
        size = len(part.text.text)
        stops = []
        for index, node in enumerate(part.nodes):
            assert 0 <= node.start <= node.end <= size
            stop = getattr(node, "stop", index + 1)
            assert index < stop <= len(part.nodes)
            branches = getattr(node, "branches", None)
            if branches is not None:
                assert list(branches) == sorted(branches)
                assert branches[0] == index + 1
                assert branches[-1] == stop
                stops.append((index, stop))
        # Edits and alternations never cross.
        assert all(inner[1] <= outer[1] or inner[0] >= outer[1] for outer, inner in pairwise(stops))
        assert 0 <= part.start <= part.end <= len(text)


@given(any_text, dialects, st.integers(1, 12), st.integers(1, 12))
def test_tree_at_any_step_gives_a_prompt_of_the_same_source(text, dialect, step, steps):
    tree = parse(text, dialect)
    prompt = tree.at(step, steps)
    assert prompt.source == text
    assert prompt.tree is tree
    assert prompt.scheduled == tree.is_scheduled
    assert "".join(span.text for span in prompt.spans) == prompt.text
    assert all(math.isfinite(span.weight) for span in prompt.spans)
    assert all(0 <= span.start <= span.end <= len(text) for span in prompt.spans)


@given(edited_text, st.integers(1, 6), scheduling_dialects)
def test_tree_at_a_step_equals_the_tree_of_the_scheduled_text(text, steps, dialect):
    tree = parse(text, dialect)
    first = 1
    for last, scheduled_text in schedule(text, steps, dialect):
        alone = parse(scheduled_text, dialect)
        for step in range(first, last + 1):
            prompt = tree.at(step, steps)
            assert prompt.text == alone.at().text or alone.is_scheduled
            if not alone.is_scheduled:
                found = [(span.text, span.weight, span.options) for span in prompt.spans]
                assert found == [(span.text, span.weight, span.options) for span in alone.at().spans]
        first = last + 1


@given(any_text, st.integers(1, 6), dialects)
def test_timeline_of_any_text_has_a_variant_for_every_step(text, steps, dialect):
    timeline = parse(text, dialect).timeline(steps)
    assert len(timeline.steps) == steps
    used = {variant for of_step in timeline.steps for variant, _ in of_step}
    assert used == set(range(len(timeline.variants)))
    for variant in timeline.variants:
        assert "".join(span.text for span in variant.spans) == variant.text
        assert all(0 <= place <= len(variant.text) for place in variant.breaks)
        assert variant.source == text


@given(any_text, dialects)
def test_diagnostics_of_any_text_have_ranges_and_messages_in_both_languages(text, dialect):
    prompt = parse(text, dialect).at()
    for diagnostic in prompt.diagnostics:
        assert 0 <= diagnostic.start <= diagnostic.end <= len(text)
        assert diagnostic.severity in ("info", "warning", "error")
        assert diagnostic.message
        assert diagnostic.message_pt
        assert diagnostic.message != diagnostic.message_pt
    to_data(prompt)
    prompt_report.list_diagnostics(prompt)
    prompt_report.make_table(prompt)


@given(any_text, dialects)
def test_write_of_any_text_parses_to_the_same_prompt(text, dialect):
    tree = parse(text, dialect)
    written = parse(write(tree), dialect)
    assert meaning(written.at()) == meaning(tree.at())
    assert means_same(tree, written)


@given(any_text, dialects)
def test_write_of_written_text_changes_nothing(text, dialect):
    written = write(parse(text, dialect))
    assert write(parse(written, dialect)) == written


@given(any_text)
def test_write_in_pw_corrects_mistakes(text):
    written = write(parse(text))
    if written != text:
        assert not CORRECTED_CODES & {diagnostic.code for diagnostic in parse(written).diagnostics}


@given(any_text, dialects, dialects)
def test_convert_without_losses_gives_the_same_meaning(text, source, target):
    conversion = convert(text, source, target)
    assert all(0 <= loss.start <= loss.end <= len(text) for loss in conversion.losses)
    is_loose = "compel" in (source, target)
    if not conversion.losses and source != target:
        after = parse(conversion.text, target).at()
        assert meaning(after, is_loose) == meaning(parse(text, source).at(), is_loose)


@given(any_text, dialects, st.integers(1, 40))
def test_schedule_of_any_text_ends_with_the_last_step(text, dialect, steps):
    found = schedule(text, steps, dialect)
    last_steps = [last for last, _ in found]
    assert last_steps == sorted(set(last_steps))
    assert last_steps[-1] == steps
    assert last_steps[0] >= 1
    if not parse(text, dialect).is_scheduled and dialect != "a1111":
        assert found == [(steps, text)]


@given(any_text, st.integers(-2, 60), st.integers(-2, 60), st.sampled_from([0.1, -0.1, 0.05]))
def test_adjust_weight_of_any_selection_keeps_the_clean_text(text, start, end, step):
    written, new_start, new_end = adjust_weight(text, start, end, step)
    assert 0 <= new_start <= new_end <= len(written)
    assert parse(written).at().text == parse(text).at().text


@given(any_text)
def test_detect_of_any_text_gives_a_known_dialect(text):
    found = detect(text)
    assert found.dialect in DIALECTS
    assert 0 <= found.confidence <= 1


@given(any_text, st.integers())
def test_expand_with_the_same_seed_gives_the_same_text(text, seed):
    assert expand(text, seed) == expand(text, seed)
    if not {"{", "}"} & set(text):
        assert expand(text, seed) == text


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("text", DEEP_TEXTS, ids=lambda text: f"{text[:8]}…{text[-4:]}")
def test_tree_of_deep_text_needs_no_recursion(text, dialect):
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(300)
    try:
        tree = parse(text, dialect)
        tree.at()
        tree.timeline(4)
        write(tree)
        schedule(text, 4, dialect)
        assert tree == parse(text, dialect)
        assert pickle.loads(pickle.dumps(tree)) == tree
        assert repr(tree)
        hash(tree)
    finally:
        sys.setrecursionlimit(limit)
    assert tree.source == text
