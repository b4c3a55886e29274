"""`promptweight explain`: table, sentences, JSON and errors."""

import json

import pytest

from promptweight.generation import measure_reach

PROMPT = "um (gato:0.5) vermelho"


@pytest.fixture
def explain(run, model_folder):
    return lambda *arguments: run("explain", "--model", model_folder, "--steps", 4, *arguments)


@pytest.fixture
def expected(tiny_pipe):
    def measure(prompt, **settings):
        return measure_reach(tiny_pipe, prompt, num_inference_steps=4, seed=0, **settings)

    return measure


def test_table_and_sentence_have_the_measured_numbers(explain, expected):
    code, out, _ = explain(PROMPT, "--weighting", "scale")
    (found,) = expected(PROMPT, weighting="scale").phrases
    header, row, sentence = out.splitlines()
    assert code == 0
    assert header.split("  ")[0] == "phrase"
    assert row.split()[:4] == ["gato", "0.5", f"{found.reach:.0%}", f"{found.residual:.0%}"]
    assert sentence == found.summary()
    assert sentence.startswith("the weight 0.5 of 'gato' reaches ")


def test_json_has_every_number_and_the_sentence(explain, expected, model_folder):
    code, out, _ = explain(PROMPT, "--json", "--at", 1, "--weighting", "attention")
    data = json.loads(out)
    report = expected(PROMPT, at=1, weighting="attention")
    (found,) = report.phrases
    assert code == 0
    assert data["model"] == str(model_folder)
    assert (data["text"], data["weighting"], data["seed"]) == ("um gato vermelho", "attention", 0)
    assert (data["step"], data["steps"]) == (1, 4)
    (phrase,) = data["phrases"]
    assert (phrase["phrase"], phrase["weight"], phrase["sentence"]) == ("gato", 0.5, found.summary())
    assert (phrase["reach"], phrase["residual"]) == pytest.approx((found.reach, found.residual), rel=1e-4)
    shares = {each["word"] or each["kind"]: each["share"] for each in phrase["carriers"]}
    wanted = {each.word or each.kind: each.share for each in found.carriers}
    assert shares == pytest.approx(wanted, abs=1e-3)


def test_named_phrases_replace_weighted_ones(explain):
    code, out, _ = explain(PROMPT, "--phrase", "vermelho", "--phrase", "gato vermelho", "--json")
    phrases = json.loads(out)["phrases"]
    assert code == 0
    assert [each["phrase"] for each in phrases] == ["vermelho", "gato vermelho"]
    assert [each["weight"] for each in phrases] == [1.0, None]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["um gato"], "must have a weighted phrase, such as (word:0.5)"),
        (["um (gato:0.5) AND um rato"], "joins several texts"),
        ([PROMPT, "--at", "2"], "--at must be between 0 and 1; got 2"),
        ([PROMPT, "--steps", "0"], "steps must be"),
        ([PROMPT, "--weighting", "nope"], "got 'nope'"),
    ],
)
def test_invalid_input_is_reported_before_the_model_is_loaded(run, arguments, text):
    code, out, err = run("explain", *arguments, "--model", "no-such-model")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert text in err


def test_missing_phrase_lists_the_words(explain):
    code, out, err = explain(PROMPT, "--phrase", "rato")
    assert (code, out) == (2, "")
    assert "'rato' is not in the prompt; its words are: 'um', 'gato', 'vermelho'" in err
