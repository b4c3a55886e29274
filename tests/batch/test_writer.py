"""A batch on a disk that is full or read-only: expected files only, and the next run makes the rest."""

import errno
import os
import re

import pytest
from PIL import Image

from promptweight.batch import LocalExecutor, run
from promptweight.batch.output_folder import read_manifest


def image_names(out):
    names = (path.name for path in out.iterdir())
    return sorted(name for name in names if re.fullmatch(r"\d{5}-\d+-[0-9a-f]{12}\.png", name))


def files(out):
    """Return the bytes of every image of a folder, each decoded to its last pixel."""
    contents = {}
    for name in image_names(out):
        with Image.open(out / name) as image:
            assert len(image.convert("RGB").tobytes()) == 32 * 32 * 3
        contents[name] = (out / name).read_bytes()
    return contents


def finished_files(lines):
    """Return the files of the `ok` lines, each once."""
    names = [line["file"] for line in lines if line["status"] == "ok"]
    assert len(set(names)) == len(names)
    return set(names)


@pytest.fixture
def uninterrupted(plan_of, tiny_pipe, tmp_path):
    """A plan, and the files of a run of it on a disk with free space."""
    plan = plan_of("a", "b", "c", "d", "e", "f", "g", "h")
    run(plan, tmp_path / "uninterrupted", executor=LocalExecutor(lambda: tiny_pipe))
    expected = files(tmp_path / "uninterrupted")
    assert list(expected) == [f"{each.stem}.png" for each in plan.images]
    return plan, expected


def check_resumed(out, expected, resume):
    """Check the manifest after a run that a full disk ended, and that the next run draws the rest."""
    present = files(out)
    assert not list(out.glob(".*.tmp"))
    assert present.items() < expected.items()
    assert present
    assert finished_files(read_manifest(out)) == set(present)
    written = {name: (out / name).stat().st_mtime_ns for name in present}
    outcome, lines = resume()
    assert finished_files(lines) == expected.keys() - present.keys()
    assert (outcome.ok, outcome.skipped) == (len(expected) - len(present), len(present))
    assert {name: (out / name).stat().st_mtime_ns for name in present} == written
    assert files(out) == expected
    assert finished_files(read_manifest(out)) == expected.keys()


def test_full_disk_ends_the_run_with_complete_files_only(uninterrupted, run_in, tmp_path, monkeypatch):
    real_fsync, written = os.fsync, []

    def fill(file):
        written.append(file)
        if len(written) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real_fsync(file)

    plan, expected = uninterrupted
    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(OSError, match="No space left"):
        run_in(plan)
    monkeypatch.setattr(os, "fsync", real_fsync)
    # Each image needs two calls, for its content and its name; the third and fourth are of the second image.
    assert image_names(tmp_path / "out") == list(expected)[:2]
    check_resumed(tmp_path / "out", expected, lambda: run_in(plan))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="mounting a small disk needs root")
def test_full_and_read_only_file_systems_end_the_run(uninterrupted, plan_of, run_in, tmp_path):
    import subprocess

    plan, expected = uninterrupted
    out = tmp_path / "out"
    out.mkdir()
    page = os.sysconf("SC_PAGE_SIZE")
    pages = -(-len(expected[f"{plan.images[0].stem}.png"]) // page)
    assert {-(-len(content) // page) for content in expected.values()} == {pages}
    size = page * (1 + 4 * pages)  # the manifest and half of the images
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(out)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted")
    try:
        with pytest.raises(OSError, match="No space left"):
            run_in(plan)
        remount = ["mount", "-o", "remount,size=10m", str(out)]
        subprocess.run(remount, check=True)
        check_resumed(out, expected, lambda: run_in(plan))
        subprocess.run(["mount", "-o", "remount,ro", str(out)], check=True)
        with pytest.raises(OSError, match="Read-only file system"):
            run_in(plan_of("x"), load=lambda: pytest.fail("loaded"))
    finally:
        subprocess.run(["umount", str(out)], check=True)


def test_manifest_continues_after_a_truncated_line(plan_of, run_in, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.jsonl").write_text('{"id": "0123456789ab", "sta')
    run_in(plan_of("um gato"))
    text = (tmp_path / "out" / "manifest.jsonl").read_text()
    assert text.startswith('{"id": "0123456789ab", "sta\n{"id"')
    assert [line["status"] for line in read_manifest(tmp_path / "out")] == ["ok"]
