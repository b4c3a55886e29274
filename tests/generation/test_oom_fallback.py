"""Out-of-memory fallback of `generate` and `edit`: VAE tiling with a warning, else the error."""

import numpy as np
import pytest
import torch

from promptweight.generation import TILING_WARNING, generate, is_out_of_memory

FAST = {"num_inference_steps": 2, "seed": 7}


@pytest.fixture
def short_of_memory(tiny_pipe, monkeypatch):
    """List of the decodings of a VAE that has enough memory only with tiling; True for those with tiling."""
    decode, decodings = tiny_pipe.vae.decode, []

    def decode_with_tiling(*arguments, **options):
        decodings.append(tiny_pipe.vae.use_tiling)
        if not tiny_pipe.vae.use_tiling:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return decode(*arguments, **options)

    monkeypatch.setattr(tiny_pipe.vae, "decode", decode_with_tiling)
    return decodings


def test_oom_falls_back_to_vae_tiling(tiny_pipe, short_of_memory):
    result = generate(tiny_pipe, "um (gato:1.4)", num_images_per_prompt=2, **FAST)
    assert short_of_memory == [False, True, True]  # the second image is tiled at once
    assert tiny_pipe.vae.use_tiling is False
    assert result.warnings.count(TILING_WARNING) == 1
    assert result.record(0)["vae_tiling"] is True


def test_oom_fallback_keeps_maps_and_image(tiny_pipe, monkeypatch):
    expected = generate(tiny_pipe, "um (gato:1.4)", **FAST)
    decode, failures = tiny_pipe.vae.decode, [torch.OutOfMemoryError("CUDA out of memory")]

    def fail_once(*arguments, **options):
        if failures:
            raise failures.pop()
        return decode(*arguments, **options)

    monkeypatch.setattr(tiny_pipe.vae, "decode", fail_once)
    result = generate(tiny_pipe, "um (gato:1.4)", **FAST)
    assert torch.equal(result.maps.word("gato").tensor, expected.maps.word("gato").tensor)
    # 32 × 32 pixels are one tile
    assert np.array_equal(np.asarray(result.images[0]), np.asarray(expected.images[0]))
    assert "vae_tiling" not in expected.settings


def test_oom_of_an_edit_falls_back_to_vae_tiling(tiny_pipe, short_of_memory):
    result = generate(tiny_pipe, "um gato", edit="um rato", record=False, **FAST)
    assert TILING_WARNING in result.warnings
    assert result.edited.settings["vae_tiling"] is True
    assert short_of_memory[0] is False
    assert all(short_of_memory[1:])


def test_oom_with_tiling_is_the_error(tiny_pipe, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(tiny_pipe.vae, "decode", fail)
    with pytest.raises(RuntimeError, match="can't allocate memory") as raised:
        generate(tiny_pipe, "um gato", **FAST)
    assert is_out_of_memory(raised.value)
    assert tiny_pipe.vae.use_tiling is False


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("x"), True),
        (MemoryError(), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("shapes differ"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory_errors_are_detected(error, expected):
    assert is_out_of_memory(error) is expected
