"""Set-up of the whole suite, and a Stable Diffusion pipeline of the real classes with tiny random weights."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# One thread for each process and its children: small tensors gain nothing from more, and several processes
# with several threads each wait for one another and take ten times as long. torch reads the variables at its
# import.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# Every run of the suite tries the same examples; `python -m tests.fuzz` searches for new ones. Without a
# deadline, no test fails because the machine is busy.
settings.register_profile("suite", deadline=None, derandomize=True, database=None)
settings.register_profile("search", deadline=None, max_examples=2_000, print_blob=True)
settings.load_profile("suite")


def make_pipeline() -> Any:
    """Make a pipeline for images of 32 × 32 pixels; its tokenizer encodes any text, `gato` as one token."""
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
    """The folder that `save_pretrained` writes for the pipeline; tests must not change it."""
    folder = tmp_path_factory.mktemp("models") / "tiny-random"
    make_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_pipe(model_folder: Path) -> Any:
    """The pipeline, loaded by the package itself."""
    from promptweight.models.loading import load

    return load(model_folder, device="cpu")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium: the system's own where there is one, else the one that Playwright installed."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with api.sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except api.Error as error:
            pytest.skip(f"no browser: {str(error).splitlines()[0]}")
        yield chromium
        chromium.close()
