"""Pipelines of a user's own classes: exact weights and maps, or an error with the reason."""

import inspect
from functools import wraps

import pytest
import torch
import torch.nn.functional as F
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler

import promptweight
from promptweight.attention import attach
from promptweight.attention.probing import probe
from promptweight.errors import AttachError, ModelError, SettingError
from tests.fixtures.attention_probe import find_keys, weighted_by_hand
from tests.fixtures.own_pipelines import (
    OwnAttention,
    OwnPipeline,
    OwnProcessor,
    OwnTransformer,
    own_pipeline,
    split,
)

TEXTS = {"prompt": "um gato vermelho", "negative_prompt": "feio"}


def run(pipe, height=16, width=24, **arguments):
    """Draw an image of latents."""
    return pipe(height=height, width=width, generator=torch.Generator().manual_seed(0), **arguments).images


def measure_error(pipe, **size):
    """Return the difference of a weighted image from one by hand in float64, as a share of the effect."""
    token = pipe.tokenizer(" gato", add_special_tokens=False).input_ids[-1]
    plain = run(pipe, **size, **TEXTS)
    keys = find_keys(pipe, lambda: run(pipe, **size, **TEXTS), token)
    assert keys
    assert all(len(positions) == 1 for of_call in keys for positions in of_call.values())
    with weighted_by_hand(pipe, keys, 3):
        expected = run(pipe, **size, **TEXTS)
    with attach(pipe, "um (gato:3) vermelho", "feio", record=False) as session:
        actual = run(pipe, **size, **session.inputs)
    assert [each.code for each in session.warnings] == ["model-probed"]
    return float((actual - expected).abs().max() / (expected - plain).abs().max())


@pytest.mark.parametrize("order", ["ti", "it", "rti", "tir", "irt"])
@pytest.mark.parametrize("size", [(16, 24), (10, 6)])
def test_weight_is_that_of_a_run_by_hand(order, size):
    assert measure_error(own_pipeline(order=order), height=size[0], width=size[1]) < 1e-3


def test_patches_of_which_a_trial_has_no_whole_number_take_a_larger_image():
    assert measure_error(own_pipeline(patch=4)) < 1e-3


@pytest.mark.parametrize("order", ["itr", "tri", "rit"])
def test_registers_in_other_places_are_refused(order):
    with pytest.raises(AttachError, match="the keys of a word cannot be told"):
        attach(own_pipeline(order=order), "um gato")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_recording_has_the_bits_of_the_pipeline(dtype):
    pipe = own_pipeline()
    for name in ("transformer", "text_encoder"):
        getattr(pipe, name).to(dtype)
    with attach(pipe, *TEXTS.values()) as session:
        image = run(pipe, **session.inputs)
    assert torch.equal(image, run(pipe, **TEXTS))
    assert session.maps.word("gato").tensor.shape == (16, 24)


def test_prompts_of_a_batch_act_alone():
    pipe, prompts = own_pipeline(order="it"), ["um (gato:3)", "um gato (vermelho:0) feio"]
    with attach(pipe, prompts, "feio", record=False) as session:
        images = run(pipe, **session.inputs)
    with attach(pipe, prompts[0], "feio", record=False) as session:
        alone = run(pipe, **session.inputs)  # the first noise of the generator is the same
    assert torch.equal(images[:1], alone)


class Switching(OwnPipeline):
    """Pipeline that has other texts at each step, and adds their predictions."""

    parts = ()

    def predict(self, latents, timesteps, text, mask):
        """Combine the predictions for the next parts by hand."""
        negative, predictions = text[:1], []
        parts, self.parts = self.parts[0], self.parts[1:]
        for prompt, weight in parts:
            embeds, own = self.encode_prompt(prompt)
            both = torch.cat([negative, embeds]), torch.cat([mask[:1], own])
            without, predicted = super().predict(latents, timesteps, *both).chunk(2)
            predictions.append(weight * (predicted - without))
        return torch.cat([without, without + sum(predictions)])


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("um [gato:vermelho:0.5]", [[("um gato", 1)], [("um vermelho", 1)]]),
        ("um gato AND vermelho :0.5", [[("um gato", 1), ("vermelho", 0.5)]] * 2),
    ],
)
@torch.no_grad()
def test_changing_prompts_are_those_of_a_loop_by_hand(prompt, parts):
    pipe = own_pipeline(order="it")
    with attach(pipe, prompt, "feio", num_inference_steps=2, record=False) as session:
        actual = run(pipe, **session.inputs)
    by_hand = Switching(**pipe.components)
    by_hand.parts = parts
    assert (actual - run(by_hand, **TEXTS)).abs().max() < 1e-5


