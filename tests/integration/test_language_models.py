"""Families whose pipelines encode the text themselves, against runs with attention by hand in float64."""

import inspect
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest
import tiny_language_models
import tiny_t5_models
import torch
from diffusers import (
    ChromaImg2ImgPipeline,
    CogView4ControlPipeline,
    Flux2KleinInpaintPipeline,
    PixArtSigmaPAGPipeline,
    QwenImageControlNetInpaintPipeline,
    QwenImageEditInpaintPipeline,
    QwenImageEditPlusPipeline,
    QwenImageImg2ImgPipeline,
    QwenImageInpaintPipeline,
    SanaPAGPipeline,
    SanaSprintImg2ImgPipeline,
    ZImageImg2ImgPipeline,
    ZImageInpaintPipeline,
)
from diffusers.pipelines.qwenimage import (
    pipeline_qwenimage_edit,
    pipeline_qwenimage_edit_inpaint,
    pipeline_qwenimage_edit_plus,
)
from PIL import Image

import promptweight
from promptweight.attention import Record, attach
from promptweight.conditioning import encode, encode_prompts, find_family
from promptweight.errors import AttachError, SettingError
from promptweight.generation.pipeline_call import make_step_arguments
from tests.fixtures.attention_probe import changed_rows, find_keys, weighted_by_hand

STEPS = 2


@dataclass(frozen=True)
class Case:
    """A family: its tiny pipeline, the arguments of its call, and its guidance."""

    make: Any
    guided: dict[str, float]
    settings: dict[str, Any] = field(default_factory=dict)
    height: int = 32
    width: int = 64
    length: int | None = None
    """Number of tokens of a text, where the pipeline pads to it."""
    has_negative: bool = True
    """False where the model is distilled with its guidance and takes no negative prompt."""
    is_slow: bool = False
    """True where other cases have the same layers and the same form of text."""

    @property
    def texts(self):
        """Return the texts of most runs."""
        return {"prompt": "um gato vermelho"} | ({"negative_prompt": "feio"} if self.has_negative else {})

    @property
    def encoding(self):
        """Return the arguments of an encoding."""
        return {} if self.length is None else {"max_sequence_length": self.length}


CASES = {
    "qwen-image": Case(tiny_language_models.qwen_image, {"true_cfg_scale": 2.0}),
    "z-image": Case(tiny_language_models.z_image, {"guidance_scale": 2.0}),
    "lumina 2": Case(tiny_language_models.lumina2, {"guidance_scale": 2.0}, length=64),
    "chroma": Case(tiny_t5_models.chroma, {"guidance_scale": 2.0}, length=16),
    "krea 2": Case(tiny_language_models.krea2, {"guidance_scale": 2.0}, length=64),
    "sana": Case(
        tiny_language_models.sana, {"guidance_scale": 2.0}, {"use_resolution_binning": False}, length=16
    ),
    "sana sprint": Case(
        tiny_language_models.sana_sprint,
        {"guidance_scale": 2.0},
        {"use_resolution_binning": False},
        length=16,
        has_negative=False,
        is_slow=True,
    ),
    "pixart-alpha": Case(
        tiny_t5_models.pixart_alpha,
        {"guidance_scale": 2.0},
        {"use_resolution_binning": False},
        length=16,
        is_slow=True,
    ),
    "pixart-sigma": Case(
        tiny_t5_models.pixart_sigma,
        {"guidance_scale": 2.0},
        {"use_resolution_binning": False},
        length=16,
    ),
    "auraflow": Case(tiny_t5_models.auraflow, {"guidance_scale": 2.0}, length=16),
    "cogview3+": Case(tiny_t5_models.cogview3_plus, {"guidance_scale": 2.0}, length=16, has_negative=False),
    "cogview4": Case(tiny_language_models.cogview4, {"guidance_scale": 2.0}),
    "ovis-image": Case(tiny_language_models.ovis_image, {"guidance_scale": 2.0}, length=16, is_slow=True),
    "ernie-image": Case(tiny_language_models.ernie_image, {"guidance_scale": 2.0}),
    "prx": Case(tiny_language_models.prx, {"guidance_scale": 2.0}, {"use_resolution_binning": False}),
    "nucleusmoe-image": Case(tiny_language_models.nucleus, {"guidance_scale": 2.0}),
    "bria": Case(tiny_t5_models.bria, {"guidance_scale": 2.0}, length=16),
    "flux.2": Case(
        tiny_language_models.flux2,
        {"guidance_scale": 2.0},
        height=16,
        width=32,
        length=256,
        has_negative=False,
    ),
    "flux.2 klein": Case(tiny_language_models.flux2_klein, {"guidance_scale": 2.0}, length=24),
}


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.slow] * case.is_slow) for name, case in CASES.items()],
    scope="module",
)
def case(request):
    return CASES[request.param]


