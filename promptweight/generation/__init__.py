"""Image generation: from prompts and settings to images, attention maps and files.

arguments         ranges and checks of the arguments, the settings record of an image
image_generation  `generate`: images from one prompt
image_editing     `edit`: prompt-to-prompt editing
share_targets     `solve`: weights for target shares of attention
pipeline_run      one call of a pipeline, step by step
oom_fallback      VAE tiling and offloading after a lack of memory
early_warning     detection of phrases without a distinct attention region
result            `Result`: images, maps, and their files
result_builder    a `Result` from images, settings and warnings
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
