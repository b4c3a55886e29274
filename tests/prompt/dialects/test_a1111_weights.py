"""The weight grammar of pw: groups, numbers, escapes, unbalanced text, BREAK."""

import pytest

from promptweight.prompt import parse


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
def test_fragments(source, fragments):
    found = parse(source).fragments
    assert [text for text, _ in found] == [text for text, _ in fragments]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in fragments])


def test_spans_cover_the_clean_text_and_know_their_place():
    prompt = parse("um (gato:1.4) BREAK (cão \\(preto\\))")
    assert prompt.text == "um gato cão (preto)"
    assert "".join(span.text for span in prompt.spans) == prompt.text
    assert [prompt.text[span.clean_start : span.clean_end] for span in prompt.spans] == [
        span.text for span in prompt.spans
    ]
    gato = prompt.spans[1]
    assert prompt.source[gato.start : gato.end] == "gato"
    assert prompt.breaks == (8,)
    assert prompt.source[prompt.to_source(prompt.text.index("preto"))] == "p"
