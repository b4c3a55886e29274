"""Sessions on pipelines: unchanged images, restored processors, errors and warnings."""

from dataclasses import replace

import pytest
import torch
from diffusers.models.attention_processor import FusedAttnProcessor2_0, SlicedAttnProcessor
from peft import LoraConfig

from promptweight.attention import Record, attach
from promptweight.errors import AttachError, SettingError, WordNotFoundError
from promptweight.models.loading import load

SETTINGS = {
    "guidance": ({}, {}),
    "without guidance": ({}, {"guidance_scale": 1.0}),
    "batch of two": ({"prompts": 2}, {}),
    "batch of two without guidance": ({"prompts": 2}, {"guidance_scale": 1.0}),
    "two images": ({}, {"num_images_per_prompt": 2}),
    "two images of two prompts": ({"prompts": 2}, {"num_images_per_prompt": 2}),
    "wide": ({}, {"height": 24, "width": 40}),
    "bfloat16": ({"dtype": torch.bfloat16}, {}),
    "decoded": ({}, {"output_type": "pt"}),
}


def same_processors(before, pipe):
    after = pipe.unet.attn_processors
    return list(before) == list(after) and all(after[name] is each for name, each in before.items())


@pytest.mark.parametrize("weighting", ["scale", "attention"])
@pytest.mark.parametrize("name", SETTINGS)
def test_attached_without_weights_gives_the_pipelines_own_image(tiny, name, weighting):
    special, settings = SETTINGS[name]
    dtype = special.get("dtype", torch.float32)
    pipe = tiny.pipeline(dtype)
    prompts = ["um gato vermelho", "uma casa azul"][: special.get("prompts", 1)]
    encoded = tiny.encode(*prompts, weighting=weighting, dtype=dtype)
    plain = tiny.run(pipe, encoded.inputs, **settings)
    before = pipe.unet.attn_processors
    for record in (False, True, Record(roles=("positive", "negative"), steps="keep", heads="keep")):
        with attach(pipe, encoded, record=record) as session:
            assert torch.equal(tiny.run(pipe, session.inputs, **settings), plain)
        assert same_processors(before, pipe)
        expected = ["negative-not-run"] if settings.get("guidance_scale") == 1 else []
        assert [warning.code for warning in session.warnings] == expected
    images = len(prompts) * settings.get("num_images_per_prompt", 1)
    height, width = settings.get("height", 32), settings.get("width", 32)
    for image in range(images):
        prompt = image * len(prompts) // images
        table = encoded.positive[prompt]
        assert session.maps.list_words(image=image) == table.words
        assert session.maps.word(table.words[-1].text, image=image).tensor.shape == (height, width)
    with pytest.raises(SettingError, match=f"positive image {images} was not recorded"):
        session.maps.word("um", image=images)


def test_processors_are_restored_after_an_exception(pipe, tiny):
    before = pipe.unet.attn_processors
    encoded = tiny.encode("um gato")

    def stop(*arguments):
        raise KeyError("stopped")

    with pytest.raises(KeyError, match="stopped"), attach(pipe, encoded) as session:
        tiny.run(pipe, session.inputs, callback_on_step_end=stop)
    assert same_processors(before, pipe)
    assert not pipe.unet._forward_pre_hooks
    assert session.maps.word("gato").mass > 0  # what was recorded up to then


def test_pipeline_without_repeated_embeddings_requires_the_prompt_several_times():
    pipe = load("mini-dit")
    pipe.set_progress_bar_config(disable=True)
    prompt, steps = "um (gato:1.4)", 2
    with (
        attach(pipe, prompt) as session,
        pytest.raises(
            AttachError, match=r"4 rows of latents and 2 of text. .* attach\(pipe, \[prompt\] \* 2\)"
        ),
    ):
        pipe(**session.inputs, num_inference_steps=steps, num_images_per_prompt=2)
    with attach(pipe, [prompt] * 2) as session:
        images = pipe(**session.inputs, num_inference_steps=steps).images
    assert len(images) == 2
    assert session.maps.word("gato", image=1).mass > 0


def test_second_session_is_refused_and_the_first_continues(pipe, tiny):
    before = pipe.unet.attn_processors
    encoded = tiny.encode("um gato")
    with attach(pipe, encoded) as session:
        with (
            pytest.raises(AttachError, match="StableDiffusionPipeline is attached already"),
            attach(pipe, encoded),
        ):
            pass
        tiny.run(pipe, session.inputs)
    assert session.maps.word("gato").mass > 0
    assert same_processors(before, pipe)