@pytest.fixture(scope="module")
def pipe(case):
    return case.make()


def find_tokenizer(pipe):
    """Return the tokenizer of a pipeline, which may be in a processor."""
    part = pipe.components.get("tokenizer") or pipe.processor
    return getattr(part, "tokenizer", part)


@pytest.fixture
def guided(case):
    """Skip models that take no negative prompt."""
    if not case.has_negative:
        pytest.skip("the model takes no negative prompt")


def run_case(case, pipe, **inputs):
    """Run the pipeline of a case; return its latents."""
    settings = {"height": case.height, "width": case.width, "num_inference_steps": STEPS}
    accepted = inspect.signature(pipe.__call__).parameters
    with torch.no_grad():
        if "negative_prompt" in inputs and "negative_prompt" not in accepted:
            negative = pipe.encode_prompt(inputs.pop("negative_prompt"), **case.encoding)
            inputs["negative_prompt_embeds"] = negative[0]
        return pipe(
            **settings | case.settings | case.guided | case.encoding | inputs,
            generator=torch.Generator().manual_seed(0),
            output_type="latent",
        ).images


@pytest.fixture
def run(case, pipe):
    """Return a function that runs the pipeline and returns its latents."""
    return partial(run_case, case, pipe)


@pytest.fixture
def token(pipe):
    """The id of the word "gato" after a space, a token of its own."""
    tokenizer = find_tokenizer(pipe)
    return tokenizer(" gato", add_special_tokens=False).input_ids[-1]


def test_unweighted_run_has_the_pipelines_bits_and_float64_columns(pipe, run, token, case):
    texts = case.texts
    plain = run(**texts)
    keys = find_keys(pipe, lambda: run(**texts), token)
    with weighted_by_hand(pipe, keys, 1) as softmaxes:
        run(**texts)
    with attach(pipe, *texts.values(), record=Record(steps="keep", heads="keep"), **case.encoding) as session:
        assert torch.equal(run(**session.inputs), plain)
    assert session.warnings == []
    layers = {layer.name for layer, _ in session.config.layout.layers.values()}
    recording = session.maps.recording
    assert {name for slot in recording.slots for name in slot.layers} == layers
    (word,) = session.find("gato")
    columns = recording.columns(("positive", 0))
    recorded = [
        slot.sums[step, 0, 0][..., [columns[position] for position in word.positions]].sum(-1)
        for step in range(STEPS)
        for slot in recording.slots
    ]
    # in the order of the calls, of which those of the text alone and of the negative prompt are not recorded
    truth = iter(
        softmax[row][..., positions].sum(-1)
        for softmax, of_call in zip(softmaxes, keys, strict=True)
        for row, positions in of_call.items()
    )
    for actual in recorded:
        assert any(includes(expected, actual) for expected in truth)


def includes(expected, actual):
    """Return whether a range of consecutive queries has the recorded columns, (heads, queries)."""
    starts = range(expected.shape[-1] - actual.shape[-1] + 1)
    return any(
        torch.allclose(expected[:, k : k + actual.shape[-1]].float(), actual, rtol=0, atol=2e-6)
        for k in starts
    )


