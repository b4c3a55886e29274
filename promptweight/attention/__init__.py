"""Attention inside diffusers pipelines: recording it by word, and weighting words in it.

    with attach(pipe, "um (gato:1.4) vermelho", weighting="attention") as session:
        image = pipe(**session.inputs).images[0]
    session.maps.word("gato").overlay(image)

Files, in order of dependency:

- `kernels/`: attention that also returns columns of its softmax (`sdpa`), and attention with a bias through
  kernels without one (`biased`).
- `class_swap`: hooks in attention processors that stay in the model.
- `model_calls`: hooks around every call of a model. `layers`: its attention layers and their grids.
- `batch_rows`: matching of the batch's rows to prompts. `step_counter`: the step of a call.
- `negative_guidance`: the way in which the negative prompt acts.
- `control/`: weights by step and region (`rules`, `regions`), weights for target shares (`share_solver`,
  `share_controller`), prompt-to-prompt (`prompt_to_prompt`, `attention_injection`), and prompts that change
  or are joined by AND (`composition`).
- `recording/`: settings and memory limit (`record`), sums on the device (`store`).
- `session_config`: all settings of a session.
- `hooks/`: the hook in a layer (`layer_hook`), attention processors (`processors`), their
  installation (`install`), and their control during a run (`controller`).
- `session`: `attach` and `AttentionSession`. `inspection`: queries, keys and values of chosen steps.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
