"""Files of a result: names, content, and atomic writes."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open

from promptweight import atomic_files
from promptweight.errors import SettingError, WordNotFoundError
from promptweight.generation import generate, slugify
from promptweight.metadata import parse_infotext, read_metadata

PROMPT = "um (gato:1.4) vermelho persegue um rato"
FAST = {"num_inference_steps": 2, "seed": 7}


@pytest.fixture(scope="module")
def result(tiny_pipe):
    """Three images with their maps."""
    return generate(tiny_pipe, PROMPT, negative_prompt="feio", num_images_per_prompt=3, **FAST)


def test_saved_images_have_their_settings(result, tmp_path):
    files = result.save(tmp_path / "new" / "folder")
    assert [path.name for path in files] == [
        f"0000{number}-{seed}-um-gato-vermelho-persegue-um-rato.png"
        for number, seed in ((1, 7), (2, 8), (3, 9))
    ]
    found = read_metadata(files[1])
    assert found.record == {**result.settings, "seed": 8}
    assert found.record["prompt"] == PROMPT
    assert found.record["guidance_scale"] == 7.5
    prompt, negative, settings = parse_infotext(found.infotext)
    assert (prompt, negative) == (PROMPT, "feio")
    assert settings["Steps"] == "2"
    assert settings["Sampler"] == "DDIM"
    assert settings["Size"] == "32x32"
    assert settings["Version"].startswith("promptweight ")
    with Image.open(files[1]) as saved:
        assert saved.tobytes() == result.images[1].tobytes()


def test_record_of_a_file_reproduces_the_image(tiny_pipe, result, tmp_path):
    record = read_metadata(result.save(tmp_path)[2]).record
    names = [
        "prompt",
        "negative_prompt",
        "dialect",
        "weighting",
        "num_inference_steps",
        "guidance_scale",
        "seed",
    ]
    again = generate(tiny_pipe, **{name: record[name] for name in names})
    assert again.images[0].tobytes() == result.images[2].tobytes()


def test_numbers_ascend_and_files_are_not_overwritten(result, tmp_path):
    first = result.save(tmp_path)
    before = {path: path.read_bytes() for path in first}
    (tmp_path / "00041-mine.txt").write_text("mine")
    second = result.save(tmp_path)
    assert [path.name[:5] for path in second] == ["00042", "00043", "00044"]
    assert {path: path.read_bytes() for path in first} == before


def test_file_of_another_process_is_not_overwritten(result, tmp_path, monkeypatch):
    taken = tmp_path / "00001-7-um-gato-vermelho-persegue-um-rato.png"
    taken.write_bytes(b"theirs")
    monkeypatch.setattr(Path, "iterdir", lambda _: iter(()))  # the file appears after the folder was listed
    files = result.save(tmp_path)
    assert taken.read_bytes() == b"theirs"
    assert files[0].name.startswith("00002-7-")


def test_overlays_are_saved_with_each_image(result, tmp_path):
    files = result.save(tmp_path, overlays=["gato vermelho", "RATO"])
    assert [path.name.partition(".")[2] for path in files[:4]] == [
        "png",
        "gato-vermelho.png",
        "rato.png",
        "words.png",
    ]
    assert len(files) == 12
    for path in files[1:4]:
        with Image.open(path) as image:
            assert image.width == 512
    assert read_metadata(files[1]).record["overlay"] == "gato vermelho"
    assert read_metadata(files[5]).record["seed"] == 8


def test_words_with_equal_file_names_get_two_files(tiny_pipe, tmp_path):
    made = generate(tiny_pipe, "avó avô", **FAST)
    files = made.save(tmp_path, overlays=["avó", "avô"])
    assert len({*files}) == 4
    assert all(path.exists() for path in files)


def test_absent_word_writes_nothing(result, tmp_path):
    with pytest.raises(WordNotFoundError, match="cachorro"):
        result.save(tmp_path / "out", overlays=["gato", "cachorro"])
    assert not (tmp_path / "out").exists()


def test_raw_maps_are_saved(result, tmp_path):
    path = next(path for path in result.save(tmp_path, maps=True) if path.name.endswith(".maps.safetensors"))
    with safe_open(path, framework="pt") as file:
        maps, header = file.get_tensor("maps"), file.metadata()
    words = json.loads(header["words"])
    assert [word["text"] for word in words] == [word.text for word in result.words]
    assert torch.equal(maps[1], result.maps.word("gato").tensor)
    assert torch.equal(maps[4], result.maps.word("um", occurrence=1).tensor)


def test_maps_without_recording_are_rejected(tiny_pipe, tmp_path):
    made = generate(tiny_pipe, "gato", record=False, **FAST)
    for options in ({"overlays": ["gato"]}, {"contact_sheet": True}, {"maps": True}):
        with pytest.raises(SettingError, match="record=False"):
            made.save(tmp_path / "out", **options)
    assert len(made.save(tmp_path / "out")) == 1


def test_full_disk_leaves_complete_files_only(result, tmp_path, monkeypatch):
    real, written = atomic_files.write_atomically, []

    def write(path, *rest, **options):
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        real(path, *rest, **options)
        written.append(path)

    monkeypatch.setattr(atomic_files, "write_atomically", write)
    with pytest.raises(OSError, match="No space"):
        result.save(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(written)


def test_folder_that_is_a_file_is_an_os_error(result, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(FileExistsError):
        result.save(tmp_path / "out")


def test_long_slug_ends_with_a_whole_word():
    assert slugify("um gato vermelho à esquerda de um rato cinza") == "um-gato-vermelho-a-esquerda-de-um-rato"
    assert slugify("x" * 100) == "x" * 40
    assert slugify("ガ" * 100) == "ガ" * 33
    assert slugify("के" * 100) == "के" * 16  # never between a letter and its mark


@given(st.text())
def test_slugs_are_safe_file_names(text):
    name = slugify(text)
    assert len(f"00001-{2**63}-{name}.maps.safetensors".encode()) <= 255
    assert Path(name or "x").name == (name or "x")
    assert not set(name) & set('/\\:*?"<>|. \x00')
    assert name == name.strip("-").lower()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CON", "con"), ("Coração!", "coracao"), ("Việt Nam", "viet-nam"), ("猫と犬", "猫と犬"), ("🐱", ""),
        ("ガラスの城、パン", "ガラスの城-パン"), ("ｶﾞﾗｽ", "ガラス"), ("か\u3099", "が"),
        ("한국어 고양이", "한국어-고양이"), ("น้ำสีฟ้า", "น้ําสีฟ้า"),
        ("Ёлка и йод", "ёлка-и-йод"), ("άλφα", "άλφα"), ("हिन्दी में बिल्ली", "हिन्दी-में-बिल्ली"),
        ("שָׁלוֹם", "שָׁלוֹם"), ("قِطّة", "قِطّة"), ("می\u200cخواهم", "میخواهم"), ("1\ufe0f\u20e3 gato", "1-gato"),
        ("葛\U000e0100城", "葛城"),
    ],
)  # fmt: skip
def test_slugs_keep_letters(text, expected):
    assert slugify(text) == expected