@pytest.mark.parametrize("weight", [0, 0.5, 2])
def test_weight_in_attention_equals_a_float64_run_by_hand(weight, pipe, run, token, case):
    texts = case.texts
    plain = run(**texts)
    keys = find_keys(pipe, lambda: run(**texts), token)
    assert any(keys)
    with weighted_by_hand(pipe, keys, weight):
        expected = run(**texts)
    with attach(
        pipe,
        f"um (gato:{weight}) vermelho",
        case.texts.get("negative_prompt", ""),
        weighting="attention",
        record=False,
        **case.encoding,
    ) as session:
        actual = run(**session.inputs)
    change = (expected - plain).abs().max()
    assert (actual - expected).abs().max() < 2e-2 * change
    assert session.warnings == []


@pytest.mark.usefixtures("guided")
def test_weight_of_a_negative_prompt_acts_on_its_own_keys(pipe, run, token, case):
    texts = {"prompt": "um vermelho", "negative_prompt": "um gato"}
    plain = run(**texts)
    keys = find_keys(pipe, lambda: run(**texts), token)
    with weighted_by_hand(pipe, keys, 3):
        expected = run(**texts)
    with attach(pipe, "um vermelho", "um (gato:3)", record=False, **case.encoding) as session:
        actual = run(**session.inputs)
    assert (actual - expected).abs().max() < 2e-2 * (expected - plain).abs().max()


@pytest.mark.usefixtures("guided")
def test_weight_of_one_of_two_equal_texts_acts_on_its_own_keys(pipe, run, token, case):
    keys = find_keys(pipe, lambda: run(prompt="um gato", negative_prompt="um feio"), token)
    plain = run(prompt="um gato", negative_prompt="um gato")
    with weighted_by_hand(pipe, keys, 3):
        expected = run(prompt="um gato", negative_prompt="um gato")
    with attach(pipe, "um (gato:3)", "um gato", record=False, **case.encoding) as session:
        actual = run(**session.inputs)
    assert (actual - expected).abs().max() < 2e-2 * (expected - plain).abs().max()


def test_weight_below_1_reaches_the_rows_of_the_other_words(pipe, run, token, case):
    """Against embeddings and a run by hand: other rows interpolate, the word's own keys are weighted."""
    negative, encoding = case.texts.get("negative_prompt", ""), {**case.encoding, "in_session": True}
    texts = ("um gato vermelho", "um (gato:0) vermelho", "um (gato:0.5) vermelho")
    plain, without, half = (encode_prompts(pipe, text, negative, **encoding) for text in texts)
    (own,) = {word.positions for word in plain.positive[0].words if word.text == "gato"}
    rows = [encoded.inputs["prompt_embeds"][0].double() for encoded in (plain, without, half)]
    changed = {row for row in range(len(rows[0])) if not torch.equal(rows[0][row], rows[1][row])}
    assert changed
    assert changed.isdisjoint(own)
    for row in changed:
        lengths = [each[row].norm(dim=-1, keepdim=True) for each in rows]
        directions = sum(each[row] / length for each, length in zip(rows[:2], lengths[:2], strict=True)) / 2
        expected = (lengths[0] * lengths[1]).sqrt() * directions
        assert torch.allclose(rows[2][row], expected, rtol=1e-4, atol=1e-5)
    with changed_rows(pipe, token):  # another word in its place
        other = encode_prompts(pipe, texts[1], negative, **encoding).inputs["prompt_embeds"][0].double()
    assert all(torch.equal(rows[1][row], other[row]) for row in range(len(other)) if row not in own)
    keys = find_keys(pipe, lambda: run(**case.texts), token)
    with weighted_by_hand(pipe, keys, 0.5):
        expected = run(**half.inputs)
    with attach(pipe, half, record=False) as session:
        actual = run(**session.inputs)
    assert (actual - expected).abs().max() < 2e-2 * (expected - run(**half.inputs)).abs().max()
    assert session.warnings == []


