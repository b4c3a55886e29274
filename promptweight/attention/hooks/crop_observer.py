"""Crop of a picture: where the image that an inpainting pipeline draws lies in the picture it returns.

With `padding_mask_crop`, inpainting pipelines draw the surroundings of the mask alone, enlarged, and put them
back into the picture. The model does not see the crop, so it is observed where the pipeline computes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from promptweight.maps import Placement
from promptweight.protocols import Pipeline

METHOD = "get_crop_region"
"""Method of a pipeline's mask processor that returns left, top, right and bottom of the crop."""


class CropObserver:
    """Observer of the crops of a pipeline's runs.

    Args:
        pipe: the pipeline.

    Attributes:
        placement: that of the current run; None for one without a crop.
    """

    def __init__(self, pipe: Pipeline) -> None:
        processor = getattr(pipe, "mask_processor", None)
        self._processor: Any = processor if hasattr(processor, METHOD) else None
        self._previous: Callable[..., Any] | None = None
        self._computed: Placement | None = None
        self.placement: Placement | None = None

    def install(self) -> None:
        """Begin to observe."""
        if self._processor is None:
            return
        compute = getattr(self._processor, METHOD)
        self._previous = vars(self._processor).get(METHOD)

        def observed(mask_image: Any, *args: Any, **kwargs: Any) -> Any:
            box = compute(mask_image, *args, **kwargs)
            left, top, right, bottom = map(int, box)
            width, height = mask_image.size
            self._computed = Placement((left, top, right, bottom), (height, width))
            return box

        setattr(self._processor, METHOD, observed)

    def uninstall(self) -> None:
        """Restore the pipeline's own method."""
        if self._processor is None:
            return
        if self._previous is None:
            vars(self._processor).pop(METHOD, None)
        else:
            setattr(self._processor, METHOD, self._previous)

    def begin_run(self) -> None:
        """Take the crop that the pipeline has computed for the run whose first step begins."""
        self.placement, self._computed = self._computed, None