def test_lora_layers_stay_in_use(tiny):
    pipe, encoded = tiny.pipeline(), tiny.encode("um gato")
    without = tiny.run(pipe, encoded.inputs)
    torch.manual_seed(3)
    config = LoraConfig(r=2, target_modules=["to_q", "to_k", "to_v", "to_out.0"], init_lora_weights=False)
    pipe.unet.add_adapter(config)
    settings = {"cross_attention_kwargs": {"scale": 0.5}}
    plain = tiny.run(pipe, encoded.inputs, **settings)
    assert not torch.equal(plain, without)
    with attach(pipe, encoded) as session:
        assert torch.equal(tiny.run(pipe, session.inputs, **settings), plain)


def test_sliced_attention_is_replaced_with_a_warning_and_restored(tiny):
    pipe, encoded = tiny.pipeline(), tiny.encode("um gato")
    plain = tiny.run(pipe, encoded.inputs)
    pipe.enable_attention_slicing()
    before = pipe.unet.attn_processors
    assert all(isinstance(processor, SlicedAttnProcessor) for processor in before.values())
    with attach(pipe, encoded) as session:
        actual = tiny.run(pipe, session.inputs)
    assert torch.allclose(actual, plain, atol=1e-4)
    assert len(session.warnings) == 1
    assert "SlicedAttnProcessor" in session.warnings[0]
    assert same_processors(before, pipe)


def test_fused_projections_give_the_same_image(tiny):
    pipe, encoded = tiny.pipeline(), tiny.encode("um gato")
    pipe.fuse_qkv_projections()
    plain = tiny.run(pipe, encoded.inputs)
    before = pipe.unet.attn_processors
    assert all(isinstance(processor, FusedAttnProcessor2_0) for processor in before.values())
    with attach(pipe, encoded) as session:
        assert torch.equal(tiny.run(pipe, session.inputs), plain)
    assert same_processors(before, pipe)


def test_sdxl_is_recorded_and_weighted(tiny):
    pipe, encoded = tiny.sdxl_pipeline(), tiny.encode("um gato:1.5 vermelho")
    pooled = {"pooled_prompt_embeds": torch.ones(1, 32), "negative_pooled_prompt_embeds": torch.zeros(1, 32)}
    plain = tiny.run(pipe, encoded.inputs | pooled)
    with attach(pipe, encoded) as session:
        assert torch.equal(tiny.run(pipe, session.inputs | pooled), plain)
    assert len(session.maps.recording.slots) == 2 + 2 + 2 * 2  # down, middle, two layers up, two blocks each
    with attach(pipe, tiny.encode("um gato:1.5 vermelho", weighting="attention")) as weighted:
        assert not torch.equal(tiny.run(pipe, weighted.inputs | pooled), plain)
    assert weighted.maps.word("gato").mass > session.maps.word("gato").mass


def test_unknown_processors_are_refused(tiny):
    class Foreign:
        def __call__(self, attn, hidden_states):
            return hidden_states

    pipe = tiny.pipeline()
    attn = pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn2
    attn.processor = foreign = Foreign()
    before = pipe.unet.attn_processors
    with (
        pytest.raises(AttachError, match=r"attn2 must be one of .*; got Foreign"),
        attach(pipe, tiny.encode("um gato")),
    ):
        pass
    assert attn.processor is foreign
    assert same_processors(before, pipe)


def test_pipeline_without_known_model_is_refused(tiny):
    with pytest.raises(AttachError, match=r"must be one of: UNet2DConditionModel, .*; got a SimpleNamespace"):
        attach(type(tiny)(), tiny.encode("um gato"))


def test_foreign_embeddings_are_ignored_with_a_warning(pipe, tiny):
    encoded = tiny.encode("um gato:2", weighting="attention")
    other = tiny.encode("uma casa", negative="borrado")
    plain = tiny.run(pipe, other.inputs)
    with attach(pipe, encoded) as session:
        assert torch.equal(tiny.run(pipe, other.inputs), plain)
        assert len(session.warnings) == 1
        assert "do not belong to this session" in session.warnings[0]
        with pytest.raises(AttachError, match="nothing is recorded yet"):
            session.maps  # noqa: B018


def test_maps_without_recording_are_refused(pipe, tiny):
    with attach(pipe, tiny.encode("um gato"), record=False) as session:
        tiny.run(pipe, session.inputs)
    with pytest.raises(AttachError, match="record=False"):
        session.maps  # noqa: B018


def test_weighting_of_the_call_is_that_of_the_encoding_without_its_calibration(pipe, tiny):
    encoded = tiny.encode("um gato:0.5", weighting="presence dial=0.5:0.7 gain=2")
    for weighting in ("presence", "presence gain=2", encoded.settings.weighting):
        assert attach(pipe, encoded, weighting=weighting).config.rules is not None
    for weighting in ("presence gain=1", "default", "presence normalizer=mean"):
        with pytest.raises(SettingError, match=r"that of the encoded prompts, presence dial=0\.5:0\.7"):
            attach(pipe, encoded, weighting=weighting)


