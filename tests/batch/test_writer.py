"""A batch on a disk that is full or read-only: whole files only, and the next run makes the rest."""

import errno
import os
import re

import pytest
from PIL import Image

from promptweight.batch.output_folder import read_manifest
from promptweight.batch.runner import run


def pictures(out):
    names = (path.name for path in out.iterdir())
    return sorted(name for name in names if re.fullmatch(r"\d{5}-\d+-[0-9a-f]{12}\.png", name))


def files(out):
    """The bytes of every picture of a folder, each opened and decoded to its last pixel."""
    found = {}
    for name in pictures(out):
        with Image.open(out / name) as image:
            assert len(image.convert("RGB").tobytes()) == 32 * 32 * 3
        found[name] = (out / name).read_bytes()
    return found


def made(lines):
    """The files that a run says it has made, each once."""
    names = [line["file"] for line in lines if line["status"] == "ok"]
    assert len(set(names)) == len(names)
    return set(names)


@pytest.fixture
def undisturbed(plan_of, tiny_pipe, tmp_path):
    """A plan, and the files that a run of it makes where there is room."""
    plan = plan_of("a", "b", "c", "d", "e", "f", "g", "h")
    run(plan, tmp_path / "undisturbed", load=lambda: tiny_pipe)
    whole = files(tmp_path / "undisturbed")
    assert list(whole) == [f"{each.stem}.png" for each in plan.pictures]
    return plan, whole


def check_full_and_resumed(out, whole, resume):
    """After a run that a full disk ended: the manifest tells the truth, and the next run makes the rest."""
    there = files(out)
    assert not list(out.glob(".*.tmp"))
    assert there.items() < whole.items()
    assert there
    assert made(read_manifest(out)) == set(there)
    written = {name: (out / name).stat().st_mtime_ns for name in there}
    outcome, lines = resume()
    assert made(lines) == whole.keys() - there.keys()
    assert (outcome.ok, outcome.skipped) == (len(whole) - len(there), len(there))
    assert {name: (out / name).stat().st_mtime_ns for name in there} == written
    assert files(out) == whole
    assert made(read_manifest(out)) == whole.keys()


def test_a_full_disk_ends_the_run_and_leaves_whole_files_only(undisturbed, run_in, tmp_path, monkeypatch):
    real_fsync, written = os.fsync, []

    def fill(file):
        written.append(file)
        if len(written) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real_fsync(file)

    plan, whole = undisturbed
    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(OSError, match="No space left"):
        run_in(plan)
    monkeypatch.setattr(os, "fsync", real_fsync)
    # Each picture is brought to the disk, and then its name: two fit into three times.
    assert pictures(tmp_path / "out") == list(whole)[:2]
    check_full_and_resumed(tmp_path / "out", whole, lambda: run_in(plan))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_is_really_full_and_one_that_is_read_only(undisturbed, plan_of, run_in, tmp_path):
    import subprocess

    plan, whole = undisturbed
    out = tmp_path / "out"
    out.mkdir()
    page = os.sysconf("SC_PAGE_SIZE")
    pages = -(-len(whole[f"{plan.pictures[0].stem}.png"]) // page)
    assert {-(-len(content) // page) for content in whole.values()} == {pages}
    size = page * (1 + 4 * pages)  # the manifest and half of the pictures
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(out)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let a disk be mounted")
    try:
        with pytest.raises(OSError, match="No space left"):
            run_in(plan)
        remount = ["mount", "-o", "remount,size=10m", str(out)]
        subprocess.run(remount, check=True)
        check_full_and_resumed(out, whole, lambda: run_in(plan))
        subprocess.run(["mount", "-o", "remount,ro", str(out)], check=True)
        with pytest.raises(OSError, match="Read-only file system"):
            run_in(plan_of("x"), load=lambda: pytest.fail("loaded"))
    finally:
        subprocess.run(["umount", str(out)], check=True)


def test_the_manifest_goes_on_after_a_line_that_was_cut_short(plan_of, run_in, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.jsonl").write_text('{"id": "0123456789ab", "sta')
    run_in(plan_of("um gato"))
    text = (tmp_path / "out" / "manifest.jsonl").read_text()
    assert text.startswith('{"id": "0123456789ab", "sta\n{"id"')
    assert [line["status"] for line in read_manifest(tmp_path / "out")] == ["ok"]
