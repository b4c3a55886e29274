"""Prompt editing, alternation and AND against sampling loops of diffusers' parts."""

import pytest
import torch
from diffusers import KDPM2DiscreteScheduler, StableDiffusionPAGPipeline

from promptweight.attention import Record, attach
from promptweight.errors import SettingError

STEPS, GUIDANCE = 5, 3.0
JOINED_BY_AND = "um gato AND um rato verde"
GATO, RATO, CASA = "um gato", "um rato verde", "uma casa"


@pytest.fixture(scope="module", params=["sd", "sdxl", "sd3"])
def pipe(request):
    """A pipeline with larger value weights, so that the text has a measurable effect."""
    pipe = request.getfixturevalue(f"make_{request.param}")()
    with torch.no_grad():
        for name, weights in (pipe.transformer if request.param == "sd3" else pipe.unet).named_parameters():
            if "attn2.to_v" in name or "attn2.to_out" in name or "add_v_proj" in name:
                weights *= 6
    return pipe


def embed(pipe, text):
    """Return the pipeline's own embeddings and pooled vector of a text."""
    name = type(pipe).__name__
    if name == "StableDiffusionPipeline":
        return pipe.encode_prompt(text, "cpu", 1, False)[0], None
    texts = {"prompt": text, "prompt_2": None, "prompt_3": None} if "3" in name else {"prompt": text}
    embeds, _, pooled, _ = pipe.encode_prompt(**texts, device="cpu", do_classifier_free_guidance=False)
    return embeds, pooled


def predict(pipe, latents, timestep, text):
    """Return the prediction of the model for one text, in a batch of one."""
    embeds, pooled = embed(pipe, text)
    if hasattr(pipe, "transformer"):
        return pipe.transformer(latents, embeds, pooled, timestep.expand(1)).sample
    added = {}
    if pooled is not None:
        added = {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": torch.tensor([[8, 8, 0, 0, 8, 8]])}}
    return pipe.unet(latents, timestep, embeds, **added).sample


@torch.no_grad()
def sample_reference(pipe, parts, guidance=GUIDANCE, steps=STEPS, negative="feio"):
    """Return the latents of a run; `parts` returns the (text, weight) pairs of a step."""
    pipe.scheduler.set_timesteps(steps)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(7))
    latents = latents * getattr(pipe.scheduler, "init_noise_sigma", 1.0)
    for step, timestep in enumerate(pipe.scheduler.timesteps):
        away = predict(pipe, latents, timestep, negative)
        towards = [(predict(pipe, latents, timestep, text), weight) for text, weight in parts(step)]
        if guidance > 1:
            noise = away + guidance * sum(weight * (part - away) for part, weight in towards)
        else:
            noise = sum(weight * part for part, weight in towards) / sum(weight for _, weight in towards)
        latents = pipe.scheduler.step(noise, timestep, latents, return_dict=False)[0]
    return latents


def sample_attached(pipe, prompt, negative="feio", guidance=GUIDANCE, steps=STEPS, **settings):
    with attach(pipe, prompt, negative, num_inference_steps=steps, **settings) as session:
        latents = sample(pipe, session.inputs, guidance, steps)
    return latents, session


def sample(pipe, inputs, guidance=GUIDANCE, steps=STEPS, **settings):
    generator = torch.Generator().manual_seed(7)
    size = {"height": 8, "width": 8} | settings
    return pipe(
        **inputs,
        **size,
        num_inference_steps=steps,
        guidance_scale=guidance,
        output_type="latent",
        generator=generator,
    ).images