def test_invalid_settings_are_refused(pipe, tiny):
    encoded = tiny.encode("um gato")
    with pytest.raises(SettingError, match=r"weighting must be one of: none, .*; got 'latent'"):
        attach(pipe, encoded, weighting="latent")
    with pytest.raises(SettingError, match="must be that of the encoded prompts, scale; got attention"):
        attach(pipe, encoded, weighting="attention")
    outside = replace(encoded, settings=replace(encoded.settings, in_session=False))
    with pytest.raises(SettingError, match="in_session=True"):
        attach(pipe, outside)
    with pytest.raises(SettingError, match=r"got \('attn9',\), of which none matches"):
        attach(pipe, encoded, record=Record(layers=("attn9",)))
    with pytest.raises(WordNotFoundError, match="gato"):
        attach(pipe, encoded).set_weight("cachorro", 2)
    with pytest.raises(SettingError, match="nan"):
        attach(pipe, encoded).set_weight("gato", float("nan"))
    session = attach(pipe, encoded)
    for settings, message in [
        ({"prompt": 3}, "prompt must be between 0 and 0; got 3"),
        ({"role": "left"}, "role must be one of: "),
        ({"force": 2}, "among: weight, weighting, steps, layers, region; got force"),
        ({"steps": "2"}, "steps must be two increasing fractions"),
        ({"region": {"left": 1}}, "region must be one of left, right, .*; got {'left': 1}"),
    ]:
        with pytest.raises(SettingError, match=message):
            session.set_weight("gato", 2, **settings)
    with pytest.raises(SettingError, match="got 'negative', of which the session has none"):
        attach(pipe, tiny.encode("um gato", negative=None)).words(role="negative")
    with pytest.raises(SettingError, match="the target of 'gato' must be between 0 and 1; got 25%"):
        attach(pipe, encoded, targets={"gato": "25%"})
    in_up_blocks = tiny.encode("um gato", weighting="attention layers=up")
    with pytest.raises(SettingError, match=r"got layers=\('up',\) and Record\(layers=\('down',\)\)"):
        attach(pipe, in_up_blocks, targets={"gato": 0.5}, record=Record(layers=("down",)))
    with pytest.raises(SettingError, match=r"got \('attn9',\), of which none matches"):
        attach(pipe, tiny.encode("um gato", weighting="attention layers=attn9"))
    with pytest.raises(AttachError, match="must describe the same positive prompts"):
        attach(pipe, replace(encoded, sections=tiny.encode("um gato", "casa").sections))


def test_new_run_begins_a_new_recording(pipe, tiny):
    encoded = tiny.encode("um gato")
    with attach(pipe, encoded) as session:
        tiny.run(pipe, session.inputs, guidance_scale=9.0)
        first = session.maps
        tiny.run(pipe, session.inputs)
        second = session.maps
        tiny.run(pipe, session.inputs, height=48)
        third = session.maps
    with attach(pipe, encoded) as alone:
        tiny.run(pipe, alone.inputs)
    assert torch.equal(second.word("gato").tensor, alone.maps.word("gato").tensor)
    assert not torch.equal(first.word("gato").tensor, second.word("gato").tensor)
    assert third.word("gato").tensor.shape == (48, 32)


def test_direct_calls_of_the_model_add_up_until_reset(pipe, tiny):
    encoded = tiny.encode("um gato")
    sample = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with attach(pipe, encoded) as session, torch.no_grad():
        for timestep in (100, 500):
            pipe.unet(sample, timestep, encoder_hidden_states=encoded.inputs["prompt_embeds"])
        both = session.maps.word("gato").tensor
        singles = []
        for timestep in (100, 500):
            session.reset()
            pipe.unet(sample, timestep, encoded.inputs["prompt_embeds"])
            singles.append(session.maps.word("gato").tensor)
    assert torch.allclose(both, (singles[0] + singles[1]) / 2, atol=1e-6)


def test_processors_are_restored_when_entering_fails(pipe, tiny, monkeypatch):
    before = pipe.unet.attn_processors

    def refuse(*arguments, **settings):
        raise OSError("no hooks today")

    monkeypatch.setattr(pipe.unet, "register_forward_pre_hook", refuse)
    with pytest.raises(OSError, match="no hooks today"), attach(pipe, tiny.encode("um gato")):
        pass
    assert same_processors(before, pipe)


def test_session_can_be_entered_again(pipe, tiny):
    encoded = tiny.encode("um gato")
    session = attach(pipe, encoded)
    heats = []
    for _ in range(2):
        with session:
            tiny.run(pipe, session.inputs)
        heats.append(session.maps.word("gato").tensor)
        session.reset()
    assert heats[0].sum() > 0
    assert torch.equal(heats[0], heats[1])

    with session:
        tiny.run(pipe, session.inputs)
    with session:  # the same size, so that the slots of the first block are still there
        tiny.run(pipe, session.inputs)
    assert torch.equal(session.maps.word("gato").tensor, heats[0])
