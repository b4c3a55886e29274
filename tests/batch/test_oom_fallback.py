"""Out-of-memory fallback of a batch, and images with NaN values."""

import weakref

import pytest
import torch
from PIL import Image

from promptweight.batch.oom_fallback import BatchOomFallback
from promptweight.batch.prompt_cache import PromptCache
from promptweight.batch.renderer import BatchRenderer
from promptweight.generation import Result
from promptweight.metadata import read_metadata


@pytest.mark.parametrize(("fits", "expected"), [(2, [4, 2, 2]), (1, [4, 2, 1, 1, 1, 1])])
def test_batch_that_does_not_fit_is_halved(plan_of, run_in, monkeypatch, fits, expected):
    render_group, sizes = BatchRenderer.render_group, []

    def render(self, jobs, loras):
        sizes.append(len(jobs))
        if len(jobs) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return render_group(self, jobs, loras)

    monkeypatch.setattr(BatchRenderer, "render_group", render)
    outcome, _ = run_in(plan_of("a", "b", "c", "d"), batch_size=4)
    assert (outcome.ok, outcome.failed) == (4, 0)
    assert sizes == expected


def test_oom_of_one_image_falls_back_to_vae_tiling(plan_of, run_in, monkeypatch, tiny_pipe, tmp_path):
    render_group, tiled = BatchRenderer.render_group, []

    def render(self, jobs, loras):
        tiled.append(self.pipe.vae.use_tiling)
        if "grande" in jobs[0].prompt.text or not self.pipe.vae.use_tiling:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return render_group(self, jobs, loras)

    monkeypatch.setattr(BatchRenderer, "render_group", render)
    outcome, lines = run_in(plan_of("um gato", "grande"))
    assert (outcome.ok, outcome.failed) == (1, 1)
    assert tiled == [False, True, True]
    line = next(line for line in lines if line["status"] == "ok")
    assert "tiles" in line["warnings"][-1]
    assert read_metadata(tmp_path / "out" / line["file"]).record["vae_tiling"] is True
    assert tiny_pipe.vae.use_tiling is False


def test_oom_with_tiling_falls_back_to_offloading(plan_of, tiny_pipe, monkeypatch):
    calls, offloaded = [], []

    def render(self, jobs, loras):
        calls.append((len(jobs), self.pipe.vae.use_tiling, fallback.memory.is_offloaded))
        if not offloaded:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [
            Result((Image.new("RGB", (8, 8)),), None, each.prompt, each.negative_prompt, (), (1,), {})
            for each in jobs
        ]

    monkeypatch.setattr(BatchRenderer, "render_group", render)
    monkeypatch.setattr(tiny_pipe, "enable_model_cpu_offload", lambda device: offloaded.append(device))
    cache = PromptCache(tiny_pipe)
    fallback = BatchOomFallback(BatchRenderer(cache), "cuda:1")
    monkeypatch.setattr(fallback.memory, "free_memory", lambda: None)  # this machine has no such device
    jobs = [cache.prepare(each.job) for each in plan_of("a", "b").images]
    results = list(fallback.render(jobs))
    assert [job.prompt.text for job, _ in results] == ["a", "b"]
    assert not any(isinstance(each, Exception) for _, each in results)
    assert offloaded == ["cuda:1"]
    assert calls == [
        (2, False, False),
        (1, False, False),
        (1, True, False),
        (1, False, True),
        (1, False, True),
    ]
    assert list(fallback.render(jobs[:1]))
    assert offloaded == ["cuda:1"]


def test_image_with_nan_values_fails(plan_of, run_in, monkeypatch, tiny_pipe):
    monkeypatch.setattr(
        tiny_pipe.vae, "decode", lambda latents, **_: (torch.full((len(latents), 3, 32, 32), torch.nan),)
    )
    outcome, lines = run_in(plan_of("um gato"))
    assert outcome.failed == 1
    assert "NaN" in lines[0]["error"]


class Latents:
    """Large object of a run of the model."""


@pytest.mark.parametrize("size", [1, 2])
def test_memory_of_a_failed_attempt_is_free_before_the_next(plan_of, tiny_pipe, monkeypatch, size):
    held = []

    def render(self, jobs, loras):
        assert all(each() is None for each in held)
        latents = Latents()
        held.append(weakref.ref(latents))
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(BatchRenderer, "render_group", render)
    cache = PromptCache(tiny_pipe)
    fallback = BatchOomFallback(BatchRenderer(cache), "cpu")
    jobs = [cache.prepare(each.job) for each in plan_of("a", "b").images]
    errors = [error for _, error in fallback.render(jobs[:size])]
    assert [type(error) for error in errors] == [torch.OutOfMemoryError] * size
    assert len(held) == {1: 2, 2: 5}[size]
