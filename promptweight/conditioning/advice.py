"""Recommended settings of a model: the promptweight.json in its folder."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptweight.errors import ModelError, SettingError
from promptweight.messages import message
from promptweight.weighting import Weighting

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline


@dataclass(frozen=True)
class Advice:
    """Settings that the makers of a model recommend.

    Attributes:
        guidance_scale: the default guidance scale, 0 to 100.
        attention_layers: parts of the names of the layers whose maps locate words; all layers when empty.
        weighting: the calibration of `presence` for the model, in its `dial` and `gain`.
        traces_words: whether traced maps (`AttentionMaps.traced`) locate single words best.
    """

    guidance_scale: float
    attention_layers: tuple[str, ...] = ()
    weighting: Weighting = field(default_factory=Weighting)
    traces_words: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the content of the file."""
        weighting = {"weighting": str(self.weighting)} if self.weighting != Weighting() else {}
        layers = {"attention_layers": list(self.attention_layers)} if self.attention_layers else {}
        traces = {"traces_words": True} if self.traces_words else {}
        return {"guidance_scale": self.guidance_scale, **layers, **weighting, **traces}


def advice_in(folder: Path) -> Advice | None:
    """Return the recommended settings in the folder's promptweight.json; None without this file.

    Raises:
        ModelError: the file is damaged.
    """
    path = folder / "promptweight.json"
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        value = content["guidance_scale"]
        guidance = float(value)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(message("advice-guidance-type", path=path, reason=repr(error))) from error
    if not 0 <= guidance <= 100:
        raise ModelError(message("advice-guidance-range", path=path, value=value))
    layers = content.get("attention_layers", [])
    if not (isinstance(layers, list) and all(isinstance(part, str) and part for part in layers)):
        raise ModelError(message("advice-layers", path=path, value=layers))
    try:
        weighting = Weighting.of(content.get("weighting"))
    except SettingError as error:
        raise ModelError(message("advice-weighting", path=path, reason=error.args[0])) from error
    traces_words = content.get("traces_words", False)
    if not isinstance(traces_words, bool):
        raise ModelError(message("advice-traces", path=path, value=traces_words))
    return Advice(guidance, tuple(layers), weighting, traces_words)


def advice_of(pipe: Pipeline) -> Advice | None:
    """Return the recommended settings of a pipeline's model; None where it has none.

    diffusers keeps the folder of the denoising model in its configuration; promptweight.json is in the folder
    above.

    Raises:
        ModelError: the file is damaged.
    """
    model = getattr(pipe, "unet", None)
    if model is None:  # `or` would call the length of a compiled model
        model = getattr(pipe, "transformer", None)
    folder = None if model is None else getattr(model, "config", {}).get("_name_or_path")
    return advice_in(Path(folder).parent) if folder and Path(folder).is_dir() else None
