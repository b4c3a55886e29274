"""Set-up of the whole suite, and a Stable Diffusion pipeline of the real classes with tiny random weights."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

pytest_plugins = [
    "tests.fixtures.attention",
    "tests.fixtures.batches",
    "tests.fixtures.evaluation",
    "tests.fixtures.text_encoders",
]

# With pytest-xdist each process computes on one thread: processes with several threads each wait for one
# another on few cores, and take ten times as long. The variables act before torch is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

# A busy machine is no reason for a test to fail.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def make_pipeline() -> Any:
    """A pipeline for pictures of 32 × 32 pixels; its tokenizer takes any text, `gato` as one piece."""
    import tiny_models
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel

    merges = (("u", "m</w>"), ("g", "a"), ("t", "o</w>"), ("ga", "to</w>"))
    tokenizer = tiny_models.clip_tokenizer(merges=merges)
    torch.manual_seed(0)
    config = tiny_models.clip_config(
        tokenizer, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    text_encoder = CLIPTextModel(config)
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
    )
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=4,
        norm_num_groups=8,
    )
    pipe = StableDiffusionPipeline(
        vae=vae.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=tokenizer,
        unet=unet.eval(),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline as `save_pretrained` writes it; not to be changed by a test."""
    folder = tmp_path_factory.mktemp("models") / "tiny-random"
    make_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_pipe(model_folder: Path) -> Any:
    """The pipeline, loaded by the package itself."""
    from promptweight.models.loading import load

    return load(model_folder, device="cpu")
