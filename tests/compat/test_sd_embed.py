"""sd_embed's functions in `promptweight.compat` against golden numbers of sd_embed, and the pipelines."""

import json
from pathlib import Path

import pytest
import torch

from promptweight import compat
from promptweight.compat import (
    get_weighted_text_embeddings_flux1,
    get_weighted_text_embeddings_sd3,
    get_weighted_text_embeddings_sd15,
    get_weighted_text_embeddings_sdxl,
)
from promptweight.conditioning import encode
from promptweight.errors import ModelError, SettingError
from tests.compat import sd_embed_goldens as cases

FOLDER = Path(__file__).resolve().parent


def test_embeddings_equal_the_golden_numbers_of_sd_embed():
    expected = json.loads((FOLDER / "sd_embed.json").read_text(encoding="utf-8"))
    found = cases.encode_all(compat, cases.make_models())
    assert found.keys() == expected.keys()
    for case, numbers in expected.items():
        assert found[case]["shape"] == numbers["shape"], case
        assert found[case]["mean"] == pytest.approx(numbers["mean"], abs=1e-4), case
        for row, values in zip(found[case]["values"], numbers["values"], strict=True):
            assert row == pytest.approx(values, rel=1e-4, abs=1e-4), case


def test_prompts_without_weights_have_the_embeddings_of_the_pipelines(sd, sdxl, sd3, flux):
    def plain(pipe):
        inputs = encode(pipe, "um gato", "mel", dialect="plain")
        names = ("prompt_embeds", "negative_prompt_embeds")
        pooled = ("pooled_prompt_embeds", "negative_pooled_prompt_embeds")
        return [inputs[name] for name in (*names, *pooled) if name in inputs]

    for function, pipe in (
        (get_weighted_text_embeddings_sdxl, sdxl),
        (get_weighted_text_embeddings_sd3, sd3),
    ):
        found = function(pipe, "um gato", "mel")
        assert all(torch.equal(a, b) for a, b in zip(found, plain(pipe), strict=True))
    found = get_weighted_text_embeddings_sd15(sd, "um gato", "mel", True)
    assert all(torch.equal(a, b) for a, b in zip(found, plain(sd), strict=True))
    embeds, pooled = get_weighted_text_embeddings_flux1(flux, "um gato")
    inputs = encode(flux, "um gato", None, dialect="plain")
    assert torch.equal(embeds, inputs["prompt_embeds"])
    assert torch.equal(pooled, inputs["pooled_prompt_embeds"])


def test_weight_multiplies_the_rows_of_the_t5(flux, sd3):
    plain = get_weighted_text_embeddings_flux1(flux, "um gato mel")[0]
    found = get_weighted_text_embeddings_flux1(flux, "mel", "um (gato:1.5) mel")[0]
    changed = (found != plain).any(-1)[0].nonzero().flatten().tolist()
    assert changed
    assert torch.allclose(found[0, changed], plain[0, changed] * 1.5)
    plain = get_weighted_text_embeddings_sd3(sd3, "um gato", "")[0]
    found = get_weighted_text_embeddings_sd3(sd3, "um (gato:1.5)", "")[0]
    changed = (found != plain).any(-1)[0].nonzero().flatten().tolist()
    assert min(changed) < 77 < max(changed)
    assert torch.allclose(found[0, changed], plain[0, changed] * 1.5)


def test_prompts_of_flux_go_to_their_own_encoders(flux):
    embeds, pooled = get_weighted_text_embeddings_flux1(flux, "mel", "um gato", device="cpu")
    assert torch.equal(embeds, get_weighted_text_embeddings_flux1(flux, "um gato")[0])
    assert torch.equal(pooled, get_weighted_text_embeddings_flux1(flux, "mel")[1])


def test_pipeline_without_t5_has_zeros_in_its_rows(make_sd3):
    pipe = make_sd3(text_encoder_3=None, tokenizer_3=None)
    embeds, negative, *_ = get_weighted_text_embeddings_sd3(pipe, "um gato", "mel")
    for found in (embeds, negative):
        assert found.shape == (1, 77 + 256, 96)
        assert not found[:, 77:].any()


def test_empty_prompts_are_empty_texts(sd):
    embeds, negative = get_weighted_text_embeddings_sd15(sd)
    assert embeds.shape == (1, 2, 32)
    assert torch.equal(embeds, negative)
    assert torch.equal(embeds, encode(sd, "")["prompt_embeds"][:, :2])


def test_lora_scale_scales_the_text_encoders(make_sdxl):
    from peft import LoraConfig

    pipe = make_sdxl()
    pipe.text_encoder.add_adapter(LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    full, half, none = (
        get_weighted_text_embeddings_sdxl(pipe, "um gato", "mel", lora_scale=scale)[0]
        for scale in (None, 0.5, 0.0)
    )
    assert not torch.equal(full, half)
    assert not torch.equal(half, none)
    assert torch.equal(full, get_weighted_text_embeddings_sdxl(pipe, "um gato", "mel", lora_scale=1.0)[0])


def test_arguments_are_checked(sd, sdxl, flux):
    with pytest.raises(SettingError, match=r"pipeline of Stable Diffusion XL; got StableDiffusionPipeline"):
        get_weighted_text_embeddings_sdxl(sd, "um gato")
    with pytest.raises(SettingError, match=r"pipeline of FLUX.1; got StableDiffusionXLPipeline"):
        get_weighted_text_embeddings_flux1(sdxl, "um gato")
    with pytest.raises(SettingError, match="clip_skip"):
        get_weighted_text_embeddings_sd15(sd, "um gato", clip_skip=-1)
    with pytest.raises(SettingError, match="lora_scale"):
        get_weighted_text_embeddings_sdxl(sdxl, "um gato", lora_scale=float("nan"))
    with pytest.raises(SettingError, match="prompt must be text"):
        get_weighted_text_embeddings_flux1(flux, ["um gato"])
    for prompt in ("um [gato:cor:0.5]", "um [gato|cor]", "um AND gato"):
        with pytest.raises(SettingError, match="neg_prompt must be one text for all steps"):
            get_weighted_text_embeddings_sd15(sd, "um gato", prompt)


def test_pipeline_without_text_encoders_raises(make_sd, make_flux):
    with pytest.raises(ModelError, match="text encoder"):
        get_weighted_text_embeddings_sd15(make_sd(text_encoder=None, tokenizer=None), "um gato")
    with pytest.raises(ModelError, match="text encoder"):
        get_weighted_text_embeddings_flux1(make_flux(text_encoder=None, tokenizer=None), "um gato")


def test_pipeline_takes_the_embeddings(sd, sdxl):
    options = {"num_inference_steps": 1, "height": 16, "width": 16, "output_type": "latent"}
    embeds, negative = get_weighted_text_embeddings_sd15(sd, "um (gato:1.5)", "mel")
    sd(prompt_embeds=embeds, negative_prompt_embeds=negative, **options)
    embeds, negative, pooled, negative_pooled = get_weighted_text_embeddings_sdxl(
        sdxl, "um (gato:1.5)", "mel"
    )
    sdxl(
        prompt_embeds=embeds,
        negative_prompt_embeds=negative,
        pooled_prompt_embeds=pooled,
        negative_pooled_prompt_embeds=negative_pooled,
        **options,
    )
