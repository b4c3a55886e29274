"""Configuration of a session, made before the model runs: prompt variants, weights, targets and recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from promptweight.attention.batch_rows import BatchRow, PromptEmbeds
from promptweight.attention.control.composition import PromptComposer
from promptweight.attention.control.negative_prompts import NegativePrompts, make_negative_prompts
from promptweight.attention.control.prompt_to_prompt import PromptEdits, PromptToPrompt
from promptweight.attention.control.rules import KeyRules, make_default_rule, make_key_rules
from promptweight.attention.control.share_controller import ShareController
from promptweight.attention.control.share_solver import ShareTargets, read_prompt_shares, read_share_targets
from promptweight.attention.layers import ModelLayout, select_layers
from promptweight.attention.layout import read_layout
from promptweight.attention.negative_guidance import NegativeGuidance
from promptweight.attention.recording.record import Record
from promptweight.attention.recording.store import Store
from promptweight.conditioning import (
    ROLES,
    EncodingSettings,
    Role,
    advice_of,
    has_blend,
    has_text_loras,
    stack_texts,
    trace_rows,
)
from promptweight.errors import AttachError, ModelError, SettingError
from promptweight.maps import PlacedTable, PromptVariant, find_occurrences, find_phrase, list_recorded_rows
from promptweight.messages import Message, message
from promptweight.weighting import Weighting

if TYPE_CHECKING:
    from promptweight.conditioning import EncodedPrompts, ScheduledEncoding
    from promptweight.protocols import Pipeline

VariantKey = tuple[Role, int, int]
"""Role, prompt and variant of one text of the session."""


@dataclass(frozen=True)
class SessionConfig:
    """Settings of a session on a pipeline's model."""

    inputs: dict[str, Any]
    """Keyword arguments for the pipeline's call, with the text embeddings."""
    layout: ModelLayout
    prompt_embeds: PromptEmbeds
    variants: Mapping[Role, Sequence[tuple[PromptVariant, ...]]]
    """Variants of every prompt and negative prompt."""
    variant_keys: tuple[VariantKey, ...]
    """Keys of all variants; `rules` and `share_controller` use their indices here."""
    planned_steps: int
    """Number of sampling steps of the prompts' schedules."""
    composer: PromptComposer
    rules: KeyRules
    weighted_layers: frozenset[str]
    """Names of the layers in which weights act that have no layers of their own, and in which shares are
    measured."""
    share_controller: ShareController | None
    """Controller of phrases with targets; None where there are none."""
    store: Store | None
    """Store of the recording; None where nothing is recorded."""
    edits: PromptEdits | None
    negative_prompts: NegativePrompts | None
    """Negative prompts that act in attention; None where none does."""
    text_lora_scale: float | None
    """Scale of the LoRAs with which the text was encoded; None where its encoders have none."""

    def variant_index(self, row: BatchRow | None) -> int | None:
        """Return the index in `variant_keys` of a batch row's variant; None for None."""
        return None if row is None else self.variant_keys.index((row.role, row.prompt, row.variant))


