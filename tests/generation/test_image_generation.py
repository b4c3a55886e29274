"""`generate`: bit-identity with the pipeline, seeds, settings, stopping and warnings."""

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
from promptweight.metadata import parse_infotext, read_metadata

PROMPT = "um (gato:1.4) vermelho persegue um rato"
FAST = {"num_inference_steps": 2, "seed": 7}


def replace_run(monkeypatch, pipe, action):
    """Replace the call of the pipeline by `action`, with the signature of the call."""
    monkeypatch.setattr(type(pipe), "__call__", wraps(type(pipe).__call__)(action))


@pytest.fixture(scope="module")
def result(tiny_pipe):
    """Three images with their maps."""
    return generate(PROMPT, tiny_pipe, negative_prompt="feio", num_images_per_prompt=3, **FAST)


def test_image_without_weights_is_that_of_the_pipeline(tiny_pipe):
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


def test_image_depends_on_its_own_seed_only(tiny_pipe, result):
    assert result.seeds == (7, 8, 9)
    for index in (1, 2):
        alone = generate(PROMPT, tiny_pipe, negative_prompt="feio", num_inference_steps=2, seed=7 + index)
        assert alone.images[0].tobytes() == result.images[index].tobytes()
        assert torch.equal(alone.maps.word("gato").tensor, result.maps.word("gato", image=index).tensor)
    assert len({image.tobytes() for image in result.images}) == 3


def test_weights_change_the_image_in_both_spaces(tiny_pipe):
    made = {
        (text, space): generate(text, tiny_pipe, space=space, **FAST).images[0].tobytes()
        for text in ("um gato", "um (gato:0.6)")
        for space in ("embedding", "attention")
    }
    assert made["um gato", "embedding"] == made["um gato", "attention"]
    assert len(set(made.values())) == 3


def test_methods_give_different_images(tiny_pipe):
    made = {
        generate(PROMPT, tiny_pipe, method=method, **FAST).images[0].tobytes()
        for method in ("scale", "comfy")
    }
    assert len(made) == 2


def test_attention_modes_are_bit_identical_to_attach(tiny_pipe):
    made = {}
    for mode in ("logit", "p2p", "value"):
        made[mode] = generate(PROMPT, tiny_pipe, space="attention", mode=mode, **FAST)
        with attach(tiny_pipe, PROMPT, space="attention", mode=mode) as session:
            generator = torch.Generator().manual_seed(7)
            expected = tiny_pipe(**session.inputs, num_inference_steps=2, generator=generator).images[0]
        assert made[mode].images[0].tobytes() == expected.tobytes()
        assert made[mode].settings["mode"] == mode
    assert made["logit"].images[0].tobytes() != made["p2p"].images[0].tobytes()


def test_clip_mode_is_bit_identical_to_encode_and_attach(tiny_pipe):
    made = generate(PROMPT, tiny_pipe, space="attention", mode="clip", normalizer="length", **FAST)
    inputs = encode(tiny_pipe, PROMPT, mode="clip", normalizer="length")
    generator = torch.Generator().manual_seed(7)
    expected = tiny_pipe(**inputs, num_inference_steps=2, generator=generator).images[0]
    assert made.images[0].tobytes() == expected.tobytes()
    assert made.settings["methods"] == {"clip": "clip"}
    assert parse_infotext(made.infotext())[2]["Weighting"] == "attention clip"
    assert made.warnings == ()
    word = generate("um (gato:1.4{mode=clip}) vermelho", tiny_pipe, **FAST)
    with attach(tiny_pipe, "um (gato:1.4) vermelho", space="attention", mode="clip") as session:
        generator = torch.Generator().manual_seed(7)
        expected = tiny_pipe(**session.inputs, num_inference_steps=2, generator=generator).images[0]
    assert word.images[0].tobytes() == expected.tobytes()


