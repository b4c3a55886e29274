"""Pipelines of videos: a map for each frame, against runs with attention by hand in float64."""

from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest
import tiny_video_models
import torch
from diffusers import (
    AnimateDiffControlNetPipeline,
    AnimateDiffPAGPipeline,
    AnimateDiffVideoToVideoControlNetPipeline,
    AnimateDiffVideoToVideoPipeline,
    CogVideoXImageToVideoPipeline,
    CogVideoXVideoToVideoPipeline,
    ControlNetModel,
    LTXImageToVideoPipeline,
    SanaImageToVideoPipeline,
    WanVideoToVideoPipeline,
)
from PIL import Image
from tiny_models import CLIP_L

import promptweight
from promptweight.attention import PromptToPrompt, Record, attach
from promptweight.conditioning import encode, encode_prompts
from promptweight.errors import AttachError, SettingError
from promptweight.generation.pipeline_call import make_step_arguments
from tests.fixtures.attention_probe import changed_rows, find_keys, weighted_by_hand

STEPS, FRAMES = 2, 3
NINE_FRAMES = {"num_frames": 9, "height": 32, "width": 64}
SHORT_TEXT = {"max_sequence_length": 16}
TEXTS = {"prompt": "um gato vermelho", "negative_prompt": "feio"}


@dataclass(frozen=True)
class Case:
    """A family: its tiny pipeline, the arguments of its call, and the grid of its finest maps."""

    make: Any
    settings: dict[str, Any]
    grid: tuple[int, int]
    encoding: dict[str, Any] = field(default_factory=dict)
    has_embeddings: bool = True
    """True where weights can act on the embeddings."""


CASES = {
    "animatediff": Case(
        tiny_video_models.animatediff, {"num_frames": FRAMES, "height": 16, "width": 24}, (16, 24)
    ),
    "animatediff xl": Case(
        tiny_video_models.animatediff_xl, {"num_frames": FRAMES, "height": 16, "width": 24}, (8, 12)
    ),
    "ltx-video": Case(tiny_video_models.ltx, NINE_FRAMES, (8, 16), SHORT_TEXT, has_embeddings=False),
    "skyreels v2": Case(tiny_video_models.skyreels, NINE_FRAMES, (2, 4), SHORT_TEXT, has_embeddings=False),
    "sana-video": Case(
        tiny_video_models.sana_video,
        {"frames": 9, "height": 32, "width": 64, "use_resolution_binning": False},
        (2, 4),
        SHORT_TEXT,
        has_embeddings=False,
    ),
    "cogvideox": Case(tiny_video_models.cogvideox, NINE_FRAMES, (2, 4), SHORT_TEXT, has_embeddings=False),
    "wan": Case(tiny_video_models.wan, NINE_FRAMES, (2, 4), SHORT_TEXT, has_embeddings=False),
}


SLOW = ("animatediff xl", "ltx-video", "skyreels v2")
"""Cases with the layers of others."""


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in CASES], scope="module"
)
def case(request):
    return CASES[request.param]


@pytest.fixture(scope="module")
def pipe(case):
    return case.make()


@pytest.fixture
def run(case, pipe):
    """Return a function that runs the pipeline and returns its latents."""

    def call(**inputs):
        settings = {"num_inference_steps": STEPS, "guidance_scale": 2.0, "output_type": "latent"}
        return pipe(
            **settings | case.settings | case.encoding | inputs, generator=torch.manual_seed(0)
        ).frames

    return call


@pytest.fixture
def change(pipe, token):
    """Return a context in which the rows of "gato" are others at the exit of the text encoders."""

    def enter():
        stack = ExitStack()
        for encoder in {"text_encoder", "text_encoder_2"} & pipe.components.keys():
            stack.enter_context(changed_rows(pipe, token, encoder=encoder))
        return stack

    return enter


@pytest.fixture
def token(pipe):
    """The id of the word "gato", a token of its own."""
    return pipe.tokenizer(" gato", add_special_tokens=False).input_ids[-1]


