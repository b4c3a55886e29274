"""Network tags and comments."""

from promptweight.prompt import parse


def test_extract_tags_removes_tags_from_the_text():
    prompt = parse("um gato<lora:pelo:0.7><lyco:x><hypernet:y:0.2> azul").at()
    assert prompt.text == "um gato azul"
    assert [(lora.kind, lora.name, lora.weight) for lora in prompt.loras] == [
        ("lora", "pelo", 0.7),
        ("lyco", "x", 1.0),
        ("hypernet", "y", 0.2),
    ]
    assert [remark.code for remark in parse("<lora:x:forte>").diagnostics] == ["tag-weight"]
    assert [remark.code for remark in parse("<foo:x>").diagnostics] == ["tag-unknown"]
    assert parse("a <b> <lora: <3 c").at().text == "a <b> <lora: <3 c"


def test_extract_tags_removes_comments():
    assert parse("# um\ngato\n# dois\ncor #ff0000").at().text == "gato\ncor #ff0000"
    assert parse(r"\# um").at().text == "# um"
    assert parse("gato # um\nrato", "a1111").at().text == "gato \nrato"
