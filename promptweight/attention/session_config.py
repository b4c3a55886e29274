"""Configuration of a session, made before the model runs: prompt variants, weights, targets and recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptweight.attention.batch_rows import BatchRow, PromptEmbeds
from promptweight.attention.control.composition import PromptComposer
from promptweight.attention.control.prompt_to_prompt import PromptEdits, PromptToPrompt
from promptweight.attention.control.rules import KeyRules, make_key_rules
from promptweight.attention.control.share_controller import ShareController
from promptweight.attention.control.share_solver import ShareTargets, read_prompt_shares, read_share_targets
from promptweight.attention.layers import ModelLayout, read_layout, select_layers
from promptweight.attention.recording.record import Record
from promptweight.attention.recording.store import Store
from promptweight.conditioning import ROLES, Role, has_blend
from promptweight.errors import AttachError, SettingError
from promptweight.maps import PlacedTable, PromptVariant, find_occurrences, find_phrase, list_recorded_rows
from promptweight.messages import Message, message
from promptweight.weighting import SessionMode

if TYPE_CHECKING:
    from promptweight.conditioning import EncodedPrompts, ScheduledEncoding

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
    """Names of the layers in which weights act."""
    share_controller: ShareController | None
    """Controller of phrases with targets; None where there are none."""
    store: Store | None
    """Store of the recording; None where nothing is recorded."""
    edits: PromptEdits | None

    def variant_index(self, row: BatchRow | None) -> int | None:
        """Return the index in `variant_keys` of a batch row's variant; None for None."""
        return None if row is None else self.variant_keys.index((row.role, row.prompt, row.variant))


def configure_session(
    pipe: Any,
    scheduled: ScheduledEncoding,
    *,
    mode: SessionMode | None,
    method: str | None,
    layers: Sequence[str],
    edit: PromptToPrompt | None,
    targets: Mapping[str, float] | None,
    balance: bool | Sequence[str],
    record: bool | Record,
    warn: Callable[[Message], None],
) -> SessionConfig:
    """Make the configuration of a session from a pipeline's model and its prompts; arguments as in `attach`.

    Args:
        pipe: the pipeline.
        scheduled: the encoded variants and their schedules.
        mode: mode of weights without one; None where such weights act in the embeddings.
        method: method of the weights in the embeddings; None for the default of each dialect.
        layers: parts of the names of the layers in which weights act.
        edit: the edit of all prompts but the first.
        targets: shares of attention by phrase.
        balance: True for equal shares of all phrases, or the phrases to balance.
        record: True or False, or the settings of the recording.
        warn: receives warnings.

    Raises:
        AttachError: the pipeline's attention is not supported, or tables and embeddings do not match.
        SettingError: a value outside its range, or two settings that exclude each other.
    """
    inputs, variants = scheduled.inputs, read_variants(scheduled)
    keys = tuple(
        (role, prompt, variant)
        for role in ROLES
        for prompt, of_prompt in enumerate(variants[role])
        for variant in range(len(of_prompt))
    )
    by_key = {key: variants[key[0]][key[1]][key[2]] for key in keys}
    layout = read_layout(pipe)
    prompt_embeds = PromptEmbeds(inputs["prompt_embeds"], inputs.get("negative_prompt_embeds"))
    composer = PromptComposer(scheduled, pipe, warn)
    length = prompt_embeds.positive.shape[1]
    rules = KeyRules([make_key_rules(variant, mode, method) for variant in by_key.values()], length)
    weighted_layers = frozenset(select_layers(layout.layers, layers))
    share_controller = build_share_controller(variants, by_key, targets, balance, length, warn)
    settings = record if isinstance(record, Record) else Record()
    if share_controller is not None and "positive" not in settings.roles:
        raise SettingError(
            f"roles must include 'positive', where the shares of targets are measured; got {settings.roles!r}"
        )
    store = None
    if record or share_controller is not None:
        columns = {key: list_recorded_rows(variant) for key, variant in by_key.items()}
        recorded = [layout.layers[name][0] for name in select_layers(layout.layers, settings.layers)]
        store = Store(settings, recorded, columns, length)
        if share_controller is not None and weighted_layers.isdisjoint(layer.name for layer in recorded):
            raise SettingError(
                "shares are measured in layers that are both weighted and recorded; got "
                f"layers={layers!r} and Record(layers={settings.layers!r})"
            )
    if record:
        first = [of_prompt[0] for of_prompt in variants["positive"]]
        for prompt in dict.fromkeys(each[0].table.prompt for each in first if _is_blend(each)):
            warn(message("blend-shared-maps", prompt=prompt.source))
    edits = None
    if edit is not None:
        timelines = scheduled.timelines["positive"]
        edits = PromptEdits(edit, variants["positive"], timelines, scheduled.steps, length)
    if edits is not None and store is not None and store.record.patches:
        raise SettingError(
            f"patches must be empty in an edit, which records words only; got {store.record.patches!r}"
        )
    if edits is not None and share_controller is not None:
        raise SettingError("an edit uses the attention of its source, so its words cannot have targets")
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
    )