def configure_session(
    pipe: Pipeline,
    scheduled: ScheduledEncoding,
    *,
    weighting: Weighting,
    edit: PromptToPrompt | None,
    targets: Mapping[str, float] | None,
    record: bool | Record,
    negative_guidance: NegativeGuidance,
    warn: Callable[[Message], None],
) -> SessionConfig:
    """Make the configuration of a session from a pipeline's model and its prompts; arguments as in `attach`.

    Args:
        pipe: the pipeline.
        scheduled: the encoded variants and their schedules.
        weighting: how weights act; its layers and steps are those of weights in the denoiser's attention.
        edit: the edit of all prompts but the first.
        targets: shares of attention by phrase.
        record: True or False, or the settings of the recording.
        negative_guidance: the way in which the negative prompts act.
        warn: receives warnings.

    Raises:
        AttachError: the pipeline's attention is not supported, or tables and embeddings do not match.
        SettingError: a value outside its range, or two settings that exclude each other.
    """
    inputs = scheduled.inputs
    variants = read_variants(scheduled, negative_acts=negative_guidance.acts_in_attention)
    settings = record if isinstance(record, Record) else Record()
    if record and (settings.trace or (settings.trace is None and _advises_traces(pipe))):
        try:
            variants |= {
                role: add_traces(pipe, variants[role], scheduled.encoded.settings, role)
                for role in settings.roles
            }
        except (SettingError, ModelError):  # the prompt or the pipeline cannot be traced
            if settings.trace:
                raise
    keys = tuple(
        (role, prompt, variant)
        for role in ROLES
        for prompt, of_prompt in enumerate(variants[role])
        for variant in range(len(of_prompt))
    )
    by_key = {key: variants[key[0]][key[1]][key[2]] for key in keys}
    layout = read_layout(pipe)
    for warning in layout.warnings:
        warn(warning)
    prompt_embeds = _stack_embeds(inputs)
    composer = PromptComposer(scheduled, pipe, warn)
    if composer.is_active and not layout.kind.replaces_text:
        raise SettingError(message("changing-text-mask", pipeline=type(pipe).__name__))
    embeds = (prompt_embeds.positive, prompt_embeds.negative)
    length = max(each.shape[1] for each in embeds if each is not None)
    carries = scheduled.encoded.settings.weights_embeddings
    of_variants = [
        make_key_rules(variant, weighting, weights_embeddings=carries) for variant in by_key.values()
    ]
    rules = KeyRules(of_variants, length, make_default_rule(weighting))
    for parts in sorted(rules.selections):
        select_layers(layout.layers, parts)
    weighted_layers = frozenset(select_layers(layout.layers, tuple(weighting.layers)))
    share_controller = build_share_controller(variants, by_key, targets, length, warn)
    if share_controller is not None and "positive" not in settings.roles:
        raise SettingError(message("share-roles", roles=settings.roles))
    store = None
    if record or share_controller is not None:
        columns = {key: list_recorded_rows(variant) for key, variant in by_key.items()}
        recorded = [layout.layers[name][0] for name in select_layers(layout.layers, settings.layers)]
        store = Store(settings, recorded, columns, length)
        if share_controller is not None and weighted_layers.isdisjoint(layer.name for layer in recorded):
            raise SettingError(message("share-layers", weighted=weighting.layers, recorded=settings.layers))
    if record:
        first = [of_prompt[0] for of_prompt in variants["positive"]]
        for prompt in dict.fromkeys(each[0].table.prompt for each in first if _is_blend(each)):
            warn(message("blend-shared-maps", prompt=prompt.source))
    edits = None
    if edit is not None:
        timelines = scheduled.timelines["positive"]
        edits = PromptEdits(edit, variants["positive"], timelines, scheduled.steps, length)
    if layout.kind.frames:
        _check_video(pipe, layout, settings, share_controller)
    if edits is not None and layout.text_layers:
        raise SettingError(message("edit-model", model=type(layout.model).__name__))
    if edits is not None and store is not None and store.record.patches:
        raise SettingError(message("edit-patches", patches=store.record.patches))
    if edits is not None and share_controller is not None:
        raise SettingError(message("edit-targets"))
    negative_prompts = None
    if negative_guidance.acts_in_attention and not layout.kind.extends_text:
        model = type(layout.model).__name__
        raise SettingError(message("negative-guidance-model", model=model, guidance=negative_guidance))
    if negative_guidance.acts_in_attention:
        indices = {key[1:]: index for index, key in enumerate(keys) if key[0] == "negative"}
        negative_prompts = make_negative_prompts(negative_guidance, scheduled, indices, list(by_key.values()))
    if negative_prompts is not None and edits is not None:
        raise SettingError(message("negative-guidance-edit", guidance=negative_guidance))
    return SessionConfig(
        inputs=inputs,
        layout=layout,
        prompt_embeds=prompt_embeds,
        variants=variants,
        variant_keys=keys,
        planned_steps=scheduled.steps,
        composer=composer,
        rules=rules,
        weighted_layers=weighted_layers,
        share_controller=share_controller,
        store=store,
        edits=edits,
        negative_prompts=negative_prompts,
        text_lora_scale=scheduled.encoded.settings.lora_scale if has_text_loras(pipe) else None,
    )


def _check_video(
    pipe: Pipeline, layout: ModelLayout, record: Record, share_controller: ShareController | None
) -> None:
    """Check the settings of a session on a pipeline of videos, whose frames each have a map."""
    if getattr(pipe, "transformer_2", None) is not None:
        raise AttachError(message("second-transformer", pipeline=type(pipe).__name__))
    if layout.kind.frames == "positions" and (record.patches or record.refine):
        raise SettingError(message("video-record", patches=record.patches, refine=record.refine))
    if share_controller is not None:
        raise SettingError(message("video-targets"))


