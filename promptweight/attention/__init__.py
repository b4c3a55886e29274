"""See and steer what every word does: recording and weighting attention inside diffusers pipelines.

    with attach(pipe, "um (gato:1.4) vermelho", space="attention") as session:
        image = pipe(**session.inputs).images[0]
    session.maps.word("gato").overlay(image)

kernels (one fused call that also gives columns) → layout (which layers) → lanes (which rows) → rules (what a
weight does) → store (where it is kept) → processors → session → recording → maps.
"""

from promptweight.attention.maps import AttentionMaps, HeatMap
from promptweight.attention.session import AttentionSession, attach
from promptweight.attention.store import Record

__all__ = ["AttentionMaps", "AttentionSession", "HeatMap", "Record", "attach"]
