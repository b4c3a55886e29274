"""Pipelines in which no word can be weighted or recorded, with the reason of each."""

from __future__ import annotations

from promptweight.messages import Message, message

REFUSALS: tuple[tuple[Message, tuple[str, ...]], ...] = (
    (message("refusal-one-sequence"), ("OmniGenPipeline",)),
    (
        message("refusal-mixed-words"),
        (
            "IFPipeline",
            "IFImg2ImgPipeline",
            "IFInpaintingPipeline",
            "IFSuperResolutionPipeline",
            "IFImg2ImgSuperResolutionPipeline",
            "IFInpaintingSuperResolutionPipeline",
        ),
    ),
    (message("refusal-tokenizer"), ("KolorsPipeline", "KolorsImg2ImgPipeline", "KolorsPAGPipeline")),
    (
        message("refusal-text-only"),
        (
            "LongCatImagePipeline",
            "LongCatImageEditPipeline",
            "DreamLitePipeline",
            "DreamLiteMobilePipeline",
            "Ideogram4Pipeline",
        ),
    ),
    (
        message("refusal-several-embeddings"),
        (
            "HiDreamImagePipeline",
            "HunyuanDiTPipeline",
            "HunyuanDiTPAGPipeline",
            "HunyuanDiTControlNetPipeline",
            "HunyuanImagePipeline",
            "Kandinsky5T2IPipeline",
            "Kandinsky5I2IPipeline",
            "Kandinsky5T2VPipeline",
            "Kandinsky5I2VPipeline",
        ),
    ),
    (
        message("refusal-image-vector"),
        (
            "KandinskyV22CombinedPipeline",
            "KandinskyV22Img2ImgCombinedPipeline",
            "KandinskyV22InpaintCombinedPipeline",
        ),
    ),
    (message("refusal-image-tokens"), ("GlmImagePipeline",)),
    (message("refusal-kept-keys"), ("Flux2KleinKVPipeline",)),
    (message("refusal-transformer"), ("ChromaInpaintPipeline",)),
)
"""Reasons, each with the names of the pipeline classes in diffusers that it holds for."""


def find_refusal(kind: type) -> Message | None:
    """Return why no word can be weighted in the pipelines of a class; None where no reason is known."""
    names = {base.__name__ for base in kind.__mro__}
    return next((reason for reason, known in REFUSALS if not names.isdisjoint(known)), None)
