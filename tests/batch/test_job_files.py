"""Job files: formats, encodings, line breaks, and the positions of errors."""

import io
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptweight.batch import parse_rows, read_jobs
from promptweight.errors import SettingError


@pytest.fixture
def rows(tmp_path):
    """Function that reads a job file with some content and returns its values and its problems as text."""

    def rows(content, name="jobs.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        parsed, problems = parse_rows(path)
        return [row.values for row in parsed], [str(each).replace(str(path), name) for each in problems]

    return rows


def test_txt_line_has_the_options_of_sd_scripts(rows):
    values, problems = rows(
        'um gato, (vermelho:1.2) --s 20 --d 1,5-7 --n "feio, --mau" --w 512 --h 768 --l 7.5\n'
    )
    assert problems == []
    assert values == [
        {
            "prompt": "um gato, (vermelho:1.2)",
            "num_inference_steps": 20,
            "seeds": (1, 5, 6, 7),
            "negative_prompt": "feio, --mau",
            "width": 512,
            "height": 768,
            "guidance_scale": 7.5,
        }
    ]


def test_option_values_need_no_quotes_and_allow_an_equals_sign(rows):
    values, problems = rows("um gato --n low quality, bad hands --steps=8 --clip-skip 1 --balance yes\n")
    assert problems == []
    assert values[0] == {
        "prompt": "um gato",
        "negative_prompt": "low quality, bad hands",
        "num_inference_steps": 8,
        "clip_skip": 1,
        "balance": True,
    }


def test_dashes_without_a_name_are_text(rows):
    values, problems = rows("a -- b --- c, e--f \\--steps 3\n")
    assert problems == []
    assert values == [{"prompt": "a -- b --- c, e--f --steps 3"}]


def test_comments_and_blank_lines_are_ignored(rows):
    assert rows("# um\n\n   \num gato\n  # dois\n")[0] == [{"prompt": "um gato"}]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("um rato --stpes 3", "1:9: unknown option '--stpes'; did you mean --steps?"),
        ("um rato --s", "1:9: --s needs a value"),
        ("um rato --s dez", "1:13: --s must be an integer; got 'dez'"),
        ("um rato --s 0", "1:13: --s must be between 1 and 1000; got 0"),
        ("um rato --w 33", "1:13: --w must be a multiple of 8; got 33"),
        ("um rato --l nan", "1:13: --l must be between 0 and 100; got nan"),
        ("um rato --s 3 --steps 4", "1:23: --steps must be given once"),
        ('um rato --n "feio', "1:13: the quote of --n is not closed"),
        ('um rato --n "feio" mau --s 3', "1:20: no text may follow the closing quote of --n"),
        ("   --s 3", "1:4: the prompt must not be empty"),
        ("um rato --method a111", "1:18: --method must be one of: none, scale, a1111"),
        ("um rato --scheduler 'DPM++ 2M Karas'", "did you mean DPM++ 2M Karras?"),
        ("um rato --d 9-1", "1:13: a range of --d must ascend"),
        ("um rato --d -1", "1:13: --d must be numbers and ranges, such as 1,2,5-8; got '-1'"),
    ],
)
def test_error_of_a_txt_line_has_its_position(rows, line, expected):
    _, problems = rows(line + "\n")
    assert len(problems) == 1
    assert expected in problems[0]
    assert problems[0].startswith("jobs.txt:1:")


def test_all_errors_of_a_file_are_reported_at_once(tmp_path):
    lines = [f"um gato {number} --s 5" for number in range(1, 101)]
    lines[56] = "um gato 57 --sed 5"
    lines[80] = "um gato 81 --s x"
    path = tmp_path / "a.txt"
    path.write_text("\n".join(lines))
    with pytest.raises(SettingError) as error:
        read_jobs(path)
    assert str(error.value).splitlines() == [
        f"{path}:57:12: unknown option '--sed'; did you mean --seed?",
        f"{path}:81:16: --s must be an integer; got 'x'",
    ]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_byte_order_marks_and_line_breaks_do_not_matter(rows, mark, end):
    values, problems = rows(mark + end.join(["um coração".encode(), b"dois --s 3"]) + end)
    assert problems == []
    assert values == [{"prompt": "um coração"}, {"prompt": "dois", "num_inference_steps": 3}]


