"""Attention of models of unknown classes, found by probes of the models.

- `first_step`: the arguments of the model's calls in the first step of a run;
- `call_values`: batches of texts and latents among these arguments, and changes of them;
- `observation`: queries and keys of a call in which no attention moves anything;
- `layer_places`: the places of text and image in one layer;
- `trial`: the places of text and image in one trial, from what changes with the text and the latents;
- `probe`: the layout of a model, from what two trials have in common.
"""
