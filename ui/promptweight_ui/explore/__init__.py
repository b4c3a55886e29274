"""Attention for the Explore tab.

- `text_encoder`: self-attention of a text encoder
- `attention`: attention of one image position, with its computation
- `cache`: captured attention of each page
"""
