"""Generating: the pictures are the pipeline's own, seeds are kept, settings checked, files whole."""

import re
from functools import wraps
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import HeunDiscreteScheduler

from promptweight.attention import attach
from promptweight.conditioning import encode
from promptweight.errors import PromptweightError, SettingError, WordNotFoundError
from promptweight.generation.arguments import MAX_PROMPT_LENGTH, MAX_SEED
from promptweight.generation.image_generation import generate
from promptweight.metadata import read_metadata, parse_infotext

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


def test_each_mode_of_attention_gives_the_picture_that_attaching_gives(tiny_pipe):
    made = {}
    for mode in ("logit", "p2p", "value"):
        made[mode] = generate(PROMPT, tiny_pipe, space="attention", mode=mode, **FAST)
        with attach(tiny_pipe, PROMPT, space="attention", mode=mode) as session:
            generator = torch.Generator().manual_seed(7)
            expected = tiny_pipe(**session.inputs, num_inference_steps=2, generator=generator).images[0]
        assert made[mode].images[0].tobytes() == expected.tobytes()
        assert made[mode].settings["mode"] == mode
    assert made["logit"].images[0].tobytes() != made["p2p"].images[0].tobytes()


def test_weights_inside_the_text_encoder(tiny_pipe):
    made = generate(PROMPT, tiny_pipe, space="attention", mode="clip", normalizer="length", **FAST)
    inputs = encode(tiny_pipe, PROMPT, mode="clip", normalizer="length")
    generator = torch.Generator().manual_seed(7)
    expected = tiny_pipe(**inputs, num_inference_steps=2, generator=generator).images[0]
    assert made.images[0].tobytes() == expected.tobytes()
    assert made.settings["methods"] == {"clip": "clip"}
    assert parse_infotext(made.parameters())[2]["Weighting"] == "attention clip"
    assert made.warnings == ()
    word = generate("um (gato:1.4{mode=clip}) vermelho", tiny_pipe, **FAST)
    with attach(tiny_pipe, "um (gato:1.4) vermelho", space="attention", mode="clip") as session:
        generator = torch.Generator().manual_seed(7)
        expected = tiny_pipe(**session.inputs, num_inference_steps=2, generator=generator).images[0]
    assert word.images[0].tobytes() == expected.tobytes()


@pytest.mark.parametrize("setting", [{"normalizer": "mean"}, {"clip_skip": 1}])
def test_settings_of_the_encoding_reach_the_picture(tiny_pipe, setting):
    made = generate(PROMPT, tiny_pipe, **setting, **FAST)
    inputs = encode(tiny_pipe, PROMPT, **setting)
    generator = torch.Generator().manual_seed(7)
    expected = tiny_pipe(**inputs, num_inference_steps=2, generator=generator).images[0]
    assert made.images[0].tobytes() == expected.tobytes()
    assert made.images[0].tobytes() != generate(PROMPT, tiny_pipe, **FAST).images[0].tobytes()
    assert made.settings.items() >= setting.items()


def test_a_weighted_pooled_vector_is_asked_of_the_encoding(tiny_pipe, monkeypatch):
    asked = {}

    def attach(*_, **settings):
        asked.update(settings)
        raise KeyboardInterrupt

    monkeypatch.setattr("promptweight.attention.attach", attach)
    with pytest.raises(KeyboardInterrupt):
        generate(PROMPT, tiny_pipe, pooled="weighted", **FAST)
    assert asked["pooled"] == "weighted"


