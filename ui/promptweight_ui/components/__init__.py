"""Components of the page that several tabs use.

- `prompt_box`, `prompt_server`: prompt box, and the answers of the server while a prompt is typed
- `picture`, `map_payload`: image with word chips and heat maps, and the message that it shows
- `live_preview`: preview of an unfinished image
- `model_picker`: lists of models and samplers
"""
