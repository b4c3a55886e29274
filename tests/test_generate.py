"""Generating: the pictures are the pipeline's own, seeds are kept, settings checked, files whole."""

import json
import re
from functools import wraps
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import HeunDiscreteScheduler
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open

from promptweight import metadata
from promptweight.errors import PromptweightError, SettingError, WordNotFoundError
from promptweight.generate import MAX_PROMPT, MAX_SEED, generate
from promptweight.result import slug

PROMPT = "um (gato:1.4) vermelho persegue um rato"
FAST = {"num_inference_steps": 2, "seed": 7}


def replace_run(monkeypatch, pipe, action):
    """Puts `action` in the place of the pipeline's run, under the run's own signature."""
    monkeypatch.setattr(type(pipe), "__call__", wraps(type(pipe).__call__)(action))


@pytest.fixture(scope="module")
def result(tiny_pipe):
    """Three pictures with their maps."""
    return generate(PROMPT, tiny_pipe, negative_prompt="feio", num_images_per_prompt=3, **FAST)


def test_without_weights_the_picture_is_the_pipelines_own(tiny_pipe):
    ours = generate("um gato", tiny_pipe, negative_prompt="feio", guidance_scale=5, **FAST).images[0]
    theirs = tiny_pipe(
        "um gato",
        negative_prompt="feio",
        num_inference_steps=2,
        guidance_scale=5,
        generator=torch.Generator().manual_seed(7),
    ).images[0]
    assert ours.mode == "RGB"
    assert ours.tobytes() == theirs.tobytes()


def test_recording_changes_no_bit(tiny_pipe, result):
    plain = generate(PROMPT, tiny_pipe, negative_prompt="feio", record=False, **FAST)
    assert plain.maps is None
    assert plain.images[0].tobytes() == result.images[0].tobytes()


def test_each_picture_has_its_own_seed_and_does_not_depend_on_the_others(tiny_pipe, result):
    assert result.seeds == (7, 8, 9)
    for index in (1, 2):
        alone = generate(PROMPT, tiny_pipe, negative_prompt="feio", num_inference_steps=2, seed=7 + index)
        assert alone.images[0].tobytes() == result.images[index].tobytes()
        assert torch.equal(alone.maps.word("gato").tensor, result.maps.word("gato", image=index).tensor)
    assert len({image.tobytes() for image in result.images}) == 3


def test_weights_change_the_picture_in_either_space(tiny_pipe):
    made = {
        (text, space): generate(text, tiny_pipe, space=space, **FAST).images[0].tobytes()
        for text in ("um gato", "um (gato:1.4)")
        for space in ("embedding", "attention")
    }
    assert made["um gato", "embedding"] == made["um gato", "attention"]
    assert len(set(made.values())) == 3


def test_the_methods_differ(tiny_pipe):
    made = {
        generate(PROMPT, tiny_pipe, method=method, **FAST).images[0].tobytes()
        for method in ("scale", "comfy")
    }
    assert len(made) == 2


def test_maps_have_the_size_of_the_picture(result):
    heat = result.maps.word("gato vermelho", image=2).tensor
    assert heat.shape == (result.images[2].height, result.images[2].width)
    assert heat.dtype == torch.float32
    assert [word.text for word in result.words] == ["um", "gato", "vermelho", "persegue", "um", "rato"]
    assert [word.weight for word in result.words] == [1, 1.4, 1, 1, 1, 1]


def test_size_can_be_chosen(tiny_pipe):
    made = generate(PROMPT, tiny_pipe, height=16, width=40, **FAST)
    assert made.images[0].size == (40, 16)
    assert made.maps.word("gato").tensor.shape == (16, 40)
    assert made.settings["height"] == 16


def test_a_seed_is_drawn_and_told(tiny_pipe):
    first, second = (generate("gato", tiny_pipe, num_inference_steps=1) for _ in range(2))
    assert first.seeds != second.seeds
    again = generate("gato", tiny_pipe, num_inference_steps=1, seed=first.seeds[0])
    assert again.images[0].tobytes() == first.images[0].tobytes()


def test_global_random_state_is_neither_used_nor_changed(tiny_pipe, result):
    torch.manual_seed(123)
    before = torch.get_rng_state()
    again = generate(PROMPT, tiny_pipe, negative_prompt="feio", **FAST)
    assert torch.equal(torch.get_rng_state(), before)
    assert again.images[0].tobytes() == result.images[0].tobytes()


