"""Output folder: files of finished images, and the list of the newest."""

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from promptweight import generate
from promptweight.errors import SettingError
from promptweight.metadata import read_metadata
from promptweight_ui.outputs import Outputs


@pytest.fixture
def component(tmp_path):
    return SimpleNamespace(GRADIO_CACHE=str(tmp_path / "cache"), temp_files=set())


@pytest.fixture(scope="module")
def result(tiny_pipe):
    return generate(tiny_pipe, "um gato", seed=5, num_images_per_prompt=2, num_inference_steps=1)


def test_images_are_saved_with_their_settings_and_copied_to_the_cache(result, component, tmp_path):
    outputs = Outputs(tmp_path / "out", is_listed=True)
    copies = outputs.save(result, component)
    saved = sorted((tmp_path / "out").iterdir())
    assert [read_metadata(file).record["seed"] for file in saved] == [5, 6]
    assert [Path(copy).read_bytes() for copy in copies] == [file.read_bytes() for file in saved]
    assert component.temp_files == set(copies)


def test_unfinished_image_is_not_saved(result, component, tmp_path):
    outputs = Outputs(tmp_path / "out")
    (copy, _) = outputs.save(replace(result, stopped_after=1), component)
    assert os.path.exists(copy)
    assert not (tmp_path / "out").exists()


def test_folder_that_cannot_be_written_is_reported_and_the_image_shown(result, component, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    copies = Outputs(tmp_path / "file" / "out").save(result, component)
    assert all(os.path.exists(copy) for copy in copies)
    assert "cannot save" in caplog.text


def test_newest_files_come_first_and_only_of_a_listed_folder(tmp_path):
    for age, name in enumerate(("a.png", "b.JPG", "c.txt", "d.webp")):
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (age, age))
    assert [path.name for path in Outputs(tmp_path, is_listed=True).newest(2)] == ["d.webp", "b.JPG"]
    assert Outputs(tmp_path).newest(9) == []
    assert Outputs(None, is_listed=True).newest(9) == []
    assert Outputs(tmp_path / "none", is_listed=True).newest(9) == []


def test_full_folder_is_refused_and_keeps_its_images(result, component, tmp_path):
    outputs = Outputs(tmp_path / "out", limit=10_000_000)
    outputs.check_room()
    outputs.save(result, component)
    used = sum(file.stat().st_size for file in (tmp_path / "out").iterdir())
    Outputs(tmp_path / "out", limit=used + 1).check_room()
    full = Outputs(tmp_path / "out", limit=used)
    with pytest.raises(SettingError, match="the folder of finished images is full"):
        full.check_room()
    assert sum(file.stat().st_size for file in (tmp_path / "out").iterdir()) == used
    sorted((tmp_path / "out").iterdir())[0].unlink()  # whoever runs the app makes room
    full.check_room()
    Outputs(None, limit=1).check_room()


def test_subfolders_count_and_links_do_not(tmp_path):
    (tmp_path / "out" / "a").mkdir(parents=True)
    (tmp_path / "out" / "a" / "b.png").write_bytes(bytes(1_000))
    (tmp_path / "big").write_bytes(bytes(100_000))
    (tmp_path / "out" / "link").symlink_to(tmp_path / "big")
    Outputs(tmp_path / "out", limit=2_000).check_room()
    with pytest.raises(SettingError):
        Outputs(tmp_path / "out", limit=1_000).check_room()