def test_unweighted_run_has_the_pipelines_bits_and_float64_columns_of_each_frame(pipe, run, token, case):
    plain = run(**TEXTS)
    keys = find_keys(pipe, lambda: run(**TEXTS), token)
    with weighted_by_hand(pipe, keys, 1) as softmaxes:
        run(**TEXTS)
    record = Record(steps="keep", heads="keep")
    with attach(pipe, *TEXTS.values(), record=record, **case.encoding) as session:
        assert torch.equal(run(**session.inputs), plain)
    assert session.warnings == []
    recording = session.maps.recording
    assert len(recording.tables) == FRAMES
    layers = {layer.name for layer, _ in session.config.layout.layers.values()}
    assert {name for slot in recording.slots for name in slot.layers} == layers
    (word,) = session.find("gato")
    truth = [
        torch.cat([softmax[row][..., positions].sum(-1) for row, positions in of_call.items()], -1)
        for softmax, of_call in zip(softmaxes, keys, strict=True)
        if of_call
    ]
    assert len(truth) == STEPS * len(recording.slots)
    for step in range(STEPS):
        for number, slot in enumerate(recording.slots):
            frames = [
                slot.sums[step, 0, frame][
                    ..., [recording.columns(("positive", frame))[row] for row in word.positions]
                ]
                for frame in range(FRAMES)
            ]
            actual = torch.cat([frame.sum(-1) for frame in frames], -1)
            expected = truth[step * len(recording.slots) + number]
            expected = expected[..., -actual.shape[-1] :]  # the queries of a text are first
            assert torch.allclose(actual, expected.float(), rtol=0, atol=2e-6)
    maps = [session.maps.word("gato", image=frame).tensor for frame in range(FRAMES)]
    assert all(each.shape == (case.settings["height"], case.settings["width"]) for each in maps)
    assert not torch.equal(maps[0], maps[1])
    assert {slot.grid for slot in recording.slots} >= {f"{case.grid[0]}x{case.grid[1]}"}


@pytest.mark.parametrize("weight", [0, 0.5, 2])
def test_weight_in_attention_equals_a_float64_run_by_hand(weight, pipe, run, token, case):
    plain = run(**TEXTS)
    keys = find_keys(pipe, lambda: run(**TEXTS), token)
    with weighted_by_hand(pipe, keys, weight):
        expected = run(**TEXTS)
    text = f"um (gato:{weight}) vermelho"
    with attach(pipe, text, "feio", weighting="attention", record=False, **case.encoding) as session:
        actual = run(**session.inputs)
    assert (actual - expected).abs().max() < 2e-2 * (expected - plain).abs().max()
    assert session.warnings == []


def test_weight_of_a_negative_prompt_acts_on_its_own_keys(pipe, run, token, case):
    texts = {"prompt": "um vermelho", "negative_prompt": "um gato"}
    plain = run(**texts)
    keys = find_keys(pipe, lambda: run(**texts), token)
    with weighted_by_hand(pipe, keys, 3):
        expected = run(**texts)
    negative, settings = "um (gato:3)", {"weighting": "attention", "record": False}
    with attach(pipe, "um vermelho", negative, **settings, **case.encoding) as session:
        actual = run(**session.inputs)
    assert (actual - expected).abs().max() < 2e-2 * (expected - plain).abs().max()


def test_word_of_weight_0_has_no_influence(pipe, run, change, case):
    videos = {}
    for weight in (0, 1):
        for is_changed in (False, True):
            with change() if is_changed else nullcontext():
                text = f"um (gato:{weight}) vermelho"
                encoded = encode_prompts(
                    pipe, text, "feio", weighting="attention", in_session=True, **case.encoding
                )
            with attach(pipe, encoded, record=False) as session:
                videos[weight, is_changed] = run(**session.inputs)
    assert torch.equal(videos[0, False], videos[0, True])
    assert not torch.equal(videos[1, False], videos[1, True])


def test_weight_in_a_region_acts_on_it_in_every_frame(pipe, run, case):
    """In cross-attention a region of the whole frame is no limit; in joint attention the text has queries."""
    settings = {"weighting": "attention", "record": False, **case.encoding}
    with attach(pipe, "um (gato:2) vermelho", "feio", **settings) as session:
        whole = run(**session.inputs)
    halves = []
    for region in ("left", "right"):
        with attach(pipe, *TEXTS.values(), **settings) as session:
            session.set_weight("gato", 2, region=region)
            halves.append(run(**session.inputs))
    with attach(pipe, *TEXTS.values(), **settings) as session:
        session.set_weight("gato", 2, region=torch.ones(4, 4).numpy())
        everywhere = run(**session.inputs)
    (order,) = {layer.order for layer, _ in session.config.layout.layers.values()}
    effect = (whole - run(**TEXTS)).abs().max()
    assert (everywhere - whole).abs().max() < (1e-5 if order == "cross" else 0.2 * effect)
    assert not torch.equal(*halves)
    assert not torch.equal(halves[0], whole)