@pytest.mark.parametrize("setting", [{"normalizer": "mean"}, {"clip_skip": 1}])
def test_encoding_settings_are_bit_identical_to_encode(tiny_pipe, setting):
    made = generate(PROMPT, tiny_pipe, method="scale", **setting, **FAST)
    inputs = encode(tiny_pipe, PROMPT, method="scale", **setting)
    generator = torch.Generator().manual_seed(7)
    expected = tiny_pipe(**inputs, num_inference_steps=2, generator=generator).images[0]
    assert made.images[0].tobytes() == expected.tobytes()
    default = generate(PROMPT, tiny_pipe, method="scale", **FAST)
    assert made.images[0].tobytes() != default.images[0].tobytes()
    assert made.settings.items() >= setting.items()


def test_pooled_is_passed_to_attach(tiny_pipe, monkeypatch):
    passed_settings = {}

    def attach(*_, **settings):
        passed_settings.update(settings)
        raise KeyboardInterrupt

    monkeypatch.setattr("promptweight.attention.attach", attach)
    with pytest.raises(KeyboardInterrupt):
        generate(PROMPT, tiny_pipe, pooled="weighted", **FAST)
    assert passed_settings["pooled"] == "weighted"


def test_settings_have_the_method_of_each_encoder(tiny_pipe):
    variants = {"default": {}, "named": {"method": "comfy"}, "attention": {"space": "attention"}}
    results = {name: generate("gato", tiny_pipe, **each, **FAST) for name, each in variants.items()}
    assert results["default"].settings["method"] is None
    assert {name: made.settings["methods"] for name, made in results.items()} == {
        "default": {"clip": "presence"},
        "named": {"clip": "comfy"},
        "attention": {"clip": "none"},
    }
    weightings = {name: parse_infotext(made.infotext())[2]["Weighting"] for name, made in results.items()}
    assert weightings == {"default": "presence", "named": "comfy", "attention": "attention logit"}


def test_maps_have_the_size_of_the_image(result):
    heat = result.maps.word("gato vermelho", image=2).tensor
    assert heat.shape == (result.images[2].height, result.images[2].width)
    assert heat.dtype == torch.float32
    assert [word.text for word in result.words] == ["um", "gato", "vermelho", "persegue", "um", "rato"]
    assert [word.weight for word in result.words] == [1, 1.4, 1, 1, 1, 1]


def test_size_is_that_of_the_arguments(tiny_pipe):
    made = generate(PROMPT, tiny_pipe, height=16, width=40, **FAST)
    assert made.images[0].size == (40, 16)
    assert made.maps.word("gato").tensor.shape == (16, 40)
    assert made.settings["height"] == 16


def test_random_seed_reproduces_the_image(tiny_pipe):
    first, second = (generate("gato", tiny_pipe, num_inference_steps=1) for _ in range(2))
    assert first.seeds != second.seeds
    again = generate("gato", tiny_pipe, num_inference_steps=1, seed=first.seeds[0])
    assert again.images[0].tobytes() == first.images[0].tobytes()


def test_global_random_state_is_not_used_or_changed(tiny_pipe, result):
    torch.manual_seed(123)
    before = torch.get_rng_state()
    again = generate(PROMPT, tiny_pipe, negative_prompt="feio", **FAST)
    assert torch.equal(torch.get_rng_state(), before)
    assert again.images[0].tobytes() == result.images[0].tobytes()


