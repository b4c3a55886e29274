"""Processors that a pipeline or a user sets during a session: it acts as if they had been set before."""

import pytest
import torch
import torch.nn.functional as F
from diffusers import StableDiffusion3PAGPipeline, StableDiffusionPAGPipeline
from diffusers.models import attention_dispatch
from diffusers.models.attention_processor import (
    AttnProcessor,
    AttnProcessor2_0,
    IPAdapterAttnProcessor2_0,
    JointAttnProcessor2_0,
)
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor, FluxIPAdapterAttnProcessor

from promptweight.attention import Record, attach
from promptweight.attention.inspection import capture_attention
from promptweight.errors import AttachError

TEXTS = ("um gato", "um gato:9")


def denoiser(pipe):
    return pipe.transformer if getattr(pipe, "unet", None) is None else pipe.unet


def slice_attention(pipe):
    pipe.enable_attention_slicing(1)
    return {}


def set_default(pipe):
    """Set one new processor for all layers, as users do."""
    kinds = {"unet": AttnProcessor2_0, "sd3": JointAttnProcessor2_0, "flux": FluxAttnProcessor}
    denoiser(pipe).set_attn_processor(kinds[kind_of(pipe)]())
    return {}


def set_copies(pipe):
    """Set new processors of the classes that are in the model, as loading an adapter does."""
    processors = denoiser(pipe).attn_processors
    denoiser(pipe).set_attn_processor({name: type(each)() for name, each in processors.items()})
    return {}


def set_plain(pipe):
    denoiser(pipe).set_attn_processor(AttnProcessor())
    return {}


def fuse(pipe):
    denoiser(pipe).fuse_qkv_projections()
    return {}


def fuse_and_unfuse(pipe):
    denoiser(pipe).fuse_qkv_projections()
    denoiser(pipe).unfuse_qkv_projections()
    return {}


def add_ip_adapter(pipe):
    """Set processors as `load_ip_adapter` does."""
    torch.manual_seed(4)
    image, model = torch.randn(2, 1, 3, 32), denoiser(pipe)
    model.encoder_hid_proj = torch.nn.Module()
    model.encoder_hid_proj.num_ip_adapters = 1
    model.encoder_hid_proj.forward = lambda embeds: [embed * 0.5 for embed in embeds]
    if kind_of(pipe) == "flux":
        for block in model.transformer_blocks:
            block.attn.set_processor(FluxIPAdapterAttnProcessor(32, 32, num_tokens=(3,), scale=[0.7]))
        return {"ip_adapter_image_embeds": [image[:1, 0]], "negative_ip_adapter_image_embeds": [image[:1, 0]]}
    model.register_to_config(encoder_hid_dim_type="ip_image_proj")
    for name, module in model.named_modules():
        if name.endswith("attn2"):
            module.set_processor(IPAdapterAttnProcessor2_0(module.inner_dim, 32, num_tokens=(3,), scale=0.7))
    return {"ip_adapter_image_embeds": [image]}


CASES = [
    ("unet", slice_attention),
    ("unet", set_default),
    ("unet", set_copies),
    ("unet", set_plain),
    ("unet", fuse),
    ("unet", fuse_and_unfuse),
    ("unet", add_ip_adapter),
    ("sd3", set_default),
    ("sd3", set_copies),
    ("sd3", fuse),
    ("sd3", fuse_and_unfuse),
    ("flux", set_default),
    ("flux", set_copies),
    ("flux", add_ip_adapter),
]


def make(tiny, kind):
    if kind == "unet":
        return tiny.pipeline()
    return tiny.sd3_pipeline() if kind == "sd3" else tiny.flux_pipeline()


def kind_of(pipe):
    name = type(denoiser(pipe)).__name__
    return {"UNet2DConditionModel": "unet", "SD3Transformer2DModel": "sd3"}.get(name, "flux")


def encode(tiny, kind, text):
    return tiny.encode(text, negative=None if kind == "flux" else "feio", weighting="attention")


