"""Out-of-memory fallback of a batch: smaller batches, then the measures for a single image.

A batch that does not fit is halved until it is one image; for that image the measures of
`promptweight.generation.oom_fallback` follow. If they are not enough, the job fails by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from promptweight.batch.prompt_cache import PreparedJob, settings_key
from promptweight.batch.renderer import BatchRenderer, RenderCancelled
from promptweight.generation import TILING_WARNING, OomFallback, drop_traceback, is_out_of_memory

if TYPE_CHECKING:
    from promptweight.generation import Result


class BatchOomFallback:
    """A renderer that reduces its use of memory after an out-of-memory error.

    Args:
        renderer: the renderer.
        device: the device of the model; by default its execution device.

    Attributes:
        memory: the measures for a single image.
        max_batch: the largest batch that fits, by settings, where a larger one did not.
    """

    def __init__(self, renderer: BatchRenderer, device: str | None = None) -> None:
        self.renderer = renderer
        self.memory = OomFallback(renderer.pipe, device=device, can_offload=True)
        self.max_batch: dict[Any, int] = {}

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
                results = self._render_group(group, key)
            except RenderCancelled:
                raise
            except Exception as error:  # an error of the model must not end the other jobs
                if is_out_of_memory(error) and len(group) > 1:
                    drop_traceback(error)
                    size = self.max_batch[key] = len(group) // 2
                    self.memory.free_memory()
                    continue
                if len(group) == 1:
                    yield group[0], error
                else:  # the error of one job or of the batch: try each job by itself
                    for job in group:
                        yield from self.render([job])
            else:
                yield from zip(group, results, strict=True)
            start += len(group)

    def _render_group(self, jobs: Sequence[PreparedJob], key: Any) -> list[Result]:
        """Draw jobs; a single one with one measure after the other."""
        run = self.memory.run if len(jobs) == 1 else self.memory.run_once
        results = run(lambda: self.renderer.render(jobs), key=key)
        if key not in self.memory.tiled:
            return results
        return [_with_tiling_warning(each) for each in results]


def _with_tiling_warning(result: Result) -> Result:
    warnings = tuple(dict.fromkeys([*result.warnings, TILING_WARNING]))
    return replace(result, warnings=warnings, settings={**result.settings, "vae_tiling": True})
