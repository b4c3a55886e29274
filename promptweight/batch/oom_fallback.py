"""What is done, one measure after the other, when the device's memory is not enough for a batch.

First the batch is halved, until it is one picture; then the autoencoder decodes in slices and tiles; then
parts of the model wait in main memory until their turn. If that is not enough the job alone has failed.
Tiles change a picture a little where they meet, so they are told of and taken back after the job.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from promptweight.batch.prompt_cache import PreparedJob, settings_key
from promptweight.batch.renderer import BatchRenderer, RenderCancelled, RenderedImage

TILING_WARNING = "memory was not enough, so the picture was decoded in tiles, which may show where they meet"


class OomFallback:
    """A painter that does with less memory when there is not enough.

    Attributes:
        painter: what draws.
        largest: the largest batch that fitted, by settings, where a larger one did not.
        needs_tiles: settings whose pictures are decoded in tiles.
        is_offloaded: whether parts of the model wait in main memory.
    """

    def __init__(self, painter: BatchRenderer, device: str, *, is_offloaded: bool = False) -> None:
        self.painter = painter
        self.device = device
        self.is_offloaded = is_offloaded
        self.largest: dict[Any, int] = {}
        self.needs_tiles: set[Any] = set()

    def draw(self, jobs: Sequence[PreparedJob]) -> Iterator[tuple[PreparedJob, RenderedImage | Exception]]:
        """Yield every job with its picture, or with the error that it alone failed with.

        Raises:
            GivenUp: nobody wants the rest any more.
        """
        key = settings_key(jobs[0])
        size = min(len(jobs), self.largest.get(key, len(jobs)))
        place = 0
        while place < len(jobs):
            some = jobs[place : place + size]
            try:
                drawn = self._draw(some, key)
            except RenderCancelled:
                raise
            except Exception as error:  # whatever a model raises must not end the other jobs
                if is_out_of_memory(error) and len(some) > 1:
                    _let_go(error)
                    size = self.largest[key] = len(some) // 2
                    self._free()
                    continue
                if len(some) == 1:
                    yield some[0], error
                else:  # one of them, or the batch itself: each is tried by itself
                    for job in some:
                        yield from self.draw([job])
            else:
                yield from zip(some, drawn, strict=True)
            place += len(some)

    def _draw(self, jobs: Sequence[PreparedJob], key: Any) -> list[RenderedImage]:
        """Draw jobs; a single one with more and more frugal measures."""
        try:
            with self._tiles(key in self.needs_tiles):
                return self._told(self.painter.draw(jobs), key)
        except Exception as error:
            if not is_out_of_memory(error) or len(jobs) > 1:
                raise
            failed = _let_go(error)
        if key not in self.needs_tiles and _autoencoder(self.painter.pipe) is not None:
            self._free()
            try:
                with self._tiles(True):
                    drawn = self.painter.draw(jobs)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                failed = _let_go(error)
            else:
                self.needs_tiles.add(key)
                return self._told(drawn, key)
        if self.is_offloaded or self.device == "cpu":
            raise failed
        self._free()
        self.painter.pipe.enable_model_cpu_offload(device=self.device)
        self.is_offloaded = True
        with self._tiles(key in self.needs_tiles):
            return self._told(self.painter.draw(jobs), key)

    def _told(self, drawn: list[RenderedImage], key: Any) -> list[RenderedImage]:
        if key not in self.needs_tiles:
            return drawn
        return [
            replace(each, warnings=(*each.warnings, TILING_WARNING), record={**each.record, "vae_tiling": True})
            for each in drawn
        ]

    @contextmanager
    def _tiles(self, wanted: bool) -> Iterator[None]:
        """Decode in slices and tiles inside the block, and as before after it."""
        autoencoder = _autoencoder(self.painter.pipe)
        if not wanted or autoencoder is None:
            yield
            return
        before = {name: getattr(autoencoder, name, False) for name in ("use_slicing", "use_tiling")}
        for name in before:
            setattr(autoencoder, name, True)
        try:
            yield
        finally:
            for name, value in before.items():
                setattr(autoencoder, name, value)

    def _free(self) -> None:
        import gc

        import torch

        gc.collect()
        for kind in ("cuda", "mps", "xpu"):
            if self.device.startswith(kind):
                getattr(torch, kind).empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was not enough, on any device."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    signs = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")
    return isinstance(error, RuntimeError) and any(sign in text for sign in signs)


def _let_go(error: Exception) -> Exception:
    """Return an error without the calls it came through, whose variables hold what should be freed."""
    error.__context__ = None
    return error.with_traceback(None)


def _autoencoder(pipe: Any) -> Any:
    """Return the autoencoder of a pipeline where it can decode in tiles."""
    autoencoder = getattr(pipe, "vae", None)
    return autoencoder if hasattr(autoencoder, "use_tiling") else None
