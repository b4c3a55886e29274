"""What a batch does when the memory is not enough, and when a picture holds no numbers."""

import weakref

import pytest
import torch

from promptweight.batch import renderer
from promptweight.batch.oom_fallback import OomFallback
from promptweight.batch.prompt_cache import PromptCache
from promptweight.metadata import read_metadata


@pytest.mark.parametrize(("fits", "expected"), [(2, [4, 2, 2]), (1, [4, 2, 1, 1, 1, 1])])
def test_a_batch_that_does_not_fit_is_halved(plan_of, run_in, monkeypatch, fits, expected):
    real, sizes = renderer.BatchRenderer._draw_together, []

    def draw(self, jobs):
        sizes.append(len(jobs))
        if len(jobs) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, jobs)

    monkeypatch.setattr(renderer.BatchRenderer, "_draw_together", draw)
    outcome, _ = run_in(plan_of("a", "b", "c", "d"), batch_size=4)
    assert (outcome.ok, outcome.failed) == (4, 0)
    assert sizes == expected


def test_then_it_is_decoded_in_tiles_and_then_fails_alone(plan_of, run_in, monkeypatch, tiny_pipe, tmp_path):
    real, tiled = renderer.BatchRenderer._draw_together, []

    def draw(self, jobs):
        tiled.append(self.pipe.vae.use_tiling)
        if "grande" in jobs[0].prompt.text or not self.pipe.vae.use_tiling:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return real(self, jobs)

    monkeypatch.setattr(renderer.BatchRenderer, "_draw_together", draw)
    outcome, lines = run_in(plan_of("um gato", "grande"))
    assert (outcome.ok, outcome.failed) == (1, 1)
    assert tiled == [False, True, True]
    made = next(line for line in lines if line["status"] == "ok")
    assert "tiles" in made["warnings"][-1]
    assert read_metadata(tmp_path / "out" / made["file"]).record["vae_tiling"] is True
    assert tiny_pipe.vae.use_tiling is False


def test_last_of_all_parts_of_the_model_wait_in_main_memory(plan_of, tiny_pipe, monkeypatch):
    tried = []

    def draw(self, jobs):
        tried.append((len(jobs), self.pipe.vae.use_tiling, frugal.is_offloaded))
        if not offloaded:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [renderer.RenderedImage(None, None, 0, each.prompt, (), {}, "", ()) for each in jobs]

    offloaded = []
    monkeypatch.setattr(renderer.BatchRenderer, "_draw_together", draw)
    monkeypatch.setattr(tiny_pipe, "enable_model_cpu_offload", lambda device: offloaded.append(device))
    known = PromptCache(tiny_pipe)
    frugal = OomFallback(renderer.BatchRenderer(known), "cuda:1")
    monkeypatch.setattr(frugal, "_free", lambda: None)  # there is no such device here
    jobs = [known.ready(each.job) for each in plan_of("a", "b").pictures]
    drawn = list(frugal.draw(jobs))
    assert [ready.prompt.text for ready, _ in drawn] == ["a", "b"]
    assert not any(isinstance(each, Exception) for _, each in drawn)
    assert offloaded == ["cuda:1"]
    assert tried == [
        (2, False, False),
        (1, False, False),
        (1, True, False),
        (1, False, True),
        (1, False, True),
    ]
    assert list(frugal.draw(jobs[:1]))
    assert offloaded == ["cuda:1"]


def test_a_picture_of_no_numbers_is_a_failure(plan_of, run_in, monkeypatch, tiny_pipe):
    monkeypatch.setattr(
        tiny_pipe.vae, "decode", lambda latents, **_: (torch.full((len(latents), 3, 32, 32), torch.nan),)
    )
    outcome, lines = run_in(plan_of("um gato"))
    assert outcome.failed == 1
    assert "NaN" in lines[0]["error"]


class Latents:
    """Something large that a run of the model holds."""


@pytest.mark.parametrize("size", [1, 2])
def test_what_a_run_without_enough_memory_held_is_free_when_it_is_tried_again(
    plan_of, tiny_pipe, monkeypatch, size
):
    held = []

    def draw(self, jobs):
        assert all(each() is None for each in held)
        latents = Latents()
        held.append(weakref.ref(latents))
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(renderer.BatchRenderer, "_draw_together", draw)
    known = PromptCache(tiny_pipe)
    frugal = OomFallback(renderer.BatchRenderer(known), "cpu")
    jobs = [known.ready(each.job) for each in plan_of("a", "b").pictures]
    told = [error for _, error in frugal.draw(jobs[:size])]
    assert [type(error) for error in told] == [torch.OutOfMemoryError] * size
    assert len(held) == {1: 2, 2: 5}[size]
