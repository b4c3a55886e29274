"""Prompt language: text to parse tree to weighted spans of clean text; needs no torch.

`parser` turns a text into a `tree` of `nodes`, with one parser for each dialect in `dialects/`.
`tree.at(step, steps)` returns the flat weighted spans of one step (`model`, `builder`, `weighted_ranges`,
`compel_spans`), and `tree.timeline(steps)` the variants of a whole run (`timeline`). `conversion` writes a
tree in any dialect (`segments`, `writers`); `weight_editing` changes weights in place. `a1111_schedule` and
`fragments` return a prompt in the form of other tools.

Parts of the parsers: `a1111_scanner`, `prompt_editing`, `changes`, `source_map`, `literals`, `diagnostics`.
Tools for plain text: `textual_inversion`, `words`, `phrases`, `wildcards`, `detection`.

>>> tree = parse("um (gato:1.4) [vermelho:azul:0.5]")
>>> [(span.text, span.weight) for span in tree.at(step=1, steps=10).spans]
[('um ', 1.0), ('gato', 1.4), (' vermelho', 1.0)]
>>> [variant.text for variant in tree.timeline(steps=10).variants]
['um gato vermelho', 'um gato azul']
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
