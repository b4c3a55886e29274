"""Sidecar files of a batch's images: overlays, masks and maps, complete before the image exists."""

import errno

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from promptweight.batch import OutputOptions, sidecar_suffixes, writer
from promptweight.errors import WordNotFoundError
from promptweight.maps import AttentionMaps
from promptweight.prompt import parse

DAAM_THRESHOLD = 0.4


def pixels(path):
    with Image.open(path) as image:
        return np.array(image.convert("RGB")).astype(int)


def test_sidecar_files_are_complete_before_the_image_exists(plan_of, run_in, tmp_path, monkeypatch):
    plan = plan_of("um gato azul", "um rato")
    output_options = OutputOptions(overlays=("gato",), maps=True, masks=True)
    options = {"output_options": output_options, "batch_size": 2}
    write_atomically = writer.write_atomically

    def fail_at_images(path, *rest, **options):
        if path.suffix == ".png" and path.name.count(".") == 1:
            raise OSError(errno.EIO, "Input/output error")
        write_atomically(path, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(writer, "write_atomically", fail_at_images)
        with pytest.raises(OSError, match="Input/output error"):
            run_in(plan, **options)
    assert not [path for path in (tmp_path / "out").glob("0*.png") if path.name.count(".") == 1]
    outcome, lines = run_in(plan, **options)
    assert outcome.ok == 2
    first, second = (each.stem for each in plan.images)
    assert sorted(path.name for path in (tmp_path / "out").glob("0*")) == sorted(
        [f"{first}.png", f"{first}.gato.png", f"{first}.gato.mask.png", f"{first}.maps.safetensors",
         f"{second}.png", f"{second}.maps.safetensors"]
    )  # fmt: skip
    assert lines[0]["beside"] == [f"{first}.gato.png", f"{first}.gato.mask.png", f"{first}.maps.safetensors"]
    maps = load_file(tmp_path / "out" / f"{first}.maps.safetensors")["maps"]
    assert maps.shape == (3, 32, 32)
    gato = maps[1]
    mask = pixels(tmp_path / "out" / f"{first}.gato.mask.png")[..., 0] == 255
    expected = (gato - gato.min()) / (gato.max() - gato.min()) >= DAAM_THRESHOLD
    assert (mask == expected.numpy()).all()
    assert run_in(plan, **options, load=lambda: pytest.fail("loaded"))[0].skipped == 2
    (tmp_path / "out" / f"{second}.maps.safetensors").unlink()
    assert run_in(plan, **options)[0].ok == 1


def test_words_of_later_steps_have_overlays_and_masks(plan_of, run_in, tmp_path):
    plan = plan_of("um [gato:rato:0.5] azul", num_inference_steps=2)
    overlays = OutputOptions(overlays=("rato", "gato"))
    assert run_in(plan, output_options=overlays)[0].ok == 1
    stem = plan.images[0].stem
    assert {path.name for path in (tmp_path / "out").glob("0*.*.png")} == {
        f"{stem}.rato.png", f"{stem}.gato.png",
    }  # fmt: skip
    assert run_in(plan, output_options=OutputOptions(masks=True))[0].ok == 1
    masks = {path.name.split(".")[1] for path in (tmp_path / "out").glob("0*.mask.png")}
    assert masks == {"um", "gato", "rato", "azul"}
    assert run_in(plan, output_options=overlays)[0].skipped == 1


def test_overlay_of_a_truncated_word_has_no_heat(plan_of, run_in, tmp_path, monkeypatch):
    def truncated(self, phrase, *_):
        raise WordNotFoundError(f"{phrase!r} was cut off")

    monkeypatch.setattr(AttentionMaps, "word", truncated)
    plan = plan_of("um gato")
    outcome, lines = run_in(plan, output_options=OutputOptions(overlays=("gato",)))
    assert outcome.ok == 1, lines
    assert (tmp_path / "out" / f"{plan.images[0].stem}.gato.png").is_file()


def test_names_of_sidecar_files_keep_the_marks_of_other_scripts():
    prompt = parse("ガラス カラス 犬").at()
    suffixes = sidecar_suffixes(OutputOptions(overlays=("ガラス", "カラス")), prompt, 1)
    assert suffixes == (".ガラス.png", ".カラス.png")
