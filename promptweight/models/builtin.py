"""Names and folders of the built-in models."""

from pathlib import Path

BUILTIN_MODELS = ("mini", "mini-dit")
"""Names of the built-in models."""

BUILTIN_FOLDER = Path(__file__).parents[1] / "mini" / "weights"
"""Folder with one diffusers folder for each built-in model."""


def builtin_path(name: str = "mini") -> Path:
    """Return the diffusers folder of the built-in model `name`.

    >>> builtin_path("mini").name
    'mini'

    Raises:
        LookupError: `name` is not in `BUILTIN_MODELS`.
    """
    if name not in BUILTIN_MODELS:
        raise LookupError(f"built-in model must be one of: {', '.join(BUILTIN_MODELS)}; got {name!r}")
    return BUILTIN_FOLDER / name