def test_videos_of_several_prompts_have_the_maps_of_their_own_frames(pipe, run, case):
    prompts = ["um gato vermelho", "um rato"]
    noise = torch.randn(run(**TEXTS).shape, generator=torch.manual_seed(1))
    with attach(pipe, prompts, "feio", **case.encoding) as session:
        both = run(**session.inputs, latents=torch.cat([noise, noise]))
    assert len(session.maps.recording.tables) == 2 * FRAMES
    for number, (prompt, word) in enumerate(zip(prompts, ("gato", "rato"), strict=True)):
        with attach(pipe, prompt, "feio", **case.encoding) as alone:
            video = run(**alone.inputs, latents=noise)
        assert torch.allclose(both[number], video[0], atol=1e-4)
        for frame in range(FRAMES):
            of_both = session.maps.word(word, image=number * FRAMES + frame).tensor
            assert torch.allclose(of_both, alone.maps.word(word, image=frame).tensor, atol=1e-5)


def test_prompt_that_changes_has_the_bits_of_its_text_until_then(pipe, run, case):
    latents = []

    def keep(_pipe, _step, _timestep, tensors):
        latents.append(tensors["latents"].clone())
        return tensors

    text = "[um gato:casa vermelho e rato:0.5]"
    with attach(pipe, text, "feio", num_inference_steps=STEPS, **case.encoding) as session:
        run(**session.inputs, **make_step_arguments(pipe, keep))
    run(**TEXTS | {"prompt": "um gato"}, **make_step_arguments(pipe, keep))
    assert torch.equal(latents[0], latents[STEPS])
    assert not torch.equal(latents[1], latents[STEPS + 1])
    assert session.warnings == []


def test_and_averages_its_parts_or_is_refused(pipe, run, case):
    text, settings = "um gato AND um rato", {"num_inference_steps": STEPS, **case.encoding}
    with attach(pipe, text, "feio", **settings) as session:
        if session.config.layout.kind.frames == "rows":
            with pytest.raises(SettingError, match="AND is not possible with UNetMotionModel"):
                run(**session.inputs)
        else:
            assert run(**session.inputs).isfinite().all()


def test_edit_uses_the_attention_of_its_source(pipe, run, case):
    noise = torch.randn(run(**TEXTS).shape, generator=torch.manual_seed(1))

    def edit(text):
        with attach(
            pipe, ["um gato", text], "feio", edit=PromptToPrompt("refine"), **case.encoding
        ) as session:
            return run(**session.inputs, latents=torch.cat([noise, noise]))

    source, same = edit("um gato")
    assert torch.allclose(source, same, atol=1e-4)
    source, edited = edit("um gato vermelho")
    assert torch.allclose(source, same, atol=1e-4)
    assert not torch.allclose(source, edited, atol=1e-4)


def test_settings_that_would_differ_between_frames_are_refused(pipe, case):
    with pytest.raises(SettingError, match="cannot have target shares"):
        attach(pipe, "um gato", targets={"gato": 0.3}, **case.encoding)
    if not case.has_embeddings:
        for record in (Record(patches=[(0.5, 0.5)]), Record(refine=True)):
            with pytest.raises(SettingError, match="patches must be empty and refine False"):
                attach(pipe, "um gato", record=record, **case.encoding)
    with pytest.raises(SettingError, match="negative_guidance must be 'cfg'"):
        attach(pipe, "um gato", "feio", negative_guidance="nag")


def test_generate_refuses_videos(pipe):
    with pytest.raises(SettingError, match=f"generate draws images, and {type(pipe).__name__} draws videos"):
        promptweight.generate(pipe, "um gato")


def test_weights_of_embeddings_are_those_of_the_family_for_images(pipe, case):
    if case.has_embeddings:
        assert not torch.equal(
            encode(pipe, "um (gato:1.5)", weighting="scale")["prompt_embeds"],
            encode(pipe, "um gato")["prompt_embeds"],
        )
    else:
        with pytest.raises(SettingError, match="weighting must be one of"):
            encode(pipe, "um (gato:1.5)", weighting="scale")


def animatediff_of(kind, **parts):
    """Make an AnimateDiff pipeline of a class."""
    own = tiny_video_models.animatediff().components
    return kind(**own | {"motion_adapter": None} | parts)


