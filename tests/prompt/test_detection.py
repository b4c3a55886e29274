"""Detection of the dialect."""

import pytest

from promptweight.prompt import detect


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        ("um gato na praça", "plain"),
        ("um (gato:1.3), [fundo], <lora:x:0.8>", "a1111"),
        ("a BREAK (b:1.2) AND c :0.5", "a1111"),
        ("a [cat:dog:0.5]", "a1111"),
        ("(gato:1.4{steps=0.2-0.8})", "pw"),
        ("embedding:easynegative, (a:1.2)", "comfy"),
        ("a (fluffy cat)1.3 on a car++", "compel"),
        ('("a", "b").blend(0.5, 0.5)', "compel"),
    ],
)
def test_detect_finds_the_dialect(text, dialect):
    found = detect(text)
    assert found.dialect == dialect
    assert 0 < found.confidence <= 1


def test_detect_common_syntax_has_low_confidence():
    assert detect("(a:1.2)").confidence < 0.6 < detect("<lora:x:1> BREAK [a|b]").confidence
