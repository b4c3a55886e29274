"""`--negative-guidance` of generate and batch."""

import json
from pathlib import Path

from promptweight.metadata import read_metadata


def test_generate_records_the_negative_guidance_and_reads_it_back(run, model_folder, tmp_path):
    common = ["--model", model_folder, "--device", "cpu", "-q", "-o", tmp_path]
    made = ["um gato", "--negative", "feio", "--steps", "2", "--seed", "5", "--guidance", "1"]
    plain = run("generate", *made, *common)[1].strip()
    file = run("generate", *made, "--negative-guidance", "nag scale=3", *common)[1].strip()
    record = read_metadata(file).record
    assert record["negative_guidance"].startswith("nag scale=3 ")
    assert Path(file).read_bytes() != Path(plain).read_bytes()
    again = run("generate", "--from", file, *common)[1].strip()
    assert read_metadata(again).record == record


def test_invalid_negative_guidance_is_named_by_its_option(run, tmp_path):
    code, out, err = run("generate", "um gato", "--negative-guidance", "sag", "-q", "-o", tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith("error: --negative-guidance must be one of: cfg, nag, vsf; got 'sag'")


def test_batch_takes_the_negative_guidance_of_rows_and_a_default(run, model_folder, tmp_path):
    jobs = tmp_path / "jobs.jsonl"
    rows = [{"prompt": "um gato"}, {"prompt": "um rato", "negative_guidance": "vsf scale=2 offset=0"}]
    jobs.write_text("\n".join(map(json.dumps, rows)))
    code, out, _ = run(
        "batch", jobs, "--model", model_folder, "--seeds", "1", "--negative-guidance", "nag scale=3",
        "--dry-run", "--json", "-o", tmp_path / "out",
    )  # fmt: skip
    assert code == 0
    lines = [json.loads(line) for line in out.splitlines() if "negative_guidance" in line]
    found = [line["negative_guidance"] for line in lines]
    assert found[0].startswith("nag scale=3 ")
    assert found[1] == "vsf scale=2 offset=0"
