"""Prompts in, embeddings out: what a diffusers pipeline takes instead of text.

`tokens` lays words and weights on the rows of a text encoder; `encode` gives the keyword arguments of a
pipeline; `encode_prompts` gives the token tables and the warnings as well.
"""
