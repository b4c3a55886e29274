"""Atomic file writing: complete files, or none."""

import errno
import os

import pytest
from PIL import Image

from promptweight.atomic_files import check_folder, save_png, write_atomically


def test_existing_file_is_kept_unless_overwritten(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        save_png(Image.new("RGB", (16, 16)), path)
    assert path.read_bytes() == b"mine"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]
    save_png(Image.new("RGB", (16, 16)), path, overwrite=True)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_write_error_names_the_requested_file(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        write_atomically(tmp_path / "none" / "a.txt", lambda file: file.write(b"x"))
    assert error.value.filename == str(tmp_path / "none" / "a.txt")

    def fill(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device: .*a\.txt"):
        write_atomically(tmp_path / "a.txt", fill)


def test_check_folder_creates_nothing_and_raises_for_files_and_read_only_folders(tmp_path, monkeypatch):
    check_folder(tmp_path / "new" / "below")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        check_folder(tmp_path / "file" / "below")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match="no file can be written"):
        check_folder(tmp_path / "new")


def test_file_that_appears_during_the_write_is_kept(tmp_path):
    path = tmp_path / "a.txt"

    def write(file):
        path.write_bytes(b"theirs")
        file.write(b"ours")

    with pytest.raises(FileExistsError):
        write_atomically(path, write)
    assert path.read_bytes() == b"theirs"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_failed_write_leaves_no_file(tmp_path, error):
    def write(file):
        file.write(b"half")
        raise error

    with pytest.raises(type(error)):
        write_atomically(tmp_path / "a.txt", write)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["fsync", "link", "replace"])
def test_failed_system_call_leaves_no_file(tmp_path, monkeypatch, step):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    if step == "replace":
        monkeypatch.setattr(os, "link", fail)
    monkeypatch.setattr(os, step, fail)
    if step == "link":  # a file system without hard links is supported
        write_atomically(tmp_path / "a.txt", lambda file: file.write(b"x"))
        assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]
        return
    with pytest.raises(OSError, match="Input/output error"):
        write_atomically(tmp_path / "a.txt", lambda file: file.write(b"x"))
    assert list(tmp_path.iterdir()) == []


def test_written_file_has_the_permissions_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a.txt", lambda file: file.write(b"x"))
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


def test_bytes_are_synced_before_the_name_appears(tmp_path, monkeypatch):
    calls = []
    real_fsync, real_link = os.fsync, os.link
    monkeypatch.setattr(os, "fsync", lambda file: (calls.append("fsync"), real_fsync(file)))
    monkeypatch.setattr(os, "link", lambda *names: (calls.append("link"), real_link(*names)))
    write_atomically(tmp_path / "a.txt", lambda file: file.write(b"x" * 100_000))
    assert calls == ["fsync", "link"]
