"""What a user should know about prompts that were encoded: text that was cut, weights that do nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from promptweight.conditioning.compel_blend import split_blocks
from promptweight.conditioning.families import Family
from promptweight.conditioning.prompt_embeds import EncoderSection, EncodingSettings
from promptweight.conditioning.text_encoder import ATTENTION_MODES, EncoderKind
from promptweight.conditioning.token_table import TokenTable
from promptweight.messages import Message, message
from promptweight.prompt import Prompt


def collect_warnings(sections: Sequence[EncoderSection], family: Family, settings: EncodingSettings) -> Iterator[Message]:
    """One sentence for each thing that is not as the prompt asks."""
    kinds = [kind for section in family.sections for kind in section]
    if settings.clip_skip is not None and not any(kind.skips_layers for kind in kinds):
        yield message("clip-skip-unused", family=family.name)
    tables = [table for section in sections for table in (*section.positive, *section.negative)]
    for table in tables:
        if table.cut:
            yield message(
                "prompt-truncated",
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


def _joined(table: TokenTable) -> Message:
    return message(
        "and-rows",
        encoder=table.encoder,
        parts=len(table.parts),
        rows=table.frame.length,
        together=table.rows,
    )


def _acts(table: TokenTable, mode: str, settings: EncodingSettings) -> bool:
    """Whether any word's weight acts in this way."""
    return any(
        span.weight != 1 and (span.options.mode or settings.mode) == mode for span in table.prompt.spans
    )


def _unsuited(encoder: str, settings: EncodingSettings) -> Message:
    if settings.method is None:
        return message(
            "method-none",
            encoder=encoder,
        )
    return message(
        "method-weak",
        method=settings.method.name,
        encoder=encoder,
    )


def _not_inside(tables: Sequence[TokenTable], family: Family, settings: EncodingSettings) -> Iterator[Message]:
    """Where weights that act inside CLIP do not reach what the denoiser reads."""
    others = {kind.name for kind in family.encoders if not kind.is_clip}
    touched = [table for table in tables if _acts(table, "clip", settings)]
    for encoder in sorted({table.encoder for table in touched} & others):
        yield message(
            "clip-mode-other-encoder",
            encoder=encoder,
        )
    rows = [kind for section in family.sections for kind in section]
    if touched and not settings.weighted_pool and not any(kind.is_clip for kind in rows):
        yield message(
            "clip-mode-pooled",
            family=family.name,
        )


def _not_in_embeddings(prompt: Prompt, settings: EncodingSettings) -> Iterator[Message]:
    """What a prompt asks for and one set of embeddings cannot hold."""
    if prompt.scheduled:
        yield message(
            "first-step-only",
            prompt=prompt.source,
        )
    if len(prompt.parts) > 1 and not split_blocks(prompt):
        yield message(
            "and-concatenated",
            parts=len(prompt.parts),
            prompt=prompt.source,
        )
    for span in prompt.spans:
        mode, word = span.options.mode, span.text.strip()
        acts_inside = (mode or settings.mode) == "clip"
        if settings.ignores_weights and not acts_inside:
            if mode == "embedding" and span.weight != 1:
                yield message(
                    "word-embedding-unused", word=word
                )
        elif mode in ATTENTION_MODES:
            if span.weight != 1:
                yield message(
                    "word-attention-mode",
                    word=word,
                    mode=mode,
                )
        elif replace(span.options, mode=None, share=None):
            options = replace(span.options, mode=None, share=None)
            if acts_inside:
                yield message(
                    "word-options-text-encoder",
                    word=word,
                    options=options,
                )
            else:
                yield message(
                    "word-options-embeddings",
                    word=word,
                    options=options,
                )