def animatediff_controlnet(kind=AnimateDiffControlNetPipeline):
    """Make an AnimateDiff pipeline with a ControlNet for its frames."""
    torch.manual_seed(1)
    controlnet = ControlNetModel(
        block_out_channels=(32, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        layers_per_block=1,
        cross_attention_dim=CLIP_L,
        attention_head_dim=8,
        norm_num_groups=8,
        conditioning_embedding_out_channels=(8,),
    ).eval()
    return animatediff_of(kind, controlnet=controlnet)


def draw_video(frames, width, height):
    """Return frames of a picture that turns."""
    picture = Image.effect_mandelbrot((width, height), (-2, -1, 1, 1), 50).convert("RGB")
    return [picture.rotate(30 * number) for number in range(frames)]


WIDE = {"num_frames": 9, "height": 32, "width": 64, "max_sequence_length": 16}
OTHERS = {
    "animatediff from a video": (
        lambda: animatediff_of(AnimateDiffVideoToVideoPipeline),
        {"video": draw_video(FRAMES, 16, 16), "strength": 0.9},
    ),
    "animatediff controlnet": (
        animatediff_controlnet,
        {"conditioning_frames": draw_video(FRAMES, 16, 16), "num_frames": FRAMES},
    ),
    "animatediff with perturbed attention": (
        lambda: animatediff_of(AnimateDiffPAGPipeline, pag_applied_layers="mid_block.*attn1"),
        {"num_frames": FRAMES, "height": 16, "width": 16},
    ),
    "animatediff controlnet from a video": (
        lambda: animatediff_controlnet(AnimateDiffVideoToVideoControlNetPipeline),
        {
            "video": draw_video(FRAMES, 16, 16),
            "conditioning_frames": draw_video(FRAMES, 16, 16),
            "strength": 0.9,
        },
    ),
    "ltx-video from an image": (
        lambda: LTXImageToVideoPipeline(**tiny_video_models.ltx().components),
        {**WIDE, "image": draw_video(1, 64, 32)[0]},
    ),
    "cogvideox from an image": (
        lambda: CogVideoXImageToVideoPipeline(**tiny_video_models.cogvideox(in_channels=8).components),
        {**WIDE, "image": draw_video(1, 64, 32)[0]},
    ),
    "sana-video from an image": (
        lambda: SanaImageToVideoPipeline(**tiny_video_models.sana_video().components),
        {
            **{name: value for name, value in WIDE.items() if name != "num_frames"},
            "frames": 9,
            "image": draw_video(1, 64, 32)[0],
            "use_resolution_binning": False,
        },
    ),
    "wan from an image": (
        tiny_video_models.wan_from_image,
        {**WIDE, "image": draw_video(1, 64, 32)[0], "max_sequence_length": 512},
    ),
    "wan 2.2 with one transformer": (lambda: tiny_video_models.wan(expand_timesteps=True), WIDE),
    "cogvideox from a video": (
        lambda: CogVideoXVideoToVideoPipeline(**tiny_video_models.cogvideox().components),
        {
            "video": draw_video(9, 64, 32),
            "height": 32,
            "width": 64,
            "strength": 0.9,
            "max_sequence_length": 16,
        },
    ),
    "wan from a video": (
        lambda: WanVideoToVideoPipeline(
            **{k: v for k, v in tiny_video_models.wan().components.items() if k != "transformer_2"}
        ),
        {
            "video": draw_video(9, 64, 32),
            "height": 32,
            "width": 64,
            "strength": 0.9,
            "max_sequence_length": 16,
        },
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_pipeline_of_a_family_has_its_own_bits_and_the_weights_of_a_float64_run(name):
    make, arguments = OTHERS[name]
    pipe = make()
    with pytest.raises(SettingError, match="generate draws images"):
        promptweight.generate(pipe, "um gato")
    pipe.set_progress_bar_config(disable=True)
    token = pipe.tokenizer(" gato", add_special_tokens=False).input_ids[-1]
    encoding = {key: value for key, value in arguments.items() if key == "max_sequence_length"}

    def run(**inputs):
        settings = {"num_inference_steps": 4, "guidance_scale": 2.0, "output_type": "latent"}
        return pipe(**settings | arguments | inputs, generator=torch.manual_seed(0)).frames

    plain = run(**TEXTS)
    keys = find_keys(pipe, lambda: run(**TEXTS), token)
    with weighted_by_hand(pipe, keys, 3):
        expected = run(**TEXTS)
    with attach(pipe, *TEXTS.values(), **encoding) as session:
        assert torch.equal(run(**session.inputs), plain)
    assert len(session.maps.recording.tables) == FRAMES
    settings = {"weighting": "attention", "record": False, **encoding}
    with attach(pipe, "um (gato:3) vermelho", "feio", **settings) as session:
        actual = run(**session.inputs)
    assert (actual - expected).abs().max() < 2e-2 * (expected - plain).abs().max()


def test_second_transformer_is_refused():
    transformer = tiny_video_models.wan().transformer
    pipe = tiny_video_models.wan(transformer_2=transformer, boundary_ratio=0.5)
    with pytest.raises(AttachError, match="WanPipeline has a second transformer"):
        attach(pipe, "um gato")
