"""What is settled about a session before the model runs: whose words, which weights, what is recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptweight.attention.batch_rows import BatchRow, PromptEmbeds
from promptweight.attention.control.composition import PromptComposer
from promptweight.attention.control.prompt_to_prompt import PromptEdits, PromptToPrompt
from promptweight.attention.control.rules import KeyMode, KeyRules, read_key_rules
from promptweight.attention.control.share_controller import ShareController
from promptweight.attention.control.share_solver import ShareTargets, read_prompt_shares, read_share_targets
from promptweight.attention.layers import ModelLayout, read_layout, select_layers
from promptweight.attention.recording.record import Record
from promptweight.attention.recording.store import Store
from promptweight.conditioning import ROLES, Role, has_blend
from promptweight.errors import AttachError, SettingError
from promptweight.maps import PlacedTable, PromptVariant, find, occurrences, recorded_rows
from promptweight.messages import Message, message

if TYPE_CHECKING:
    from promptweight.conditioning import EncodedPrompts, ScheduledEncoding

TextKey = tuple[Role, int, int]
"""One text of the session: its role, its prompt, and which of the prompt's texts it is."""


@dataclass(frozen=True)
class SessionConfig:
    """All that a session asks of a pipeline's model."""

    inputs: dict[str, Any]
    """Keyword arguments for the pipeline's call, the text embeddings among them."""
    layout: ModelLayout
    registered: PromptEmbeds
    variants: Mapping[Role, Sequence[tuple[PromptVariant, ...]]]
    """Every text of every prompt and negative prompt."""
    texts: tuple[TextKey, ...]
    """All texts in one row; `rules` knows them by their place here."""
    planned: int
    """The sampling steps over which the prompts' changes were planned."""
    composer: PromptComposer
    rules: KeyRules
    acts_in: frozenset[str]
    """The names of the layers in which weights act."""
    keeper: ShareController | None
    """Finds the weights of phrases with targets, where there are any."""
    store: Store | None
    """Where sums are kept, when anything is recorded."""
    edits: PromptEdits | None

    def text_of(self, lane: BatchRow | None) -> int | None:
        """The place in `texts` of the text that a row carries."""
        return None if lane is None else self.texts.index((lane.role, lane.prompt, lane.variant))

    @property
    def placed(self) -> dict[Role, list[PromptVariant]]:
        """The tables of every prompt's first text."""
        return {role: [variants[0] for variants in self.variants[role]] for role in ROLES}


def configure_session(
    pipe: Any,
    staged: ScheduledEncoding,
    *,
    mode: KeyMode | None,
    layers: Sequence[str],
    edit: PromptToPrompt | None,
    targets: Mapping[str, float] | None,
    balance: bool | Sequence[str],
    record: bool | Record,
    warn: Callable[[Message], None],
) -> SessionConfig:
    """Read a pipeline's model and the texts of its prompts; arguments as in `attach`.

    Args:
        pipe: the pipeline.
        staged: the encoded texts, and when each is said.
        mode: how weights act in attention whose words name no mode; None when they act in the embeddings.
        layers: parts of the names of the layers in which they act.
        edit: how the pictures of all prompts but the first are edited.
        targets: shares of attention by phrase.
        balance: whether phrases are to have equal shares, or which.
        record: whether to record, or what.
        warn: told, in a sentence, what a person should know.

    Raises:
        AttachError: the pipeline has no attention that can be read, or the encoding is not of this kind.
        SettingError: a value outside its range, or two settings that exclude each other.
    """
    inputs, variants = staged.inputs, read_variants(staged)
    texts = tuple(
        (role, prompt, variant)
        for role in ROLES
        for prompt, of_prompt in enumerate(variants[role])
        for variant in range(len(of_prompt))
    )
    placed = {role: [of_prompt[0] for of_prompt in variants[role]] for role in ROLES}
    layout = read_layout(pipe)
    registered = PromptEmbeds(inputs["prompt_embeds"], inputs.get("negative_prompt_embeds"))
    composer = PromptComposer(staged, pipe, warn)
    length = registered.positive.shape[1]
    rules = KeyRules(
        [read_key_rules(variants[role][prompt][variant], mode) for role, prompt, variant in texts], length
    )
    acts_in = frozenset(select_layers(layout.layers, layers))
    keeper = build_share_controller(variants, texts, targets, balance, length, warn)
    chosen = record if isinstance(record, Record) else Record()
    if keeper is not None and "positive" not in chosen.lanes:
        raise SettingError(f"lanes={chosen.lanes!r}; shares are found by recording the positive lane")
    store = None
    if record or keeper is not None:
        columns = {
            (role, prompt, variant): recorded_rows(variants[role][prompt][variant])
            for role, prompt, variant in texts
        }
        read = [layout.layers[name][0] for name in select_layers(layout.layers, chosen.layers)]
        store = Store(chosen, read, columns, length)
        if keeper is not None and acts_in.isdisjoint(layer.name for layer in read):
            raise SettingError(
                f"weights act in layers={layers!r} and Record(layers={chosen.layers!r}) records none of "
                "these; shares are measured in layers that both name"
            )
    if record:
        for prompt in dict.fromkeys(each[0].table.prompt for each in placed["positive"] if is_blend(each)):
            warn(
                message(
                    "blend-shared-maps",
                    prompt=prompt.source,
                )
            )
    edits = None
    if edit is not None:
        edits = PromptEdits(edit, variants["positive"], staged.scripts["positive"], staged.steps, length)
    if edits is not None and store is not None and store.record.patches:
        raise SettingError("patches of the picture cannot be recorded in an edit; record words alone")
    if edits is not None and keeper is not None:
        raise SettingError("an edit takes the attention of its source, so its words cannot have targets")
    return SessionConfig(
        inputs=inputs,
        layout=layout,
        registered=registered,
        variants=variants,
        texts=texts,
        planned=staged.steps,
        composer=composer,
        rules=rules,
        acts_in=acts_in,
        keeper=keeper,
        store=store,
        edits=edits,
    )


