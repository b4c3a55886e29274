"""Warnings about encoded prompts: truncated text, and weights and options without effect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from promptweight.conditioning.compel_blend import split_blocks
from promptweight.conditioning.families import EncoderKind, Family
from promptweight.conditioning.prompt_embeds import EncoderSection, EncodingSettings
from promptweight.conditioning.token_table import TokenTable
from promptweight.messages import Message, message
from promptweight.prompt import Prompt, Span
from promptweight.weighting import (
    CALIBRATED_RANGE,
    CLIP_ATTENTION,
    KEY_WEIGHTINGS,
    DefaultWeighting,
    WordWeighting,
    resolve_word_weighting,
)


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
    yield from _clip_attention_warnings(tables, family, settings)
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


def _has_weights(table: TokenTable, weighting: WordWeighting, settings: EncodingSettings) -> bool:
    """Return whether the weight of any word acts by this weighting."""
    default = settings.word_default(table.prompt.dialect)
    return any(span.weight != 1 and _resolve(span, default) == weighting for span in table.prompt.spans)


def _clip_attention_warnings(
    tables: Sequence[TokenTable], family: Family, settings: EncodingSettings
) -> Iterator[Message]:
    """Yield warnings about weights inside CLIP that do not reach the denoiser."""
    others = {kind.name for kind in family.encoders if not kind.is_clip}
    weighted = [table for table in tables if _has_weights(table, CLIP_ATTENTION, settings)]
    for encoder in sorted({table.encoder for table in weighted} & others):
        yield message("clip-attention-other-encoder", encoder=encoder)
    rows = [kind for section in family.sections for kind in section]
    if weighted and settings.weighting.pooled == "clean" and not any(kind.is_clip for kind in rows):
        yield message("clip-attention-pooled", family=family.name)


def _prompt_warnings(prompt: Prompt, settings: EncodingSettings) -> Iterator[Message]:
    """Yield warnings about what one set of embeddings cannot represent."""
    if prompt.scheduled:
        yield message("first-step-only", prompt=prompt.source)
    if len(prompt.parts) > 1 and not split_blocks(prompt):
        yield message("and-concatenated", parts=len(prompt.parts), prompt=prompt.source)
    is_calibrated = settings.weighting.is_calibrated and settings.weighting.is_presence(prompt.dialect)
    low, high = CALIBRATED_RANGE
    for span in prompt.spans:
        option, word = span.options.weighting, span.text.strip()
        if is_calibrated and option is None and not low <= span.weight <= high:
            yield message("weight-uncalibrated", word=word, weight=span.weight, low=low, high=high)
        weighting = _resolve(span, settings.word_default(prompt.dialect))
        if weighting in KEY_WEIGHTINGS:
            if not settings.in_session and span.is_weighted:
                yield message("word-attention", word=word, weighting=weighting)
        elif weighting == "embedding" and settings.ignores_weights:
            if option is not None and span.weight != 1:
                yield message("word-embedding-unused", word=word)
        elif options := replace(span.options, weighting=None, share=None):
            if weighting == CLIP_ATTENTION:
                yield message("word-options-text-encoder", word=word, options=options)
            else:
                yield message("word-options-embeddings", word=word, options=options)


def _resolve(span: Span, default: DefaultWeighting) -> WordWeighting:
    options = span.options
    return resolve_word_weighting(options.weighting, span.weight, default, is_local=options.is_local)
