"""Every model family under every condition: unchanged image, float64 columns, restored model."""

from contextlib import contextmanager

import pytest
import torch
from diffusers import DDIMScheduler
from diffusers.models.attention_processor import (
    IPAdapterAttnProcessor2_0,
    SD3IPAdapterJointAttnProcessor2_0,
)
from diffusers.models.embeddings import IPAdapterTimeImageProjection
from diffusers.models.transformers.transformer_flux import FluxIPAdapterAttnProcessor
from peft import LoraConfig

from promptweight.attention import Record, attach

STEPS = 2
PROMPTS = ("um gato vermelho", "uma casa azul")
FAMILIES = ("sd1", "sd2", "sdxl", "sd3", "sd3.5 medium", "flux")
CONDITIONS = (
    "guidance",
    "no guidance",
    "batch of two",
    "two images",
    "skip-layer guidance",
    "lora",
    "ip-adapter",
    "fused",
    "bfloat16",
    "24x40",
    "exception",
)


def make(tiny, family):
    if family == "sd1":
        return tiny.pipeline()
    if family == "sd2":
        pipe = tiny.pipeline(use_linear_projection=True, attention_head_dim=(4, 8), upcast_attention=True)
        pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, prediction_type="v_prediction")
        return pipe
    if family == "sdxl":
        return tiny.sdxl_pipeline()
    if family == "flux":
        return tiny.flux_pipeline()
    medium = {"qk_norm": "rms_norm", "dual_attention_layers": (0, 1)}
    return tiny.sd3_pipeline(**medium if family == "sd3.5 medium" else {})


def exists(family, condition):
    """Return True if diffusers supports the case; its fused SD 3.5 medium fails without a session too."""
    if condition == "skip-layer guidance":
        return family.startswith("sd3")
    return (family, condition) != ("sd3.5 medium", "fused")


def model_of(pipe):
    return pipe.transformer if getattr(pipe, "unet", None) is None else pipe.unet


def prepare(tiny, family, condition, pipe):
    """Change the model for the condition; return encoded prompts and further arguments of the pipeline."""
    dtype = torch.bfloat16 if condition == "bfloat16" else torch.float32
    prompts = PROMPTS[: 2 if condition == "batch of two" else 1]
    guided = condition not in ("no guidance", *(("ip-adapter",) if family == "flux" else ()))
    encoded = tiny.encode(*prompts, negative="feio" if guided else None, dtype=dtype)
    settings = {"height": 16, "width": 16, "num_inference_steps": STEPS}
    if condition == "24x40":
        settings |= {"height": 24, "width": 40}
    if condition == "two images":
        settings["num_images_per_prompt"] = 2
    if condition == "skip-layer guidance":
        settings |= {"skip_guidance_layers": [1], "skip_layer_guidance_start": 0.0}
        settings["skip_layer_guidance_stop"] = 1.0
    if family == "flux":
        settings |= {"guidance_scale": 3.5, "true_cfg_scale": 4.0 if guided else 1.0}
    elif not guided:
        settings["guidance_scale"] = 1.0
    if family not in ("sd1", "sd2"):
        pooled = tiny.pooled(len(prompts))
        settings |= {name: each.to(dtype) for name, each in pooled.items() if guided or "neg" not in name}
    if dtype is torch.bfloat16:
        pipe.to(dtype)
    if condition == "lora":
        add_lora(pipe)
        settings["joint_attention_kwargs" if pipe_is_joint(pipe) else "cross_attention_kwargs"] = {
            "scale": 0.5
        }
    if condition == "ip-adapter":
        settings["ip_adapter_image_embeds"] = image = add_ip_adapter(pipe, family)
        if family == "flux":
            settings["negative_ip_adapter_image_embeds"] = image
    if condition == "fused":
        model_of(pipe).fuse_qkv_projections()
    return encoded, settings


def pipe_is_joint(pipe):
    return getattr(pipe, "unet", None) is None


def add_lora(pipe):
    torch.manual_seed(3)
    names = ["to_q", "to_k", "to_v", "to_out.0", "add_k_proj"]
    model_of(pipe).add_adapter(LoraConfig(r=2, target_modules=names, init_lora_weights=False))


