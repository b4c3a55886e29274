"""Keyword arguments of a pipeline's call: those that reach it, and those that are refused."""

from functools import wraps
from types import SimpleNamespace

import pytest

from promptweight.errors import ModelError, SettingError
from promptweight.generation import GenerateOptions, build_call, generate, open_pipeline
from promptweight.generation.pipeline_call import check_size


@pytest.fixture
def calls(tiny_pipe, monkeypatch):
    """The keyword arguments of every call of the pipeline."""
    received = []
    call = type(tiny_pipe).__call__

    @wraps(call)
    def spy(pipe, *arguments, **keywords):
        received.append(keywords)
        return call(pipe, *arguments, **keywords)

    monkeypatch.setattr(type(tiny_pipe), "__call__", spy)
    return received


def test_keywords_of_the_pipeline_reach_it_and_the_settings(tiny_pipe, calls):
    result = generate(tiny_pipe, "um gato", seed=1, num_inference_steps=1, eta=0.5, record=False)
    (keywords,) = calls
    assert keywords["eta"] == 0.5
    assert keywords["num_inference_steps"] == 1
    assert result.settings["pipeline_kwargs"] == {"eta": 0.5}


def test_keywords_in_the_options_reach_the_pipeline(tiny_pipe, calls):
    options = GenerateOptions(num_inference_steps=1, record=False, pipeline_kwargs={"eta": 0.25})
    generate(tiny_pipe, "um gato", options=options, guidance_rescale=0.5)
    assert (calls[0]["eta"], calls[0]["guidance_rescale"]) == (0.25, 0.5)


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({"etta": 0.5}, "'etta'.*did you mean eta"),
        ({"sed": 1}, "'sed'.*did you mean seed"),
        ({"prompt_embeds": None}, "'prompt_embeds'"),
        ({"negative_pooled_prompt_embeds": None}, "'negative_pooled_prompt_embeds'"),
        ({"generator": None}, "'generator'"),
        ({"output_type": "pt"}, "'output_type'"),
        ({"return_dict": False}, "'return_dict'"),
        ({"callback_on_step_end": print}, "'callback_on_step_end'"),
        ({"pipeline_kwargs": {"height": 64}}, "'height'"),
        ({"pipeline_kwargs": {"num_inference_steps": 3}}, "'num_inference_steps'"),
    ],
)
def test_unknown_and_own_arguments_are_refused_before_the_pipeline_runs(tiny_pipe, calls, keywords, expected):
    with pytest.raises(SettingError, match=expected):
        generate(tiny_pipe, "um gato", num_inference_steps=1, **keywords)
    assert calls == []


def test_build_call_has_the_default_guidance_and_only_given_sizes(tiny_pipe):
    call = build_call(tiny_pipe, GenerateOptions(height=16))
    assert call == {"num_inference_steps": 25, "guidance_scale": 7.5, "height": 16}
    assert build_call(tiny_pipe, GenerateOptions(guidance_scale=0))["guidance_scale"] == 0


def test_open_pipeline_takes_pipelines_names_and_folders_only(tiny_pipe, model_folder):
    assert open_pipeline(tiny_pipe) is tiny_pipe
    assert type(open_pipeline(model_folder)) is type(tiny_pipe)
    with pytest.raises(ModelError):
        open_pipeline("no-such-model")
    for other in (None, 3, print, tiny_pipe.unet):
        with pytest.raises(SettingError, match=type(other).__name__):
            open_pipeline(other)


@pytest.mark.parametrize(
    ("factor", "patch", "of_processor", "multiple"),
    [
        (8, None, 8, 8),  # Stable Diffusion 1 to XL: a UNet
        (8, 2, 8, 16),  # Stable Diffusion 3, AuraFlow, CogView4: the model joins 2 × 2 latents
        (8, 1, 16, 16),  # FLUX.1, Chroma: the pipeline does
        (8, 2, 16, 16),  # Qwen-Image: the pipeline does, and the model says so
        (16, 1, 16, 16),  # ERNIE-Image: the factor includes it
        (32, 1, 32, 32),  # SANA: latents as they are
    ],
)
def test_sides_of_an_image_are_multiples_of_what_the_pipeline_draws(factor, patch, of_processor, multiple):
    model = {} if patch is None else {"transformer": SimpleNamespace(config={"patch_size": patch})}
    processor = SimpleNamespace(config={"vae_scale_factor": of_processor})
    pipe = type("Drawing", (), {"__call__": lambda self, height, width: None})()
    vars(pipe).update(vae_scale_factor=factor, image_processor=processor, **model)
    assert check_size(pipe, 3 * multiple, multiple) == {"height": 3 * multiple, "width": multiple}
    with pytest.raises(SettingError, match=f"width must be a multiple of {multiple}"):
        check_size(pipe, None, multiple + 4)
