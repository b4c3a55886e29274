"""What a user should know about prompts that were encoded: text that was cut, weights that do nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from promptweight.conditioning.encoder import ATTENTION_MODES
from promptweight.conditioning.families import Family
from promptweight.conditioning.sections import Section, Settings
from promptweight.prompt import Prompt


def advice(sections: Sequence[Section], family: Family, settings: Settings) -> Iterator[str]:
    """One sentence for each thing that is not as the prompt asks."""
    kinds = [kind for section in family.sections for kind in section]
    if settings.clip_skip is not None and not any(kind.skips_layers for kind in kinds):
        yield f"clip_skip has no effect on {family.name}."
    tables = [table for section in sections for table in (*section.positive, *section.negative)]
    for table in tables:
        if table.cut:
            yield (
                f"The text encoder {table.encoder} reads {table.frame.capacity} tokens; "
                f"this end of the prompt was cut: {table.cut!r}."
            )
    if not settings.ignores_weights:
        unsuited = {kind.name for kind in kinds if kind.method == "none"}
        for encoder in sorted({table.encoder for table in tables if table.is_weighted} & unsuited):
            yield _unsuited(encoder, settings)
    for table in tables:
        yield from _not_in_embeddings(table.prompt, settings)


def _unsuited(encoder: str, settings: Settings) -> str:
    if settings.method is None:
        return (
            f"The weights are not applied to the embeddings of the text encoder {encoder}, which do not "
            "follow them; in attention (space='attention') they act."
        )
    return (
        f"The method {settings.method.name} is applied to the embeddings of the text encoder {encoder}, "
        "which do not follow weights well; in attention (space='attention') they do what they say."
    )


def _not_in_embeddings(prompt: Prompt, settings: Settings) -> Iterator[str]:
    """What a prompt asks for and one set of embeddings cannot hold."""
    if prompt.scheduled:
        yield f"{prompt.source!r} changes while the picture is made; these embeddings are of its first step."
    if len(prompt.parts) > 1:
        yield f"The {len(prompt.parts)} parts of {prompt.source!r} are encoded one after the other, as one."
    for span in prompt.spans:
        mode, word = span.options.mode, repr(span.text.strip())
        if settings.ignores_weights:
            if mode == "embedding" and span.weight != 1:
                yield f"{word} asks for mode=embedding, but these embeddings carry no weights."
        elif mode in ATTENTION_MODES:
            if span.weight != 1:
                yield f"{word} asks for mode={mode}: its weight acts in attention, not in the embeddings."
        elif replace(span.options, mode=None):
            yield (
                f"{word} asks for {span.options}, which only attention can do; its weight in the embeddings "
                "acts everywhere and at every step."
            )
