"""Regions painted in the Regions tab.

- `masks`: masks of the colors, and prompts with weights confined to them
- `metadata`: regions in the settings of an image file
"""
