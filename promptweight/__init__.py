"""Prompt weights that work and attention you can see, for text-to-image diffusion models.

    import promptweight

    result = promptweight.generate("um (gato:1.4) vermelho", seed=1)
    result.maps.word("gato").overlay(result.images[0]).save("gato.png")

Importing this package is light: torch and diffusers come in with the first name that needs them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Imported now, not on demand: a function that is fetched later would be hidden by its own module of the
# same name.
from promptweight.generation.edit import Edit, edit
from promptweight.generation.generate import generate
from promptweight.generation.result import Result
from promptweight.generation.share_targets import solve

if TYPE_CHECKING:
    from promptweight import errors as errors
    from promptweight.attention import AttentionMaps as AttentionMaps
    from promptweight.attention import attach as attach
    from promptweight.conditioning import encode as encode
    from promptweight.models.loading import load as load
    from promptweight.prompt import convert as convert
    from promptweight.prompt import detect as detect
    from promptweight.prompt import expand as expand
    from promptweight.prompt import nudge as nudge
    from promptweight.prompt import parse as parse
    from promptweight.prompt import schedule as schedule
    from promptweight.weighting import methods as methods

__version__ = "0.1.0"

_HOMES = {
    "parse": "promptweight.prompt",
    "schedule": "promptweight.prompt",
    "convert": "promptweight.prompt",
    "detect": "promptweight.prompt",
    "expand": "promptweight.prompt",
    "nudge": "promptweight.prompt",
    "encode": "promptweight.conditioning",
    "attach": "promptweight.attention",
    "AttentionMaps": "promptweight.attention",
    "load": "promptweight.models",
}
_MODULES = ("errors", "weighting")

__all__ = [
    "AttentionMaps",
    "Edit",
    "Result",
    "__version__",
    "attach",
    "convert",
    "detect",
    "edit",
    "encode",
    "errors",
    "expand",
    "generate",
    "load",
    "nudge",
    "parse",
    "schedule",
    "solve",
    "weighting",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"promptweight.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'promptweight' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
