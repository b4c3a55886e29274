"""Job files that are CSV tables."""

import pytest

from promptweight.batch import parse_rows


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_delimiter_is_that_of_the_header(rows, separator):
    records = [
        ["prompt", "Seed", "steps", "negative prompt"],
        [f'"um ""gato""{separator} sim"', "1-2", "8", ""],
        ["rato", "", "", "feio"],
    ]
    lines = [separator.join(record) for record in records]
    content = "\r\n".join([*lines[:2], "", lines[2]])
    values, problems = rows(content, "jobs.csv")
    assert problems == []
    assert values == [
        {"prompt": f'um "gato"{separator} sim', "seeds": (1, 2), "num_inference_steps": 8},
        {"prompt": "rato", "negative_prompt": "feio"},
    ]


def test_csv_field_with_line_breaks_keeps_later_positions(rows):
    values, problems = rows('prompt,steps\n"um\ngato",x\nrato,5,7\n', "a.csv")
    assert values[0]["prompt"] == "um\ngato"
    assert problems == [
        "a.csv:3:7: steps must be an integer; got 'x'",
        "a.csv:4:8: a record must have at most 2 fields, as the header",
    ]


def test_error_of_csv_has_its_position(rows):
    assert rows("seed\n1\n", "a.csv")[1] == ["a.csv:1:1: the header must have a column 'prompt'"]
    assert (
        "a.csv:1:8: column: unknown option 'stpes'; did you mean steps?"
        in rows("prompt,stpes\na,1\n", "a.csv")[1]
    )
    assert rows('prompt\n"um gato\n', "a.csv")[1] == ["a.csv:2:1: the quote is not closed"]
    assert (
        rows('prompt,d\n"um"x,1\n', "a.csv")[1][0]
        == "a.csv:2:5: no text may follow the closing quote of a field"
    )
    assert rows("prompt,d\n,1\n", "a.csv")[1] == ["a.csv:2:1: prompt must not be empty"]


def test_decimal_comma_has_an_error_of_its_own(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("prompt;cfg\num gato;7,5\num rato;sete\n")
    _, problems = parse_rows(path)
    assert [each.message for each in problems] == [
        "cfg must be a number with a decimal point; got '7,5'",
        "cfg must be a finite number; got 'sete'",
    ]


def test_integers_that_pandas_writes_with_a_point_are_integers(rows):
    values, problems = rows("prompt,seed,steps,width\num gato,1.0,8.0,64.0\num rato,,,\n", "a.csv")
    assert problems == []
    assert values == [
        {"prompt": "um gato", "seeds": (1,), "num_inference_steps": 8, "width": 64},
        {"prompt": "um rato"},
    ]


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_index_of_pandas_is_not_read_with_a_warning(rows, name):
    values, problems = rows(f"{name},prompt,seed\n0,um gato,1\n1,um rato,2\n", "a.csv")
    assert [each["prompt"] for each in values] == ["um gato", "um rato"]
    assert problems == ["a.csv:2:1: warning: a column without a name is not read (also in 1 other place)"]
    assert rows("prompt,,\num gato,,\n", "a.csv") == ([{"prompt": "um gato"}], [])


def test_unknown_column_is_not_one_without_a_name(rows):
    _, problems = rows("prompt,sed\num gato,1\n", "a.csv")
    assert problems == ["a.csv:1:8: column: unknown option 'sed'; did you mean seed?"]


def test_spaces_may_precede_a_quoted_field(rows):
    values, problems = rows('prompt, negative_prompt, steps\n"um gato, azul", "feio, mau", 3\n', "a.csv")
    assert problems == []
    assert values == [{"prompt": "um gato, azul", "negative_prompt": "feio, mau", "num_inference_steps": 3}]


def test_log_of_automatic1111_is_read(rows):
    header = "prompt,seed,width,height,sampler,cfgs,steps,filename,negative_prompt"
    values, problems = rows(f"{header}\num gato,7,64,64,Euler a,7.0,20,00001-7.png,feio\n", "log.csv")
    assert problems == []
    assert values == [
        {
            "prompt": "um gato", "seeds": (7,), "width": 64, "height": 64, "scheduler": "Euler a",
            "guidance_scale": 7.0, "num_inference_steps": 20, "negative_prompt": "feio",
        }
    ]  # fmt: skip


def test_styles_of_automatic1111_are_jobs_without_a_prompt_of_their_own(rows):
    styles = (
        "name,prompt,negative_prompt\n"
        "---- people ----,,\n"
        'portrait,"portrait of {prompt}, 35mm",blurry\n'
        '"clean",,"text, logo"\n'
        'noir,"film noir",\n'
    )
    values, problems = rows("\ufeff" + styles, "styles.csv")
    assert values == [
        {"prompt": "portrait of , 35mm", "negative_prompt": "blurry"},
        {"prompt": "film noir"},
    ]
    assert problems == [
        "styles.csv:2:18: warning: a style without a prompt is skipped (also in 1 other place)"
    ]


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;\r", "sep=;;;"])
def test_first_line_of_excel_names_the_delimiter(rows, first):
    values, problems = rows(f"{first}\nprompt;seed\num gato, azul;7\n;x\n", "jobs.csv")
    assert values[:1] == [{"prompt": "um gato, azul", "seeds": (7,)}]
    assert problems == [
        "jobs.csv:4:1: prompt must not be empty",
        "jobs.csv:4:2: seed must be numbers and ranges, such as 1,2,5-8, or -1 for a random one; got 'x'",
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-16"])
def test_table_exported_by_excel_is_read(rows, encoding):
    table = 'prompt;seed;steps\r\n"um gato, à noite";1;20\r\n;;\r\n;;\r\num rato;2;\r\n;;\r\n'
    values, problems = rows(table.encode(encoding), "jobs.csv")
    assert values == [
        {"prompt": "um gato, à noite", "seeds": (1,), "num_inference_steps": 20},
        {"prompt": "um rato", "seeds": (2,)},
    ]
    assert [problem for problem in problems if "warning" not in problem] == []
    assert len(problems) == (encoding == "cp1252")