def test_the_method_that_was_used_is_told_for_each_encoder(tiny_pipe):
    asked = {"default": {}, "named": {"method": "comfy"}, "attention": {"space": "attention"}}
    told = {name: generate("gato", tiny_pipe, **each, **FAST) for name, each in asked.items()}
    assert told["default"].settings["method"] is None
    assert {name: made.settings["methods"] for name, made in told.items()} == {
        "default": {"clip": "a1111"},
        "named": {"clip": "comfy"},
        "attention": {"clip": "none"},
    }
    weightings = {
        name: parse_infotext(made.parameters())[2]["Weighting"] for name, made in told.items()
    }
    assert weightings == {"default": "a1111", "named": "comfy", "attention": "attention logit"}


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
        ({"num_inference_steps": 0}, "num_inference_steps must be between 1 and 1000; got 0"),
        ({"num_inference_steps": 2.5}, "num_inference_steps must be an integer; got 2.5"),
        ({"num_images_per_prompt": 0}, "num_images_per_prompt is 0"),
        ({"guidance_scale": float("nan")}, "guidance_scale must be between 0 and 100; got nan"),
        ({"guidance_scale": "much"}, "guidance_scale must be a finite number; got 'much'"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": MAX_SEED, "num_images_per_prompt": 2}, "seed is"),
        ({"height": 33}, "height must be a multiple of 8 for this model; got 33"),
        ({"width": 0}, "width must be between 8 and"),
        ({"space": "nowhere"}, "space must be one of: embedding, attention; got 'nowhere'"),
        ({"dialect": "klingon"}, "dialect must be one of: .*; got 'klingon'"),
        ({"method": "magic"}, "'magic'"),
        ({"normalizer": "loud"}, "normalizer must be one of: none, mean"),
        ({"mode": "embedding"}, "mode must be one of: logit, p2p, value, clip; got 'embedding'"),
        ({"clip_skip": -1}, "clip_skip must be between 0 and 100; got -1"),
        ({"clip_skip": 9}, "clip_skip must be from 0 to 1 for the text encoder clip; got 9"),
        ({"pooled": "dirty"}, "pooled must be one of: clean, weighted; got 'dirty'"),
        ({"prompt": "x" * (MAX_PROMPT_LENGTH + 1)}, "the prompt has 1000001 characters"),
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
    from promptweight.models.loading import load

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
    first, second = (read_metadata(path).record for path in made.save(tmp_path))
    assert "stopped_after" not in first
    assert second["stopped_after"] == 1


def test_each_picture_is_handed_over_before_the_next_is_begun(tiny_pipe, result, tmp_path):
    order, handed = [], []

    def on_picture(made):
        order.append("picture")
        handed.append(made)

    made = generate(
        PROMPT,
        tiny_pipe,
        negative_prompt="feio",
        num_images_per_prompt=3,
        callback=lambda _: order.append("step"),
        on_picture=on_picture,
        **FAST,
    )
    assert order == ["step", "step", "picture"] * 3
    assert [each.seeds for each in handed] == [(7,), (8,), (9,)]
    for index, each in enumerate(handed):
        assert each.images[0].tobytes() == made.images[index].tobytes() == result.images[index].tobytes()
        assert torch.equal(each.maps.word("gato").tensor, made.maps.word("gato", image=index).tensor)
        assert each.record() == made.record(index)
        assert each.parameters() == made.parameters(index)
    (file,) = handed[1].save(tmp_path)
    assert read_metadata(file).record == result.record(1)


def test_found_weights_are_told_of_the_picture_they_are_of(tiny_pipe):
    handed = []
    made = generate("um (gato:=30%)", tiny_pipe, num_images_per_prompt=2, on_picture=handed.append, **FAST)
    assert [each.found for each in handed] == [made.found[:1], made.found[1:]]
    assert not any("picture 1" in warning for warning in handed[1].warnings)
    assert any("picture 2" in warning for warning in handed[1].warnings)


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
    from promptweight.models.loading import load

    pipe = load(model_folder, device="cpu")
    with torch.no_grad():
        pipe.vae.decoder.conv_out.weight.fill_(float("nan"))
    made = generate("gato", pipe, **FAST)
    assert any("NaN" in sentence and "float32" in sentence for sentence in made.warnings)
    assert np.asarray(made.images[0]).max() == 0


def test_black_pictures_are_said(model_folder):
    from promptweight.models.loading import load

    pipe = load(model_folder, device="cpu")
    with torch.no_grad():
        pipe.vae.decoder.conv_out.weight.zero_()
        pipe.vae.decoder.conv_out.bias.fill_(-5)
    assert generate("gato", pipe, **FAST).warnings == ("image 1 is completely black",)


def test_what_the_safety_checker_did_is_said(tiny_pipe, monkeypatch):
    black = SimpleNamespace(images=np.zeros((1, 8, 8, 3)), nsfw_content_detected=[True])
    replace_run(monkeypatch, tiny_pipe, lambda *_, **__: black)
    made = generate("gato", tiny_pipe, record=False, **FAST)
    assert made.warnings == ("image 1 was blacked out by the safety checker of the model",)


def test_settings_without_effect_are_said(tiny_pipe):
    made = generate("gato", tiny_pipe, negative_prompt="feio", guidance_scale=1, **FAST)
    assert any("negative prompt has no effect" in sentence for sentence in made.warnings)
    made = generate("gato", tiny_pipe, method="comfy", space="attention", **FAST)
    assert any("'comfy'" in sentence for sentence in made.warnings)
    made = generate("gato", tiny_pipe, normalizer="mean", space="attention", **FAST)
    assert any("normalizer 'mean'" in sentence for sentence in made.warnings)
    made = generate("gato", tiny_pipe, mode="p2p", **FAST)
    assert any("mode 'p2p'" in sentence for sentence in made.warnings)


@pytest.mark.parametrize(
    "text", ["", " ", "🐱", "(((", "a\x00b", "\ud800", "gato " * 200, "um\ngato", "<<<>>>"]
)
def test_any_text_makes_a_picture_and_a_file(tiny_pipe, tmp_path, text):
    made = generate(text, tiny_pipe, negative_prompt=text, num_inference_steps=1, seed=1)
    files = made.save(tmp_path, sheet=True, maps=True)
    assert len(files) == 3
    assert read_metadata(files[0]).record["prompt"] == text


def test_errors_are_of_the_package(tiny_pipe):
    with pytest.raises(PromptweightError):
        generate("gato", tiny_pipe, height=7)
