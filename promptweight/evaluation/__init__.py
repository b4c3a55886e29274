"""Evaluation of prompt fidelity, attention maps and weights against exact ground truth.

The ground truth comes from the built-in world (`promptweight.mini`): its scenes are rendered, so the mask and
color of every object are known. `measure_acceptance` compares a built-in model with its acceptance bars;
`write_report` runs the measurements below and writes tables and plots.

- `caption_images`: images of the captions of scenes
- `prompt_fidelity`: objects, colors and relations in images of held-out prompts
- `recognizer`: detection of the built-in world's objects in images
- `localization`: IoU and pointing accuracy of the maps of single words
- `map_rules`, `rule_comparison`, `layer_comparison`: localization by rule, layer and head
- `map_metrics`: metrics of maps against masks
- `noising`: rendered scenes at known noise levels
- `faithfulness`: maps against the effect of removing a word
- `weight_reach`: what is left of a word at weight 0
- `weight_response`, `response_curves`, `region_response`: effect of a weight on the image
- `share_targets`: attention shares against their targets
- `negative_prompts`: objects that a negative prompt removes, and objects that stay
- `missing_concepts`: precision of the early warning
- `statistics`, `checkpoint`: confidence intervals, and resumable measurements
- `report`: sections, files and the acceptance test
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
