"""Tabs of the app: the layout and the events of each, built by `build(context)`.

- `generate`: an image from a prompt and settings
- `compare`: one image in a grid of settings
- `regions`: words confined to painted regions
- `explore`: attention with its computation
- `weight_reach`: what the weights of the prompt change, a part of `generate`
- `history`: finished images, and settings in image files
- `picture_actions`: actions on the pictures of the other tabs
"""