def test_word_of_weight_0_is_as_another_word_of_weight_0(pipe, run, case):
    tokenizer, negative = (
        find_tokenizer(pipe),
        case.texts.get("negative_prompt"),
    )
    words = {}
    for word in ("gato", "vermelho", "background", "casa", "lata", "mapa"):
        tokens = len(tokenizer(f"um {word} and", add_special_tokens=False).input_ids)
        words.setdefault(tokens, []).append(word)
    chosen = max(words.values(), key=len)  # words of as many tokens
    assert len(chosen) > 1
    images = []
    for word in chosen:
        with attach(pipe, f"um ({word}:0) and", negative or "", record=False, **case.encoding) as session:
            assert any(found.text == word for found in session.words())
            images.append(run(**session.inputs))
    assert all(torch.equal(images[0], other) for other in images[1:])


@pytest.mark.parametrize("weighting", [None, "attention"])
def test_reach_of_a_weight_is_that_of_the_first_step_of_runs(weighting, pipe, run, case):
    """Without guidance, latents after the first step differ as the predictions do."""
    (name,) = case.guided
    size = {"height": case.height, "width": case.width}
    report = promptweight.generation.measure_reach(
        pipe,
        "um (gato:0.5) vermelho",
        at=1,
        num_inference_steps=STEPS,
        seed=0,
        guidance_scale=1.0,
        weighting=weighting,
        **size,
        **case.settings,
    )
    texts = ("um gato vermelho", "um (gato:0.5) vermelho", "um (gato:0) vermelho", "um vermelho")
    steps = []

    def keep(_pipe, _step, _timestep, tensors):
        steps.append(tensors["latents"].clone())
        return tensors

    for text in texts:
        with attach(pipe, text, "", weighting=weighting, record=False) as session:
            run(**{name: 1.0}, **session.inputs, **make_step_arguments(pipe, keep))
    latents = steps[::STEPS]
    whole = (latents[0] - latents[3]).norm()
    (found,) = report.phrases
    assert found.reach == pytest.approx(((latents[0] - latents[1]).norm() / whole).item(), rel=1e-3)
    residual = ((latents[2] - latents[3]).norm() / whole).item()
    assert found.residual == pytest.approx(residual, rel=1e-3, abs=1e-3)
    assert found.carriers == ()


def test_weights_of_other_dialects_act_in_attention_with_a_warning(pipe, case):
    with attach(pipe, "um (gato:0.5)", "", dialect="a1111", record=False, **case.encoding) as session:
        assert [warning.code for warning in session.warnings] == ["weights-in-attention"]
    plain = encode_prompts(pipe, "um gato", "", in_session=True, **case.encoding)
    assert torch.equal(session.inputs["prompt_embeds"][0], plain.inputs["prompt_embeds"][0])


def test_word_of_weight_0_has_no_influence(pipe, run, token, case):
    images = {}
    for weight in (0, 1):
        for is_changed in (False, True):
            with changed_rows(pipe, token) if is_changed else nullcontext():
                text = f"um (gato:{weight}) vermelho"
                negative = case.texts.get("negative_prompt", "")
                encoded = encode_prompts(pipe, text, negative, in_session=True, **case.encoding)
            with attach(pipe, encoded, record=False) as session:
                images[weight, is_changed] = run(**session.inputs)
    assert torch.equal(images[0, False], images[0, True])
    assert not torch.equal(images[1, False], images[1, True])


def test_prompt_that_changes_has_the_bits_of_its_text_until_then(pipe, run, case):
    latents = []

    def keep(_pipe, _step, _timestep, tensors):
        latents.append(tensors["latents"].clone())
        return tensors

    text, negative = "[um gato:casa vermelho e rato:0.5]", case.texts.get("negative_prompt", "")
    with attach(pipe, text, negative, num_inference_steps=STEPS, **case.encoding) as session:
        run(**session.inputs, **make_step_arguments(pipe, keep))
    run(**case.texts | {"prompt": "um gato"}, **make_step_arguments(pipe, keep))
    assert torch.equal(latents[0], latents[STEPS])
    assert not torch.equal(latents[1], latents[STEPS + 1])
    assert session.warnings == []
    assert {word.text for word in session.words()} >= {"gato", "casa", "rato"}


