"""Warnings about encoded prompts: truncated text, and weights and options without effect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from promptweight.conditioning.compel_blend import split_blocks
from promptweight.conditioning.families import EncoderKind, Family
from promptweight.conditioning.prompt_embeds import EncoderSection, EncodingSettings
from promptweight.conditioning.token_table import TokenTable
from promptweight.messages import Message, message
from promptweight.prompt import Prompt
from promptweight.weighting import KEY_MODES, resolve_mode


def collect_warnings(
    sections: Sequence[EncoderSection], family: Family, settings: EncodingSettings
) -> Iterator[Message]:
    """Yield a message for each part of the prompts without effect."""
    kinds = [kind for section in family.sections for kind in section]
    if settings.clip_skip is not None and not any(kind.supports_clip_skip for kind in kinds):
        yield message("clip-skip-unused", family=family.name)
    tables = [table for section in sections for table in (*section.positive, *section.negative)]
    for table in tables:
        if table.truncated_text:
            yield message(
                "prompt-truncated",
                encoder=table.encoder,
                room=table.layout.capacity,
                cut=table.truncated_text,
            )
    if not settings.ignores_weights:
        for kind in sorted((kind for kind in kinds if kind.method == "none"), key=lambda kind: kind.name):
            methods = {
                settings.choose_method(kind, table.prompt.dialect).name
                for table in tables
                if table.encoder == kind.name and _has_weights(table, "embedding", settings)
            }
            if "none" in methods:
                yield message("method-none", encoder=kind.name)
            for method in sorted(methods - {"none", "presence"}):
                yield message("method-weak", method=method, encoder=kind.name)
    yield from dict.fromkeys(
        _joined_rows_warning(table) for table in tables if _exceeds_one_chunk(table, kinds)
    )
    yield from _clip_mode_warnings(tables, family, settings)
    for table in tables:
        yield from _prompt_warnings(table.prompt, settings)


def _exceeds_one_chunk(table: TokenTable, kinds: Sequence[EncoderKind]) -> bool:
    """Return whether `.and()` gives an encoder with a single chunk several of them."""
    single_chunk = {kind.name for kind in kinds if not kind.is_chunked}
    return len(table.parts) > 1 and table.encoder in single_chunk


def _joined_rows_warning(table: TokenTable) -> Message:
    return message(
        "and-rows",
        encoder=table.encoder,
        parts=len(table.parts),
        rows=table.layout.length,
        together=table.rows,
    )


def _has_weights(table: TokenTable, mode: str, settings: EncodingSettings) -> bool:
    """Return whether any word has a weight that acts in this mode."""
    default = settings.choose_mode(table.prompt.dialect)
    return any(
        span.weight != 1 and resolve_mode(span.options.mode, span.weight, default) == mode
        for span in table.prompt.spans
    )


def _clip_mode_warnings(
    tables: Sequence[TokenTable], family: Family, settings: EncodingSettings
) -> Iterator[Message]:
    """Yield warnings about weights inside CLIP that do not reach the denoiser."""
    others = {kind.name for kind in family.encoders if not kind.is_clip}
    weighted = [table for table in tables if _has_weights(table, "clip", settings)]
    for encoder in sorted({table.encoder for table in weighted} & others):
        yield message("clip-mode-other-encoder", encoder=encoder)
    rows = [kind for section in family.sections for kind in section]
    if weighted and not settings.weighted_pool and not any(kind.is_clip for kind in rows):
        yield message("clip-mode-pooled", family=family.name)


def _prompt_warnings(prompt: Prompt, settings: EncodingSettings) -> Iterator[Message]:
    """Yield warnings about what one set of embeddings cannot represent."""
    if prompt.scheduled:
        yield message("first-step-only", prompt=prompt.source)
    if len(prompt.parts) > 1 and not split_blocks(prompt):
        yield message("and-concatenated", parts=len(prompt.parts), prompt=prompt.source)
    for span in prompt.spans:
        mode, word = span.options.mode, span.text.strip()
        if (
            mode is None
            and resolve_mode(None, span.weight, settings.choose_mode(prompt.dialect)) in KEY_MODES
        ):
            continue  # mode "split": the session weights this word in attention, with all its options
        acts_in_clip = (mode or settings.mode) == "clip"
        if settings.ignores_weights and not acts_in_clip:
            if mode == "embedding" and span.weight != 1:
                yield message("word-embedding-unused", word=word)
        elif mode in KEY_MODES:
            if span.weight != 1:
                yield message("word-attention-mode", word=word, mode=mode)
        elif replace(span.options, mode=None, share=None):
            options = replace(span.options, mode=None, share=None)
            if acts_in_clip:
                yield message("word-options-text-encoder", word=word, options=options)
            else:
                yield message("word-options-embeddings", word=word, options=options)
