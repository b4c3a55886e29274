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
from promptweight.generation import MAX_PROMPT_LENGTH, MAX_SEED, generate
from promptweight.metadata import parse_infotext, read_metadata
from promptweight.weighting import KEY_WEIGHTINGS

PROMPT = "um (gato:1.4) vermelho persegue um rato"
FAST = {"num_inference_steps": 2, "seed": 7}


def replace_run(monkeypatch, pipe, action):
    """Replace the call of the pipeline by `action`, with the signature of the call."""
    monkeypatch.setattr(type(pipe), "__call__", wraps(type(pipe).__call__)(action))


@pytest.fixture(scope="module")
def result(tiny_pipe):
    """Three images with their maps."""
    return generate(tiny_pipe, PROMPT, negative_prompt="feio", num_images_per_prompt=3, **FAST)


def test_image_without_weights_is_that_of_the_pipeline(tiny_pipe):
    ours = generate(tiny_pipe, "um gato", negative_prompt="feio", guidance_scale=5, **FAST).images[0]
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
    plain = generate(tiny_pipe, PROMPT, negative_prompt="feio", record=False, **FAST)
    assert plain.maps is None
    assert plain.images[0].tobytes() == result.images[0].tobytes()


def test_image_depends_on_its_own_seed_only(tiny_pipe, result):
    assert result.seeds == (7, 8, 9)
    for index in (1, 2):
        alone = generate(tiny_pipe, PROMPT, negative_prompt="feio", num_inference_steps=2, seed=7 + index)
        assert alone.images[0].tobytes() == result.images[index].tobytes()
        assert torch.equal(alone.maps.word("gato").tensor, result.maps.word("gato", image=index).tensor)
    assert len({image.tobytes() for image in result.images}) == 3


def test_weights_change_the_image_in_embeddings_and_in_attention(tiny_pipe):
    made = {
        (text, weighting): generate(tiny_pipe, text, weighting=weighting, **FAST).images[0].tobytes()
        for text in ("um gato", "um (gato:0.6)")
        for weighting in ("scale", "attention")
    }
    assert made["um gato", "scale"] == made["um gato", "attention"]
    assert len(set(made.values())) == 3


def test_methods_give_different_images(tiny_pipe):
    made = {
        generate(tiny_pipe, PROMPT, weighting=name, **FAST).images[0].tobytes() for name in ("scale", "comfy")
    }
    assert len(made) == 2


def draw(pipe, inputs):
    """Return the image of the pipeline itself."""
    return pipe(**inputs, num_inference_steps=2, generator=torch.Generator().manual_seed(7)).images[0]


def test_weightings_in_attention_are_bit_identical_to_attach(tiny_pipe):
    made = {}
    for name in (*KEY_WEIGHTINGS, "attention layers=up_blocks steps=0-0.5"):
        made[name] = generate(tiny_pipe, PROMPT, weighting=name, **FAST)
        with attach(tiny_pipe, PROMPT, weighting=name) as session:
            expected = draw(tiny_pipe, session.inputs)
        assert made[name].images[0].tobytes() == expected.tobytes()
        assert made[name].settings["weighting"] == name
    assert len({each.images[0].tobytes() for each in made.values()}) == len(made)


def test_clip_attention_is_bit_identical_to_encode_and_attach(tiny_pipe):
    weighting = "clip-attention normalizer=length"
    made = generate(tiny_pipe, PROMPT, weighting=weighting, **FAST)
    expected = draw(tiny_pipe, encode(tiny_pipe, PROMPT, weighting=weighting))
    assert made.images[0].tobytes() == expected.tobytes()
    assert made.settings["weighting"] == weighting
    assert made.settings["weighting_by_encoder"] == {"clip": "clip-attention"}
    assert parse_infotext(made.infotext())[2]["Weighting"] == weighting
    assert made.warnings == ()
    word = generate(tiny_pipe, "um (gato:1.4{weighting=clip-attention}) vermelho", **FAST)
    with attach(tiny_pipe, "um (gato:1.4) vermelho", weighting="clip-attention") as session:
        expected = draw(tiny_pipe, session.inputs)
    assert word.images[0].tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("setting", "recorded"),
    [
        ({"weighting": "scale normalizer=mean"}, {"weighting": "scale normalizer=mean"}),
        ({"weighting": "scale", "clip_skip": 1}, {"weighting": "scale", "clip_skip": 1}),
    ],
)
def test_encoding_settings_are_bit_identical_to_encode(tiny_pipe, setting, recorded):
    made = generate(tiny_pipe, PROMPT, **setting, **FAST)
    expected = draw(tiny_pipe, encode(tiny_pipe, PROMPT, **setting))
    assert made.images[0].tobytes() == expected.tobytes()
    default = generate(tiny_pipe, PROMPT, weighting="scale", **FAST)
    assert made.images[0].tobytes() != default.images[0].tobytes()
    assert made.settings.items() >= recorded.items()


