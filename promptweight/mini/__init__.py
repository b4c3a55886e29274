"""The built-in models: scenes drawn, captioned and learnt here, so that a fresh machine needs no download.

`scenes` draws pictures whose masks are known exactly, `captions` says in Portuguese and English what is
in them, `networks` and `train` turn both into real diffusers pipelines, and `weights/` holds the result.

>>> from promptweight import mini
>>> mini.path("mini").name
'mini'
"""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
NAMES = ("mini", "mini-dit")


def path(name: str = "mini") -> Path:
    """Returns the diffusers folder of the built-in model `name` (one of `NAMES`)."""
    if name not in NAMES:
        raise LookupError(f"{name!r} is no built-in model; the built-in models are {', '.join(NAMES)}")
    return WEIGHTS / name
