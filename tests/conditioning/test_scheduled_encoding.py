"""Prompt editing, alternation and AND: against loops written by hand with diffusers' parts alone."""

import pytest
import torch
from diffusers import KDPM2DiscreteScheduler, StableDiffusionPAGPipeline

from promptweight.attention import Record, attach
from promptweight.conditioning.scheduled_encoding import encode_scheduled
from promptweight.errors import SettingError

STEPS, GUIDANCE = 5, 3.0
JOINED_BY_AND = "um gato AND um rato verde"
GATO, RATO, CASA = "um gato", "um rato verde", "uma casa"


@pytest.fixture(scope="module", params=["sd", "sdxl", "sd3"])
def pipe(request):
    """A pipeline of its own, to whose model the text means more than to one fresh from random numbers."""
    pipe = request.getfixturevalue(f"make_{request.param}")()
    with torch.no_grad():
        for name, weights in (pipe.transformer if request.param == "sd3" else pipe.unet).named_parameters():
            if "attn2.to_v" in name or "attn2.to_out" in name or "add_v_proj" in name:
                weights *= 6
    return pipe


def embedded(pipe, text):
    """Embeddings and pooled vector of a text, by the pipeline itself."""
    name = type(pipe).__name__
    if name == "StableDiffusionPipeline":
        return pipe.encode_prompt(text, "cpu", 1, False)[0], None
    texts = {"prompt": text, "prompt_2": None, "prompt_3": None} if "3" in name else {"prompt": text}
    embeds, _, pooled, _ = pipe.encode_prompt(**texts, device="cpu", do_classifier_free_guidance=False)
    return embeds, pooled


def predicted(pipe, latents, timestep, text):
    """What the model predicts for one text, in a batch of one."""
    embeds, pooled = embedded(pipe, text)
    if hasattr(pipe, "transformer"):
        return pipe.transformer(latents, embeds, pooled, timestep.expand(1)).sample
    added = {}
    if pooled is not None:
        added = {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": torch.tensor([[8, 8, 0, 0, 8, 8]])}}
    return pipe.unet(latents, timestep, embeds, **added).sample


@torch.no_grad()
def by_hand(pipe, said, guidance=GUIDANCE, steps=STEPS, negative="feio"):
    """The latents of a run; `said` gives the (text, weight) pairs of each step."""
    pipe.scheduler.set_timesteps(steps)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(7))
    latents = latents * getattr(pipe.scheduler, "init_noise_sigma", 1.0)
    for step, timestep in enumerate(pipe.scheduler.timesteps):
        away = predicted(pipe, latents, timestep, negative)
        towards = [(predicted(pipe, latents, timestep, text), weight) for text, weight in said(step)]
        if guidance > 1:
            noise = away + guidance * sum(weight * (part - away) for part, weight in towards)
        else:
            noise = sum(weight * part for part, weight in towards) / sum(weight for _, weight in towards)
        latents = pipe.scheduler.step(noise, timestep, latents, return_dict=False)[0]
    return latents


def ours(pipe, prompt, negative="feio", guidance=GUIDANCE, steps=STEPS, **settings):
    with attach(pipe, prompt, negative, num_inference_steps=steps, **settings) as session:
        latents = drawn(pipe, session.inputs, guidance, steps)
    return latents, session


def drawn(pipe, inputs, guidance=GUIDANCE, steps=STEPS, **settings):
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


