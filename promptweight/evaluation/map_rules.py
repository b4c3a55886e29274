"""Rules that combine layers and heads into one map of a word, of `AttentionMaps` and of three other tools.

All rules use the same recorded probabilities, so that only the rule differs:

    probability, share, refined, refined share, traced, refined traced   the views of `AttentionMaps`
    daam      bicubic to the size of the latents, negative values set to 0, mean over all layers and heads
              (Tang et al., 2023; castorini/daam)
    heads summed   bilinear to the image, sum over heads, mean over layers (attention-map-diffusers)
    concepts  softmax over the words of the prompt of their logits summed over heads, mean over layers,
              nearest neighbor to pixels (Helbling et al., 2025; ConceptAttention). Its authors compare
              attention outputs; here their rule applies to the attention itself, all that is recorded.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from promptweight.maps import AttentionMaps, RecordedSlot, find_phrase_rows

RULES = (
    "probability",
    "share",
    "refined",
    "refined share",
    "traced",
    "refined traced",
    "daam",
    "heads summed",
    "concepts",
)


def apply_rule(maps: AttentionMaps, phrase: str, rule: str) -> Tensor:
    """Return the map of a phrase in the first image by one rule: (height, width) float32 on the CPU.

    Args:
        maps: recording of one call of the model with `Record(heads="keep", refine=True, trace=True)`.
        phrase: the word or words.
        rule: one of `RULES`.
    """
    if rule in _PEER_RULES:
        return _PEER_RULES[rule](maps, phrase)
    view = maps.refined() if rule.startswith("refined") else maps
    view = view.traced() if rule.endswith("traced") else view
    view = view.share() if rule.endswith("share") else view
    return view.word(phrase).tensor.cpu()


def layer_probabilities(maps: AttentionMaps) -> Iterator[tuple[RecordedSlot, Tensor]]:
    """Yield every layer and its probabilities (heads, height, width, columns), mean over calls."""
    for slot in maps.recording.slots:
        if slot.kind == "words":
            count = slot.counts[:, 0, 0].sum().clamp_min(1)
            mean = (slot.sums[:, 0, 0].sum(0) / count).cpu()
            yield slot, mean.unflatten(1, (slot.height, slot.width))


def find_columns(maps: AttentionMaps, phrase: str, occurrence: int = 0) -> list[int]:
    """Return the recorded columns of a phrase's tokens in the first image."""
    columns = maps.recording.columns(("positive", 0))
    rows, _ = find_phrase_rows(maps.recording.tables["positive", 0], phrase, occurrence)
    return [columns[row] for row in sorted(rows)]


def _daam(maps: AttentionMaps, phrase: str) -> Tensor:
    """Apply the rule of DAAM."""
    columns = find_columns(maps, phrase)
    finest = max((slot.height, slot.width) for slot, _ in layer_probabilities(maps))
    stride = min(slot.stride for slot, _ in layer_probabilities(maps))
    size = (finest[0] * stride, finest[1] * stride)
    resized = [
        F.interpolate(p[..., columns].permute(3, 0, 1, 2), size, mode="bicubic").clamp_min(0)
        for _, p in layer_probabilities(maps)
    ]
    mean = torch.cat(resized, 1).mean((0, 1))  # tokens, then layers and heads together
    return F.interpolate(mean[None, None], maps.recording.size, mode="bicubic")[0, 0].clamp_min(0)


def _heads_summed(maps: AttentionMaps, phrase: str) -> Tensor:
    """Apply the rule of attention-map-diffusers."""
    columns = find_columns(maps, phrase)
    resized = [
        F.interpolate(p[..., columns].sum(0).permute(2, 0, 1)[None], maps.recording.size, mode="bilinear")[0]
        for _, p in layer_probabilities(maps)
    ]
    return torch.stack(resized).mean((0, 1))


def _concepts(maps: AttentionMaps, phrase: str) -> Tensor:
    """Apply the rule of ConceptAttention with the words of the prompt as concepts.

    The logarithm of a probability is its logit minus a constant that all words of a pixel and head share; the
    softmax over words cancels it. Summed over the heads, the logits are products of the whole vectors.
    """
    words = [word for word in maps.words if not word.is_punctuation]
    word_columns = [find_columns(maps, word.text, word.occurrence) for word in words]
    phrase_columns = set(find_columns(maps, phrase))
    own = [index for index, columns in enumerate(word_columns) if phrase_columns.issuperset(columns)]
    resized = []
    for _, p in layer_probabilities(maps):
        logits = p.clamp_min(1e-30).log().sum(0)  # (height, width, columns)
        by_word = torch.stack([logits[..., columns].mean(-1) for columns in word_columns], -1)
        probability = by_word.softmax(-1)[..., own].sum(-1)
        resized.append(F.interpolate(probability[None, None], maps.recording.size, mode="nearest")[0, 0])
    return torch.stack(resized).mean(0)


_PEER_RULES = {"daam": _daam, "heads summed": _heads_summed, "concepts": _concepts}