class InvertedMask(OwnPipeline):
    """Pipeline that passes its model the inverse of the mask."""

    def predict(self, latents, timesteps, text, mask):
        """Call the model."""
        return self.transformer(latents, timesteps, text, encoder_attention_mask=1 - mask)


class InvertedMaskTransformer(OwnTransformer):
    """Transformer that takes this mask."""

    def forward(self, sample, timestep, encoder_hidden_states, encoder_attention_mask=None):
        """Predict the noise."""
        return super().forward(sample, timestep, encoder_hidden_states, 1 - encoder_attention_mask)


def test_changing_prompts_are_refused_where_the_model_has_another_mask():
    pipe = own_pipeline(InvertedMask, InvertedMaskTransformer)
    assert measure_error(pipe) < 1e-3
    with pytest.raises(SettingError, match="a prompt that changes during the run"):
        attach(pipe, "um [gato:vermelho:0.5]", num_inference_steps=2)


class MaskOfPadding(OwnPipeline):
    """Pipeline whose mask is 1 for padding."""

    def encode_prompt(self, prompt, max_sequence_length=16):
        """Return embeddings and mask."""
        prompt_embeds, mask = super().encode_prompt(prompt)
        attention_mask = 1 - mask
        return prompt_embeds, attention_mask

    def predict(self, latents, timesteps, text, mask):
        """Call the model."""
        return super().predict(latents, timesteps, text, 1 - mask)


def test_mask_of_padding_is_refused():
    with pytest.raises(AttachError, match="leaves out the words of the prompt"):
        attach(own_pipeline(MaskOfPadding), "um gato")


class NamedLatents(OwnPipeline):
    """Pipeline that names all arguments of its model, the text first."""

    def predict(self, latents, timesteps, text, mask):
        """Call the model."""
        return self.transformer(
            encoder_hidden_states=text, encoder_attention_mask=mask, timestep=timesteps, sample=latents
        )


def test_arguments_may_be_named_in_any_order():
    assert measure_error(own_pipeline(NamedLatents)) < 1e-3


class IgnoredMask(OwnPipeline):
    """Pipeline that ignores the mask that it is passed with embeddings."""

    @wraps(OwnPipeline.__call__)
    def __call__(self, *texts, attention_mask=None, **inputs):
        """Draw images."""
        if attention_mask is not None:
            full = torch.ones_like(attention_mask)
            inputs |= {"attention_mask": full, "negative_attention_mask": full}
        return super().__call__(*texts, **inputs)


def test_call_that_uses_embeddings_otherwise_than_the_text_is_refused():
    with pytest.raises(AttachError, match="otherwise than with the text"):
        attach(own_pipeline(IgnoredMask), "um gato")


def project(attn, states):
    """Return queries, keys and values."""
    return [split(each(states)) for each in (attn.to_q, attn.to_k, attn.to_v)]


class TwoCalls:
    """Processor that attends twice."""

    def __call__(self, attn, states, mask=None):
        """Run the layer."""
        projected = project(attn, states)
        first = F.scaled_dot_product_attention(*projected, attn_mask=mask)
        second = F.scaled_dot_product_attention(first, *projected[1:], attn_mask=mask)
        return attn.to_out(second.transpose(1, 2).flatten(2))


class Scaled(OwnProcessor):
    """Processor with another scale."""

    def __call__(self, attn, states, mask=None):
        """Run the layer."""
        projected = project(attn, states)
        output = F.scaled_dot_product_attention(*projected, attn_mask=mask, scale=0.5)
        return attn.to_out(output.transpose(1, 2).flatten(2))


class Slotted:
    """Processor whose class cannot be swapped."""

    __slots__ = ()

    def __call__(self, attn, states, mask=None):
        """Run the layer."""
        return OwnProcessor()(attn, states, mask)


def call_own_processor(attn, states, mask=None):
    """Run the layer; a function in place of a processor."""
    return OwnProcessor()(attn, states, mask)


@pytest.mark.parametrize(
    ("processor", "reason"),
    [
        (TwoCalls(), "more than its first call"),
        (Scaled(), "the usual scale"),
        (Slotted(), "without __slots__"),
        (call_own_processor, "without __slots__"),
    ],
)
def test_processors_that_a_session_cannot_take_the_place_of_are_refused(processor, reason):
    pipe = own_pipeline()
    pipe.transformer.layers[1].processor = processor
    with pytest.raises(AttachError, match=reason):
        attach(pipe, "um gato")


