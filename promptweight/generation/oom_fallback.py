"""Measures against a lack of device memory in a run of the pipeline: VAE tiling, then offloading.

First the autoencoder decodes in slices and tiles; then, where that is allowed, parts of the model are
offloaded to main memory. Tiles may change an image a little at their borders, so they are reported and
disabled after the run.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from promptweight.messages import message

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline

T = TypeVar("T")

TILING_WARNING = message("vae-tiling")
"""Warning of an image that was decoded in tiles."""


class OomFallback:
    """Repetition of runs that are out of memory, with less use of memory.

    Args:
        pipe: the pipeline.
        device: its device; by default its execution device.
        can_offload: whether parts of the model may be offloaded. A session that is attached must not be
            offloaded.

    Attributes:
        tiled: keys of the settings whose images are decoded in tiles.
        is_offloaded: whether parts of the model are offloaded.
    """

    def __init__(self, pipe: Pipeline, *, device: str | None = None, can_offload: bool = False) -> None:
        self.pipe = pipe
        self.device = str(pipe._execution_device) if device is None else device
        self.can_offload = can_offload
        self.is_offloaded = getattr(pipe, "_offload_device", None) is not None
        self.tiled: set[Hashable] = set()

    def run(
        self,
        attempt: Callable[[], T],
        *,
        key: Hashable = None,
        before_retry: Callable[[], None] | None = None,
    ) -> T:
        """Return the result of `attempt`, repeated with one measure after the other if it is out of memory.

        Args:
            attempt: runs the pipeline; called once or more.
            key: settings of the run; a measure that they need is taken at once the next time.
            before_retry: called before each repetition.

        Raises:
            Exception: the error of the last attempt.
        """
        try:
            return self.run_once(attempt, key=key)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            failure = drop_traceback(error)
        if key not in self.tiled and _tileable_vae(self.pipe) is not None:
            self._prepare_retry(before_retry)
            try:
                with self._tiling(True):
                    result = attempt()
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                failure = drop_traceback(error)
            else:
                self.tiled.add(key)
                return result
        if not self.can_offload or self.is_offloaded or self.device == "cpu":
            raise failure
        self._prepare_retry(before_retry)
        self.pipe.enable_model_cpu_offload(device=self.device)
        self.is_offloaded = True
        return self.run_once(attempt, key=key)

    def run_once(self, attempt: Callable[[], T], *, key: Hashable = None) -> T:
        """Return the result of `attempt` with the tiling that its settings need, without a repetition."""
        with self._tiling(key in self.tiled):
            return attempt()

    def free_memory(self) -> None:
        """Release unused memory of the device."""
        import torch

        gc.collect()
        for kind in ("cuda", "mps", "xpu"):
            if self.device.startswith(kind):
                getattr(torch, kind).empty_cache()

    def _prepare_retry(self, before_retry: Callable[[], None] | None) -> None:
        self.free_memory()
        if before_retry is not None:
            before_retry()

    @contextmanager
    def _tiling(self, wanted: bool) -> Iterator[None]:
        """Decode in slices and tiles inside the block, and as before after it."""
        vae = _tileable_vae(self.pipe)
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


def drop_traceback(error: Exception) -> Exception:
    """Return an error without its frames, whose variables hold the memory that is to be freed."""
    error.__context__ = None
    return error.with_traceback(None)


def _tileable_vae(pipe: Pipeline) -> Any:
    """Return the autoencoder of a pipeline if it can decode in tiles, else None."""
    vae = getattr(pipe, "vae", None)
    return vae if hasattr(vae, "use_tiling") else None