def test_generate_weights_words_and_draws_their_maps(pipe, case):
    result = promptweight.generate(
        pipe,
        "um (gato:1.5) vermelho",
        negative_prompt="(feio:1.2)" if case.has_negative else "",
        seed=1,
        num_inference_steps=STEPS,
        height=case.height,
        width=case.width,
        **case.settings,
    )
    assert result.maps.word("gato").tensor.shape == (case.height, case.width)
    assert set(result.settings["weighting_by_encoder"].values()) == {"presence"}
    name = next(iter(case.guided))
    assert result.settings["guidance_scale"] == promptweight.models.get_default_guidance_scale(pipe), name


def test_edit_uses_the_attention_of_its_source_or_is_refused(pipe, case):
    def edit(text):
        size = {"height": case.height, "width": case.width}
        options = {**size, "seed": 0, "num_inference_steps": STEPS, **case.settings}
        result = promptweight.generate(pipe, "um gato", edit=text, **options)
        alone = promptweight.generate(pipe, text, **options)
        return tuple(np.asarray(each.images[0], int) for each in (result, result.edited, alone))

    if case.make in (tiny_language_models.z_image, tiny_language_models.lumina2, tiny_language_models.krea2):
        with pytest.raises(SettingError, match="an edit is not possible with"):
            edit("um peixe")
        return
    source, edited, _ = edit("um gato")
    assert np.abs(source - edited).max() <= 1  # sums of a row depend on its place in the batch
    source, edited, alone = edit("um peixe")
    assert not np.array_equal(edited, source)
    assert not np.array_equal(edited, alone)


@pytest.mark.parametrize("weighting", ["scale", "comfy", "comfy++", "clip-attention"])
def test_weightings_of_embeddings_are_refused(weighting, pipe):
    with pytest.raises(SettingError, match=f"weighting must be one of.*{weighting.replace('+', '.')}"):
        attach(pipe, "um (gato:1.5)", weighting=weighting)


def test_weights_without_a_session_are_refused(pipe):
    with pytest.raises(SettingError, match="acts in the denoiser's attention"):
        encode(pipe, "um (gato:1.5)")
    assert "prompt_embeds" in encode(pipe, "um gato")


def test_arguments_of_the_encoding_are_refused_by_generate(pipe):
    with pytest.raises(SettingError, match="max_sequence_length"):
        promptweight.generate(pipe, "um gato", max_sequence_length=8)


def test_rewriting_of_prompts_is_refused_by_generate():
    with pytest.raises(SettingError, match="'caption_upsample_temperature' is set by promptweight"):
        promptweight.generate(tiny_language_models.flux2(), "um gato", caption_upsample_temperature=0.15)
    with pytest.raises(SettingError, match="'use_pe' is set by promptweight"):
        promptweight.generate(tiny_language_models.ernie_image(), "um gato", use_pe=True)


def test_run_without_a_negative_prompt_is_that_of_the_pipeline(pipe, run, case):
    plain = run(prompt="um gato")
    with attach(pipe, "um gato", None, **case.encoding) as session:
        assert torch.equal(run(**session.inputs), plain)


def test_joined_texts_and_negative_guidance_in_attention_are_refused(pipe):
    with pytest.raises(SettingError, match="encodes one text at a time"):
        encode(pipe, '("um gato", "casa").and()', dialect="compel")
    with pytest.raises(SettingError, match="negative_guidance must be 'cfg'"):
        attach(pipe, "um gato", "feio", negative_guidance="nag")


def cogview4_control():
    """Make a CogView4 pipeline whose denoiser takes the latents of a control image, too."""
    pipe = tiny_language_models.cogview4(transformer=tiny_language_models.cogview4_transformer(in_channels=8))
    return CogView4ControlPipeline(**pipe.components)


