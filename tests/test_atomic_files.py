"""Files that are whole or not there."""

import errno
import os

import pytest
from PIL import Image

from promptweight.atomic_files import check_folder, save_png, write_atomically


def test_an_existing_file_is_kept(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        save_png(Image.new("RGB", (16, 16)), path)
    assert path.read_bytes() == b"mine"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]
    save_png(Image.new("RGB", (16, 16)), path, overwrite=True)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_an_error_names_the_file_that_was_to_be_written(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        write_atomically(tmp_path / "none" / "a.txt", lambda file: file.write(b"x"))
    assert error.value.filename == str(tmp_path / "none" / "a.txt")

    def fill(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device: .*a\.txt"):
        write_atomically(tmp_path / "a.txt", fill)


def test_a_folder_is_checked_without_making_it(tmp_path, monkeypatch):
    check_folder(tmp_path / "new" / "below")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="no folder"):
        check_folder(tmp_path / "file" / "below")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match="nothing can be written"):
        check_folder(tmp_path / "new")


def test_a_file_that_appears_while_writing_is_kept(tmp_path):
    path = tmp_path / "a.txt"

    def write(file):
        path.write_bytes(b"theirs")
        file.write(b"ours")

    with pytest.raises(FileExistsError):
        write_atomically(path, write)
    assert path.read_bytes() == b"theirs"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_nothing_is_left_of_a_write_that_fails(tmp_path, error):
    def write(file):
        file.write(b"half")
        raise error

    with pytest.raises(type(error)):
        write_atomically(tmp_path / "a.txt", write)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["fsync", "link", "replace"])
def test_nothing_is_left_when_the_system_fails(tmp_path, monkeypatch, step):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    if step == "replace":
        monkeypatch.setattr(os, "link", fail)
    monkeypatch.setattr(os, step, fail)
    if step == "link":  # a file system without hard links is no failure
        write_atomically(tmp_path / "a.txt", lambda file: file.write(b"x"))
        assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]
        return
    with pytest.raises(OSError, match="Input/output error"):
        write_atomically(tmp_path / "a.txt", lambda file: file.write(b"x"))
    assert list(tmp_path.iterdir()) == []


def test_the_file_has_the_rights_that_the_umask_gives(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a.txt", lambda file: file.write(b"x"))
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


def test_the_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    done = []
    real_fsync, real_link = os.fsync, os.link
    monkeypatch.setattr(os, "fsync", lambda file: (done.append("fsync"), real_fsync(file)))
    monkeypatch.setattr(os, "link", lambda *names: (done.append("link"), real_link(*names)))
    write_atomically(tmp_path / "a.txt", lambda file: file.write(b"x" * 100_000))
    assert done == ["fsync", "link"]