def is_blend(variant: PromptVariant) -> bool:
    """Whether rows of a text stand for the words of several parts at once."""
    return any(has_blend(placed.table) for placed in variant)


def build_share_controller(
    variants: Mapping[Role, Sequence[tuple[PromptVariant, ...]]],
    texts: Sequence[TextKey],
    targets: Mapping[str, float] | None,
    balance: bool | Sequence[str],
    length: int,
    warn: Callable[[Message], None],
) -> ShareController | None:
    """What finds the weights of phrases with targets; None where no prompt has any.

    Args:
        variants: the token tables of every text of every prompt.
        texts: all texts in one row; the keeper knows them by their place here.
        targets: shares by phrase, besides those that the prompts ask for.
        balance: whether phrases are to have equal shares, or which.
        length: how many text positions the model reads.
        warn: told where a share that is asked for has no effect.

    Raises:
        SettingError: targets that cannot be had together.
        WordNotFoundError: no text of a prompt holds a phrase.
    """
    wanted: dict[TextKey, ShareTargets | None] = {}
    for prompt, of_prompt in enumerate(variants["positive"]):
        named = [*(targets or {}), *(() if isinstance(balance, bool) else balance)]
        for phrase in named:
            find(of_prompt, phrase)
        for number, variant in enumerate(of_prompt):
            held = {phrase for phrase in named if any(occurrences(variant, phrase))}
            wanted["positive", prompt, number] = read_share_targets(
                variant,
                {phrase: share for phrase, share in (targets or {}).items() if phrase in held},
                balance if isinstance(balance, bool) else [phrase for phrase in balance if phrase in held],
            )
        if balance is not False and not any(
            wanted["positive", prompt, number] for number in range(len(of_prompt))
        ):
            text = of_prompt[0][0].table.prompt.text
            warn(message("balance-one-phrase", text=text))
    if any(read_prompt_shares(variant) for of_prompt in variants["negative"] for variant in of_prompt):
        warn(message("share-negative"))
    if not any(wanted.values()):
        return None
    tables = [variants[role][prompt][variant] for role, prompt, variant in texts]
    return ShareController([wanted.get(text) for text in texts], tables, length)


def read_variants(staged: ScheduledEncoding) -> dict[Role, list[tuple[PromptVariant, ...]]]:
    """Every text of every prompt and negative prompt; none for negative prompts without embeddings.

    Raises:
        AttachError: tables and embeddings do not describe the same prompts.
    """
    inputs = staged.encoded.inputs
    placed = place_tables(
        staged.encoded, PromptEmbeds(inputs["prompt_embeds"], inputs.get("negative_prompt_embeds"))
    )
    return {
        role: [
            tuple(placed[role][first : first + len(script.variants)])
            for first, script in zip(staged.firsts[role], staged.scripts[role], strict=True)
            if placed[role]
        ]
        for role in ROLES
    }


def place_tables(encoded: EncodedPrompts, registered: PromptEmbeds) -> dict[Role, list[PromptVariant]]:
    """The token tables of every prompt, for each text encoder; none for negative prompts without embeddings.

    Raises:
        AttachError: tables and embeddings do not describe the same prompts.
    """
    placed: dict[Role, list[PromptVariant]] = {"positive": [], "negative": []}
    for role, embeds in zip(ROLES, (registered.positive, registered.negative), strict=True):
        if embeds is None:
            continue
        sections = [section for section in encoded.sections if section.encoders]
        ends = [section.start + table.rows for section in sections for table in getattr(section, role)]
        prompts = {len(getattr(section, role)) for section in sections}
        if prompts != {len(embeds)} or max(ends) > embeds.shape[1]:
            raise AttachError(
                f"the {role} embeddings have shape {tuple(embeds.shape)}, but their token tables are of "
                f"{prompts} prompts and end at rows {ends}; both must describe the same prompts"
            )
        placed[role] = [
            tuple(PlacedTable(each.start, each.encoders, getattr(each, role)[number]) for each in sections)
            for number in range(len(embeds))
        ]
    return placed