def build_share_controller(
    variants: Mapping[Role, Sequence[tuple[PromptVariant, ...]]],
    by_key: Mapping[VariantKey, PromptVariant],
    targets: Mapping[str, float] | None,
    length: int,
    warn: Callable[[Message], None],
) -> ShareController | None:
    """Build the controller of phrases with targets.

    Args:
        variants: the variants of every prompt.
        by_key: all variants; the controller uses their indices in this order.
        targets: shares by phrase, besides those in the prompts.
        length: number of text positions of the model.
        warn: receives a warning for a share without effect.

    Returns:
        The controller; None where no prompt has targets.

    Raises:
        SettingError: targets that exclude each other.
        WordNotFoundError: no variant of a prompt contains a phrase.
    """
    by_variant: dict[VariantKey, ShareTargets | None] = {}
    for prompt, of_prompt in enumerate(variants["positive"]):
        for phrase in targets or {}:
            find_phrase(of_prompt, phrase)
        for number, variant in enumerate(of_prompt):
            contained = {
                phrase: share
                for phrase, share in (targets or {}).items()
                if any(find_occurrences(variant, phrase))
            }
            by_variant["positive", prompt, number] = read_share_targets(variant, contained)
    if any(read_prompt_shares(variant) for of_prompt in variants["negative"] for variant in of_prompt):
        warn(message("share-negative"))
    if not any(by_variant.values()):
        return None
    return ShareController([by_variant.get(key) for key in by_key], list(by_key.values()), length)


def read_variants(
    scheduled: ScheduledEncoding, *, negative_acts: bool = False
) -> dict[Role, list[tuple[PromptVariant, ...]]]:
    """Return the variants of every prompt and negative prompt; none for prompts without embeddings.

    Args:
        scheduled: the encoded variants and their schedules.
        negative_acts: True if negative prompts act in attention, also with a pipeline that takes none.

    Raises:
        AttachError: token tables and embeddings do not match.
    """
    encoded = scheduled.encoded
    negative = encoded.negative_prompt_embeds if negative_acts else None
    own = encoded.inputs if negative is None else encoded.inputs | {"negative_prompt_embeds": negative}
    embeds = _stack_embeds(own)
    placed = place_tables(encoded, embeds)
    return {
        role: [
            tuple(placed[role][first : first + len(timeline.variants)])
            for first, timeline in zip(scheduled.first_rows[role], scheduled.timelines[role], strict=True)
            if placed[role]
        ]
        for role in ROLES
    }


def _stack_embeds(inputs: Mapping[str, Any]) -> PromptEmbeds:
    """Return the text embeddings among the keyword arguments of a pipeline."""
    negative = inputs.get("negative_prompt_embeds")
    return PromptEmbeds(
        stack_texts(inputs["prompt_embeds"]), None if negative is None else stack_texts(negative)
    )


def _advises_traces(pipe: Pipeline) -> bool:
    advice = advice_of(pipe)
    return advice is not None and advice.traces_words


def add_traces(
    pipe: Pipeline, prompts: Sequence[tuple[PromptVariant, ...]], settings: EncodingSettings, role: Role
) -> list[tuple[PromptVariant, ...]]:
    """Return the variants of prompts with the rollouts of their text encoders' attention.

    Raises:
        ModelError: the pipeline has none of the text encoders, or one of an unknown class.
        SettingError: a prompt blends several texts, or the text encoders tokenize it differently.
    """
    return [
        tuple(
            tuple(
                replace(placed, trace=trace_rows(pipe, placed.encoders, placed.table, settings, role))
                for placed in variant
            )
            for variant in of_prompt
        )
        for of_prompt in prompts
    ]


def place_tables(encoded: EncodedPrompts, prompt_embeds: PromptEmbeds) -> dict[Role, list[PromptVariant]]:
    """Return the token tables of every encoded text, each with its first row; none without embeddings.

    Raises:
        AttachError: token tables and embeddings do not match.
    """
    placed: dict[Role, list[PromptVariant]] = {"positive": [], "negative": []}
    for role, embeds in zip(ROLES, (prompt_embeds.positive, prompt_embeds.negative), strict=True):
        if embeds is None:
            continue
        sections = [section for section in encoded.sections if section.encoders]
        ends = [section.start + table.rows for section in sections for table in getattr(section, role)]
        prompts = {len(getattr(section, role)) for section in sections}
        if prompts != {len(embeds)} or max(ends) > embeds.shape[1]:
            raise AttachError(
                message("token-tables", role=role, shape=tuple(embeds.shape), prompts=prompts, ends=ends)
            )
        placed[role] = [
            tuple(PlacedTable(each.start, each.encoders, getattr(each, role)[number]) for each in sections)
            for number in range(len(embeds))
        ]
    return placed


def _is_blend(variant: PromptVariant) -> bool:
    """Return True if rows of a variant stand for words of several parts of a blend."""
    return any(has_blend(placed.table) for placed in variant)
