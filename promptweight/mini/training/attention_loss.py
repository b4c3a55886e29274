"""Attention that is taught where things are: words of a caption and the places of what they name.

The denoiser's attention to words finds things by itself, though not to the pixel: its maximum often lies just
beside them. Here the maps of a thing's words are pulled to the thing (after TokenCompose, Wang et al., 2024).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from promptweight.mini.captions import ADJECTIVES, NOUNS
from promptweight.mini.scenes import Scene
from promptweight.mini.worlds import FIRST, World


class Names:
    """Which tokens name a thing: those of its noun and its color, in both languages.

    Pieces that belong to several nouns or several colors name nothing.
    """

    def __init__(self, tokenizer: CLIPTokenizer, world: World = FIRST) -> None:
        def pieces(words: Iterable[str]) -> frozenset[int]:
            return frozenset(piece for word in words for piece in tokenizer(word).input_ids[1:-1])

        self.kinds = _own({kind: pieces([*NOUNS[kind][1], *NOUNS[kind][2]]) for kind in world.things})
        self.colors = _own({color: pieces(ADJECTIVES[color]) for color in world.colors})

    def find(self, scene: Scene, ids: Sequence[int]) -> list[int]:
        """Return for each token of a scene's caption the thing it names, counted from 1, or 0.

        The color of a thing that is also the ground's names neither. Nothing is found in a mirror scene,
        whose thing is seen twice.
        """
        if scene.relation == "mirror":
            return [0] * len(ids)
        named = {
            token: number
            for number, group in enumerate(scene.groups, 1)
            for thing in [scene.things[group.start]]
            for token in self.kinds[thing.kind]
            | (self.colors[thing.color] if thing.color != scene.background else frozenset())
        }
        return [named.get(token, 0) for token in ids]


def _own(pieces: dict[str, frozenset[int]]) -> dict[str, frozenset[int]]:
    """Leave out what several names share."""
    times = Counter(piece for each in pieces.values() for piece in each)
    return {name: frozenset(piece for piece in each if times[piece] == 1) for name, each in pieces.items()}


def misplaced(attention: Tensor, named: Tensor, areas: Tensor) -> Tensor:
    """Return how far the maps of words are from the places of what they name.

    Args:
        attention: probability of each row, asked by each patch (batch, patches, rows), above 0.
        named: the thing that each row names (batch, rows), counted from 1; 0 for rows that count nothing.
        areas: the part of each patch that each thing fills (batch, things, height, width), 0 to 1.

    Returns:
        The Kullback-Leibler divergence of the map, taken as a distribution over patches, from the evenly
        filled thing: the mean of all words that name a visible thing, 0 where there is none.
    """
    things = areas.flatten(2)
    sizes = things.sum(2)
    number = (named - 1).clamp(min=0)
    counts = (named > 0) & (sizes.gather(1, number) > 0)
    places = (things / sizes.clamp(min=1e-6)[..., None])[counts.nonzero()[:, 0], number[counts]]
    maps = attention.float().transpose(1, 2)[counts]
    logs = (maps / maps.sum(1, keepdim=True)).clamp(min=1e-12).log()
    return torch.nn.functional.kl_div(logs, places, reduction="sum") / max(len(maps), 1)