def draw(tiny, pipe, session, settings):
    kind = kind_of(pipe)
    if kind != "unet":
        pooled = tiny.pooled(1)
        settings = settings | {name: each for name, each in pooled.items() if kind == "sd3" or name[0] == "p"}
    return tiny.run(pipe, session.inputs, height=16, width=16, **settings)


def kinds_of_processors(pipe):
    return {name: type(each) for name, each in denoiser(pipe).attn_processors.items()}


@pytest.mark.parametrize(("kind", "change"), CASES)
@pytest.mark.parametrize("text", TEXTS)
def test_processors_set_during_a_session_act_as_those_set_before(tiny, kind, change, text):
    encoded, record = encode(tiny, kind, text), Record(patches=((0.5, 0.5),))
    before, during = make(tiny, kind), make(tiny, kind)
    settings = change(before)
    with attach(before, encoded, record=record) as session:
        expected = draw(tiny, before, session, settings)
        maps = session.maps.word("gato").tensor
    with attach(during, encoded, record=record) as session:
        change(during)
        assert torch.equal(draw(tiny, during, session, settings), expected)
        assert torch.equal(session.maps.word("gato").tensor, maps)
    assert kinds_of_processors(during) == kinds_of_processors(before)
    assert "promptweight" not in "".join(each.__module__ for each in kinds_of_processors(during).values())
    if change is fuse:  # the model keeps the processors from before
        for pipe in (before, during):
            denoiser(pipe).unfuse_qkv_projections()
        assert kinds_of_processors(during) == kinds_of_processors(before)
    with attach(during, encoded) as session:
        draw(tiny, during, session, settings)


@pytest.mark.parametrize("kind", ["unet", "sd3", "flux"])
def test_processors_may_change_between_runs_of_a_session(tiny, kind):
    pipe, encoded = make(tiny, kind), encode(tiny, kind, TEXTS[1])
    with attach(pipe, encoded) as session:
        first = draw(tiny, pipe, session, {})
        set_default(pipe)
        second = draw(tiny, pipe, session, {})
        assert torch.equal(second, first)
        with capture_attention(session, [0]) as capture:
            set_default(pipe)
            draw(tiny, pipe, session, {})
    assert {name for name, _ in capture.text} == set(session.config.layout.layers)


class UnknownProcessor(AttnProcessor2_0):
    """A processor of another library."""


class UnknownFlux(FluxAttnProcessor):
    """Likewise."""


@pytest.mark.parametrize(("kind", "processor"), [("unet", UnknownProcessor), ("flux", UnknownFlux)])
def test_unknown_processor_set_during_a_session_is_refused(tiny, kind, processor):
    """At every call, since the layers of the first refused one have no hooks."""
    pipe, encoded = make(tiny, kind), encode(tiny, kind, TEXTS[1])
    with attach(pipe, encoded) as session:
        denoiser(pipe).set_attn_processor(processor())
        for _ in range(2):
            with pytest.raises(AttachError, match=f"got {processor.__name__}"):
                draw(tiny, pipe, session, {})
    assert set(kinds_of_processors(pipe).values()) == {processor}


@pytest.mark.parametrize(("kind", "processor"), [("unet", UnknownProcessor), ("flux", UnknownFlux)])
def test_unknown_processor_of_the_last_layer_ends_a_capture(tiny, kind, processor):
    """With the error that names it, although the layers before have hooks that the capture did not wrap."""
    pipe, encoded = make(tiny, kind), encode(tiny, kind, TEXTS[1])
    last = list(denoiser(pipe).attn_processors)[-1]
    with attach(pipe, encoded) as session:
        denoiser(pipe).get_submodule(last.removesuffix(".processor")).set_processor(processor())
        with (
            pytest.raises(AttachError, match=f"got {processor.__name__}"),
            capture_attention(session, [0]),
        ):
            draw(tiny, pipe, session, {})


