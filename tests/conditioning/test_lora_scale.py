"""Scale of LoRAs in text encoders: as in the pipelines' own encoding."""

import pytest
import torch
from peft import LoraConfig

from promptweight import generate
from promptweight.attention import attach
from promptweight.conditioning import encode, encode_prompts, has_text_loras, read_lora_scale, trace_rows
from promptweight.errors import SettingError

MODULES = ["q_proj", "v_proj", "q", "v"]
SETTINGS = {"num_inference_steps": 1, "output_type": "latent", "height": 32, "width": 32}


def add_loras(pipe):
    """Add a LoRA to every text encoder."""
    for number, name in enumerate(("text_encoder", "text_encoder_2", "text_encoder_3")):
        if getattr(pipe, name, None) is not None:
            torch.manual_seed(number)
            config = LoraConfig(r=2, target_modules=MODULES, init_lora_weights=False)
            getattr(pipe, name).add_adapter(config)
    return pipe


@pytest.fixture
def pipes(make_sd, make_sdxl, make_sd3, make_flux):
    return {"sd": make_sd, "sdxl": make_sdxl, "sd3": make_sd3, "flux": make_flux}


@pytest.mark.parametrize("name", ["sd", "sdxl", "sd3", "flux"])
@pytest.mark.parametrize("scale", [None, 0.0, 0.3, -1.5])
def test_scaled_embeddings_are_the_pipelines_own(pipes, name, scale):
    pipe = add_loras(pipes[name]())
    endings = {"sd": ("",), "sd3": ("", "_2", "_3")}.get(name, ("", "_2"))
    own = pipe.encode_prompt(
        **{f"prompt{ending}": "um gato" for ending in endings},
        **({} if name == "flux" else {"do_classifier_free_guidance": False}),
        **({"num_images_per_prompt": 1, "device": "cpu"} if name != "sd3" else {}),
        lora_scale=scale,
    )
    inputs = encode(pipe, "um gato", lora_scale=scale)
    assert torch.equal(inputs["prompt_embeds"], own[0])
    if name != "sd":
        pooled = own[1] if name == "flux" else own[2]
        assert torch.equal(inputs["pooled_prompt_embeds"], pooled)
    unscaled = encode(pipe, "um gato")["prompt_embeds"]
    assert torch.equal(inputs["prompt_embeds"], unscaled) == (scale is None)


def test_scale_ends_with_the_encoding(pipes, monkeypatch):
    """Also when it fails."""
    pipe = add_loras(pipes["sd"]())
    plain = encode(pipe, "um gato")["prompt_embeds"]
    with monkeypatch.context() as patch:
        patch.setattr("promptweight.conditioning.encoding.BatchEncoder.encode_sections", lambda *_: {}["x"])
        with pytest.raises(KeyError):
            encode(pipe, "um gato", lora_scale=0.3)
    assert torch.equal(encode(pipe, "um gato")["prompt_embeds"], plain)


def test_models_without_loras_ignore_the_scale(pipes):
    pipe = pipes["sd"]()
    assert not has_text_loras(pipe)
    inputs = encode(pipe, "um gato", lora_scale=0.3)
    assert torch.equal(inputs["prompt_embeds"], encode(pipe, "um gato")["prompt_embeds"])


def test_rollouts_follow_the_scale(pipes):
    pipe = add_loras(pipes["sd"]())
    traces = [
        trace_rows(pipe, ("clip",), encoded.positive[0], encoded.settings)
        for encoded in (encode_prompts(pipe, "um gato", lora_scale=scale) for scale in (None, 0.3, 0.0))
    ]
    assert not any(torch.equal(traces[0], other) for other in traces[1:])


@pytest.mark.parametrize("name", ["sd", "sdxl", "sd3", "flux"])
def test_generate_scales_text_and_denoiser_alike(pipes, name):
    pipe = add_loras(pipes[name]())
    assert has_text_loras(pipe)
    keyword = "cross" if name in ("sd", "sdxl") else "joint"
    scale = {f"{keyword}_attention_kwargs": {"scale": 0.3}}
    own = pipe("um gato", **{**SETTINGS, "output_type": "np"}, **scale, guidance_scale=1.0,
               generator=torch.Generator().manual_seed(1)).images  # fmt: skip
    settings = {"seed": 1, "guidance_scale": 1.0, "num_inference_steps": 1, "height": 32, "width": 32}
    result = generate(pipe, "um gato", **settings, **scale)
    pixels = torch.frombuffer(bytearray(result.images[0].tobytes()), dtype=torch.uint8)
    assert torch.equal(pixels, torch.from_numpy((own[0] * 255).round().astype("uint8")).flatten())
    assert result.warnings == ()


@pytest.mark.parametrize(("encoded", "run"), [(0.3, 1.0), (None, 0.3), (0.3, 0.5)])
def test_session_warns_about_another_scale(pipes, encoded, run):
    pipe = add_loras(pipes["sd"]())
    with attach(pipe, "um gato", lora_scale=encoded) as session:
        pipe(**session.inputs, **SETTINGS, cross_attention_kwargs={"scale": run})
    codes = [warning.code for warning in session.warnings]
    assert codes == ["lora-scale-differs"]
    with attach(pipe, "um gato", lora_scale=run) as session:
        pipe(**session.inputs, **SETTINGS, cross_attention_kwargs={"scale": run})
    assert session.warnings == []


@pytest.mark.parametrize("value", ["x", float("nan"), 101])
def test_invalid_scale_is_refused(pipes, value):
    with pytest.raises(SettingError, match="lora_scale"):
        encode(pipes["sd"](), "um gato", lora_scale=value)


def test_scale_is_read_from_each_argument():
    names = ("cross_attention_kwargs", "joint_attention_kwargs", "attention_kwargs")
    assert [read_lora_scale({name: {"scale": 0.5}}) for name in names] == [0.5] * 3
    assert read_lora_scale({names[0]: None, names[1]: {"other": 2}}) == 1
