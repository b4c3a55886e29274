"""What a user should know about prompts that were encoded: text that was cut, weights that do nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from promptweight.conditioning.compel_blend import blocks_of
from promptweight.conditioning.families import Family
from promptweight.conditioning.prompt_embeds import Section, Settings
from promptweight.conditioning.text_encoder import ATTENTION_MODES, EncoderKind
from promptweight.conditioning.token_table import TokenTable
from promptweight.messages import Note, note
from promptweight.prompt import Prompt


def advice(sections: Sequence[Section], family: Family, settings: Settings) -> Iterator[Note]:
    """One sentence for each thing that is not as the prompt asks."""
    kinds = [kind for section in family.sections for kind in section]
    if settings.clip_skip is not None and not any(kind.skips_layers for kind in kinds):
        yield note("clip_skip has no effect on {family}.", family=family.name)
    tables = [table for section in sections for table in (*section.positive, *section.negative)]
    for table in tables:
        if table.cut:
            yield note(
                "The text encoder {encoder} reads {room} tokens; this end of the prompt was cut: {cut!r}.",
                encoder=table.encoder,
                room=table.frame.capacity,
                cut=table.cut,
            )
    if not settings.ignores_weights:
        unsuited = {kind.name for kind in kinds if kind.method == "none"}
        for encoder in sorted({table.encoder for table in tables if table.is_weighted} & unsuited):
            if any(_acts(table, "embedding", settings) for table in tables):
                yield _unsuited(encoder, settings)
    yield from dict.fromkeys(_joined(table) for table in tables if _is_stretched(table, kinds))
    yield from _not_inside(tables, family, settings)
    for table in tables:
        yield from _not_in_embeddings(table.prompt, settings)


def _is_stretched(table: TokenTable, kinds: Sequence[EncoderKind]) -> bool:
    """Whether `.and()` gives an encoder more chunks than its models know."""
    short = {kind.name for kind in kinds if not kind.chunked}
    return len(table.parts) > 1 and table.encoder in short


def _joined(table: TokenTable) -> Note:
    return note(
        "The text encoder {encoder} reads each of the {parts} parts that .and() joins into {rows} rows of "
        "its own, {together} together; its models are trained on {rows}.",
        encoder=table.encoder,
        parts=len(table.parts),
        rows=table.frame.length,
        together=table.rows,
    )


def _acts(table: TokenTable, mode: str, settings: Settings) -> bool:
    """Whether any word's weight acts in this way."""
    return any(
        span.weight != 1 and (span.options.mode or settings.mode) == mode for span in table.prompt.spans
    )


def _unsuited(encoder: str, settings: Settings) -> Note:
    if settings.method is None:
        return note(
            "The weights are not applied to the embeddings of the text encoder {encoder}, which do not "
            "follow them; in attention (space='attention') they act.",
            encoder=encoder,
        )
    return note(
        "The method {method} is applied to the embeddings of the text encoder {encoder}, which do not follow "
        "weights well; in attention (space='attention') they do what they say.",
        method=settings.method.name,
        encoder=encoder,
    )


def _not_inside(tables: Sequence[TokenTable], family: Family, settings: Settings) -> Iterator[Note]:
    """Where weights that act inside CLIP do not reach what the denoiser reads."""
    others = {kind.name for kind in family.encoders if not kind.is_clip}
    touched = [table for table in tables if _acts(table, "clip", settings)]
    for encoder in sorted({table.encoder for table in touched} & others):
        yield note(
            "Weights of mode=clip act inside the CLIP text encoders; the text encoder {encoder} reads the "
            "prompt without them.",
            encoder=encoder,
        )
    rows = [kind for section in family.sections for kind in section]
    if touched and not settings.weighted_pool and not any(kind.is_clip for kind in rows):
        yield note(
            "{family} takes a pooled vector alone from CLIP, which is of the clean text, so weights of "
            "mode=clip have no effect; with pooled='weighted' they act on it.",
            family=family.name,
        )


def _not_in_embeddings(prompt: Prompt, settings: Settings) -> Iterator[Note]:
    """What a prompt asks for and one set of embeddings cannot hold."""
    if prompt.scheduled:
        yield note(
            "{prompt!r} changes while the picture is made; these embeddings are of its first step.",
            prompt=prompt.source,
        )
    if len(prompt.parts) > 1 and not blocks_of(prompt):
        yield note(
            "The {parts} parts of {prompt!r} are encoded one after the other, as one.",
            parts=len(prompt.parts),
            prompt=prompt.source,
        )
    for span in prompt.spans:
        mode, word = span.options.mode, span.text.strip()
        acts_inside = (mode or settings.mode) == "clip"
        if settings.ignores_weights and not acts_inside:
            if mode == "embedding" and span.weight != 1:
                yield note(
                    "{word!r} asks for mode=embedding, but these embeddings carry no weights.", word=word
                )
        elif mode in ATTENTION_MODES:
            if span.weight != 1:
                yield note(
                    "{word!r} asks for mode={mode}: its weight acts in attention, not in the embeddings.",
                    word=word,
                    mode=mode,
                )
        elif replace(span.options, mode=None, share=None):
            options = replace(span.options, mode=None, share=None)
            if acts_inside:
                yield note(
                    "{word!r} asks for {options}, which only the denoiser's attention can do; its weight in "
                    "the text encoder acts everywhere and at every step.",
                    word=word,
                    options=options,
                )
            else:
                yield note(
                    "{word!r} asks for {options}, which only attention can do; its weight in the embeddings "
                    "acts everywhere and at every step.",
                    word=word,
                    options=options,
                )
