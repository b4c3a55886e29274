"""Attention loss: supervision of attention maps with the object masks of the scene.

Without supervision the denoiser's attention to words localizes objects, but not to the pixel: the maximum of
a map is often just beside the object. The loss pulls the maps of an object's words to the object's mask
(after TokenCompose, Wang et al., 2024).
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
    """Token ids that name an object: those of its noun and its color, in both languages.

    Token ids that belong to several nouns or several colors are left out.
    """

    def __init__(self, tokenizer: CLIPTokenizer, world: World = FIRST) -> None:
        def pieces(words: Iterable[str]) -> frozenset[int]:
            return frozenset(piece for word in words for piece in tokenizer(word).input_ids[1:-1])

        self.kinds = _own({kind: pieces([*NOUNS[kind][1], *NOUNS[kind][2]]) for kind in world.things})
        self.colors = _own({color: pieces(ADJECTIVES[color]) for color in world.colors})

    def find(self, scene: Scene, ids: Sequence[int]) -> list[int]:
        """Return for each token of a scene's caption the number of the object it names, from 1, or 0.

        A color that both an object and the background have names neither. All numbers are 0 for a mirror
        scene, because its object appears twice.
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
    """Remove the token ids that several names share."""
    times = Counter(piece for each in pieces.values() for piece in each)
    return {name: frozenset(piece for piece in each if times[piece] == 1) for name, each in pieces.items()}


def misplaced(attention: Tensor, named: Tensor, areas: Tensor) -> Tensor:
    """Return the divergence of the words' attention maps from the masks of the objects they name.

    Args:
        attention: attention probability from each patch to each text row (batch, patches, rows), above 0.
        named: number of the object that each row names (batch, rows), from 1; rows with 0 are not counted.
        areas: part of each patch that each object fills (batch, things, height, width), 0 to 1.

    Returns:
        The Kullback-Leibler divergence of the map, normalized to a distribution over patches, from the
        object's normalized mask: the mean over all words that name a visible object, 0 if there are none.
    """
    things = areas.flatten(2)
    sizes = things.sum(2)
    number = (named - 1).clamp(min=0)
    counts = (named > 0) & (sizes.gather(1, number) > 0)
    places = (things / sizes.clamp(min=1e-6)[..., None])[counts.nonzero()[:, 0], number[counts]]
    maps = attention.float().transpose(1, 2)[counts]
    logs = (maps / maps.sum(1, keepdim=True)).clamp(min=1e-12).log()
    return torch.nn.functional.kl_div(logs, places, reduction="sum") / max(len(maps), 1)
