"""Tiny random models of every family, with tokenizers of their own: nothing is downloaded."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from diffusers import (
    FluxPipeline,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from transformers import CLIPTokenizer

from promptweight.prompt import Options, Prompt, Span

new_sd, new_sdxl, new_sd3 = (
    partial(make, side=8) for make in (tiny_models.sd, tiny_models.sdxl, tiny_models.sd3)
)
SHARED = Path(__file__).resolve().parents[2] / "../shared"


def make_prompt(*fragments: str | tuple[str, float], dialect: str = "pw") -> Prompt:
    """A parsed prompt from its fragments, glued together as they stand; "BREAK" by itself is a break.

    The options name the fragment, so that a test can tell whose they are.
    """
    text, spans, breaks = "", [], []
    for fragment in fragments:
        if fragment == "BREAK":
            breaks.append(len(text))
            continue
        content, weight = (fragment, 1.0) if isinstance(fragment, str) else fragment
        start, end = len(text), len(text) + len(content)
        spans.append(Span(content, weight, start, end, start, end, Options(region=content)))
        text += content
    return Prompt(text, dialect, text, tuple(spans), tuple(breaks))


@pytest.fixture(scope="session")
def clip_tokenizer() -> CLIPTokenizer:
    return tiny_models.clip_tokenizer()


@pytest.fixture(scope="session")
def make_clip_tokenizer() -> Any:
    return tiny_models.clip_tokenizer


@pytest.fixture(scope="session")
def prompt_of() -> Any:
    return make_prompt


@pytest.fixture(scope="session")
def sd() -> StableDiffusionPipeline:
    return new_sd()


@pytest.fixture(scope="session")
def make_sd() -> Any:
    return new_sd


@pytest.fixture(scope="session")
def sdxl() -> StableDiffusionXLPipeline:
    return new_sdxl()


@pytest.fixture(scope="session")
def make_sdxl() -> Any:
    return new_sdxl


@pytest.fixture(scope="session")
def sd3() -> StableDiffusion3Pipeline:
    return new_sd3()


@pytest.fixture(scope="session")
def make_sd3() -> Any:
    return new_sd3


@pytest.fixture(scope="session")
def flux() -> FluxPipeline:
    return tiny_models.flux()


@pytest.fixture(scope="session")
def make_flux() -> Any:
    return tiny_models.flux


@pytest.fixture(scope="session")
def real_clip_tokenizer() -> CLIPTokenizer:
    folder = SHARED / "tokenizers/clip"
    if not folder.is_dir():
        pytest.skip("the real CLIP vocabulary (../shared/tokenizers) is not on this machine")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=77)


@pytest.fixture(scope="session")
def real_t5_tokenizer() -> Any:
    from transformers import T5TokenizerFast

    folder = SHARED / "tokenizers/t5"
    if not folder.is_dir():
        pytest.skip("the real T5 vocabulary (../shared/tokenizers) is not on this machine")
    return T5TokenizerFast.from_pretrained(folder)