class ProjectingAttention(OwnAttention):
    """Layer that passes its processor the projections alone."""

    def forward(self, states, mask=None):
        """Run the layer."""
        query, key, value = (split(each(states)) for each in (self.to_q, self.to_k, self.to_v))
        return self.to_out(self.processor(query, key, value, mask).transpose(1, 2).flatten(2))


class BypassingAttention(OwnAttention):
    """Layer that does not call its processor."""

    def forward(self, states, mask=None):
        """Run the layer."""
        return OwnProcessor()(self, states, mask)


class CoreProcessor:
    """Processor of projections."""

    def __call__(self, query, key, value, mask):
        """Attend."""
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


@pytest.mark.parametrize("kind", [ProjectingAttention, BypassingAttention])
def test_layer_that_calls_its_processor_otherwise_is_refused(kind):
    pipe = own_pipeline()
    pipe.transformer.layers[1] = kind(CoreProcessor())
    with pytest.raises(AttachError, match=r"layer layers\.1 .* does not call its processor"):
        attach(pipe, "um gato")


class ByHand:
    """Processor with a softmax of its own."""

    def __call__(self, attn, states, mask=None):
        """Run the layer."""
        query, key, value = project(attn, states)
        logits = (query @ key.mT * query.shape[-1] ** -0.5).masked_fill(~mask, -torch.inf)
        return attn.to_out((logits.softmax(-1) @ value).transpose(1, 2).flatten(2))


def test_layer_with_attention_by_hand_is_warned_of():
    pipe = own_pipeline()
    pipe.transformer.layers[1].processor = ByHand()
    session = attach(pipe, "um gato")
    assert [each.code for each in session.warnings] == ["model-probed", "text-outside-attention"]
    assert list(session.config.layout.layers) == ["layers.0"]


class LateLayers(OwnTransformer):
    """Transformer whose last layer runs in late steps alone."""

    def forward(self, sample, timestep, encoder_hidden_states, encoder_attention_mask=None):
        """Predict the noise."""
        layers, norms = self.layers, self.norms
        if bool((timestep > 900).all()):
            self.layers, self.norms = layers[:1], norms[:1]
        try:
            return super().forward(sample, timestep, encoder_hidden_states, encoder_attention_mask)
        finally:
            self.layers, self.norms = layers, norms


def test_layer_that_does_not_run_in_the_first_step_is_warned_of():
    session = attach(own_pipeline(model=LateLayers), "um gato")
    assert [each.code for each in session.warnings] == ["model-probed", "layers-idle"]
    assert session.warnings[1].fields["layers"] == "layers.1"


def test_layer_without_a_processor_is_refused():
    pipe = own_pipeline()
    pipe.transformer.layers[1].forward = BypassingAttention.forward.__get__(pipe.transformer.layers[1])
    del pipe.transformer.layers[1].processor
    with pytest.raises(AttachError, match="without an attention processor"):
        attach(pipe, "um gato")


def test_model_is_probed_again_where_its_layers_or_the_model_have_changed():
    pipe = own_pipeline(order="ti")
    first = attach(pipe, "um gato").config.layout
    assert attach(pipe, "um gato").config.layout.kind is first.kind
    pipe.transformer.layers[1].processor = TwoCalls()
    with pytest.raises(AttachError, match="more than its first call"):
        attach(pipe, "um gato")
    pipe.transformer = own_pipeline(order="it").transformer
    assert {each.order for each, _ in attach(pipe, "um gato").config.layout.layers.values()} == {
        "image first"
    }


def test_model_whose_output_does_not_depend_on_the_text_yet_is_probed_again():
    pipe = own_pipeline()
    torch.nn.init.zeros_(pipe.transformer.exit.weight)
    attach(pipe, "um gato")
    assert not probe._PROBED[pipe.transformer]


def test_trial_in_the_session_of_another_pipeline_is_refused():
    class Other(OwnPipeline):
        """Another class."""

    pipe = own_pipeline()
    other = Other(**pipe.components)
    with attach(pipe, *TEXTS.values()) as session:
        run(pipe, **session.inputs)
        heat = session.maps.word("gato").tensor
        with pytest.raises(AttachError, match="Other is attached already"):
            attach(other, "um gato")
        assert torch.equal(session.maps.word("gato").tensor, heat)
        attach(pipe, "um gato")  # known, so without a trial
    attach(other, "um gato")


class Failing(OwnPipeline):
    """Pipeline whose model cannot be called."""

    def predict(self, latents, timesteps, text, mask):
        """Fail, in the middle of a run with state."""
        del latents, timesteps, text, mask
        self._guidance_scale = 3.0
        raise RuntimeError("no such layer")