def test_a_model_is_loaded_by_name(model_folder, tiny_pipe):
    made = generate("gato", model_folder, **FAST)
    assert made.settings["model"] == "tiny-random"
    assert made.images[0].tobytes() == generate("gato", tiny_pipe, **FAST).images[0].tobytes()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_inference_steps": 0}, "num_inference_steps is 0; it must lie between 1 and 1000"),
        ({"num_inference_steps": 2.5}, "num_inference_steps is 2.5; it must be a whole number"),
        ({"num_images_per_prompt": 0}, "num_images_per_prompt is 0"),
        ({"guidance_scale": float("nan")}, "guidance_scale is nan; it must lie between 0 and 100"),
        ({"guidance_scale": "much"}, "guidance_scale is 'much'; it must be a number"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": MAX_SEED, "num_images_per_prompt": 2}, "seed is"),
        ({"height": 33}, "height is 33; this model makes pictures in multiples of 8"),
        ({"width": 0}, "width is 0; it must lie between 8 and"),
        ({"space": "nowhere"}, "space is 'nowhere'; valid: embedding, attention"),
        ({"dialect": "klingon"}, "dialect is 'klingon'"),
        ({"method": "magic"}, "'magic'"),
        ({"prompt": "x" * (MAX_PROMPT + 1)}, "the prompt has 1000001 characters"),
        ({"prompt": 7}, "not int"),
        ({"negative_prompt": None}, "not NoneType"),
    ],
)
def test_settings_are_checked_before_the_model_runs(tiny_pipe, monkeypatch, settings, said):
    replace_run(monkeypatch, tiny_pipe, lambda *_, **__: pytest.fail("the model ran"))
    with pytest.raises(SettingError, match=re.escape(said)):
        generate(**{"prompt": "gato", "model": tiny_pipe, **settings})


def test_required_words_are_checked_before_the_model_runs(tiny_pipe, monkeypatch):
    replace_run(monkeypatch, tiny_pipe, lambda *_, **__: pytest.fail("the model ran"))
    with pytest.raises(WordNotFoundError, match=r"'cachorro'.*gato.*rato"):
        generate(PROMPT, tiny_pipe, require_words=["gato", "cachorro"])


def test_the_callback_hears_of_every_step_and_sees_the_maps_grow(tiny_pipe):
    heard, masses = [], []

    def callback(progress):
        heard.append((progress.picture, progress.pictures, progress.step, progress.steps))
        masses.append(progress.maps.word("gato").mass)

    made = generate(
        PROMPT, tiny_pipe, num_images_per_prompt=2, num_inference_steps=3, seed=7, callback=callback
    )
    assert heard == [(picture, 2, step, 3) for picture in (1, 2) for step in (1, 2, 3)]
    assert len(set(masses)) == 6
    assert masses[2] == made.maps.word("gato", image=0).mass
    assert masses[5] == made.maps.word("gato", image=1).mass


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # diffusers' scheduler on numpy 2
def test_steps_are_counted_as_the_scheduler_makes_them(model_folder):
    from promptweight.models import load

    pipe = load(model_folder, device="cpu")
    pipe.scheduler = HeunDiscreteScheduler()
    heard = []
    generate("gato", pipe, callback=lambda progress: heard.append((progress.step, progress.steps)), **FAST)
    assert heard == [(1, 3), (2, 3), (3, 3)]  # Heun looks twice at all steps but the last


def test_stopping_half_way_keeps_what_is_there(tiny_pipe, result, tmp_path):
    made = generate(
        PROMPT,
        tiny_pipe,
        negative_prompt="feio",
        num_images_per_prompt=3,
        callback=lambda progress: (progress.picture, progress.step) != (2, 1),
        **FAST,
    )
    assert len(made.images) == len(made.seeds) == 2
    assert made.stopped_after == 1
    assert made.images[0].tobytes() == result.images[0].tobytes()
    assert made.images[1].tobytes() != result.images[1].tobytes()
    assert made.maps.word("gato", image=1).tensor.isfinite().all()
    first, second = (metadata.read(path).record for path in made.save(tmp_path))
    assert "stopped_after" not in first
    assert second["stopped_after"] == 1


