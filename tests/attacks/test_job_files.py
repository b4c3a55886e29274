"""Hostile job files, tables of styles, manifests and wildcards: depth, width, numbers, and paths."""

from collections.abc import Callable

import pytest

from promptweight.batch import parse_rows, plan_batch, read_jobs
from promptweight.batch.output_folder import OutputFolder, read_manifest
from promptweight.batch.style_files import read_styles
from promptweight.errors import SettingError

pytestmark = pytest.mark.slow
REFUSED = {
    "wide.csv": "prompt" + ",x" * 50_000 + "\na" + ",1" * 50_000,
    "quotes.csv": "prompt\n" + '"' * 1_000_001,
    "open.csv": 'prompt\n"' + "a\n" * 300_000,
    "after.csv": "prompt\n" + '"a" b,' * 50_000,
    "nested.jsonl": '{"prompt": "a", "seed": ' + "[" * 100_000 + "}",
    "objects.jsonl": '{"a":' * 100_000,
    "digits.jsonl": '{"prompt": "a", "seed": ' + "9" * 100_000 + "}",
    "keys.json": '[{"prompt": "a", ' + ", ".join(f'"k{i}": 1' for i in range(10_000)) + "}]",
    "infinity.json": '[{"prompt": "a", "guidance": 1e999}]',
    "nan.csv": "prompt,guidance\na,nan",
    "size.csv": "prompt,width,height\na,100000000,100000000",
    "range.txt": "a --seed 1-99999999999999999999",
    "count.txt": "a --count 1000000000",
    "options.txt": "a " + "--steps 1 " * 50_000,
    "output.json": '[{"prompt": "a", "output": "../../x"}]',
    "file.csv": "prompt,file\na,/etc/x",
    "bytes.txt": "a\0b",
}


@pytest.mark.parametrize("name", REFUSED)
def test_hostile_job_file_is_refused_with_its_place(tmp_path, name):
    (tmp_path / name).write_text(REFUSED[name])
    with pytest.raises(SettingError) as raised:
        read_jobs(tmp_path / name)
    assert str(raised.value).startswith(f"{tmp_path / name}:")
    assert len(str(raised.value).splitlines()) <= 101


WIDE: dict[str, Callable[[int], str]] = {
    "names.csv": lambda number: "prompt" + "".join(f",k{index}" for index in range(number)),
    "repeated.csv": lambda number: "prompt" + "," * number + "steps," * number,
    "spaces.csv": lambda number: "prompt\n" + " ," * 10 * number,
    "keys.json": lambda number: "[{" + ", ".join(f'"k{index}": 1' for index in range(number)) + "}]",
    "escaped.json": lambda number: "{" + ", ".join(f'"\\u006b{index}": 1' for index in range(number)) + "}",
    "values.jsonl": lambda number: '{"steps": {' + ", ".join(['"steps": 1'] * number) + '}, "seed": 1}',
    "options.txt": lambda number: "a " + " ".join(f"--k{index} 1" for index in range(number)),
}


@pytest.mark.parametrize("name", WIDE)
def test_thousands_of_columns_and_keys_are_read_as_few_are(tmp_path, name):
    """In a time that grows with their number; with its square, this test would take minutes."""

    def read(number):
        (tmp_path / name).write_text(WIDE[name](number))
        rows, problems = parse_rows(tmp_path / name)
        return len(rows), bool(problems)

    assert read(64_000) == read(8)


PLANNED = {
    "nested": "(" * 200_000,
    "choices": "{a|b}" * 50_000,
    "open choices": "{" * 50_000,
    "parts": "a AND " * 2_000,
    "edits": "[a:b:0.5]" * 2_000,
    "weights": "(a:1e999)" * 1_000,
    "paths": "<lora:../../../etc/passwd:1> embedding:../../x",
}


@pytest.mark.parametrize("prompt", PLANNED.values(), ids=PLANNED)
def test_hostile_prompt_is_planned_under_a_name_of_digits(tmp_path, prompt):
    (tmp_path / "jobs.txt").write_text(prompt)
    rows, _ = parse_rows(tmp_path / "jobs.txt")
    for image in plan_batch(rows, model="mini").images:
        assert set(image.stem) <= set("0123456789abcdef-")
        assert image.job.prompt


@pytest.mark.parametrize("name", ["../fora", "/etc/passwd", "~/x", "a/../../fora", "..\\fora", "\0"])
def test_wildcard_never_leaves_its_folder(tmp_path, name):
    (tmp_path / "fora.txt").write_text("segredo")
    (tmp_path / "dentro").mkdir()
    (tmp_path / "jobs.txt").write_text(f"a __{name}__".replace("\0", "%00"))
    plan = plan_batch(read_jobs(tmp_path / "jobs.txt"), model="mini", wildcards=tmp_path / "dentro")
    assert not any("segredo" in image.job.prompt for image in plan.images)


def test_table_of_styles_with_an_open_quote_is_refused(tmp_path):
    (tmp_path / "styles.csv").write_text("name,prompt\n" + '"' * 1_000_001)
    with pytest.raises(SettingError, match="not closed"):
        read_styles(tmp_path / "styles.csv")


def test_damaged_lines_of_a_manifest_are_skipped(tmp_path):
    lines = ["[" * 100_000, '{"a":' * 100_000, '{"id": "9", "status": ' + "9" * 100_000 + "}", "null", "\0"]
    odd = '{"id": ["../x"], "status": {"a": NaN}, "file": "../../x"}'
    (tmp_path / "manifest.jsonl").write_text("\n".join([*lines, odd, '{"id": "1", "status": "ok"}', "{"]))
    assert [line["id"] for line in read_manifest(tmp_path)] == [["../x"], "1"]
    with OutputFolder(tmp_path) as folder:
        assert folder.list_images() == {}
