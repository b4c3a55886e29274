"""Conversion between dialects: known pairs, and losses."""

import pytest

from promptweight.errors import SettingError
from promptweight.prompt import convert, parse, to_fragments, write


@pytest.mark.parametrize(
    ("text", "source", "target", "written"),
    [
        ("a [cat] ((dog:1.2))", "a1111", "comfy", "a (cat:0.909091) (dog:1.32)"),
        ("(a (b:1.5):1.2)", "comfy", "a1111", "(a :1.2)(b:1.5)"),
        ("um (gato)1.3 e um rato++", "compel", "pw", "um (gato:1.3) e um (rato:1.21)"),
        ("um (gato:1.3) azul", "pw", "compel", "um (gato)1.3 azul"),
        ("[a] BREAK b", "comfy", "pw", "\\[a\\] B()REAK b"),
        ("[a] BREAK b", "comfy", "a1111", "\\[a\\] B\\REAK b"),
        ("(a [b:c:3] d:1.2)", "a1111", "pw", "(a :1.2)[(b:1.2):(c:1.2):3]( d:1.2)"),
        ("(x:[1.2:0.8:5])", "a1111", "pw", "(x:[1.2:0.8:5])"),
        ("a BREAK b", "pw", "compel", '("a", "b").and()'),
        ('("a", "b").and()', "compel", "a1111", "a BREAK b"),
        ("a\\", "comfy", "pw", "a\\\\"),
        ("a<lora:x:0.5>", "pw", "compel", "withLora(x,0.5) a"),
        (r"(16\:9) x", "pw", "a1111", "(16:9:1.1) x"),
        ("ratio 16:9", "comfy", "a1111", "ratio 16:\\9"),
    ],
)
def test_convert_writes_the_expected_text_without_losses(text, source, target, written):
    conversion = convert(text, source, target)
    assert conversion.text == written
    assert conversion.losses == ()


@pytest.mark.parametrize(
    ("text", "source", "target", "codes"),
    [
        ("(a:1.4{steps=0-0.5})", "pw", "a1111", ["lost-options"]),
        ("[a:b:3]", "a1111", "comfy", ["lost-schedule"]),
        ("a AND b", "pw", "comfy", ["lost-parts"]),
        ("a AND b:2", "pw", "compel", ["and-differs"]),
        ("a BREAK b", "a1111", "comfy", ["lost-break"]),
        ("a<lora:x:1>", "a1111", "comfy", ["lost-tag"]),
        ('("a", "b").blend(1, 2)', "compel", "pw", ["lost-blend"]),
        ("cat.swap(dog)", "compel", "pw", ["lost-swap"]),
        ("(a:-1)", "a1111", "compel", ["lost-negative"]),
        ("C++", "comfy", "compel", ["lost-signs"]),
        ("#ff0000", "comfy", "a1111", ["lost-hash"]),
        ("a (b:1.2)", "pw", "plain", ["lost-weight"]),
    ],
)
def test_convert_losses_have_their_ranges(text, source, target, codes):
    losses = convert(text, source, target).losses
    assert [loss.code for loss in losses] == codes
    assert all(0 <= loss.start <= loss.end <= len(text) for loss in losses)


def test_convert_to_the_same_dialect_keeps_the_text():
    assert convert("((a) [b", "pw", "pw").text == "((a) [b"


@pytest.mark.parametrize(("source", "target"), [("pw", "x"), ("x", "pw")])
def test_convert_unknown_dialect_raises_setting_error(source, target):
    with pytest.raises(SettingError, match="'x'"):
        convert("a", source, target)


@pytest.mark.parametrize(
    ("source", "written"),
    [
        ("((a) [b", "(a:1.21)( :1.1)b"),
        ("a) # b", "a\\) # b"),
        ("(a:1.5{foo=1, layers=up}) [c:d:3]", "(a:1.5{layers=up}) [c:d:3]"),
        ("# c\n(a:2) AND b :0.5<lora:x:1>", "(a:2) AND b :0.5<lora:x:1>"),
        ("a:1.5 AND b", "a :1.5 AND b"),
        (r"\(a\)", r"\(a\)"),
    ],
)
def test_write_corrects_mistakes(source, written):
    prompt = parse(source).at()
    assert write(prompt.tree) == written
    assert [
        (text, pytest.approx(weight)) for text, weight in to_fragments(parse(written).at())
    ] == to_fragments(prompt)


@pytest.mark.parametrize("text", ["((]([{", "[(a)](b)", "((a:1.0000001) b)", "[([a])] [b]"])
def test_write_of_weights_that_differ_beyond_the_written_decimals_settles(text):
    written = write(parse(text))
    assert write(parse(written)) == written


def test_write_in_another_dialect_drops_what_is_lost():
    assert write(parse("um (gato:1.3{weighting=attention}) azul"), "compel") == "um (gato)1.3 azul"


@pytest.mark.parametrize("dialect", ["pw", "a1111"])
@pytest.mark.parametrize("text", ["a AND b [", "x [ AND y", "c AND ( AND ", "|AND(c:1.3)b [", "a AND b\n()"])
def test_write_of_white_space_at_the_ends_of_parts_settles(text, dialect):
    written = write(parse(text, dialect))
    assert write(parse(written, dialect), dialect) == written


@pytest.mark.parametrize(
    ("text", "source", "target", "names", "written"),
    [
        ("embedding:foo, (embedding:bar:1.3)", "comfy", "a1111", [], "foo, (bar:1.3)"),
        ("(a, embedding:styles/foo.pt, b:1.2)", "comfy", "a1111", [], "(a, foo, b:1.2)"),
        ("embedding:foo, (embedding:bar:1.3)", "comfy", "pw", [], "embedding:foo, (embedding:bar:1.3)"),
        ("embedding:foo [(a:1.2):x:3]", "pw", "a1111", [], "foo [(a:1.2):x:3]"),
        ("foo, (Bar:1.3), <foo>, foot", "a1111", "comfy", ["foo", "bar"],
         "embedding:foo, (embedding:bar:1.3), embedding:foo, foot"),
        ("foo, embedding:foo", "pw", "comfy", ["foo"], "embedding:foo, embedding:foo"),
        ("foo, (embedding:bar:1.3)", "a1111", "comfy", [], "foo, (embedding:bar:1.3)"),
        ("foo, (bar:1.3)", "pw", "a1111", ["foo", "bar"], "foo, (bar:1.3)"),
    ],
)  # fmt: skip
def test_convert_names_textual_inversions_as_the_target_does(text, source, target, names, written):
    conversion = convert(text, source, target, embeddings=names)
    assert (conversion.text, conversion.losses) == (written, ())


@pytest.mark.parametrize(
    ("target", "written"), [("compel", "a, (foo)1.2"), ("novelai", "a, 1.2::foo::"), ("plain", "a, foo")]
)
def test_convert_tells_of_textual_inversions_that_the_target_cannot_name(target, written):
    text = "a, (embedding:foo:1.2)"
    conversion = convert(text, "comfy", target)
    assert conversion.text == written
    losses = [loss for loss in conversion.losses if loss.code == "lost-embedding"]
    assert [text[loss.start : loss.end] for loss in losses] == ["embedding:foo"]
    assert all("“foo”" in text for text in (losses[0].message, losses[0].message_pt))