def add_ip_adapter(pipe, family):
    """Install processors as `load_ip_adapter` does; return the embeddings of an image for them."""
    torch.manual_seed(4)
    image = torch.randn(2, 1, 3, 32)
    model = model_of(pipe)
    if family.startswith("sd3"):
        names = {"embed_dim": 32, "output_dim": 32, "hidden_dim": 32, "timestep_in_dim": 32}
        model.image_proj = IPAdapterTimeImageProjection(depth=1, dim_head=8, heads=4, num_queries=3, **names)
        for block in model.transformer_blocks:
            block.attn.processor = SD3IPAdapterJointAttnProcessor2_0(32, 32, 8, 32, scale=0.7)
        return image[:, 0]
    model.encoder_hid_proj = torch.nn.Module()
    model.encoder_hid_proj.num_ip_adapters = 1
    model.encoder_hid_proj.forward = lambda embeds: [embed * 0.5 for embed in embeds]
    if family == "flux":
        for block in model.transformer_blocks:
            block.attn.processor = FluxIPAdapterAttnProcessor(32, 32, num_tokens=(3,), scale=[0.7])
        return [image[:1, 0]]
    model.register_to_config(encoder_hid_dim_type="ip_image_proj")
    for name, module in model.named_modules():
        if name.endswith("attn2"):
            module.set_processor(IPAdapterAttnProcessor2_0(module.inner_dim, 32, num_tokens=(3,), scale=0.7))
    return [image]


@contextmanager
def softmaxes_of_text(text):
    """Collect the float64 softmax of every attention call with `text` text positions among its keys."""
    softmaxes = []
    attention = torch.nn.functional.scaled_dot_product_attention

    def listening(query, key, value, attn_mask=None, **settings):
        joint = key.shape[2] == query.shape[2] and key.shape[2] not in IMAGES
        if key.shape[2] == text or joint:
            logits = query.double() @ key.double().transpose(-1, -2) * query.shape[-1] ** -0.5
            softmaxes.append(logits.softmax(-1))
        return attention(query, key, value, attn_mask=attn_mask, **settings)

    torch.nn.functional.scaled_dot_product_attention = listening
    try:
        yield softmaxes
    finally:
        torch.nn.functional.scaled_dot_product_attention = attention


IMAGES = {side * side for side in (4, 8)} | {12 * 20, 6 * 10}
"""Numbers of image positions in the layers of these models."""

CASES = [(family, condition) for family in FAMILIES for condition in CONDITIONS if exists(family, condition)]


@pytest.mark.parametrize(("family", "condition"), CASES, ids=lambda name: name.replace(" ", "-"))
def test_session_keeps_the_image_and_records_float64_columns(tiny, family, condition):
    pipe = make(tiny, family)
    encoded, settings = prepare(tiny, family, condition, pipe)
    inputs = encoded.inputs
    if condition == "two images" and family.startswith("sd3"):  # this pipeline repeats no embeddings
        settings.pop("num_images_per_prompt")
        names = [name for name in settings if "embeds" in name]
        inputs = inputs | {name: settings.pop(name) for name in names}
        inputs = {name: embeds.repeat_interleave(2, 0) for name, embeds in inputs.items()}
    with softmaxes_of_text(tiny.rows) as truth:
        plain = tiny.run(pipe, inputs, **settings)
    if condition == "skip-layer guidance":  # its calls have no row of the negative prompt
        truth = [call for call in truth if len(call) == 2]
    before = [(name, each, type(each)) for name, each in model_of(pipe).attn_processors.items()]
    state = list(model_of(pipe).state_dict())

    def stop(*_):
        raise KeyError("stopped")

    with attach(pipe, encoded, record=Record(steps="keep", heads="keep")) as session:
        if condition == "exception":
            with pytest.raises(KeyError, match="stopped"):
                tiny.run(pipe, inputs, **settings, callback_on_step_end=stop)
        else:
            assert torch.equal(tiny.run(pipe, inputs, **settings), plain)
        assert list(model_of(pipe).state_dict()) == state
    assert [(name, each, type(each)) for name, each in model_of(pipe).attn_processors.items()] == before
    assert not model_of(pipe)._forward_pre_hooks
    assert session.warnings == []

    slots, images = session.maps.recording.slots, len(plain)
    assert len(session.maps.recording.tables) == images
    steps = 1 if condition == "exception" else STEPS
    each_step = len(truth) // STEPS
    for step in range(steps):
        for layer, slot in enumerate(slots):
            # calls that guidance adds come after the step's own, whose last rows are the prompt's
            softmax = truth[step * each_step + layer][-images:]
            first = {"cross": 0, "image first": softmax.shape[-1] - tiny.rows, "text first": 0}[order(family)]
            queries = slice(tiny.rows, None) if family == "flux" else slice(slot.height * slot.width)
            assert (slot.counts[step] == 1).all()
            for image in range(images):
                columns = session.maps.recording.columns(("positive", image))
                actual = slot.sums[step, 0, image][..., list(columns.values())]
                expected = softmax[image][:, queries][..., [first + column for column in columns]]
                assert (actual - expected).abs().max() < (1e-4 if condition == "bfloat16" else 2e-5)


def order(family):
    if family == "flux":
        return "text first"
    return "image first" if family.startswith("sd3") else "cross"
