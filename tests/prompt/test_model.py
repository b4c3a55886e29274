"""Options and the properties of a prompt."""

from promptweight.prompt import Options, parse, to_fragments, write


def test_options_written_parse_to_the_same_options():
    source = "(gato:1.4{steps=0.2-0.8, to=1.0, region=left, mode=logit})"
    prompt = parse(source).at()
    assert to_fragments(prompt) == [("gato", 1.4)]
    assert prompt.spans[0].options == Options(steps=(0.2, 0.8), to=1.0, region="left", mode="logit")
    assert parse(write(prompt.tree)).at().spans[0].options == prompt.spans[0].options
    assert not prompt.diagnostics


def test_prompt_weighted_tells_whether_any_weight_or_option_is_set():
    assert not parse("um gato").at().weighted
    assert parse("um (gato)").at().weighted
    assert parse("(gato:1{steps=0-1})").at().weighted
