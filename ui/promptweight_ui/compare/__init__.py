"""Comparisons of one prompt in a grid of settings.

- `grid`: axes, and the calls of all cells
- `cells`: payload of one cell for the page
"""
