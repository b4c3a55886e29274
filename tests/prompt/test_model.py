"""Options and the properties of a prompt."""

from promptweight.prompt import Options, parse, to_fragments, write


def test_options_written_parse_to_the_same_options():
    source = "(gato:1.4{steps=0:1.5 0.5:1 1:.2, layers=up_blocks+mid, region=left, weighting=attention})"
    prompt = parse(source).at()
    assert to_fragments(prompt) == [("gato", 1.4)]
    assert prompt.spans[0].options == Options(
        steps=((0, 1.5), (0.5, 1), (1, 0.2)),
        layers=("up_blocks", "mid"),
        region="left",
        weighting="attention",
    )
    assert parse(write(prompt.tree)).at().spans[0].options == prompt.spans[0].options
    assert not prompt.diagnostics


def test_prompt_weighted_tells_whether_any_weight_or_option_is_set():
    assert not parse("um gato").at().weighted
    assert parse("um (gato)").at().weighted
    assert parse("(gato:1{steps=0-1})").at().weighted


def test_span_is_weighted_by_its_number_or_by_its_curve():
    def is_weighted(number):
        return parse(f"(gato:{number})").at().spans[0].is_weighted

    assert is_weighted("1.2")
    assert is_weighted("1{steps=0:1 1:0.5}")
    assert not is_weighted("1{steps=0-0.5, layers=up}")


def test_options_are_local_with_steps_layers_or_a_region():
    for option in ("steps=0-0.5", "steps=0:1 1:2", "layers=up", "region=left"):
        assert parse(f"(gato:1{{{option}}})").at().spans[0].options.is_local
    assert not parse("(gato:1{weighting=attention})").at().spans[0].options.is_local
