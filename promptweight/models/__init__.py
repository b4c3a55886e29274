"""Text-to-image models: loading by name, schedulers, tokenizers, LoRAs and textual inversions.

- `builtin`: names and folders of the built-in models;
- `files`: the files of a model, found by its name and checked before use;
- `identity`: the name, revision and fingerprint of a model, without loading it;
- `loading`, `single_file`: pipelines from a name, a folder, a hub id or one file of weights;
- `schedulers`: schedulers by class name or by AUTOMATIC1111's sampler names;
- `tokenizers`: token tables and counts without weights;
- `adapters`, `adapter_files`: LoRAs and textual inversions that a prompt names, and their files;
- `lora_files`, `lora_layers`: files of LoRAs and their relatives, and their layers in a pipeline.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