def test_model_folder_is_loaded(model_folder, tiny_pipe):
    made = generate("gato", model_folder, **FAST)
    assert made.settings["model"] == "tiny-random"
    assert made.images[0].tobytes() == generate("gato", tiny_pipe, **FAST).images[0].tobytes()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_inference_steps": 0}, "num_inference_steps must be between 1 and 1000; got 0"),
        ({"num_inference_steps": 2.5}, "num_inference_steps must be an integer; got 2.5"),
        ({"num_images_per_prompt": 0}, "num_images_per_prompt must be between 1 and 1000; got 0"),
        ({"guidance_scale": float("nan")}, "guidance_scale must be between 0 and 100; got nan"),
        ({"guidance_scale": "much"}, "guidance_scale must be a finite number; got 'much'"),
        ({"seed": -1}, f"seed must be between 0 and {MAX_SEED}; got -1"),
        (
            {"seed": MAX_SEED, "num_images_per_prompt": 2},
            f"seed must be between 0 and {MAX_SEED - 1}; got {MAX_SEED}",
        ),
        ({"height": 33}, "height must be a multiple of 8 for this model; got 33"),
        ({"width": 0}, "width must be between 8 and"),
        ({"space": "nowhere"}, "space must be one of: embedding, attention; got 'nowhere'"),
        ({"dialect": "klingon"}, "dialect must be one of: pw, a1111, comfy, compel, plain; got 'klingon'"),
        ({"method": "magic"}, "'magic'"),
        ({"normalizer": "loud"}, "normalizer must be one of: none, mean"),
        ({"mode": "embedding"}, "mode must be one of: logit, p2p, value, clip; got 'embedding'"),
        ({"clip_skip": -1}, "clip_skip must be between 0 and 100; got -1"),
        ({"clip_skip": 9}, "clip_skip must be from 0 to 1 for the text encoder clip; got 9"),
        ({"pooled": "dirty"}, "pooled must be one of: clean, weighted; got 'dirty'"),
        (
            {"prompt": "x" * (MAX_PROMPT_LENGTH + 1)},
            "the prompt must have at most 1000000 characters; got 1000001",
        ),
        ({"prompt": 7}, "prompt must be text or a Prompt; got int"),
        ({"negative_prompt": None}, "prompt must be text or a Prompt; got NoneType"),
    ],
)
def test_invalid_setting_is_rejected_before_the_model_runs(tiny_pipe, monkeypatch, settings, message):
    replace_run(monkeypatch, tiny_pipe, lambda *_, **__: pytest.fail("the model ran"))
    with pytest.raises(SettingError, match=re.escape(message)):
        generate(**{"prompt": "gato", "model": tiny_pipe, **settings})


def test_absent_required_word_is_rejected_before_the_model_runs(tiny_pipe, monkeypatch):
    replace_run(monkeypatch, tiny_pipe, lambda *_, **__: pytest.fail("the model ran"))
    with pytest.raises(WordNotFoundError, match=r"'cachorro'.*gato.*rato"):
        generate(PROMPT, tiny_pipe, require_words=["gato", "cachorro"])


def test_callback_gets_every_step_with_growing_maps(tiny_pipe):
    calls, masses = [], []

    def callback(progress):
        calls.append((progress.image_number, progress.image_count, progress.step, progress.steps))
        masses.append(progress.maps.word("gato").mass)

    made = generate(
        PROMPT, tiny_pipe, num_images_per_prompt=2, num_inference_steps=3, seed=7, callback=callback
    )
    assert calls == [(picture, 2, step, 3) for picture in (1, 2) for step in (1, 2, 3)]
    assert len(set(masses)) == 6
    assert masses[2] == made.maps.word("gato", image=0).mass
    assert masses[5] == made.maps.word("gato", image=1).mass


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # diffusers' scheduler on numpy 2
def test_steps_are_those_of_the_scheduler(model_folder):
    from promptweight.models.loading import load

    pipe = load(model_folder, device="cpu")
    pipe.scheduler = HeunDiscreteScheduler()
    calls = []
    generate("gato", pipe, callback=lambda progress: calls.append((progress.step, progress.steps)), **FAST)
    assert calls == [(1, 3), (2, 3), (3, 3)]  # Heun evaluates the model twice in every step but the last


