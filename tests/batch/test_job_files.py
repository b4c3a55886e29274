"""Job files: encodings, line breaks, formats, and the positions of errors."""

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptweight.batch import parse_rows, read_jobs
from promptweight.errors import SettingError


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


def test_stdin_format_is_detected(monkeypatch):
    for content, prompt in (
        (b"um gato --s 3", "um gato"),
        (b'\n {"prompt": "rato"}', "rato"),
        (b'[{"prompt": "peixe"}]', "peixe"),
    ):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert [row.values["prompt"] for row in read_jobs("-")] == [prompt]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"prompt\num gato")))
    assert [row.values["prompt"] for row in read_jobs("-", format="csv")] == ["um gato"]
    with pytest.raises(SettingError, match="one of: txt, csv, jsonl, json"):
        read_jobs("-", format="xml")


@given(st.binary(max_size=200), st.sampled_from(["a.txt", "a.csv", "a.jsonl", "a.json"]))
def test_any_bytes_give_problems_with_positions(tmp_path_factory, content, name):
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    for problem in parse_rows(path)[1]:
        assert problem.line >= 1
        assert problem.column >= 1


def test_binary_file_is_an_error(rows):
    assert rows(b"PK\x03\x04\x00\x00", "jobs.xlsx") == (
        [],
        ["jobs.xlsx:1:1: the file must be text; it has bytes that no text has"],
    )


def test_closed_stdin_is_an_error(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SettingError, match="stdin must be open"):
        read_jobs("-")