def test_maps_have_the_size_of_the_image(result):
    heat = result.maps.word("gato vermelho", image=2).tensor
    assert heat.shape == (result.images[2].height, result.images[2].width)
    assert heat.dtype == torch.float32
    assert [word.text for word in result.words] == ["um", "gato", "vermelho", "persegue", "um", "rato"]
    assert [word.weight for word in result.words] == [1, 1.4, 1, 1, 1, 1]


def test_size_is_that_of_the_arguments(tiny_pipe):
    made = generate(tiny_pipe, PROMPT, height=16, width=40, **FAST)
    assert made.images[0].size == (40, 16)
    assert made.maps.word("gato").tensor.shape == (16, 40)
    assert made.settings["height"] == 16


def test_random_seed_reproduces_the_image(tiny_pipe):
    first, second = (generate(tiny_pipe, "gato", num_inference_steps=1) for _ in range(2))
    assert first.seeds != second.seeds
    again = generate(tiny_pipe, "gato", num_inference_steps=1, seed=first.seeds[0])
    assert again.images[0].tobytes() == first.images[0].tobytes()


def test_global_random_state_is_not_used_or_changed(tiny_pipe, result):
    torch.manual_seed(123)
    before = torch.get_rng_state()
    again = generate(tiny_pipe, PROMPT, negative_prompt="feio", **FAST)
    assert torch.equal(torch.get_rng_state(), before)
    assert again.images[0].tobytes() == result.images[0].tobytes()


def test_model_folder_is_loaded(model_folder, tiny_pipe):
    made = generate(model_folder, "gato", **FAST)
    assert made.settings["model"] == "tiny-random"
    assert made.images[0].tobytes() == generate(tiny_pipe, "gato", **FAST).images[0].tobytes()


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
        ({"width": 0}, "width must be between 1 and 16384; got 0"),
        ({"width": 4}, "width must be between 8 and 16384; got 4"),
        (
            {"dialect": "klingon"},
            "dialect must be one of: pw, a1111, comfy, compel, novelai, plain; got 'klingon'",
        ),
        ({"weighting": "magic"}, "weighting must be one of: none, scale"),
        ({"weighting": "scale normalizer=loud"}, "normalizer must be one of: none, mean"),
        ({"weighting": "pooled=dirty"}, "pooled must be one of: clean, weighted; got 'dirty'"),
        ({"weighting": "attention layers=attn9"}, "got ('attn9',), of which none matches"),
        ({"clip_skip": -1}, "clip_skip must be between 0 and 100; got -1"),
        ({"clip_skip": 9}, "clip_skip must be from 0 to 1 for the text encoder clip; got 9"),
        ({"scheduler": "turbo"}, "'turbo'"),
        (
            {"prompt": "x" * (MAX_PROMPT_LENGTH + 1)},
            "the prompt must have at most 1000000 characters; got 1000001",
        ),
        ({"prompt": 7}, "prompt must be text or a Prompt; got int"),
        ({"negative_prompt": None}, "negative_prompt must be text or a Prompt; got NoneType"),
        ({"targets": {"gato": 2}}, "the target of 'gato' must be between 0 and 1; got 2"),
        ({"edit": 3}, "edit must be text or a Prompt; got int"),
        ({"strenght": 1}, "'strenght'"),
    ],
)
def test_invalid_setting_is_rejected_before_the_model_runs(tiny_pipe, monkeypatch, settings, message):
    replace_run(monkeypatch, tiny_pipe, lambda *_, **__: pytest.fail("the model ran"))
    with pytest.raises(SettingError, match=re.escape(message)):
        generate(tiny_pipe, **{"prompt": "gato", **settings})


def test_absent_required_word_is_rejected_before_the_model_runs(tiny_pipe, monkeypatch):
    replace_run(monkeypatch, tiny_pipe, lambda *_, **__: pytest.fail("the model ran"))
    with pytest.raises(WordNotFoundError, match=r"'cachorro'.*gato.*rato"):
        generate(tiny_pipe, PROMPT, require_words=["gato", "cachorro"])


