"""Parts, options, tags, comments, embeddings and diagnostics of pw and a1111."""

import re

import pytest

from promptweight.errors import SettingError
from promptweight.prompt import Options, diagnostics, nudge, parse


def codes(source, dialect="pw"):
    return [diagnostic.code for diagnostic in parse(source, dialect).diagnostics]


def test_options_are_read_and_written():
    source = "(gato:1.4{steps=0.2-0.8, to=1.0, region=left, mode=logit})"
    prompt = parse(source)
    assert prompt.fragments == [("gato", 1.4)]
    assert prompt.spans[0].options == Options(steps=(0.2, 0.8), to=1.0, region="left", mode="logit")
    assert parse(str(prompt)).spans[0].options == prompt.spans[0].options
    assert not prompt.diagnostics


def test_a_region_may_be_a_box():
    assert parse("(a:1{region=0 0 .5 1})").spans[0].options.region == (0.0, 0.0, 0.5, 1.0)


def test_inner_options_lie_over_outer_ones_and_ramps_multiply():
    inner = parse("(a (b:2{mode=p2p, to=1}) c:1.5{mode=value, steps=0-0.5})").spans[1]
    assert inner.weight == 3.0
    assert inner.options == Options(steps=(0.0, 0.5), to=1.5, mode="p2p")


@pytest.mark.parametrize(
    ("option", "code"),
    [
        ("steps=0.8-0.2", "option-value"),
        ("steps=0-2", "option-value"),
        ("steps=x", "option-value"),
        ("to=nan", "option-value"),
        ("to=1e999", "option-value"),
        ("region=moon", "option-value"),
        ("region=0 0 2 1", "option-value"),
        ("mode=loud", "option-value"),
        ("color=red", "option-unknown"),
        ("mode", "option-unknown"),
    ],
)
def test_a_bad_option_is_pointed_at_and_the_weight_counts(option, code):
    source = f"(gato:1.4{{{option}, to=2}})"
    prompt = parse(source)
    (diagnostic,) = prompt.diagnostics
    assert diagnostic.code == code
    assert source[diagnostic.start : diagnostic.end] == option
    assert prompt.fragments == [("gato", 1.4)]
    assert prompt.spans[0].options == Options(to=2.0)


def test_a_repeated_option_counts_once():
    prompt = parse("(a:1.2{to=2,to=3})")
    assert prompt.spans[0].options == Options(to=2.0)
    assert [diagnostic.code for diagnostic in prompt.diagnostics] == ["option-repeated"]


def test_parts_of_pw():
    prompt = parse("um gato :1.2 AND (um AND rato:2) AND céu:-0.5")
    assert [(part.text, part.weight) for part in prompt.parts] == [
        ("um gato", 1.2),
        ("(um AND rato:2)", 1.0),
        ("céu", -0.5),
    ]
    assert prompt.text == "um gato um AND rato céu"
    assert prompt.breaks == (8, 20)
    assert [prompt.part_fragments(part) for part in prompt.parts] == [
        [("um gato", 1.0)],
        [("um AND rato", 2.0)],
        [("céu", 1.0)],
    ]
    assert [prompt.source[part.start : part.end] for part in prompt.parts] == [
        part.text for part in prompt.parts
    ]
    assert codes("(um AND rato:2)") == ["and-in-group"]


def test_a_number_at_the_end_is_text_where_there_is_one_part():
    assert parse("ratio 16:9").text == "ratio 16:9"
    assert parse("ratio 16:9", "a1111").text == "ratio 16:9"
    assert codes("ratio 16:9", "a1111") == ["part-weight"]


def test_tags_are_lifted_out():
    prompt = parse("um gato<lora:pelo:0.7><lyco:x><hypernet:y:0.2> azul")
    assert prompt.text == "um gato azul"
    assert [(lora.kind, lora.name, lora.weight) for lora in prompt.loras] == [
        ("lora", "pelo", 0.7),
        ("lyco", "x", 1.0),
        ("hypernet", "y", 0.2),
    ]
    assert codes("<lora:x:forte>") == ["tag-weight"]
    assert codes("<foo:x>") == ["tag-unknown"]
    assert parse("a <b> <lora: <3 c").text == "a <b> <lora: <3 c"


def test_comments():
    assert parse("# um\ngato\n# dois\ncor #ff0000").text == "gato\ncor #ff0000"
    assert parse(r"\# um").text == "# um"
    assert parse("gato # um\nrato", "a1111").text == "gato \nrato"


