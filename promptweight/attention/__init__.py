"""See and steer what every word does: recording and weighting attention inside diffusers pipelines.

    with attach(pipe, "um (gato:1.4) vermelho", space="attention") as session:
        image = pipe(**session.inputs).images[0]
    session.maps.word("gato").overlay(image)

What is where, from the ground up: kernels (one fused call that also gives columns), layout (which layers),
calls (before and after every one of the model), lanes (which rows of the batch), run (which step), tables
(which columns), rules and regions (what a weight does), exchange and prompt_to_prompt (one picture made with
another's attention), shares and phrases (weights found for a target), variants and composing (prompts that
change, or that AND joins), store (where sums are kept), recorder, processors and adapt (what runs inside the
model), preparing (settled before the run), installing (recorders in the model, and out again), directing
(what every call asks of them), session (attaching), recording, files, enlarging, views, maps, heatmap, rows
and hover (what comes out), inside (the arithmetic laid open), text (what words read in each other), bench
(what it all costs).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
