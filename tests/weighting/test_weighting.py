"""`Weighting`: its text form, its checks, and the weighting of words without an option."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptweight.errors import SettingError
from promptweight.weighting import (
    DIALECT_METHODS,
    KEY_WEIGHTINGS,
    METHOD_NAMES,
    NORMALIZER_NAMES,
    POOLED,
    WEIGHTING_NAMES,
    Weighting,
    format_number,
)

LAYERS = st.text(min_size=1).filter(lambda text: text.split() == [text] and not set(text) & set("+=,"))
FRACTIONS = st.floats(0, 1)
INNER = st.floats(0, 1, exclude_min=True, exclude_max=True)


def increasing(numbers, **sizes):
    return st.lists(numbers, unique=True, **sizes).map(sorted)


@st.composite
def weightings(draw):
    begin_and_end = increasing(FRACTIONS, min_size=2, max_size=2)
    points = draw(st.integers(0, 4))
    weights, shares = (draw(increasing(INNER, min_size=points, max_size=points)) for _ in range(2))
    return Weighting(
        draw(st.sampled_from([None, *WEIGHTING_NAMES])),
        draw(st.sampled_from(NORMALIZER_NAMES)),
        draw(st.sampled_from(POOLED)),
        draw(st.lists(LAYERS, max_size=3)),
        draw(st.none() | begin_and_end.map(tuple)),
        tuple(zip(weights, shares, strict=True)),
        draw(st.none() | st.floats(0, 4)),
    )


@given(weightings())
def test_parse_reads_what_str_writes(weighting):
    assert Weighting.parse(str(weighting)) == Weighting.of(weighting) == weighting
    assert hash(Weighting.parse(str(weighting))) == hash(weighting)


@pytest.mark.parametrize(
    ("text", "weighting"),
    [
        ("", Weighting()),
        ("default", Weighting()),
        ("  comfy ", Weighting("comfy")),
        ("pooled=weighted", Weighting(pooled="weighted")),
        ("clip-attention normalizer=length+mean", Weighting("clip-attention", "length+mean")),
        ("attention steps=0-0.6 layers=up+mid", Weighting("attention", layers=["up", "mid"], steps=(0, 0.6))),
        ("attention layers=up_blocks", Weighting("attention", layers="up_blocks")),
        ("presence gain=2 dial=.2:.5+.5:.7", Weighting("presence", gain=2, dial=((0.2, 0.5), (0.5, 0.7)))),
    ],
)  # fmt: skip
def test_parse_and_of_read_text(text, weighting):
    assert Weighting.parse(text) == Weighting.of(text) == weighting


def test_str_of_default_fields_is_the_name_alone():
    assert [str(Weighting(name)) for name in (None, *WEIGHTING_NAMES)] == ["default", *WEIGHTING_NAMES]
    assert str(Weighting("attention", steps=(1e-7, 1))) == "attention steps=0.0000001-1"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_format_number_has_no_exponent_and_loses_nothing(number):
    text = format_number(number)
    assert not set(text) & set("eE+")
    assert float(text) == number
    assert math.copysign(1, float(text)) == math.copysign(1, number)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": "atention"}, "weighting must be one of: none, .*; got 'atention'; did you mean attention"),
        ({"name": "default"}, "got 'default'"),
        ({"name": 3}, "got 3"),
        ({"normalizer": "loud"}, "normalizer must be one of: none, mean, .*; got 'loud'"),
        ({"normalizer": None}, "normalizer must be one of: .*; got None"),
        ({"pooled": "dirty"}, "pooled must be one of: clean, weighted; got 'dirty'"),
        ({"layers": ""}, "layers must be parts of layer names without spaces.*; got ''"),
        ({"layers": "a b"}, "got 'a b'"),
        ({"layers": "a\tb"}, r"got 'a\\tb'"),
        ({"layers": ["up", "a+b"]}, r"got 'a\+b'"),
        ({"layers": ["up", 3]}, "got 3"),
        ({"layers": None}, "got None"),
        ({"steps": (0.6, 0.5)}, r"steps must be two increasing fractions of the run.*; got \(0.6, 0.5\)"),
        ({"steps": (0.5, 0.5)}, r"got \(0.5, 0.5\)"),
        ({"steps": (0, 0.5, 1)}, r"got \(0, 0.5, 1\)"),
        ({"steps": 0.5}, "got 0.5"),
        ({"steps": "0-0.5"}, "got '0-0.5'"),
        ({"steps": (0, 2)}, "steps must be between 0 and 1; got 2"),
        ({"steps": (math.nan, 1)}, "steps must be between 0 and 1; got nan"),
        ({"steps": (0, "x")}, "steps must be a finite number; got 'x'"),
        ({"dial": ((0.5, 0.7), (0.25, 0.8))}, "dial must be pairs of a weight and an interpolation"),
        ({"dial": ((0.25, 0.7), (0.5, 0.7))}, "dial must be pairs"),
        ({"dial": ((0.25, 1),)}, "dial must be pairs"),
        ({"dial": (0.25, 0.7)}, r"dial must be pairs.*; got \(0.25, 0.7\)"),
        ({"dial": 0.25}, "dial must be pairs.*; got 0.25"),
        ({"dial": ((0.25, 2),)}, "dial must be between 0 and 1; got 2"),
        ({"gain": -1}, "gain must be between 0 and 4; got -1"),
        ({"gain": "x"}, "gain must be a finite number; got 'x'"),
    ],
)  # fmt: skip
def test_invalid_field_is_refused(fields, expected):
    with pytest.raises(SettingError, match=expected):
        Weighting(**fields)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("magic", "weighting must be one of: .*; got 'magic'"),
        ("comfy a1111", "a weighting must be a name and the fields .*; got 'a1111' in 'comfy a1111'"),
        ("comfy pooled", "got 'pooled'"),
        ("comfy colour=red", "got 'colour=red'"),
        ("comfy name=a1111", "got 'name=a1111'"),
        ("comfy pooled=clean pooled=weighted", "got 'pooled=weighted'"),
        ("comfy normalizer=", "normalizer must be one of: .*; got ''"),
        ("comfy pooled=dirty", "pooled must be one of: clean, weighted; got 'dirty'"),
        ("attention layers=", "layers must be parts of layer names.*; got ''"),
        ("attention layers=up++mid", "layers must be parts of layer names.*; got ''"),
        ("attention steps=", "steps must be two increasing fractions.*; got ''"),
        ("attention steps=0.5", "steps must be two increasing fractions.*; got '0.5'"),
        ("attention steps=0-0.5-1", "steps must be two increasing fractions.*; got '0-0.5-1'"),
        ("attention steps=half-1", "steps must be two increasing fractions.*; got 'half-1'"),
        ("attention steps=0.6-0.2", "steps must be two increasing fractions"),
        ("attention steps=0-2", "steps must be between 0 and 1"),
        ("presence dial=0.5", "dial must be pairs"),
        ("presence dial=0.5:x", "dial must be pairs.*; got '0.5:x'"),
        ("presence gain=much", "gain must be a finite number; got 'much'"),
    ],
)  # fmt: skip
def test_invalid_text_is_refused(text, expected):
    with pytest.raises(SettingError, match=expected):
        Weighting.parse(text)


@given(st.text())
def test_any_text_is_a_weighting_or_a_setting_error(text):
    try:
        weighting = Weighting.parse(text)
    except SettingError:
        return
    assert Weighting.parse(str(weighting)) == weighting


def test_of_takes_a_weighting_text_or_none_only():
    weighting = Weighting("comfy")
    assert Weighting.of(weighting) is weighting
    assert Weighting.of(None) == Weighting()
    for value in (3, {"name": "comfy"}, ["comfy"]):
        with pytest.raises(SettingError, match="weighting must be a Weighting, text or None; got "):
            Weighting.of(value)


def test_method_for_is_that_of_the_weighting_the_dialect_or_the_encoder():
    for name in METHOD_NAMES:
        assert Weighting(name).method_for("compel", "a1111") == name
    for name in (*KEY_WEIGHTINGS, "clip-attention"):
        assert Weighting(name).method_for("pw", "a1111") == "none"
    for dialect, method in DIALECT_METHODS.items():
        assert Weighting().method_for(dialect, "a1111") == method
    assert Weighting().method_for("a1111", "scale-rms") == "scale-rms"


def test_only_weightings_outside_the_methods_act_in_attention():
    acting = {name for name in WEIGHTING_NAMES if Weighting(name).acts_in_attention}
    assert acting == {*KEY_WEIGHTINGS, "clip-attention"} == set(WEIGHTING_NAMES) - set(METHOD_NAMES)
    assert not Weighting().acts_in_attention


@pytest.mark.parametrize("in_session", [True, False])
def test_word_default_splits_the_weights_of_presence_in_sessions_only(in_session):
    split = "split" if in_session else "embedding"
    expected = {
        **dict.fromkeys(WEIGHTING_NAMES, "embedding"),
        "presence": split,
        **{name: name for name in (*KEY_WEIGHTINGS, "clip-attention")},
    }
    for name, of_words in expected.items():
        assert Weighting(name).word_default("comfy", in_session=in_session) == of_words
    defaults = {
        "pw": split,
        "plain": split,
        "a1111": "embedding",
        "comfy": "embedding",
        "compel": "embedding",
    }
    for dialect, of_words in defaults.items():
        assert Weighting().word_default(dialect, in_session=in_session) == of_words


def test_calibrated_keeps_the_fields_that_are_set():
    advice = Weighting("presence", dial=((0.5, 0.7),), gain=2)
    assert Weighting("presence").calibrated(advice) == advice
    own = Weighting("presence", normalizer="mean", dial=((0.5, 0.4),), gain=0)
    assert own.calibrated(advice) == own
