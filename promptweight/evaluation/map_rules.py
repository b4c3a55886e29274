"""Ways of making one map of a word out of all layers and heads: ours, and those of three other tools.

All read the same recorded probabilities, so that a difference is the rule's alone:

    probability, share, refined, refined share   the views of `AttentionMaps`
    daam      bicubic to the latents' size, negative values cut off, mean over all layers and heads alike
              (Tang et al., 2023; castorini/daam)
    heads summed   bilinear to the picture, sum over heads, mean over layers (attention-map-diffusers)
    concepts  softmax over the prompt's words of their logits summed over heads, mean over layers, nearest
              neighbours to pixels (Helbling et al., 2025; ConceptAttention). Its authors compare outputs of
              attention; this is their rule on the attention itself, all that a recording holds.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from promptweight.maps import AttentionMaps, RecordedSlot, find_rows

RULES = (
    "probability",
    "share",
    "refined",
    "refined share",
    "daam",
    "heads summed",
    "concepts",
)


def heat(maps: AttentionMaps, phrase: str, rule: str) -> Tensor:
    """The map of a phrase in the first picture by one of `RULES`: (height, width) float32 on the CPU.

    Args:
        maps: of a recording of one call of the model with `Record(heads="keep", refine=True)`.
        phrase: the word or words.
        rule: one of `RULES`.
    """
    if rule in ("daam", "heads summed", "concepts"):
        return OTHERS[rule](maps, phrase)
    view = maps.refined() if rule.startswith("refined") else maps
    view = view.share() if rule.endswith("share") else view
    return view.word(phrase).tensor.cpu()


def layers(maps: AttentionMaps) -> Iterator[tuple[RecordedSlot, Tensor]]:
    """Every layer and its probabilities (heads, height, width, columns), mean over calls."""
    for slot in maps.recording.slots:
        if slot.kind == "words":
            count = slot.counts[:, 0, 0].sum().clamp_min(1)
            mean = (slot.sums[:, 0, 0].sum(0) / count).cpu()
            yield slot, mean.unflatten(1, (slot.height, slot.width))


def columns_of(maps: AttentionMaps, phrase: str) -> list[int]:
    """The columns of a phrase's tokens."""
    columns = maps.recording.columns(("positive", 0))
    rows, _ = find_rows(maps.recording.tables["positive", 0], phrase)
    return [columns[row] for row in sorted(rows)]


def daam(maps: AttentionMaps, phrase: str) -> Tensor:
    """DAAM's rule."""
    columns = columns_of(maps, phrase)
    finest = max((slot.height, slot.width) for slot, _ in layers(maps))
    stride = min(slot.stride for slot, _ in layers(maps))
    size = (finest[0] * stride, finest[1] * stride)
    found = [
        F.interpolate(p[..., columns].permute(3, 0, 1, 2), size, mode="bicubic").clamp_min(0)
        for _, p in layers(maps)
    ]
    mean = torch.cat(found, 1).mean((0, 1))  # tokens, then layers and heads together
    return F.interpolate(mean[None, None], maps.recording.size, mode="bicubic")[0, 0].clamp_min(0)


def heads_summed(maps: AttentionMaps, phrase: str) -> Tensor:
    """The rule of attention-map-diffusers."""
    columns = columns_of(maps, phrase)
    found = [
        F.interpolate(p[..., columns].sum(0).permute(2, 0, 1)[None], maps.recording.size, mode="bilinear")[0]
        for _, p in layers(maps)
    ]
    return torch.stack(found).mean((0, 1))


def concepts(maps: AttentionMaps, phrase: str) -> Tensor:
    """ConceptAttention's rule, the concepts being the words of the prompt.

    The logarithm of a probability is its logit less a number that all words of a pixel and head share, which
    a softmax over words does not see; summed over the heads it is the product of the whole vectors.
    """
    words = [word for word in maps.words if not word.is_punctuation]
    columns = maps.recording.columns(("positive", 0))
    tables = maps.recording.tables["positive", 0]
    of_words = []
    for word in words:
        rows, _ = find_rows(tables, word.text, word.occurrence)
        of_words.append([columns[row] for row in sorted(rows)])
    wanted = set(columns_of(maps, phrase))
    own = [place for place, found in enumerate(of_words) if wanted.issuperset(found)]
    found = []
    for _, p in layers(maps):
        logits = p.clamp_min(1e-30).log().sum(0)  # (height, width, columns)
        by_word = torch.stack([logits[..., each].mean(-1) for each in of_words], -1)
        part = by_word.softmax(-1)[..., own].sum(-1)
        found.append(F.interpolate(part[None, None], maps.recording.size, mode="nearest")[0, 0])
    return torch.stack(found).mean(0)


OTHERS = {"daam": daam, "heads summed": heads_summed, "concepts": concepts}
