"""Generation settings in image files: written for promptweight and AUTOMATIC1111, read from many tools.

- `image_metadata`: metadata of PNG, JPEG, WebP and AVIF files, written and read;
- `a1111`: the infotext, AUTOMATIC1111's settings text;
- `generation_info`: settings of any tool, by its own names and by those of `GenerateOptions`;
- `lora_tags`: LoRAs as tags in the prompt;
- `image_texts`, `text_encodings`, `alpha_channel`: where texts are in an image file, and their encodings;
- `tools`: the reader for the content of a file, of `comfyui`, `invokeai`, `swarmui`, `fooocus`, `novelai`,
  `draw_things`, `easy_diffusion`, `infotext_settings`, `civitai` and `json_settings`;
- `sampler_names`: the samplers of these tools in diffusers.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