@pytest.mark.parametrize("scope", ["model", "global"])
def test_backend_set_during_a_session_is_refused(tiny, scope, monkeypatch):
    pipe, encoded = tiny.flux_pipeline(), encode(tiny, "flux", TEXTS[1])
    registry = attention_dispatch._AttentionBackendRegistry
    name = attention_dispatch.AttentionBackendName.FLEX

    def other(query, key, value, **_settings):
        return torch.zeros_like(query)

    monkeypatch.setitem(registry._backends, name, other)
    with attach(pipe, encoded) as session:
        if scope == "model":
            for processor in pipe.transformer.attn_processors.values():
                processor._attention_backend = name
        else:
            monkeypatch.setattr(registry, "_active_backend", name)
        with pytest.raises(AttachError, match="must be 'native' during a session; got 'flex'"):
            draw(tiny, pipe, session, {})


def test_attention_that_does_not_reach_torchs_function_is_refused(tiny, monkeypatch):
    """Whatever keeps it away, such as a library that replaces diffusers' dispatch."""
    pipe, encoded = tiny.flux_pipeline(), encode(tiny, "flux", TEXTS[1])
    module = "diffusers.models.transformers.transformer_flux.dispatch_attention_fn"
    monkeypatch.setattr(module, lambda query, *_, **__: torch.zeros_like(query))
    with attach(pipe, encoded) as session, pytest.raises(AttachError, match="did not pass through torch's"):
        draw(tiny, pipe, session, {})


@pytest.mark.parametrize("setting", [{"scale": 0.1}, {"is_causal": True}, {"dropout_p": 0.5}])
def test_attention_with_other_settings_is_refused(tiny, monkeypatch, setting):
    pipe, encoded = tiny.flux_pipeline(), encode(tiny, "flux", TEXTS[1])

    def attention(query, key, value, **_):
        each = (tensor.transpose(1, 2) for tensor in (query, key, value))
        return F.scaled_dot_product_attention(*each, **setting).transpose(1, 2)

    monkeypatch.setattr("diffusers.models.transformers.transformer_flux.dispatch_attention_fn", attention)
    with attach(pipe, encoded) as session, pytest.raises(AttachError, match="no dropout, no causal mask"):
        draw(tiny, pipe, session, {})


def make_pag(tiny, kind, layers):
    """Make a pipeline with perturbed-attention guidance."""
    pipe = make(tiny, kind)
    parts = {name: each for name, each in pipe.components.items() if name != "image_encoder"}
    if kind == "unet":
        pag = StableDiffusionPAGPipeline(**parts, requires_safety_checker=False, pag_applied_layers=layers)
    else:
        parts.pop("feature_extractor", None)
        pag = StableDiffusion3PAGPipeline(**parts, pag_applied_layers=layers)
    pag.set_progress_bar_config(disable=True)
    return pag


class PatchedAttention:
    """torch's attention with weights on text keys, by hand, in all rows of the positive prompt.

    Attributes:
        probabilities: the float64 softmax of the positive row in each call that is not perturbed.
    """

    def __init__(self, text, weights):
        self.text, self.weights, self.probabilities = text, weights, []
        self.own = F.scaled_dot_product_attention

    def __call__(self, query, key, value, attn_mask=None, **_):
        bias = torch.zeros(len(query), 1, 1, key.shape[2])
        first = key.shape[2] - self.text
        for position, weight in self.weights.items():
            bias[-1, ..., first + position] = torch.tensor(weight).log()
        if attn_mask is None:
            logits = query[-1].double() @ key[-1].double().transpose(-1, -2) * query.shape[-1] ** -0.5
            self.probabilities.append((logits + bias[-1]).softmax(-1)[..., first:])
        if not self.weights:
            return self.own(query, key, value, attn_mask=attn_mask)
        return self.own(query, key, value, attn_mask=bias if attn_mask is None else bias + attn_mask)