PICTURE = Image.effect_mandelbrot((32, 32), (-2, -1, 1, 1), 50).convert("RGB")
MASK = Image.linear_gradient("L").resize((32, 32)).point(lambda level: 255 * (level > 99))
PICTURED = {
    "qwen-image img2img": (
        lambda: QwenImageImg2ImgPipeline(**tiny_language_models.qwen_image().components),
        {"image": PICTURE, "true_cfg_scale": 2.0},
    ),
    "qwen-image inpaint": (
        lambda: QwenImageInpaintPipeline(**tiny_language_models.qwen_image().components),
        {"image": PICTURE, "mask_image": MASK, "true_cfg_scale": 2.0},
    ),
    "qwen-image controlnet": (
        tiny_language_models.qwen_image_controlnet,
        {"control_image": PICTURE, "true_cfg_scale": 2.0},
    ),
    "qwen-image controlnet inpaint": (
        lambda: tiny_language_models.qwen_image_controlnet(QwenImageControlNetInpaintPipeline, 4),
        {"control_image": PICTURE, "control_mask": MASK, "true_cfg_scale": 2.0},
    ),
    "qwen-image edit": (
        tiny_language_models.qwen_image_edit,
        {"image": PICTURE, "negative_prompt": " ", "true_cfg_scale": 2.0},
    ),
    "qwen-image edit plus": (
        lambda: tiny_language_models.qwen_image_edit(QwenImageEditPlusPipeline),
        {"image": [PICTURE, PICTURE.rotate(90)], "negative_prompt": " ", "true_cfg_scale": 2.0},
    ),
    "qwen-image edit inpaint": (
        lambda: tiny_language_models.qwen_image_edit(QwenImageEditInpaintPipeline),
        {"image": PICTURE, "mask_image": MASK, "negative_prompt": " ", "true_cfg_scale": 2.0},
    ),
    "z-image img2img": (
        lambda: ZImageImg2ImgPipeline(**tiny_language_models.z_image().components),
        {"image": PICTURE, "guidance_scale": 2.0},
    ),
    "z-image inpaint": (
        lambda: ZImageInpaintPipeline(**tiny_language_models.z_image().components),
        {"image": PICTURE, "mask_image": MASK, "guidance_scale": 2.0},
    ),
    "chroma img2img": (
        lambda: ChromaImg2ImgPipeline(**tiny_t5_models.chroma().components),
        {"image": PICTURE, "guidance_scale": 2.0, "max_sequence_length": 16},
    ),
    "sana sprint img2img": (
        lambda: SanaSprintImg2ImgPipeline(**tiny_language_models.sana_sprint().components),
        {"image": PICTURE, "use_resolution_binning": False, "max_sequence_length": 16},
    ),
    "sana with perturbed attention": (
        lambda: SanaPAGPipeline(**tiny_language_models.sana().components),
        {"use_resolution_binning": False, "max_sequence_length": 16},
    ),
    "pixart-sigma with perturbed attention": (
        lambda: PixArtSigmaPAGPipeline(**tiny_t5_models.pixart_sigma().components),
        {"use_resolution_binning": False, "max_sequence_length": 16},
    ),
    "cogview4 control": (cogview4_control, {"control_image": PICTURE, "guidance_scale": 2.0}),
    "flux.2": (tiny_language_models.flux2, {"image": PICTURE.resize((64, 64)), "max_sequence_length": 256}),
    "flux.2 klein": (
        tiny_language_models.flux2_klein,
        {"image": PICTURE.resize((64, 64)), "guidance_scale": 2.0, "max_sequence_length": 24},
    ),
    "flux.2 klein inpaint": (
        lambda: Flux2KleinInpaintPipeline(**tiny_language_models.flux2_klein().components),
        {"image": PICTURE, "mask_image": MASK, "guidance_scale": 2.0, "max_sequence_length": 24},
    ),
}
"""Pipelines that draw from a picture or perturb attention, and the arguments of their calls."""


@pytest.fixture
def small_pictures(monkeypatch):
    """Have pipelines of Qwen-Image Edit draw after a picture of 32 × 32 pixels in place of a million."""
    for module in (pipeline_qwenimage_edit, pipeline_qwenimage_edit_plus, pipeline_qwenimage_edit_inpaint):
        own = module.calculate_dimensions
        sizes = (32, 32) if module is pipeline_qwenimage_edit_plus else (32, 32, None)
        assert len(own(1024 * 1024, 1)) == len(sizes)
        monkeypatch.setattr(module, "calculate_dimensions", lambda _area, _ratio, sizes=sizes: sizes)


