"""What stands beside a batch's pictures: overlays, masks and maps, there before the picture is."""

import errno

import numpy as np
import pytest
from PIL import Image

from promptweight.batch import writer
from promptweight.batch.writer import OutputOptions
from promptweight.errors import WordNotFoundError


def pixels(path):
    with Image.open(path) as image:
        return np.array(image.convert("RGB")).astype(int)


def test_what_stands_beside_is_whole_before_the_picture_is_there(plan_of, run_in, tmp_path, monkeypatch):
    from safetensors.torch import load_file

    plan = plan_of("um gato azul", "um rato")
    options = {"saving": OutputOptions(overlays=("gato",), maps=True, masks=True), "batch_size": 2}
    real = writer.write_atomically

    def fail_at_the_picture(path, *rest, **options):
        if path.suffix == ".png" and path.name.count(".") == 1:
            raise OSError(errno.EIO, "Input/output error")
        real(path, *rest, **options)

    monkeypatch.setattr(writer, "write_atomically", fail_at_the_picture)
    with pytest.raises(OSError, match="Input/output error"):
        run_in(plan, **options)
    assert not [path for path in (tmp_path / "out").glob("0*.png") if path.name.count(".") == 1]
    monkeypatch.setattr(writer, "write_atomically", real)
    outcome, lines = run_in(plan, **options)
    assert outcome.ok == 2
    first, second = (each.stem for each in plan.pictures)
    assert sorted(path.name for path in (tmp_path / "out").glob("0*")) == sorted(
        [f"{first}.png", f"{first}.gato.png", f"{first}.gato.mask.png", f"{first}.maps.safetensors",
         f"{second}.png", f"{second}.maps.safetensors"]
    )  # fmt: skip
    assert lines[0]["beside"] == [f"{first}.gato.png", f"{first}.gato.mask.png", f"{first}.maps.safetensors"]
    maps = load_file(tmp_path / "out" / f"{first}.maps.safetensors")["maps"]
    assert maps.shape == (3, 32, 32)
    gato = maps[1]
    mask = pixels(tmp_path / "out" / f"{first}.gato.mask.png")[..., 0] == 255
    expected = (gato - gato.min()) / (gato.max() - gato.min()) >= 0.4  # DAAM's threshold
    assert (mask == expected.numpy()).all()
    assert run_in(plan, **options, load=lambda: pytest.fail("loaded"))[0].skipped == 2
    (tmp_path / "out" / f"{second}.maps.safetensors").unlink()
    assert run_in(plan, **options)[0].ok == 1


def test_words_that_are_said_later_have_overlays_and_masks_too(plan_of, run_in, tmp_path):
    plan = plan_of("um [gato:rato:0.5] azul", num_inference_steps=2)
    wanted = OutputOptions(overlays=("rato", "gato"))
    assert run_in(plan, saving=wanted)[0].ok == 1
    stem = plan.pictures[0].stem
    assert {path.name for path in (tmp_path / "out").glob("0*.*.png")} == {
        f"{stem}.rato.png", f"{stem}.gato.png",
    }  # fmt: skip
    assert run_in(plan, saving=OutputOptions(masks=True))[0].ok == 1
    masks = {path.name.split(".")[1] for path in (tmp_path / "out").glob("0*.mask.png")}
    assert masks == {"um", "gato", "rato", "azul"}
    assert run_in(plan, saving=wanted)[0].skipped == 1


def test_an_overlay_of_a_word_that_was_cut_off_shows_no_heat(plan_of, run_in, tmp_path, monkeypatch):
    def cut(self, phrase, **_):
        raise WordNotFoundError(f"{phrase!r} was cut off")

    monkeypatch.setattr("promptweight.maps.attention_maps.AttentionMaps.word", cut)
    plan = plan_of("um gato")
    outcome, lines = run_in(plan, saving=OutputOptions(overlays=("gato",)))
    assert outcome.ok == 1, lines
    assert (tmp_path / "out" / f"{plan.pictures[0].stem}.gato.png").is_file()
