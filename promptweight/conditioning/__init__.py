"""Prompts in, embeddings out: what a diffusers pipeline takes instead of text.

`tokenize` lays words and weights on the rows of a text encoder; `encode` gives the keyword arguments of a
pipeline; `encode_prompts` gives the token tables and the warnings as well. Only these two need torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
