"""Weight grammar of `pw`: groups, numbers, escapes, unbalanced text, BREAK, options and shares."""

import pytest

from promptweight.prompt import Options, parse, to_fragments, write


@pytest.mark.parametrize(
    ("source", "fragments"),
    [
        ("", []),
        ("um gato", [("um gato", 1.0)]),
        ("um (gato:1.4) vermelho", [("um ", 1.0), ("gato", 1.4), (" vermelho", 1.0)]),
        ("(a)", [("a", 1.1)]),
        ("[a]", [("a", 1 / 1.1)]),
        ("((a) b:2)", [("a", 2.2), (" b", 2.0)]),
        ("(a: +.5 )", [("a", 0.5)]),
        ("(a:1e-1)", [("a", 0.1)]),
        ("(a:-2)", [("a", -2.0)]),
        ("(a:0)", [("a", 0.0)]),
        (r"\(a\) \[b\] \\ \: \| \#", [(r"(a) [b] \ : | #", 1.0)]),
        (r"C:\dir", [(r"C:\dir", 1.0)]),
        ("(a", [("a", 1.1)]),
        ("a)", [("a)", 1.0)]),
        ("(a:nan)", [("a:nan", 1.1)]),
        ("(a:1e999)", [("a:1e999", 1.1)]),
        ("(a:1,2)", [("a:1,2", 1.1)]),
        ("(a:1.2.3)", [("a:1.2.3", 1.1)]),
        (r"(16\:9)", [("16:9", 1.1)]),
        ("a BREAK b", [("a", 1.0), ("BREAK", -1.0), ("b", 1.0)]),
        ("(a BREAK b:2)", [("a", 2.0), ("BREAK", -1.0), ("b", 2.0)]),
        ("BREAKING news", [("BREAKING news", 1.0)]),
    ],
)
def test_scan_weights_gives_the_expected_fragments(source, fragments):
    found = to_fragments(parse(source).at())
    assert [text for text, _ in found] == [text for text, _ in fragments]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in fragments])


def test_scan_spans_keep_their_offsets_in_the_source():
    prompt = parse("um (gato:1.4) BREAK (cão \\(preto\\))").at()
    assert prompt.text == "um gato cão (preto)"
    assert "".join(span.text for span in prompt.spans) == prompt.text
    assert [prompt.text[span.clean_start : span.clean_end] for span in prompt.spans] == [
        span.text for span in prompt.spans
    ]
    gato = prompt.spans[1]
    assert prompt.source[gato.start : gato.end] == "gato"
    assert prompt.breaks == (8,)
    assert prompt.source[prompt.to_source(prompt.text.index("preto"))] == "p"


def test_scan_region_box_gives_four_edges():
    assert parse("(a:1{region=0 0 .5 1})").at().spans[0].options.region == (0.0, 0.0, 0.5, 1.0)


def test_scan_nested_options_override_outer_ones():
    inner = parse("(a (b:2{weighting=attention, steps=0:1 1:2}) c:1.5{layers=up, steps=0-0.5})").at().spans[1]
    assert inner.weight == 3.0
    assert inner.options == Options(steps=((0, 1), (1, 2)), layers=("up",), weighting="attention")


