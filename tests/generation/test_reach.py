"""Reach of weights, against single calls of the model with embeddings that the test encodes itself."""

import pytest
import tiny_models
import torch

from promptweight.conditioning import encode_prompts
from promptweight.errors import SettingError, WordNotFoundError
from promptweight.generation import PhraseReach, measure_reach
from promptweight.generation.carriers import Carrier
from promptweight.messages import catalog

PROMPT, PLAIN, UNSAID = "um (gato:0.5) vermelho", "um gato vermelho", "um vermelho"
STEPS, STEP = 6, 2
SETTINGS = {"num_inference_steps": STEPS, "guidance_scale": 4.0, "seed": 3}
AT = 1 - STEP / (STEPS - 1)


@pytest.fixture(scope="module")
def sd():
    return tiny_models.sd(side=8)


def denoiser_of(pipe):
    return pipe.unet if hasattr(pipe, "unet") else pipe.transformer


@pytest.fixture(scope="module")
def sd_call(sd):
    return capture(sd)


def capture(pipe):
    """Return a function that calls the model once more, as at a step of a run, with other text inputs."""
    calls = []

    def keep(_model, args, kwargs):
        calls.append((args, kwargs))

    handle = denoiser_of(pipe).register_forward_pre_hook(keep, with_kwargs=True)
    size = {} if hasattr(pipe, "unet") else {"height": 16, "width": 16}
    inputs = encode_prompts(pipe, PLAIN, None if "Flux" in type(pipe).__name__ else "").inputs
    pipe(
        **inputs,
        **size,
        num_inference_steps=STEPS,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(3),
        output_type="latent",
    )
    handle.remove()
    args, kwargs = calls[STEP]

    @torch.no_grad()
    def call(inputs, **changes):
        own = dict(kwargs)
        latents = args[0] if args else own.pop("hidden_states")
        own["encoder_hidden_states"] = inputs["prompt_embeds"]
        pooled = inputs.get("pooled_prompt_embeds")
        if "added_cond_kwargs" in own and own["added_cond_kwargs"] is not None:
            times = own["added_cond_kwargs"]["time_ids"]
            own["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": times[-1:]}
        elif "pooled_projections" in own:
            own["pooled_projections"] = pooled
        for name in ("timestep", "guidance"):
            if own.get(name) is not None:
                own[name] = own[name][-1:]
        model = denoiser_of(pipe)
        return model(latents[-1:].to(model.dtype), *args[1:], **own | changes)[0].double()

    return call


def norms(plain, weighted, zero, unsaid):
    whole = (plain - unsaid).norm()
    return float((plain - weighted).norm() / whole), float((zero - unsaid).norm() / whole)


@pytest.mark.parametrize("family", ["sd", "sdxl", "sd3", "flux"])
@pytest.mark.parametrize("weighting", ["scale", "clip-attention"])
def test_reach_and_residual_equal_single_calls_of_the_model(family, weighting):
    make = getattr(tiny_models, family)
    pipe = make() if family == "flux" else make(side=8 if family != "sd3" else 16)
    call = capture(pipe)
    size = {"height": 16, "width": 16} if family in ("sd3", "flux") else {}
    if (family, weighting) == ("flux", "clip-attention"):
        weighting = "comfy"  # FLUX has no rows of CLIP
    texts = (PLAIN, PROMPT, "um (gato:0) vermelho", UNSAID)
    expected = norms(*(call(encode_prompts(pipe, text, weighting=weighting).inputs) for text in texts))
    report = measure_reach(pipe, PROMPT, at=AT, weighting=weighting, **SETTINGS, **size)
    (found,) = report.phrases
    assert (found.phrase, found.weight, report.step, report.steps) == ("gato", 0.5, STEP + 1, STEPS)
    assert (found.reach, found.residual) == pytest.approx(expected, rel=1e-3)
    assert 0 < found.reach < 2
    assert ("pooled" in {carrier.kind for carrier in found.carriers}) == (family != "sd")