def test_stopped_run_keeps_the_images_so_far(tiny_pipe, result, tmp_path):
    made = generate(
        PROMPT,
        tiny_pipe,
        negative_prompt="feio",
        num_images_per_prompt=3,
        callback=lambda progress: (progress.image_number, progress.step) != (2, 1),
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


def test_on_image_gets_each_image_before_the_next_begins(tiny_pipe, result, tmp_path):
    order, passed = [], []

    def on_image(made):
        order.append("image")
        passed.append(made)

    made = generate(
        PROMPT,
        tiny_pipe,
        negative_prompt="feio",
        num_images_per_prompt=3,
        callback=lambda _: order.append("step"),
        on_image=on_image,
        **FAST,
    )
    assert order == ["step", "step", "image"] * 3
    assert [each.seeds for each in passed] == [(7,), (8,), (9,)]
    for index, each in enumerate(passed):
        assert each.images[0].tobytes() == made.images[index].tobytes() == result.images[index].tobytes()
        assert torch.equal(each.maps.word("gato").tensor, made.maps.word("gato", image=index).tensor)
        assert each.record() == made.record(index)
        assert each.infotext() == made.infotext(index)
    (file,) = passed[1].save(tmp_path)
    assert read_metadata(file).record == result.record(1)


def test_share_results_belong_to_their_image(tiny_pipe):
    passed = []
    made = generate("um (gato:=30%)", tiny_pipe, num_images_per_prompt=2, on_image=passed.append, **FAST)
    assert [each.shares for each in passed] == [made.shares[:1], made.shares[1:]]
    assert not any("image 1" in warning for warning in passed[1].warnings)
    assert any("image 2" in warning for warning in passed[1].warnings)


def test_stop_after_the_last_step_keeps_a_finished_image(tiny_pipe, result):
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


def test_stopped_pipeline_runs_again(tiny_pipe, result):
    generate("gato", tiny_pipe, callback=lambda _: False, **FAST)
    again = generate(PROMPT, tiny_pipe, negative_prompt="feio", **FAST)
    assert again.images[0].tobytes() == result.images[0].tobytes()


def test_error_in_the_callback_restores_the_pipeline(tiny_pipe):
    before = {name: type(each) for name, each in tiny_pipe.unet.attn_processors.items()}

    def callback(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate("gato", tiny_pipe, callback=callback, **FAST)
    assert {name: type(each) for name, each in tiny_pipe.unet.attn_processors.items()} == before


def test_nan_values_are_a_warning(model_folder):
    from promptweight.models.loading import load

    pipe = load(model_folder, device="cpu")
    with torch.no_grad():
        pipe.vae.decoder.conv_out.weight.fill_(float("nan"))
    made = generate("gato", pipe, **FAST)
    assert any("NaN" in warning and "float32" in warning for warning in made.warnings)
    assert np.asarray(made.images[0]).max() == 0


def test_black_image_is_a_warning(model_folder):
    from promptweight.models.loading import load

    pipe = load(model_folder, device="cpu")
    with torch.no_grad():
        pipe.vae.decoder.conv_out.weight.zero_()
        pipe.vae.decoder.conv_out.bias.fill_(-5)
    assert generate("gato", pipe, **FAST).warnings == ("image 1 is completely black",)


def test_safety_checker_is_a_warning(tiny_pipe, monkeypatch):
    black = SimpleNamespace(images=np.zeros((1, 8, 8, 3)), nsfw_content_detected=[True])
    replace_run(monkeypatch, tiny_pipe, lambda *_, **__: black)
    made = generate("gato", tiny_pipe, record=False, **FAST)
    assert made.warnings == ("image 1 was blacked out by the safety checker of the model",)


def test_setting_without_effect_is_a_warning(tiny_pipe):
    made = generate("gato", tiny_pipe, negative_prompt="feio", guidance_scale=1, **FAST)
    assert any("negative prompt has no effect" in warning for warning in made.warnings)
    made = generate("gato", tiny_pipe, method="comfy", space="attention", **FAST)
    assert any("'comfy'" in warning for warning in made.warnings)
    made = generate("gato", tiny_pipe, normalizer="mean", space="attention", **FAST)
    assert any("normalizer 'mean'" in warning for warning in made.warnings)
    made = generate("gato", tiny_pipe, mode="p2p", **FAST)
    assert any("mode 'p2p'" in warning for warning in made.warnings)


@pytest.mark.parametrize(
    "text", ["", " ", "🐱", "(((", "a\x00b", "\ud800", "gato " * 8 + "x" * 100, "um\ngato", "<<<>>>"]
)
def test_any_text_gives_an_image_and_files(tiny_pipe, tmp_path, text):
    made = generate(text, tiny_pipe, negative_prompt=text, num_inference_steps=1, seed=1)
    files = made.save(tmp_path, contact_sheet=True, maps=True)
    assert len(files) == 3
    assert read_metadata(files[0]).record["prompt"] == text


def test_error_is_of_the_package(tiny_pipe):
    with pytest.raises(PromptweightError):
        generate("gato", tiny_pipe, height=7)