@pytest.mark.slow
@pytest.mark.usefixtures("small_pictures")
@pytest.mark.parametrize("name", PICTURED)
def test_other_pipeline_of_a_family_has_its_own_bits_and_the_weights_of_a_float64_run(name):
    make, arguments = PICTURED[name]
    pipe = make()
    pipe.set_progress_bar_config(disable=True)
    tokenizer = find_tokenizer(pipe)
    token = tokenizer(" gato", add_special_tokens=False).input_ids[-1]
    accepted = inspect.signature(pipe.__call__).parameters
    encoded = ("max_sequence_length", *["image"] * find_family(pipe).encodes_image)
    encoding = {key: value for key, value in arguments.items() if key in encoded}

    def run(**inputs):
        settings = {"height": 32, "width": 32, "num_inference_steps": STEPS, "output_type": "latent"}
        settings |= {"strength": 0.9} if "strength" in accepted else {}
        generator = torch.manual_seed(0)  # some pipelines encode their picture without it
        with torch.no_grad():
            return pipe(**settings | arguments | inputs, generator=generator).images

    plain = run(prompt="um gato vermelho")
    keys = find_keys(pipe, lambda: run(prompt="um gato vermelho"), token)
    with weighted_by_hand(pipe, keys, 3):
        expected = run(prompt="um gato vermelho")
    with attach(pipe, "um gato vermelho", None, **encoding) as session:
        assert torch.equal(run(**session.inputs), plain)
    assert len(session.find("gato")) == 1
    with attach(pipe, "um (gato:3) vermelho", None, record=False, **encoding) as session:
        actual = run(**session.inputs)
    assert (actual - expected).abs().max() < 2e-2 * (expected - plain).abs().max()


@pytest.mark.usefixtures("small_pictures")
def test_edited_picture_is_encoded_with_the_text_and_generated_in_one_call():
    pipe = tiny_language_models.qwen_image_edit()
    size = {"height": 32, "width": 32, "num_inference_steps": STEPS}
    plain = pipe(
        image=PICTURE,
        prompt="um gato",
        negative_prompt="feio",
        **size,
        generator=torch.Generator().manual_seed(1),
    ).images[0]
    result = promptweight.generate(pipe, "um gato", negative_prompt="feio", image=PICTURE, seed=1, **size)
    assert np.array_equal(result.images[0], plain)
    assert result.maps.word("gato").tensor.shape == (32, 32)
    weighted = promptweight.generate(pipe, "um (gato:9)", image=PICTURE, seed=1, **size)
    assert not np.array_equal(weighted.images[0], plain)
    other = promptweight.generate(pipe, "um gato", image=PICTURE.rotate(180), seed=1, **size)
    assert not np.array_equal(other.images[0], plain)


def test_picture_to_encode_is_asked_for_and_refused_elsewhere():
    pipe = tiny_language_models.qwen_image_edit()
    with pytest.raises(SettingError, match="QwenImageEditPipeline encodes the text together with the image"):
        attach(pipe, "um gato")
    with pytest.raises(SettingError, match="QwenImageEditPipeline needs image"):
        promptweight.generate(pipe, "um gato")
    with pytest.raises(SettingError, match="QwenImagePipeline encodes the text alone"):
        encode(tiny_language_models.qwen_image(), "um gato", image=PICTURE)


def test_texts_of_several_lengths_in_one_call_are_refused_where_padding_would_act():
    pipe = tiny_language_models.cogview4()
    texts = ["um gato", "um gato vermelho e um rato cinza em uma casa"]
    with pytest.raises(SettingError, match=r"the same number of tokens; got \[16, \d\d\]"):
        encode(pipe, texts)
    with (
        attach(pipe, texts) as session,
        pytest.raises(AttachError, match=r"the same number of tokens; got \[16, \d\d\]"),
    ):
        pipe(**session.inputs, height=32, width=32, num_inference_steps=1)