@pytest.mark.parametrize("weight", [0, 0.5])
def test_weight_in_attention_equals_a_mask_of_the_model(sd, sd_call, weight):
    """A UNet adds (1 - mask)·(-10000) to the logits of each token."""
    encoded = encode_prompts(sd, PLAIN)
    (gato,) = encoded.positive[0].find("gato")[0].positions

    def masked(bias):
        mask = torch.ones(1, 77, dtype=torch.float64)
        mask[0, gato] = 1 + bias / 10000
        return mask

    sd.unet.double()
    try:
        inputs = {"prompt_embeds": encoded.inputs["prompt_embeds"].double()}
        plain = sd_call(inputs, encoder_attention_mask=masked(0))
        biases = [torch.tensor(weight).log().clamp_min(-10000).item(), -10000.0]
        weighted, zero = (sd_call(inputs, encoder_attention_mask=masked(bias)) for bias in biases)
        shorter = encode_prompts(sd, UNSAID).inputs["prompt_embeds"].double()
        unsaid = sd_call({"prompt_embeds": shorter})
    finally:
        sd.unet.float()
    report = measure_reach(sd, f"um (gato:{weight}) vermelho", at=AT, weighting="attention", **SETTINGS)
    expected = norms(plain, weighted, zero, unsaid)
    assert (report.phrases[0].reach, report.phrases[0].residual) == pytest.approx(expected, rel=2e-3)


def test_shares_of_carriers_equal_replacements_by_hand(sd, sd_call):
    weighted = encode_prompts(sd, "um (gato:0) vermelho", weighting="scale")
    shorter = encode_prompts(sd, UNSAID)
    table, other = weighted.positive[0], shorter.positive[0]
    zero, unsaid = weighted.inputs["prompt_embeds"], shorter.inputs["prompt_embeds"]
    color, other_color = (list(of.find("vermelho")[0].positions) for of in (table, other))
    (gato,) = table.find("gato")[0].positions
    first_end, other_end = color[-1] + 1, other_color[-1] + 1
    replacements = {
        "vermelho": (color, other_color),
        "ends": (list(range(first_end, 77)), list(range(other_end, 76))),
        "own": ([gato], [76]),
    }
    residual = sd_call({"prompt_embeds": zero}) - sd_call({"prompt_embeds": unsaid})
    expected = {}
    together = zero.clone()
    for name, (rows, others) in replacements.items():
        changed = zero.clone()
        changed[0, rows] = together[0, rows] = unsaid[0, others]
        change = sd_call({"prompt_embeds": zero}) - sd_call({"prompt_embeds": changed})
        expected[name] = float((change * residual).sum() / residual.square().sum())
    # attention does not depend on the order of the keys, so all replacements together are the other prompt
    assert torch.allclose(sd_call({"prompt_embeds": together}), sd_call({"prompt_embeds": unsaid}), atol=1e-4)
    report = measure_reach(sd, "um (gato:0) vermelho", at=AT, weighting="scale", **SETTINGS)
    found = {carrier.word or carrier.kind: carrier.share for carrier in report.phrases[0].carriers}
    assert found == pytest.approx(expected, abs=2e-3)
    shares = [carrier.share for carrier in report.phrases[0].carriers]
    assert shares == sorted(shares, reverse=True)


def test_each_phrase_is_weighted_alone(sd):
    together = measure_reach(sd, "um (gato:0.5) (vermelho:0)", at=AT, **SETTINGS).phrases
    alone = [
        measure_reach(sd, prompt, at=AT, **SETTINGS).phrases[0] for prompt in (PROMPT, "um gato (vermelho:0)")
    ]
    assert [(each.phrase, each.weight) for each in together] == [("gato", 0.5), ("vermelho", 0.0)]
    for found, expected in zip(together, alone, strict=True):
        assert (found.reach, found.residual) == pytest.approx((expected.reach, expected.residual), abs=5e-4)


def test_weight_acts_only_in_its_steps(sd):
    prompt = "um (gato:0{steps=0.3-0.6}) vermelho"
    before, within, after = (measure_reach(sd, prompt, at=at, **SETTINGS).phrases[0] for at in (1, AT, 0.2))
    assert (before.reach, after.reach) == (0, 0)
    assert (before.residual, after.residual) == (1, 1)
    assert within.reach > 0.01


def test_presence_leaves_nothing_at_zero(sd):
    (found,) = measure_reach(sd, PROMPT, at=AT, weighting="presence", **SETTINGS).phrases
    assert found.residual == pytest.approx(0, abs=0.02)
    assert found.reach > 0.1


