"""What a user should know about prompts that were encoded: text that was cut, weights that do nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from promptweight.conditioning.encoder import ATTENTION_MODES
from promptweight.conditioning.sections import Section, Settings
from promptweight.conditioning.tokens import TokenTable


def advice(sections: Sequence[Section], settings: Settings) -> Iterator[str]:
    """One sentence for each thing that is not as the prompt asks."""
    for section in sections:
        for table in (*section.positive, *section.negative):
            if table.cut:
                yield (
                    f"The text encoder {table.encoder} reads {table.frame.capacity} tokens; "
                    f"this end of the prompt was cut: {table.cut!r}."
                )
    if settings.ignores_weights:
        return
    for table in (*sections[0].positive, *sections[0].negative):
        for phrase, mode in _spans_for_attention(table):
            yield (
                f"{phrase!r} asks for mode={mode}: its weight acts in attention, and not in the embeddings."
            )


def _spans_for_attention(table: TokenTable) -> Iterator[tuple[str, str]]:
    for span in table.prompt.spans:
        if span.options.mode in ATTENTION_MODES and span.weight != 1:
            yield span.text.strip(), str(span.options.mode)
