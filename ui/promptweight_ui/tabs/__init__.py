"""Tabs of the app: the layout and the events of each, built by `build(context)`.

- `generate`: an image from a prompt and settings
- `compare`: one image in a grid of settings
- `regions`: words confined to painted regions
- `explore`: attention with its computation
- `history`: images of the session, and settings in image files
"""