def close(found, expected):
    return torch.allclose(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


SAID = {
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


@pytest.mark.parametrize("prompt", SAID)
def test_what_is_said_at_each_step_is_what_a_loop_by_hand_says(pipe, prompt):
    found, session = ours(pipe, prompt)
    assert close(found, by_hand(pipe, SAID[prompt]))
    assert not close(found, by_hand(pipe, lambda step: SAID[prompt](0)[:1]))
    assert session.warnings == []


def test_negative_prompts_change_too_and_their_parts_are_averaged(pipe):
    edited, _ = ours(pipe, GATO, "[um rato verde:uma casa:2]")
    first, second = (by_hand(pipe, lambda step: [(GATO, 1)], negative=text) for text in (RATO, CASA))
    assert not close(edited, first)
    assert not close(edited, second)
    averaged, _ = ours(pipe, GATO, "um rato verde AND um rato verde:3")
    assert close(averaged, first)


def test_without_guidance_the_predictions_of_the_parts_are_averaged(pipe):
    found, session = ours(pipe, "um gato AND um rato verde:3", guidance=1.0)
    assert close(found, by_hand(pipe, lambda step: [(GATO, 1), (RATO, 3)], guidance=1.0))
    (said,) = session.warnings
    assert "averaged by their weights" in said
    with pytest.raises(SettingError, match="must sum to more than 0"):
        ours(pipe, "um gato AND um rato verde:-1", guidance=1.0)


@pytest.mark.parametrize(
    ("prompt", "plain"),
    [
        ("[um gato:um rato verde:0]", RATO),
        ("[um gato:um rato verde:1.0]", GATO),
        ("[um gato|um gato]", GATO),
        ("um [gato|gato] vermelho", "um gato vermelho"),
    ],
)
def test_a_prompt_that_stays_the_same_gives_the_plain_picture_bit_for_bit(pipe, prompt, plain):
    expected, _ = ours(pipe, plain)
    assert torch.equal(ours(pipe, prompt)[0], expected)


def test_one_shape_at_every_step_and_each_text_encoded_once(sd, monkeypatch):
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
    ours(sd, "[um gato:" + "rato " * 80 + ":0.5] AND uma casa")
    assert len(shapes) == 1
    assert {(len(shape), shape[0]) for shape in shapes} == {(3, 3)}
    assert len(calls) == len({str(ids.tolist()) for ids in calls})


def test_each_prompt_of_a_batch_has_its_own_changes(pipe):
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
        assert close(latents[None], ours(pipe, prompt)[0])
    maps = session.maps
    assert [word.text for word in maps.words_of(image=0)] == ["um", "gato", "uma", "casa"]
    assert [word.text for word in maps.words_of(image=1)] == ["um", "rato", "verde", "um", "gato"]
    assert [word.text for word in maps.words_of(image=2)] == ["um", "rato", "verde"]


def test_flux_says_another_text_from_a_step_on(flux, monkeypatch):
    size = {"height": 8, "width": 8}
    with attach(flux, "[um gato:um gato feio:2]", num_inference_steps=4, max_sequence_length=16) as session:
        found = drawn(flux, session.inputs, steps=4, **size)
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
    assert torch.equal(found, drawn(flux, inputs, steps=4, **size))
    assert steps == [0, 1, 2, 3]
    assert [word.text for word in session.words()] == ["um", "gato", "um", "gato", "feio"]


def test_without_the_number_of_steps_the_first_text_stays(sd):
    staged = encode_scheduled(sd, "[um gato:um rato verde:0.5]")
    assert [script.is_plain for script in staged.scripts["positive"]] == [True]
    assert "these embeddings are those of its first step" in staged.encoded.warnings[0]


def test_a_run_of_another_length_is_told_of(sd):
    with attach(sd, "[um gato:um rato verde:0.5]", num_inference_steps=8) as session:
        drawn(sd, session.inputs, steps=4)
    assert session.warnings == [
        "the prompt schedule was made for 8 steps and is stretched to the 4 steps of this run; "
        "pass num_inference_steps=4 to attach"
    ]


@pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # diffusers' scheduler on numpy 2
def test_second_order_samplers_change_with_the_sampling_step(make_sd):
    pipe = make_sd()
    pipe.scheduler = KDPM2DiscreteScheduler()
    with attach(
        pipe, "[um gato|um rato verde]", num_inference_steps=3, record=Record(steps="keep")
    ) as session:
        drawn(pipe, session.inputs, steps=3)
    said = [
        [word for word in ("gato", "rato") if session.maps.steps(call, call + 1).word(word).mass > 0]
        for call in range(5)
    ]
    assert said == [["gato"], ["gato"], ["rato"], ["rato"], ["gato"]]
    assert session.warnings == []


def test_skip_layer_guidance_is_told_from_the_parts_as_they_are_joined(make_sd3):
    """Three predictions instead of two: all of them are written out here for one step."""
    pipe = make_sd3()
    settings = {"skip_guidance_layers": [0], "skip_layer_guidance_start": -1.0, "skip_layer_guidance_stop": 1}
    parts = {GATO: 0.7, RATO: 0.5}
    with attach(pipe, "um gato:0.7 AND um rato verde:0.5", "feio") as session:
        found = drawn(pipe, session.inputs, steps=1, **settings)

    pipe.scheduler.set_timesteps(1)
    (timestep,) = pipe.scheduler.timesteps
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        away = predicted(pipe, latents, timestep, "feio")
        joined, skipped = away, away
        for text, weight in parts.items():
            embeds, pooled = embedded(pipe, text)
            joined = joined + weight * (predicted(pipe, latents, timestep, text) - away)
            without = pipe.transformer(latents, embeds, pooled, timestep.expand(1), skip_layers=[0]).sample
            skipped = skipped + weight * (without - away)
    noise = away + GUIDANCE * (joined - away) + 2.8 * (joined - skipped)
    assert close(found, pipe.scheduler.step(noise, timestep, latents, return_dict=False)[0])


def test_and_is_refused_under_perturbed_attention_guidance(make_sd):
    pipe = StableDiffusionPAGPipeline(**make_sd().components, pag_applied_layers="down_blocks.0")
    pipe.set_progress_bar_config(disable=True)
    with attach(pipe, JOINED_BY_AND, "feio") as session, pytest.raises(SettingError, match="pag_scale=0"):
        drawn(pipe, session.inputs, steps=1, pag_scale=2.0)


def test_what_a_controlnet_is_shown_is_told(make_sd):
    pipe = make_sd()
    pipe.controlnet = torch.nn.Identity()
    assert "ControlNet" in attach(pipe, JOINED_BY_AND).warnings[0]
    assert attach(pipe, GATO).warnings == []
