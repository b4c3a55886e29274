"""Image generation: from prompts and settings to images, attention maps and files.

options            `GenerateOptions`, the record of all options
image_generation   `generate` and `generate_iter`: images, edits and target shares
pipeline_call      keyword arguments of a pipeline's call
pipeline_run       one call of a pipeline, step by step
oom_fallback       VAE tiling and offloading after a lack of memory
early_warning      detection of phrases without a distinct attention region
vocabulary_warning words that the model was not trained on
settings_record    the settings record of an image
result_builder     a `Result` from images, settings and warnings
result             `Result`: images, maps, settings
result_files       the files of an image
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
