"""The raw maps of a picture's words as the content of a safetensors file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptweight.conditioning.token_table import Word
    from promptweight.maps.attention_maps import AttentionMaps


def raw_maps(
    maps: AttentionMaps | None, words: Sequence[Word], prompt: str, size: tuple[int, int], *, image: int = 0
) -> bytes:
    """Returns a file with one float32 tensor `maps` of the shape (words, height, width).

    The header holds `words`, a JSON list of their texts, weights and places in the prompt, and `prompt`, the
    clean text as a JSON string.

    Args:
        maps: the attention of the run; None where there are no words.
        words: the words of the prompt.
        prompt: its clean text.
        size: width and height of the picture.
        image: the picture's number in the run.
    """
    import torch
    from safetensors.torch import save

    tensor = torch.zeros(0, size[1], size[0])
    if words and maps is not None:
        heats = [maps.word(word.text, occurrence=word.occurrence, image=image) for word in words]
        tensor = torch.stack([heat.tensor for heat in heats]).cpu().contiguous()
    about = [{"text": word.text, "weight": word.weight, "start": word.start} for word in words]
    return save({"maps": tensor}, {"words": json.dumps(about), "prompt": json.dumps(prompt)})