def is_close(found, expected):
    return torch.allclose(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


PARTS = {
    "[um gato:um rato verde:0.4]": lambda step: [(GATO if step < 2 else RATO, 1)],
    "[um gato:um rato verde:3]": lambda step: [(GATO if step < 3 else RATO, 1)],
    "um[ gato::1]": lambda step: [(GATO if step < 1 else "um", 1)],
    "um[ gato:1]": lambda step: [("um" if step < 1 else GATO, 1)],
    "[um gato|um rato verde|uma casa]": lambda step: [((GATO, RATO, CASA)[step % 3], 1)],
    "um gato AND um rato verde": lambda step: [(GATO, 1), (RATO, 1)],
    "um gato:0.7 AND um rato verde:0.5 AND uma casa:-0.2": lambda step: [
        (GATO, 0.7),
        (RATO, 0.5),
        (CASA, -0.2),
    ],
    "um gato:0.7 AND [uma casa:um rato verde:0.4]": lambda step: [
        (GATO, 0.7),
        (CASA if step < 2 else RATO, 1),
    ],
}


@pytest.mark.parametrize("prompt", PARTS)
def test_scheduled_prompt_equals_a_reference_loop(pipe, prompt):
    found, session = sample_attached(pipe, prompt)
    assert is_close(found, sample_reference(pipe, PARTS[prompt]))
    assert not is_close(found, sample_reference(pipe, lambda step: PARTS[prompt](0)[:1]))
    assert session.warnings == []


def test_scheduled_negative_prompt_changes_and_averages_its_parts(pipe):
    edited, _ = sample_attached(pipe, GATO, "[um rato verde:uma casa:2]")
    first, second = (sample_reference(pipe, lambda step: [(GATO, 1)], negative=text) for text in (RATO, CASA))
    assert not is_close(edited, first)
    assert not is_close(edited, second)
    averaged, _ = sample_attached(pipe, GATO, "um rato verde AND um rato verde:3")
    assert is_close(averaged, first)


def test_and_parts_without_guidance_are_averaged_with_a_warning(pipe):
    found, session = sample_attached(pipe, "um gato AND um rato verde:3", guidance=1.0)
    assert is_close(found, sample_reference(pipe, lambda step: [(GATO, 1), (RATO, 3)], guidance=1.0))
    assert [warning.code for warning in session.warnings] == ["and-parts-averaged", "negative-not-run"]
    with pytest.raises(SettingError, match="must sum to more than 0"):
        sample_attached(pipe, "um gato AND um rato verde:-1", guidance=1.0)


@pytest.mark.parametrize(
    ("prompt", "plain"),
    [
        ("[um gato:um rato verde:0]", RATO),
        ("[um gato:um rato verde:1.0]", GATO),
        ("[um gato|um gato]", GATO),
        ("um [gato|gato] vermelho", "um gato vermelho"),
    ],
)
def test_constant_schedule_equals_the_plain_prompt_bit_for_bit(pipe, prompt, plain):
    expected, _ = sample_attached(pipe, plain)
    assert torch.equal(sample_attached(pipe, prompt)[0], expected)


def test_scheduled_prompt_has_one_shape_and_encodes_each_text_once(sd, monkeypatch):
    shapes, calls = set(), []
    monkeypatch.setattr(
        sd.unet,
        "forward",
        lambda *args, f=sd.unet.forward, **kw: (
            shapes.add(kw["encoder_hidden_states"].shape) or f(*args, **kw)
        ),
    )
    monkeypatch.setattr(
        sd.text_encoder,
        "forward",
        lambda ids, f=sd.text_encoder.forward, **kw: calls.append(ids) or f(ids, **kw),
    )
    sample_attached(sd, "[um gato:" + "rato " * 80 + ":0.5] AND uma casa")
    assert len(shapes) == 1
    assert {(len(shape), shape[0]) for shape in shapes} == {(3, 3)}
    assert len(calls) == len({str(ids.tolist()) for ids in calls})


def test_prompts_of_a_batch_have_their_own_schedules(pipe):
    prompts = ["[um gato:uma casa:2]", "um rato verde AND um gato:0.5", RATO]
    with attach(pipe, prompts, "feio", num_inference_steps=STEPS) as session:
        generators = [torch.Generator().manual_seed(7) for _ in prompts]
        together = pipe(
            **session.inputs,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            output_type="latent",
            height=8,
            width=8,
            generator=generators,
        ).images
    for prompt, latents in zip(prompts, together, strict=True):
        assert is_close(latents[None], sample_attached(pipe, prompt)[0])
    maps = session.maps
    assert [word.text for word in maps.list_words(image=0)] == ["um", "gato", "uma", "casa"]
    assert [word.text for word in maps.list_words(image=1)] == ["um", "rato", "verde", "um", "gato"]
    assert [word.text for word in maps.list_words(image=2)] == ["um", "rato", "verde"]


def test_flux_changes_the_text_at_the_scheduled_step(flux, monkeypatch):
    size = {"height": 8, "width": 8}
    with attach(flux, "[um gato:um gato feio:2]", num_inference_steps=4, max_sequence_length=16) as session:
        found = sample(flux, session.inputs, steps=4, **size)
    later = flux.encode_prompt("um gato feio", None, max_sequence_length=16)[:2]
    steps = []

    def forward(*args, original=flux.transformer.forward, **kwargs):
        steps.append(len(steps))
        if len(steps) > 2:
            kwargs |= {"encoder_hidden_states": later[0], "pooled_projections": later[1]}
        return original(*args, **kwargs)

    monkeypatch.setattr(flux.transformer, "forward", forward)
    first = flux.encode_prompt("um gato", None, max_sequence_length=16)[:2]
    inputs = {"prompt_embeds": first[0], "pooled_prompt_embeds": first[1]}
    assert torch.equal(found, sample(flux, inputs, steps=4, **size))
    assert steps == [0, 1, 2, 3]
    assert [word.text for word in session.words()] == ["um", "gato", "um", "gato", "feio"]


def test_run_with_another_number_of_steps_warns(sd):
    with attach(sd, "[um gato:um rato verde:0.5]", num_inference_steps=8) as session:
        sample(sd, session.inputs, steps=4)
    assert session.warnings == [
        "the prompt schedule was made for 8 steps and is stretched to the 4 steps of this run; "
        "pass num_inference_steps=4 to attach"
    ]


@pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # diffusers' scheduler on numpy 2
def test_second_order_sampler_changes_the_text_by_sampling_step(make_sd):
    pipe = make_sd()
    pipe.scheduler = KDPM2DiscreteScheduler()
    with attach(
        pipe, "[um gato|um rato verde]", num_inference_steps=3, record=Record(steps="keep")
    ) as session:
        sample(pipe, session.inputs, steps=3)
    words_by_call = [
        [word for word in ("gato", "rato") if session.maps.steps(call, call + 1).word(word).mass > 0]
        for call in range(5)
    ]
    assert words_by_call == [["gato"], ["gato"], ["rato"], ["rato"], ["gato"]]
    assert session.warnings == []


def test_skip_layer_guidance_with_and_equals_a_reference_step(make_sd3):
    """Skip layer guidance has three predictions instead of two; the reference computes all for one step."""
    pipe = make_sd3()
    settings = {"skip_guidance_layers": [0], "skip_layer_guidance_start": -1.0, "skip_layer_guidance_stop": 1}
    parts = {GATO: 0.7, RATO: 0.5}
    with attach(pipe, "um gato:0.7 AND um rato verde:0.5", "feio") as session:
        found = sample(pipe, session.inputs, steps=1, **settings)

    pipe.scheduler.set_timesteps(1)
    (timestep,) = pipe.scheduler.timesteps
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        away = predict(pipe, latents, timestep, "feio")
        joined, skipped = away, away
        for text, weight in parts.items():
            embeds, pooled = embed(pipe, text)
            joined = joined + weight * (predict(pipe, latents, timestep, text) - away)
            without = pipe.transformer(latents, embeds, pooled, timestep.expand(1), skip_layers=[0]).sample
            skipped = skipped + weight * (without - away)
    noise = away + GUIDANCE * (joined - away) + 2.8 * (joined - skipped)
    assert is_close(found, pipe.scheduler.step(noise, timestep, latents, return_dict=False)[0])


def test_and_with_perturbed_attention_guidance_raises(make_sd):
    pipe = StableDiffusionPAGPipeline(**make_sd().components, pag_applied_layers="down_blocks.0")
    pipe.set_progress_bar_config(disable=True)
    with attach(pipe, JOINED_BY_AND, "feio") as session, pytest.raises(SettingError, match="pag_scale=0"):
        sample(pipe, session.inputs, steps=1, pag_scale=2.0)


def test_and_with_a_controlnet_warns(make_sd):
    pipe = make_sd()
    pipe.controlnet = torch.nn.Identity()
    assert "ControlNet" in attach(pipe, JOINED_BY_AND).warnings[0]
    assert attach(pipe, GATO).warnings == []
