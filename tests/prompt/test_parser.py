"""Dialects of `parse`."""

import pytest

from promptweight.errors import SettingError
from promptweight.prompt import as_prompt, parse


def test_parse_unknown_dialect_raises_setting_error():
    with pytest.raises(SettingError, match=r"pw, a1111, comfy, compel, novelai, plain; got 'midjourney'"):
        parse("a", "midjourney").at()


def test_parse_plain_text_has_no_syntax():
    prompt = parse("(a:1.2) [b|c]", "plain").at()
    assert [(span.text, span.weight) for span in prompt.spans] == [("(a:1.2) [b|c]", 1.0)]
    assert parse("", "plain").at().text == ""


def test_as_prompt_parses_text_only():
    tree = parse("um (gato:1.4)", "comfy")
    assert as_prompt(tree) == tree.at()
    prompt = tree.at()
    assert as_prompt(prompt) is prompt
    assert as_prompt("um (gato:1.4)", "comfy") == tree.at()