def test_named_phrases_need_no_weight(sd):
    gato, whole = measure_reach(sd, PLAIN, phrases=["gato", "gato vermelho"], at=AT, **SETTINGS).phrases
    assert (gato.weight, gato.reach) == (1, 0)
    assert whole.phrase == "gato vermelho"
    mixed = measure_reach(sd, PROMPT, phrases=["gato vermelho"], at=AT, **SETTINGS).phrases[0]
    assert mixed.weight is None
    with pytest.raises(WordNotFoundError, match="'rato'"):
        measure_reach(sd, PLAIN, phrases=["rato"], **SETTINGS)


def test_changing_prompt_is_measured_in_the_text_of_the_step(sd):
    prompt = "um [(gato:0.5):(ver:0.5):0.5] vermelho"
    first, last = (measure_reach(sd, prompt, at=at, **SETTINGS) for at in (1, 0))
    assert (first.text, first.phrases[0].phrase) == ("um gato vermelho", "gato")
    assert (last.text, last.phrases[0].phrase) == ("um ver vermelho", "ver")


def test_model_without_text_is_not_reached():
    pipe = tiny_models.sd(side=8)
    for name, parameter in pipe.unet.named_parameters():
        if "attn2.to_v" in name:
            parameter.data.zero_()
    (found,) = measure_reach(pipe, PROMPT, at=AT, **SETTINGS).phrases
    assert (found.reach, found.residual, found.carriers) == (None, None, ())
    assert found.summary() == "'gato' does not change the prediction, so no weight reaches it"


def test_pipeline_is_unchanged_and_seeds_differ(sd):
    scheduler, processors = sd.scheduler, {name: id(each) for name, each in sd.unet.attn_processors.items()}
    one, two, other = (
        measure_reach(sd, PROMPT, at=AT, **SETTINGS | {"seed": seed, "scheduler": "Euler"})
        for seed in (3, 3, 4)
    )
    assert one == two != other
    assert sd.scheduler is scheduler
    assert {name: id(each) for name, each in sd.unet.attn_processors.items()} == processors
    assert not sd.unet._forward_hooks
    assert not sd.unet._forward_pre_hooks


@pytest.mark.parametrize(
    ("prompt", "settings", "text"),
    [
        (PLAIN, {}, "must have a weighted phrase, such as"),
        ("um (gato:0.5) AND um rato", {}, "joins several texts"),
        (PROMPT, {"at": 1.5}, "at must be"),
        (PROMPT, {"edit": "um rato"}, "edit must be None to measure the reach of weights"),
        (PROMPT, {"num_images_per_prompt": 2}, "num_images_per_prompt must be 1 to measure"),
        (PROMPT, {"targets": {"gato": 0.2}}, "targets must be {} to measure"),
        (PROMPT, {"no_such_argument": 2}, "no_such_argument"),
    ],
)
def test_invalid_arguments_raise(sd, prompt, settings, text):
    with pytest.raises(SettingError, match=text):
        measure_reach(sd, prompt, **settings)


def test_summary_names_the_largest_carriers():
    carriers = (
        Carrier("word", "vermelho", 0.6),
        Carrier("word", "um", 0.25, 2),
        Carrier("pooled", "", 0.12),
        Carrier("ends", "", 0.03),
    )
    found = PhraseReach("gato", 0.5, 0.62, 0.03, carriers)
    assert found.summary() == (
        "the weight 0.5 of 'gato' reaches 62% of it; at 0, 3% would remain, carried by 'vermelho', 'um' (2), "
        "the pooled vector"
    )
    assert found.summary().translated(catalog("pt-br")) == (
        "o peso 0.5 de “gato” alcança 62% do efeito desse trecho; com peso 0, restariam 3%, em “vermelho” e "
        "“um” (2ª vez) e o vetor-resumo do texto"
    )
    assert PhraseReach("gato", 1, 0, 0.5, ()).summary() == "'gato' has the weight 1; at 0, 50% would remain"
    mixed = PhraseReach("um gato", None, 0.4, 0.5, (Carrier("own", "", 0.9),))
    assert mixed.summary() == (
        "the weights of 'um gato' reach 40% of it; at 0, 50% would remain, carried by its own tokens"
    )