@pytest.mark.parametrize(
    ("option", "code"),
    [
        ("steps=0.8-0.2", "option-value"),
        ("steps=0-2", "option-value"),
        ("steps=x", "option-value"),
        ("steps=0:1", "option-value"),
        ("steps=0:1 0:2", "option-value"),
        ("steps=0.5:1 0.2:2", "option-value"),
        ("steps=0:1 1.5:2", "option-value"),
        ("steps=-1:1 1:2", "option-value"),
        ("steps=0:nan 1:1", "option-value"),
        ("steps=0:1e999 1:1", "option-value"),
        ("steps=0:1 0.5 1:2", "option-value"),
        ("steps=0:1:2 1:2", "option-value"),
        ("steps=", "option-value"),
        ("layers=", "option-value"),
        ("layers=up+", "option-value"),
        ("layers=up blocks", "option-value"),
        ("to=1", "option-unknown"),
        ("region=moon", "option-value"),
        ("region=0 0 2 1", "option-value"),
        ("weighting=loud", "option-value"),
        ("color=red", "option-unknown"),
        ("weighting", "option-unknown"),
        ("mode=attention", "option-unknown"),
    ],
)
def test_scan_invalid_option_gets_a_remark_and_keeps_the_weight(option, code):
    source = f"(gato:1.4{{{option}, share=25%}})"
    prompt = parse(source).at()
    (diagnostic,) = prompt.diagnostics
    assert diagnostic.code == code
    assert source[diagnostic.start : diagnostic.end] == option
    assert to_fragments(prompt) == [("gato", 1.4)]
    assert prompt.spans[0].options == Options(share=0.25)


def test_scan_repeated_option_keeps_the_first():
    prompt = parse("(a:1.2{layers=up,layers=down})").at()
    assert prompt.spans[0].options == Options(layers=("up",))
    assert [diagnostic.code for diagnostic in prompt.diagnostics] == ["option-repeated"]


def test_scan_deep_groups_keep_weights_finite():
    prompt = parse("(" * 5000 + "a" + ")" * 5000).at()
    assert prompt.spans[0].weight == 1e30
    assert [diagnostic.code for diagnostic in prompt.diagnostics] == ["weight-overflow"]
    assert parse("[" * 9000 + "a" + "]" * 9000).at().spans[0].weight == pytest.approx(0)


def test_scan_share_is_written_back():
    prompt = parse("um (gato:=25%) e ((rato branco:= 12.5% ):1.2)").at()
    shares = [(span.text, span.weight, span.options.share) for span in prompt.spans if span.options]
    assert shares == [("gato", 1.0, 0.25), ("rato branco", 1.2, 0.125)]
    assert write(prompt.tree) == "um (gato:=25%) e (rato branco:1.2{share=12.5%})"
    assert to_fragments(parse(write(prompt.tree)).at()) == to_fragments(prompt)
    assert not prompt.diagnostics


@pytest.mark.parametrize("value", ["0%", "100%", "-5%", "nan%", "x%", "1e999%", "25", "0.25", ".5"])
def test_scan_share_out_of_range_is_text_with_a_remark(value):
    source = f"(gato:={value})"
    prompt = parse(source).at()
    assert prompt.text == source[1:-1]
    (diagnostic,) = prompt.diagnostics
    assert diagnostic.code == "share-unreadable"
    assert source[diagnostic.start : diagnostic.end] == f"={value}"


def test_scan_share_in_a1111_is_text():
    assert parse("(gato:=25%)", "a1111").at().text == "gato:=25%"


@pytest.mark.parametrize(
    ("source", "weight"),
    [
        ("(gato:60%)", 0.6),
        ("(gato: +150% )", 1.5),
        ("(gato:-7%)", -0.07),
        ("(gato:60%{steps=0-0.5})", 0.6),
        ("(gato:[60%:0.5:9])", 0.6),
        ("(gato:6[0%:0:9])", 0.6),
    ],
)
def test_weight_in_percent_is_a_weight_in_pw(source, weight):
    (span,) = parse(source).at(1, 20).spans
    assert (span.text, span.weight) == ("gato", weight)


@pytest.mark.parametrize("source", ["(gato:60 %)", "(gato:%)", "(gato:6%0)", "(gato:1e999%)"])
def test_percent_that_is_not_a_weight_is_text(source):
    (span,) = parse(source).at().spans
    assert span.text == source[1:-1]


@pytest.mark.parametrize("dialect", ["a1111", "comfy"])
def test_percent_is_text_in_other_dialects(dialect):
    assert parse("(gato:60%)", dialect).at().text == "gato:60%"
