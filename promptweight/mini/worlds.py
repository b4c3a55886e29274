"""Worlds: the sets of objects, words and degrees that built-in models are trained on.

The renderer supports more than any one model is trained on. The `promptweight.json` of a model folder holds
the model's `World`; scenes, captions and evaluation are restricted to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptweight.mini.backdrops import LIGHTS, PLACES, WEATHERS
from promptweight.mini.icons import ICONS
from promptweight.mini.painting import PATTERNS
from promptweight.mini.palette import BACKGROUNDS, COLORS, SHADES
from promptweight.mini.scenes import (
    BIG,
    HOLD,
    HUGE,
    IN,
    KINDS,
    MANY,
    MIRROR,
    ON,
    RELATIONS,
    RIDE,
    SMALL,
    TINY,
    UNITS,
    WEAR,
)

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline


@dataclass(frozen=True)
class World:
    """Scope of a model: side of the image in pixels, and keys of all objects and attributes it can draw."""

    size: int
    things: tuple[str, ...]
    colors: tuple[str, ...]
    backgrounds: tuple[str, ...]
    relations: tuple[str, ...]
    shades: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    weathers: tuple[str, ...] = ()
    lights: tuple[str, ...] = ()
    spellings: tuple[str, ...] = ("grey",)
    """English spellings of the color gray."""

    def of(self, names: Mapping[str, Any]) -> list[str]:
        """Return the keys of `names` that are object kinds of this world, in the order of the world."""
        return [kind for kind in self.things if kind in names]

    def to_json(self) -> dict[str, Any]:
        """Return the world as a dictionary for JSON, without empty fields."""
        return {name: value for name, value in asdict(self).items() if value != ()}

    @classmethod
    def from_json(cls, content: Any) -> World:
        """Build a world from decoded JSON.

        Raises:
            ValueError: a field is missing, unknown or of the wrong type.
        """
        if not isinstance(content, dict):
            raise ValueError(f"a world must be an object; got {content!r}")
        unknown = content.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"a world has no {', '.join(sorted(unknown))}")
        size = content.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or size < UNITS or size % UNITS:
            raise ValueError(f"size must be a multiple of {UNITS}; got {size!r}")
        lists: dict[str, tuple[str, ...]] = {}
        for field in fields(cls)[1:]:
            value = content.get(field.name, [])
            if not isinstance(value, list) or not all(isinstance(key, str) for key in value):
                raise ValueError(f"{field.name} must be a list of words; got {value!r}")
            wrong = [key for key in value if key not in _KEYS[field.name]]
            if wrong:
                raise ValueError(
                    f"{field.name} must be among {', '.join(_KEYS[field.name])}; got {wrong[0]!r}"
                )
            lists[field.name] = tuple(value)
        for name in ("things", "colors", "backgrounds"):
            if not lists[name]:
                raise ValueError(f"a world must have {name}")
        return cls(size, **lists)


WHOLE = World(
    128,
    tuple(ICONS),
    tuple(COLORS),
    tuple(BACKGROUNDS),
    (*RELATIONS, RIDE, MIRROR, WEAR, HOLD, ON, IN),
    tuple(SHADES),
    (TINY, SMALL, BIG, HUGE),
    ("2", "3", MANY),
    PATTERNS,
    PLACES,
    WEATHERS,
    tuple(light for light in LIGHTS if light),
    ("grey", "gray"),
)
"""World of everything that the renderer supports."""
_KEYS: dict[str, tuple[str, ...]] = {key: value for key, value in vars(WHOLE).items() if key != "size"}
FIRST = World(128, KINDS, WHOLE.colors, WHOLE.backgrounds, (*RELATIONS, RIDE, MIRROR))
"""World of fourteen object kinds, which the shipped models draw."""
PRESENT = World(
    128,
    KINDS,
    WHOLE.colors,
    WHOLE.backgrounds,
    FIRST.relations,
    sizes=WHOLE.sizes,
    numbers=WHOLE.numbers,
    spellings=WHOLE.spellings,
)
"""World of the same fourteen kinds, with size words, numbers and clear reflections."""
WORLDS = {"first": FIRST, "present": PRESENT, "whole": WHOLE}


def read(folder: Path) -> World | None:
    """Read the world from a model folder's `promptweight.json`; return None if there is none.

    Raises:
        ValueError: the file is not valid JSON, or its world is invalid.
    """
    path = folder / "promptweight.json"
    if not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    return World.from_json(content["world"]) if isinstance(content, dict) and "world" in content else None


def world_of(pipeline: Pipeline) -> World | None:
    """Return the world that a pipeline's model is trained on, or None if its folder does not define one.

    The configuration of the denoising model in diffusers holds the folder it was loaded from;
    `promptweight.json` is in the parent folder.
    """
    model = getattr(pipeline, "unet", None)
    if model is None:
        model = getattr(pipeline, "transformer", None)
    folder = None if model is None else model.config.get("_name_or_path")
    return read(Path(folder).parent) if folder else None
