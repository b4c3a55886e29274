"""Encoding of weighted prompts to the embeddings that a diffusers pipeline takes instead of text.

`tokenize` makes token tables and needs no torch; `encode` returns the keyword arguments for the call of a
pipeline; `encode_prompts` returns the token tables and warnings as well.

- `advice`: the recommended settings of a model;
- `chunking`: special tokens and length of a chunk, and the rules that fill chunks;
- `token_table`, `tokenization`: the tokens, words and weights of a prompt;
- `compel_blend`: prompts joined by `.and()` and `.blend()`;
- `families`, `derived_families`, `family_lookup`: the text encoders of each model family, as data, and the
  family of a pipeline;
- `text_encoder`, `clip_bias`: the embeddings of one text encoder, and weights inside CLIP;
- `pipeline_encoders`, `prompt_embeds`: the text encoders of a pipeline, and the rows of `prompt_embeds`;
- `encoding`, `encoding_warnings`: the public functions and their warnings;
- `scheduled_encoding`: prompts that change during a run;
- `text_attention`, `attention_rollout`: the self-attention inside a text encoder, and the words that each
  row of the embeddings holds.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