def test_utf_16_is_detected_by_its_mark(rows):
    assert rows("um coração\n".encode("utf-16"))[0] == [{"prompt": "um coração"}]


def test_other_bytes_are_windows_1252_with_a_warning(rows):
    values, problems = rows("um gato\num coração “x”\n".encode("cp1252"))
    assert [each["prompt"] for each in values] == ["um gato", "um coração “x”"]
    assert problems == [
        "jobs.txt:2:8: warning: the byte 0xe7 is not valid UTF-8; the file is read as Windows-1252"
    ]
    assert rows(b"a\x81b\n")[0] == [{"prompt": "a\x81b"}]


def test_other_unicode_line_separators_are_text(rows):
    assert rows("um\u2028gato\x0b\x85x\n")[0] == [{"prompt": "um\u2028gato\x0b\x85x"}]


def test_file_without_prompts_is_an_error(rows):
    assert rows("# nada\n")[1] == ["jobs.txt:1:1: the file must have at least one prompt"]


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


def test_jsonl_has_an_object_on_each_line(rows):
    lines = [{"prompt": "um gato", "seed": [1, 2], "steps": 8, "width": None}, {"prompt": "rato", "d": "3-4"}]
    values, problems = rows("\n".join(map(json.dumps, lines)), "a.jsonl")
    assert problems == []
    assert values == [
        {"prompt": "um gato", "seeds": (1, 2), "num_inference_steps": 8},
        {"prompt": "rato", "seeds": (3, 4)},
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"prompt": "a", }', "1:17: the line is not valid JSON:"),
        ('{"prompt": "a", "stpes": 3}', "1:17: unknown option 'stpes'; did you mean steps?"),
        ('{"prompt": "a", "steps": 3.5}', "1:26: steps must be an integer; got 3.5"),
        ('{"prompt": "a", "balance": 2}', "1:28: balance must be yes or no; got 2"),
        ('{"prompt": "a", "steps": true}', "1:26: steps must be an integer; got True"),
        ('{"prompt": "a", "cfg": NaN}', "1:1: the line is not valid JSON: NaN is not a JSON number"),
        ('{"prompt": "a", "prompt": "b"}', "prompt must be given once"),
        ('["a"]', "1:1: the line must be one JSON object"),
        ('{"seed": 1}', '1:1: the object must have a "prompt"'),
        ('{"prompt": null}', "the prompt must not be null"),
        ('{"prompt": 3}', "1:12: prompt must be text; got 3"),
        (
            '{"prompt": "a\\ud800"}',
            "prompt must not contain a lone surrogate; got one at character 2",
        ),
        ('{"prompt": "a", "seed": [1, "x"]}', "seed must be an integer; got 'x'"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_error_of_jsonl_has_its_position(rows, line, expected):
    _, problems = rows(line, "a.jsonl")
    assert any(expected in problem for problem in problems), problems


def test_stdin_format_is_detected(monkeypatch):
    for content, prompt in ((b"um gato --s 3", "um gato"), (b'\n {"prompt": "rato"}', "rato")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert [row.values["prompt"] for row in read_jobs("-")] == [prompt]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"prompt\num gato")))
    assert [row.values["prompt"] for row in read_jobs("-", format="csv")] == ["um gato"]
    with pytest.raises(SettingError, match="one of: txt, csv, jsonl"):
        read_jobs("-", format="xml")


@given(st.binary(max_size=200), st.sampled_from(["a.txt", "a.csv", "a.jsonl"]))
def test_any_bytes_give_problems_with_positions(tmp_path_factory, content, name):
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    for problem in parse_rows(path)[1]:
        assert problem.line >= 1
        assert problem.column >= 1


def test_decimal_comma_has_an_error_of_its_own(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("prompt;cfg\num gato;7,5\num rato;sete\n")
    _, problems = parse_rows(path)
    assert [each.message for each in problems] == [
        "cfg must be a number with a decimal point; got '7,5'",
        "cfg must be a finite number; got 'sete'",
    ]
