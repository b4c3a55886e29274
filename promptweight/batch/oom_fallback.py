"""Measures against a lack of device memory, one after the other.

First the batch is halved until it is one image; then the autoencoder decodes in slices and tiles; then parts
of the model are offloaded to main memory. If that is not enough, the job fails by itself. Tiles may change an
image a little at their borders, so they are reported and disabled again after the job.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from promptweight.batch.prompt_cache import PreparedJob, settings_key
from promptweight.batch.renderer import BatchRenderer, RenderCancelled
from promptweight.messages import Message

if TYPE_CHECKING:
    from promptweight.generation import Result

TILING_WARNING = Message(
    "the image was decoded in tiles because memory was short; the borders of the tiles may be visible"
)
"""Warning of an image that was decoded in tiles."""


class OomFallback:
    """A renderer that reduces its use of memory after an out-of-memory error.

    Args:
        renderer: the renderer.
        device: the device of the model.
        is_offloaded: whether parts of the model are offloaded already.

    Attributes:
        max_batch: the largest batch that fits, by settings, where a larger one did not.
        tiled: settings whose images are decoded in tiles.
    """

    def __init__(self, renderer: BatchRenderer, device: str, *, is_offloaded: bool = False) -> None:
        self.renderer = renderer
        self.device = device
        self.is_offloaded = is_offloaded
        self.max_batch: dict[Any, int] = {}
        self.tiled: set[Any] = set()

    def render(self, jobs: Sequence[PreparedJob]) -> Iterator[tuple[PreparedJob, Result | Exception]]:
        """Yield every job with its result, or with the error that it failed with.

        Raises:
            RenderCancelled: the remaining images are dropped.
        """
        key = settings_key(jobs[0])
        size = min(len(jobs), self.max_batch.get(key, len(jobs)))
        start = 0
        while start < len(jobs):
            group = jobs[start : start + size]
            try:
                results = self._render(group, key)
            except RenderCancelled:
                raise
            except Exception as error:  # an error of the model must not end the other jobs
                if is_out_of_memory(error) and len(group) > 1:
                    _drop_traceback(error)
                    size = self.max_batch[key] = len(group) // 2
                    self.free_memory()
                    continue
                if len(group) == 1:
                    yield group[0], error
                else:  # the error of one job or of the batch: try each job by itself
                    for job in group:
                        yield from self.render([job])
            else:
                yield from zip(group, results, strict=True)
            start += len(group)

    def free_memory(self) -> None:
        """Release unused memory of the device."""
        import gc

        import torch

        gc.collect()
        for kind in ("cuda", "mps", "xpu"):
            if self.device.startswith(kind):
                getattr(torch, kind).empty_cache()

    def _render(self, jobs: Sequence[PreparedJob], key: Any) -> list[Result]:
        """Draw jobs; a single one with one measure after the other."""
        try:
            with self._tiling(key in self.tiled):
                return self._with_warning(self.renderer.render(jobs), key)
        except Exception as error:
            if not is_out_of_memory(error) or len(jobs) > 1:
                raise
            failure = _drop_traceback(error)
        if key not in self.tiled and _tileable_vae(self.renderer.pipe) is not None:
            self.free_memory()
            try:
                with self._tiling(True):
                    results = self.renderer.render(jobs)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                failure = _drop_traceback(error)
            else:
                self.tiled.add(key)
                return self._with_warning(results, key)
        if self.is_offloaded or self.device == "cpu":
            raise failure
        self.free_memory()
        self.renderer.pipe.enable_model_cpu_offload(device=self.device)
        self.is_offloaded = True
        with self._tiling(key in self.tiled):
            return self._with_warning(self.renderer.render(jobs), key)

    def _with_warning(self, results: list[Result], key: Any) -> list[Result]:
        if key not in self.tiled:
            return results
        return [
            replace(
                each,
                warnings=(*each.warnings, TILING_WARNING),
                settings={**each.settings, "vae_tiling": True},
            )
            for each in results
        ]

    @contextmanager
    def _tiling(self, wanted: bool) -> Iterator[None]:
        """Decode in slices and tiles inside the block, and as before after it."""
        vae = _tileable_vae(self.renderer.pipe)
        if not wanted or vae is None:
            yield
            return
        before = {name: getattr(vae, name, False) for name in ("use_slicing", "use_tiling")}
        for name in before:
            setattr(vae, name, True)
        try:
            yield
        finally:
            for name, value in before.items():
                setattr(vae, name, value)


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if an error reports a lack of memory, on any device."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    signs = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")
    return isinstance(error, RuntimeError) and any(sign in text for sign in signs)


def _drop_traceback(error: Exception) -> Exception:
    """Return an error without its frames, whose variables hold the memory that is to be freed."""
    error.__context__ = None
    return error.with_traceback(None)


def _tileable_vae(pipe: Any) -> Any:
    """Return the autoencoder of a pipeline if it can decode in tiles, else None."""
    vae = getattr(pipe, "vae", None)
    return vae if hasattr(vae, "use_tiling") else None