def test_embeddings_are_found_where_they_stand():
    prompt = parse("(embedding:foo:1.2), <cat-toy> e EasyNegative", embeddings=["easynegative"])
    assert [embedding.name for embedding in prompt.embeddings] == ["foo", "<cat-toy>", "EasyNegative"]
    for embedding in prompt.embeddings:
        found = prompt.source[embedding.start : embedding.end]
        assert found == prompt.text[embedding.clean_start : embedding.clean_end]
        assert embedding.name in found
    assert [e.name for e in parse("(embedding:bar:1.1) embedding:foo.pt, x", "comfy").embeddings] == [
        "bar",
        "foo.pt",
    ]


@pytest.mark.parametrize(
    ("source", "found", "place"),
    [
        ("(gato", "unclosed-group", "("),
        ("gato)", "stray-closer", ")"),
        ("(ratio 16:9)", "weight-ratio", ":9"),
        ("(a:1,2)", "weight-unreadable", "1,2"),
        ("(a:nan)", "weight-unreadable", "nan"),
        ("(a:9.5)", "weight-large", "9.5"),
        ("a () b", "empty-group", "()"),
        ("(a [b) c]", "crossed-groups", ")"),
        ("(a BREAK b)", "break-in-group", "BREAK"),
        ("a|b", "bar-outside", "|"),
        ("# um\na", "comment", "# um\n"),
        ("[a|b]", "scheduled", "[a|b]"),
    ],
)
def test_what_is_odd_is_pointed_at(source, found, place):
    (diagnostic,) = [diagnostic for diagnostic in parse(source).diagnostics if diagnostic.code == found]
    assert source[diagnostic.start : diagnostic.end] == place


def test_thousands_of_mistakes_give_a_page_of_remarks():
    prompt = parse("(a] " * 5_000)
    assert len(prompt.diagnostics) <= 201
    assert prompt.diagnostics[-1].code == "more"


def test_weights_stay_finite():
    prompt = parse("(" * 5000 + "a" + ")" * 5000)
    assert prompt.spans[0].weight == 1e30
    assert [diagnostic.code for diagnostic in prompt.diagnostics] == ["weight-overflow"]
    assert parse("[" * 9000 + "a" + "]" * 9000).spans[0].weight == pytest.approx(0)


def test_an_unknown_dialect_is_an_error():
    with pytest.raises(SettingError, match=r"'midjourney'.*pw, a1111, comfy, compel, plain"):
        parse("a", "midjourney")


def test_a_prompt_without_weights_says_so():
    assert not parse("um gato").weighted
    assert parse("um (gato)").weighted
    assert parse("(gato:1{steps=0-1})").weighted


def test_a1111_drops_lone_backslashes_and_pw_keeps_them():
    assert parse(r"C:\dir", "a1111").text == "C:dir"
    assert parse(r"C:\dir").text == r"C:\dir"


def test_a1111_joins_neighbors_of_equal_weight():
    assert [span.text for span in parse("(unnecessary)(parens)", "a1111").spans] == ["unnecessaryparens"]
    assert [span.text for span in parse("(unnecessary)(parens)").spans] == ["unnecessary", "parens"]


def test_every_message_is_in_both_languages_and_takes_the_same_values():
    fields = re.compile(r"\{(\w+)")
    for severity, english, portuguese in diagnostics.MESSAGES.values():
        assert severity in ("info", "warning", "error")
        assert sorted(fields.findall(english)) == sorted(fields.findall(portuguese))


def test_a_share_is_read_and_written():
    prompt = parse("um (gato:=25%) e ((rato branco:= 12.5% ):1.2)")
    shares = [(span.text, span.weight, span.options.share) for span in prompt.spans if span.options]
    assert shares == [("gato", 1.0, 0.25), ("rato branco", 1.2, 0.125)]
    assert str(prompt) == "um (gato:=25%) e (rato branco:1.2{share=12.5%})"
    assert parse(str(prompt)).fragments == prompt.fragments
    assert not prompt.diagnostics


@pytest.mark.parametrize("value", ["0%", "100%", "-5%", "nan%", "x%", "1e999%", "25", "0.25", ".5"])
def test_a_share_out_of_reach_is_text_and_pointed_at(value):
    source = f"(gato:={value})"
    prompt = parse(source)
    assert prompt.text == source[1:-1]
    (diagnostic,) = prompt.diagnostics
    assert diagnostic.code == "share-unreadable"
    assert source[diagnostic.start : diagnostic.end] == f"={value}"


def test_a_share_is_not_nudged():
    assert nudge("um (gato:=25%) e", 6, 6) == ("um (gato:=25%) e", 6, 6)


def test_other_dialects_know_no_shares():
    assert parse("(gato:=25%)", "a1111").text == "gato:=25%"
