"""Limits of the numbers in the configurations of a model folder, from which a model is built.

A `config.json` may state any number of layers or channels, and the libraries build them all before they
compare with the weight files. Every layer has a tensor of its own and every width is the side of a tensor, so
numbers far beyond those of the files are refused first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from promptweight.errors import ModelError
from promptweight.messages import message

MAX_LAYERS = 1_000
"""Number of layers that any configuration may state, whatever its files hold."""
MAX_WIDTH = 32_768
"""Width that any configuration may state, whatever its files hold."""
MAX_VOCABULARY = 1_000_000
"""Number of tokens; a safety checker's configuration names those of a text model that it does not have."""
MAX_TIMESTEPS = 100_000
"""Number of training timesteps; diffusion models have 1,000."""
MAX_POSITIONS = 100_000_000
"""Number of positions; text models have up to ten million."""

_LAYERS = re.compile(r"(?:^|_)(?:layers|blocks|depth|depths)(?:_|$)")
_WIDTHS = re.compile(r"(?:^|_)(?:channels|dim|dims|size)(?:_|$)|^d_(?:model|ff|kv)$")
_EXEMPT = re.compile(r"(?:^|_)(?:sample|image|chunk|bucket|window)(?:_|$)")
"""Sizes of images and of parts of the work, of which nothing is built."""
_CONFIG_BYTES = 16 * 2**20


def check_configs(folder: Path, components: list[str], name: str) -> None:
    """Check the numbers in the configurations of components, also in configurations inside them.

    Raises:
        ModelError: a number is far beyond what the weight files of the component hold.
    """
    for component in components:
        for name_of_file in ("config.json", "scheduler_config.json"):  # models are built from no others
            path = folder / component / name_of_file
            if not path.is_file():
                continue
            if path.stat().st_size > _CONFIG_BYTES:
                raise ModelError(message("config-size", name=name, path=path, size=path.stat().st_size))
            try:
                config = json.loads(path.read_text(encoding="utf-8", errors="replace"))
            except (ValueError, RecursionError):
                continue  # the library that reads it describes the damage
            _check(config, folder / component, path, name)


def _check(config: Any, folder: Path, path: Path, name: str) -> None:
    measured: tuple[int, int] | None = None
    for key, value in _list_numbers(config):
        if key == "num_train_timesteps":
            most = MAX_TIMESTEPS
        elif key == "vocab_size":
            most = MAX_VOCABULARY
        elif key.startswith("max_position"):
            most = MAX_POSITIONS
        elif _LAYERS.search(key):
            most = MAX_LAYERS
        elif _WIDTHS.search(key) and not _EXEMPT.search(key):
            most = MAX_WIDTH
        else:
            continue
        if value > most and most in (MAX_LAYERS, MAX_WIDTH):
            measured = measured or _measure(folder)
            most = max(most, measured[0 if most == MAX_LAYERS else 1])
        if value > most:
            raise ModelError(
                message("config-number", name=name, path=path, key=key, value=f"{value:.6g}", most=most)
            )


def _list_numbers(config: Any) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a configuration with the names of their settings, without recursion.

    A list counts as its longest number and as its length, since one entry stands for one layer.
    """
    stack: list[tuple[str, Any]] = [("", config)]
    while stack:
        key, value = stack.pop()
        if isinstance(value, dict):
            stack += [(str(inner), each) for inner, each in value.items()]
        elif isinstance(value, list):
            if not key.endswith("vocab"):
                yield f"{key}_layers", float(len(value))
            stack += [(key, each) for each in value]
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield key, float(min(value, 10**300))


def _measure(folder: Path) -> tuple[int, int]:
    """Return the number of tensors in a folder's safetensors files, and the largest side of one."""
    from safetensors import safe_open

    number, largest = 0, 0
    for path in folder.glob("*.safetensors"):
        if path.is_file():
            with safe_open(path, framework="pt") as file:
                for tensor in file.keys():  # noqa: SIM118 (not a mapping)
                    number += 1
                    largest = max([largest, *file.get_slice(tensor).get_shape()])
    return number, largest