def build_share_controller(
    variants: Mapping[Role, Sequence[tuple[PromptVariant, ...]]],
    by_key: Mapping[VariantKey, PromptVariant],
    targets: Mapping[str, float] | None,
    balance: bool | Sequence[str],
    length: int,
    warn: Callable[[Message], None],
) -> ShareController | None:
    """Build the controller of phrases with targets.

    Args:
        variants: the variants of every prompt.
        by_key: all variants; the controller uses their indices in this order.
        targets: shares by phrase, besides those in the prompts.
        balance: True for equal shares of all phrases, or the phrases to balance.
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
        named = [*(targets or {}), *(() if isinstance(balance, bool) else balance)]
        for phrase in named:
            find_phrase(of_prompt, phrase)
        for number, variant in enumerate(of_prompt):
            contained = {phrase for phrase in named if any(find_occurrences(variant, phrase))}
            by_variant["positive", prompt, number] = read_share_targets(
                variant,
                {phrase: share for phrase, share in (targets or {}).items() if phrase in contained},
                balance
                if isinstance(balance, bool)
                else [phrase for phrase in balance if phrase in contained],
            )
        of_variants = [by_variant["positive", prompt, number] for number in range(len(of_prompt))]
        if balance is not False and not any(of_variants):
            warn(message("balance-one-phrase", text=of_prompt[0][0].table.prompt.text))
    if any(read_prompt_shares(variant) for of_prompt in variants["negative"] for variant in of_prompt):
        warn(message("share-negative"))
    if not any(by_variant.values()):
        return None
    return ShareController([by_variant.get(key) for key in by_key], list(by_key.values()), length)


def read_variants(scheduled: ScheduledEncoding) -> dict[Role, list[tuple[PromptVariant, ...]]]:
    """Return the variants of every prompt and negative prompt; none for prompts without embeddings.

    Raises:
        AttachError: token tables and embeddings do not match.
    """
    inputs = scheduled.encoded.inputs
    placed = place_tables(
        scheduled.encoded, PromptEmbeds(inputs["prompt_embeds"], inputs.get("negative_prompt_embeds"))
    )
    return {
        role: [
            tuple(placed[role][first : first + len(timeline.variants)])
            for first, timeline in zip(scheduled.first_rows[role], scheduled.timelines[role], strict=True)
            if placed[role]
        ]
        for role in ROLES
    }


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
                f"token tables and embeddings must describe the same {role} prompts; got embeddings of shape "
                f"{tuple(embeds.shape)} and tables of {prompts} prompts that end at rows {ends}"
            )
        placed[role] = [
            tuple(PlacedTable(each.start, each.encoders, getattr(each, role)[number]) for each in sections)
            for number in range(len(embeds))
        ]
    return placed


def _is_blend(variant: PromptVariant) -> bool:
    """Return True if rows of a variant stand for words of several parts of a blend."""
    return any(has_blend(placed.table) for placed in variant)
