"""The built-in model, and recordings made by hand in which every probability is known."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from promptweight.conditioning.tokenization import tokenize
from promptweight.maps import AttentionMaps
from promptweight.maps.prompt_words import PlacedTable, recorded_rows
from promptweight.maps.recording import RecordedSlot, Recording
from promptweight.prompt import parse


@pytest.fixture(scope="session")
def mini() -> Any:
    from promptweight.models.loading import load

    return load("mini", device="cpu")


@pytest.fixture(scope="session")
def recorded(mini: Any) -> Callable[..., AttentionMaps]:
    def make(prompt: str, layers: list[Tensor], stride: int = 1, pixels: int = 4) -> AttentionMaps:
        """Maps of a prompt from the probabilities of its recorded columns in layers of one grid.

        Each layer is (heads, height, width, columns): the beginning and then every token of the text.
        """
        tables = (PlacedTable(0, ("clip",), tokenize(mini.tokenizer, parse(prompt))),)
        assert all(layer.shape[3] == len(recorded_rows(tables)) for layer in layers)
        slots = tuple(
            RecordedSlot(
                (f"layer.{number}",),
                stride,
                *layer.shape[1:3],
                layer.flatten(1, 2)[None, None, None].float(),
                torch.ones(1, 1, 1),
            )
            for number, layer in enumerate(layers)
        )
        height, width = layers[0].shape[1:3]
        size = (height * stride * pixels, width * stride * pixels)
        return AttentionMaps.of(Recording(slots, ("positive",), {("positive", 0): tables}, size))

    return make
