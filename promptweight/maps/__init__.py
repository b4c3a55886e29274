"""Recorded attention maps as data: recordings, views, word maps and files.

- `attention_maps`: `AttentionMaps`, the maps of words, patches and remaining tokens
- `views`: selection of layers, steps, heads and unit
- `heatmap`: one map, and one row of the attention matrix
- `prompt_words`: words and phrases of prompts with several texts
- `recording`: the recorded sums
- `files`: recordings as safetensors files
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