@pytest.mark.parametrize("guidance", [1.0, 4.0])
@pytest.mark.parametrize("weight", [1.0, 9.0])
def test_perturbed_joint_attention_is_weighted_and_recorded(tiny, guidance, weight, monkeypatch):
    """In all layers of a Stable Diffusion 3 model, in both halves of the batch."""
    pipe = make_pag(tiny, "sd3", ["blocks.*"])
    encoded = encode(tiny, "sd3", f"um gato:{weight:g}")
    settings = {"pag_scale": 2.0, "guidance_scale": guidance, "num_inference_steps": 2}
    patched = PatchedAttention(tiny.rows, {2: weight} if weight != 1 else {})
    with monkeypatch.context() as patch:
        patch.setattr(F, "scaled_dot_product_attention", patched)
        expected = draw(tiny, pipe, SimpleInputs(encoded.inputs), settings)
    kinds = kinds_of_processors(pipe)
    with attach(pipe, encoded, record=Record(steps="keep", heads="keep")) as session:
        actual = draw(tiny, pipe, session, settings)
        slots = session.maps.recording.slots
    assert torch.equal(actual, expected) if weight == 1 else (actual - expected).abs().max() < 1e-5
    assert kinds_of_processors(pipe) == kinds
    columns = session.maps.recording.columns(("positive", 0))
    for number, probabilities in enumerate(patched.probabilities):
        step, layer = divmod(number, len(slots))
        slot = slots[layer]
        softmax = probabilities[:, : slot.height * slot.width]
        difference = slot.sums[step, 0, 0][..., list(columns.values())] - softmax[..., list(columns)]
        assert difference.abs().max() < 2e-5
    assert len(patched.probabilities) == 2 * len(slots)


class SimpleInputs:
    """Inputs of a pipeline without a session."""

    def __init__(self, inputs):
        self.inputs = inputs


@pytest.mark.parametrize("kind", ["unet", "sd3"])
def test_processors_of_a_failed_perturbed_run_do_not_stay(tiny, kind):
    """The pipelines restore them only at the end of a run."""
    pipe, encoded = (
        make_pag(tiny, kind, ["mid" if kind == "unet" else "blocks.0"]),
        encode(tiny, kind, TEXTS[1]),
    )
    kinds = kinds_of_processors(pipe)

    def stop(*_):
        raise KeyError("stopped")

    with attach(pipe, encoded, record=Record(refine=True)) as session, pytest.raises(KeyError):
        draw(tiny, pipe, session, {"pag_scale": 2.0, "callback_on_step_end": stop})
    assert kinds_of_processors(pipe) == kinds


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_perturbed_self_attention_is_recorded(tiny, guidance):
    """The layers that are perturbed average the maps of words as they do without it."""
    pipe = make_pag(tiny, "unet", ["mid", "down"])
    encoded = encode(tiny, "unet", TEXTS[0])
    record = Record(refine=True, patches=((0.25, 0.25),), steps="keep")
    settings = {"guidance_scale": guidance, "num_inference_steps": 1}
    with attach(pipe, encoded, record=record) as session:
        plain = draw(tiny, pipe, session, {**settings, "pag_scale": 0.0})
        unperturbed = session.maps.recording.slots
    with attach(pipe, encoded, record=record) as session:
        draw(tiny, pipe, session, {**settings, "pag_scale": 2.0})
        slots = session.maps.recording.slots
    assert len(slots) == len(unperturbed)
    for slot, other in zip(slots, unperturbed, strict=True):
        assert slot.kind == other.kind
        assert torch.allclose(slot.sums, other.sums, atol=1e-5)
    assert plain.isfinite().all()


def merge_tokens(pipe):
    """Let every cross-attention layer run over every second position, as tools that merge tokens do."""
    for name, module in denoiser(pipe).named_modules():
        if name.endswith("attn2"):
            own = module.forward

            def forward(hidden_states, *arguments, own=own, **settings):
                return own(hidden_states[:, ::2], *arguments, **settings).repeat_interleave(2, 1)

            module.forward = forward


def test_merged_tokens_are_weighted_but_not_recorded(tiny):
    pipe, images = tiny.pipeline(), []
    merge_tokens(pipe)
    for text in TEXTS:
        with attach(pipe, encode(tiny, "unet", text), record=False) as session:
            images.append(draw(tiny, pipe, session, {}))
    assert torch.equal(images[0], draw(tiny, pipe, session, {}))
    assert not torch.allclose(images[1], images[0], atol=1e-5)
    with (
        attach(pipe, encode(tiny, "unet", TEXTS[0])) as session,
        pytest.raises(AttachError, match="from 32 positions to 20, and the session expects 64 of the image"),
    ):
        draw(tiny, pipe, session, {})