def test_failed_trial_leaves_the_pipeline_as_it_was():
    pipe = own_pipeline(Failing)
    before = dict(vars(pipe))
    with pytest.raises(AttachError, match="a trial step of it failed: no such layer"):
        attach(pipe, "um gato")
    assert vars(pipe) == before
    assert not any(each._forward_pre_hooks for each in pipe.transformer.modules())


@pytest.mark.parametrize("compiled", ["model", "in place", "layers"])
def test_compiled_models_are_probed_without_compilation(compiled):
    def draw(pipe):
        with attach(pipe, "um (gato:3)", "feio", record=False) as session:
            return run(pipe, **session.inputs)

    expected, pipe = draw(own_pipeline()), own_pipeline()
    if compiled == "model":
        pipe.transformer = torch.compile(pipe.transformer, backend="eager")
    for module in {"in place": [pipe.transformer], "layers": pipe.transformer.layers}.get(compiled, []):
        module.compile(backend="eager")
    assert torch.equal(draw(pipe), expected)


def test_offloaded_groups_are_probed():
    pipe = own_pipeline()
    pipe.transformer.enable_group_offload(onload_device=torch.device("cpu"), offload_type="leaf_level")
    assert measure_error(pipe) < 1e-3


class OwnLoop(OwnPipeline):
    """Pipeline that makes its steps itself."""

    def __call__(self, prompt=None, negative_prompt="", height=16, width=16, num_inference_steps=2, **given):
        """Draw images."""
        scheduler = self.scheduler
        self.scheduler = FlowMatchEulerDiscreteScheduler()
        try:
            return super().__call__(prompt, negative_prompt, height, width, num_inference_steps, **given)
        finally:
            self.scheduler = scheduler

    __call__.__signature__ = inspect.signature(OwnPipeline.__call__)


class TwoModels(OwnPipeline):
    """Pipeline with a model for the last steps."""

    def __init__(self, vae, text_encoder, tokenizer, transformer, scheduler, transformer_2):
        super().__init__(vae, text_encoder, tokenizer, transformer, scheduler)
        self.register_modules(transformer_2=transformer_2)


class OtherName(OwnPipeline):
    """Pipeline whose model has another name."""

    def __init__(self, vae, text_encoder, tokenizer, denoiser, scheduler):
        DiffusionPipeline.__init__(self)
        parts = {"vae": vae, "text_encoder": text_encoder, "tokenizer": tokenizer, "denoiser": denoiser}
        self.register_modules(scheduler=scheduler, **parts)


class Dictionary(OwnPipeline):
    """Pipeline whose encoding is a dict."""

    def encode_prompt(self, prompt, max_sequence_length=16):
        """Return embeddings and mask by name."""
        return dict(zip(("prompt_embeds", "mask"), super().encode_prompt(prompt), strict=True))


class TwoOrders(OwnPipeline):
    """Pipeline whose encoding has two orders."""

    def encode_prompt(self, prompt, max_sequence_length=16):
        """Return embeddings and mask, or mask and embeddings."""
        prompt_embeds, attention_mask = super().encode_prompt(prompt)
        if prompt:
            return attention_mask, prompt_embeds
        return prompt_embeds, attention_mask


def test_pipelines_of_other_forms_are_refused():
    parts = own_pipeline().components
    with pytest.raises(AttachError, match="second transformer"):
        attach(TwoModels(**parts, transformer_2=own_pipeline().transformer), "um gato")
    denoiser = parts.pop("transformer")
    with pytest.raises(AttachError, match="no denoising model named unet or transformer"):
        attach(OtherName(**parts, denoiser=denoiser), "um gato")
    with pytest.raises(ModelError, match="hides which embedding"):
        attach(Dictionary(**parts, transformer=denoiser), "um gato")
    with pytest.raises(ModelError, match="whose encode_prompt returns prompt_embeds"):
        attach(TwoOrders(**parts, transformer=denoiser), "um gato")
    with pytest.raises(ModelError, match="loaded without the text encoders"):
        attach(OwnPipeline(**parts | {"text_encoder": None}, transformer=denoiser), "um gato")


def test_steps_without_the_scheduler_are_refused():
    with pytest.raises(AttachError, match="does not step with its scheduler"):
        attach(own_pipeline(OwnLoop), "um gato")


def test_generate_needs_a_callback():
    with pytest.raises(SettingError, match="no argument callback_on_step_end"):
        promptweight.generate(own_pipeline(), "um gato", num_inference_steps=2, height=16, width=24)