def test_stopping_after_the_last_step_keeps_a_finished_picture(tiny_pipe, result):
    made = generate(
        PROMPT,
        tiny_pipe,
        negative_prompt="feio",
        num_images_per_prompt=3,
        callback=lambda progress: progress.step < progress.steps,
        **FAST,
    )
    assert made.stopped_after is None
    assert [image.tobytes() for image in made.images] == [result.images[0].tobytes()]


def test_a_stopped_pipeline_runs_again(tiny_pipe, result):
    generate("gato", tiny_pipe, callback=lambda _: False, **FAST)
    again = generate(PROMPT, tiny_pipe, negative_prompt="feio", **FAST)
    assert again.images[0].tobytes() == result.images[0].tobytes()


def test_an_error_in_the_callback_leaves_the_pipeline_as_it_was(tiny_pipe):
    before = {name: type(each) for name, each in tiny_pipe.unet.attn_processors.items()}

    def callback(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate("gato", tiny_pipe, callback=callback, **FAST)
    assert {name: type(each) for name, each in tiny_pipe.unet.attn_processors.items()} == before


def test_overflow_is_noticed_and_said(model_folder):
    from promptweight.models import load

    pipe = load(model_folder, device="cpu")
    with torch.no_grad():
        pipe.vae.decoder.conv_out.weight.fill_(float("nan"))
    made = generate("gato", pipe, **FAST)
    assert any("NaN" in sentence and "float32" in sentence for sentence in made.warnings)
    assert np.asarray(made.images[0]).max() == 0


def test_black_pictures_are_said(model_folder):
    from promptweight.models import load

    pipe = load(model_folder, device="cpu")
    with torch.no_grad():
        pipe.vae.decoder.conv_out.weight.zero_()
        pipe.vae.decoder.conv_out.bias.fill_(-5)
    assert generate("gato", pipe, **FAST).warnings == ("picture 1 is black from edge to edge",)


def test_what_the_safety_checker_did_is_said(tiny_pipe, monkeypatch):
    black = SimpleNamespace(images=np.zeros((1, 8, 8, 3)), nsfw_content_detected=[True])
    replace_run(monkeypatch, tiny_pipe, lambda *_, **__: black)
    made = generate("gato", tiny_pipe, record=False, **FAST)
    assert made.warnings == ("picture 1 was blackened by the model's own safety checker",)


def test_settings_without_effect_are_said(tiny_pipe):
    made = generate("gato", tiny_pipe, negative_prompt="feio", guidance_scale=1, **FAST)
    assert any("negative prompt has no effect" in sentence for sentence in made.warnings)
    made = generate("gato", tiny_pipe, method="comfy", space="attention", **FAST)
    assert any("'comfy'" in sentence for sentence in made.warnings)


@pytest.mark.parametrize(
    "text", ["", " ", "🐱", "(((", "a\x00b", "\ud800", "gato " * 200, "um\ngato", "<<<>>>"]
)
def test_any_text_makes_a_picture_and_a_file(tiny_pipe, tmp_path, text):
    made = generate(text, tiny_pipe, negative_prompt=text, num_inference_steps=1, seed=1)
    files = made.save(tmp_path, sheet=True, maps=True)
    assert len(files) == 3
    assert metadata.read(files[0]).record["prompt"] == text


def test_saved_pictures_hold_their_settings(result, tmp_path):
    files = result.save(tmp_path / "new" / "folder")
    assert [path.name for path in files] == [
        f"0000{number}-{seed}-um-gato-vermelho-persegue-um-rato.png"
        for number, seed in ((1, 7), (2, 8), (3, 9))
    ]
    found = metadata.read(files[1])
    assert found.record == {**result.settings, "seed": 8}
    assert found.record["prompt"] == PROMPT
    assert found.record["guidance_scale"] == 7.5
    prompt, negative, settings = metadata.read_parameters(found.parameters)
    assert (prompt, negative) == (PROMPT, "feio")
    assert settings["Steps"] == "2"
    assert settings["Sampler"] == "DDIM"
    assert settings["Size"] == "32x32"
    assert settings["Version"].startswith("promptweight ")
    with Image.open(files[1]) as saved:
        assert saved.tobytes() == result.images[1].tobytes()


def test_a_picture_can_be_made_again_from_its_file(tiny_pipe, result, tmp_path):
    record = metadata.read(result.save(tmp_path)[2]).record
    names = [
        "prompt",
        "negative_prompt",
        "dialect",
        "method",
        "space",
        "num_inference_steps",
        "guidance_scale",
        "seed",
    ]
    again = generate(model=tiny_pipe, **{name: record[name] for name in names})
    assert again.images[0].tobytes() == result.images[2].tobytes()


def test_files_are_numbered_on_and_never_overwritten(result, tmp_path):
    first = result.save(tmp_path)
    before = {path: path.read_bytes() for path in first}
    (tmp_path / "00041-mine.txt").write_text("mine")
    second = result.save(tmp_path)
    assert [path.name[:5] for path in second] == ["00042", "00043", "00044"]
    assert {path: path.read_bytes() for path in first} == before


def test_a_name_taken_by_another_process_is_left_alone(result, tmp_path, monkeypatch):
    taken = tmp_path / "00001-7-um-gato-vermelho-persegue-um-rato.png"
    taken.write_bytes(b"theirs")
    monkeypatch.setattr("promptweight.result._next_number", lambda _: 1)
    files = result.save(tmp_path)
    assert taken.read_bytes() == b"theirs"
    assert files[0].name.startswith("00002-7-")


def test_overlays_are_written_beside_the_picture(result, tmp_path):
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
    assert metadata.read(files[1]).record["overlay"] == "gato vermelho"
    assert metadata.read(files[5]).record["seed"] == 8


def test_two_words_with_one_file_name_get_two_files(tiny_pipe, tmp_path):
    made = generate("avó avô", tiny_pipe, **FAST)
    files = made.save(tmp_path, overlays=["avó", "avô"])
    assert len({*files}) == 4
    assert all(path.exists() for path in files)


def test_a_wrong_word_writes_nothing(result, tmp_path):
    with pytest.raises(WordNotFoundError, match="cachorro"):
        result.save(tmp_path / "out", overlays=["gato", "cachorro"])
    assert not (tmp_path / "out").exists()


def test_maps_are_written_raw(result, tmp_path):
    path = next(path for path in result.save(tmp_path, maps=True) if path.name.endswith(".maps.safetensors"))
    with safe_open(path, framework="pt") as file:
        maps, header = file.get_tensor("maps"), file.metadata()
    words = json.loads(header["words"])
    assert [word["text"] for word in words] == [word.text for word in result.words]
    assert torch.equal(maps[1], result.maps.word("gato").tensor)
    assert torch.equal(maps[4], result.maps.word("um", occurrence=1).tensor)


def test_without_recording_there_are_no_maps_to_save(tiny_pipe, tmp_path):
    made = generate("gato", tiny_pipe, record=False, **FAST)
    for options in ({"overlays": ["gato"]}, {"sheet": True}, {"maps": True}):
        with pytest.raises(SettingError, match="record=False"):
            made.save(tmp_path / "out", **options)
    assert len(made.save(tmp_path / "out")) == 1


def test_a_full_disk_leaves_whole_files_only(result, tmp_path, monkeypatch):
    real, written = metadata.write_atomically, []

    def write(path, *rest, **options):
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        real(path, *rest, **options)
        written.append(path)

    monkeypatch.setattr(metadata, "write_atomically", write)
    with pytest.raises(OSError, match="No space"):
        result.save(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(written)


def test_a_folder_that_is_a_file_is_the_systems_own_error(result, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(FileExistsError):
        result.save(tmp_path / "out")


@given(st.text())
def test_slugs_are_safe_file_names(text):
    name = slug(text)
    assert len(f"00001-{2**63}-{name}.maps.safetensors".encode()) <= 255
    assert Path(name or "x").name == (name or "x")
    assert not set(name) & set('/\\:*?"<>|. \x00')
    assert name == name.strip("-").lower()


@pytest.mark.parametrize(
    ("text", "expected"), [("CON", "con"), ("Coração!", "coracao"), ("猫と犬", "猫と犬"), ("🐱", "")]
)
def test_slugs_keep_letters(text, expected):
    assert slug(text) == expected


def test_errors_are_of_the_package(tiny_pipe):
    with pytest.raises(PromptweightError):
        generate("gato", tiny_pipe, height=7)