def test_callback_gets_every_step_with_growing_maps(tiny_pipe):
    calls, masses = [], []

    def callback(progress):
        calls.append((progress.image_number, progress.image_count, progress.step, progress.steps))
        masses.append(progress.maps.word("gato").mass)

    made = generate(
        tiny_pipe, PROMPT, num_images_per_prompt=2, num_inference_steps=3, seed=7, callback=callback
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
    generate(pipe, "gato", callback=lambda progress: calls.append((progress.step, progress.steps)), **FAST)
    assert calls == [(1, 3), (2, 3), (3, 3)]  # Heun evaluates the model twice in every step but the last


def test_stopped_run_keeps_the_images_so_far(tiny_pipe, result, tmp_path):
    made = generate(
        tiny_pipe,
        PROMPT,
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
        tiny_pipe,
        PROMPT,
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
    made = generate(tiny_pipe, "um (gato:=30%)", num_images_per_prompt=2, on_image=passed.append, **FAST)
    assert [each.shares for each in passed] == [made.shares[:1], made.shares[1:]]
    assert not any("image 1" in warning for warning in passed[1].warnings)
    assert any("image 2" in warning for warning in passed[1].warnings)


def test_stop_after_the_last_step_keeps_a_finished_image(tiny_pipe, result):
    made = generate(
        tiny_pipe,
        PROMPT,
        negative_prompt="feio",
        num_images_per_prompt=3,
        callback=lambda progress: progress.step < progress.steps,
        **FAST,
    )
    assert made.stopped_after is None
    assert [image.tobytes() for image in made.images] == [result.images[0].tobytes()]


def test_stopped_pipeline_runs_again(tiny_pipe, result):
    generate(tiny_pipe, "gato", callback=lambda _: False, **FAST)
    again = generate(tiny_pipe, PROMPT, negative_prompt="feio", **FAST)
    assert again.images[0].tobytes() == result.images[0].tobytes()


def test_error_in_the_callback_restores_the_pipeline(tiny_pipe):
    before = {name: type(each) for name, each in tiny_pipe.unet.attn_processors.items()}

    def callback(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tiny_pipe, "gato", callback=callback, **FAST)
    assert {name: type(each) for name, each in tiny_pipe.unet.attn_processors.items()} == before


def test_nan_values_are_a_warning(model_folder):
    from promptweight.models.loading import load

    pipe = load(model_folder, device="cpu")
    with torch.no_grad():
        pipe.vae.decoder.conv_out.weight.fill_(float("nan"))
    made = generate(pipe, "gato", **FAST)
    assert made.warnings[0].code == "nan-weights"
    assert "vae" in made.warnings[0]
    assert np.asarray(made.images[0]).max() == 0


def test_black_image_is_a_warning(model_folder):
    from promptweight.models.loading import load

    pipe = load(model_folder, device="cpu")
    with torch.no_grad():
        pipe.vae.decoder.conv_out.weight.zero_()
        pipe.vae.decoder.conv_out.bias.fill_(-5)
    assert generate(pipe, "gato", **FAST).warnings == ("image 1 is completely black",)


def test_safety_checker_is_a_warning(tiny_pipe, monkeypatch):
    black = SimpleNamespace(images=np.zeros((1, 8, 8, 3)), nsfw_content_detected=[True])
    replace_run(monkeypatch, tiny_pipe, lambda *_, **__: black)
    made = generate(tiny_pipe, "gato", record=False, **FAST)
    assert made.warnings == ("image 1 was blacked out by the safety checker of the model",)


def test_setting_without_effect_is_a_warning(tiny_pipe):
    made = generate(tiny_pipe, "gato", negative_prompt="feio", guidance_scale=1, **FAST)
    assert any("negative prompt has no effect" in warning for warning in made.warnings)
    made = generate(tiny_pipe, "gato", weighting="attention normalizer=mean", **FAST)
    assert any("normalizer 'mean'" in warning for warning in made.warnings)
    made = generate(tiny_pipe, "gato", weighting="scale layers=up_blocks", **FAST)
    assert any("'scale layers=up_blocks'" in warning for warning in made.warnings)


@pytest.mark.parametrize(
    "text", ["", " ", "🐱", "(((", "a\x00b", "\ud800", "gato " * 8 + "x" * 100, "um\ngato", "<<<>>>"]
)
def test_any_text_gives_an_image_and_files(tiny_pipe, tmp_path, text):
    made = generate(tiny_pipe, text, negative_prompt=text, num_inference_steps=1, seed=1)
    files = made.save(tmp_path, contact_sheet=True, maps=True)
    assert len(files) == 3
    assert read_metadata(files[0]).record["prompt"] == text


def test_error_is_of_the_package(tiny_pipe):
    with pytest.raises(PromptweightError):
        generate(tiny_pipe, "gato", height=7)
