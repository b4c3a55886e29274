"""What a user should know about prompts that were encoded: text that was cut, weights that do nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from promptweight.conditioning.encoder import ATTENTION_MODES
from promptweight.conditioning.families import Family
from promptweight.conditioning.sections import Section, Settings
from promptweight.conditioning.tokens import TokenTable


def advice(sections: Sequence[Section], family: Family, settings: Settings) -> Iterator[str]:
    """One sentence for each thing that is not as the prompt asks."""
    kinds = [kind for section in family.sections for kind in section]
    if settings.clip_skip is not None and not any(kind.skips_layers for kind in kinds):
        yield f"clip_skip has no effect on {family.name}."
    for section in sections:
        for table in (*section.positive, *section.negative):
            if table.cut:
                yield (
                    f"The text encoder {table.encoder} reads {table.frame.capacity} tokens; "
                    f"this end of the prompt was cut: {table.cut!r}."
                )
    if settings.ignores_weights:
        return
    unsuited = {kind.name for kind in kinds if kind.method == "none"}
    for section in sections:
        names = [name for name in section.encoders if name in unsuited]
        if names and any(table.is_weighted for table in (*section.positive, *section.negative)):
            yield _unsuited(", ".join(names), settings)
    for table in (*sections[0].positive, *sections[0].negative):
        for phrase, mode in _spans_for_attention(table):
            yield (
                f"{phrase!r} asks for mode={mode}: its weight acts in attention, and not in the embeddings."
            )


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


def _spans_for_attention(table: TokenTable) -> Iterator[tuple[str, str]]:
    for span in table.prompt.spans:
        if span.options.mode in ATTENTION_MODES and span.weight != 1:
            yield span.text.strip(), str(span.options.mode)
