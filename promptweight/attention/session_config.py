"""What is settled about a session before the model runs: whose words, which weights, what is recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptweight.attention.batch_rows import Lane, Registered
from promptweight.attention.control.composition import Composer
from promptweight.attention.control.prompt_to_prompt import Edits, PromptToPrompt
from promptweight.attention.control.rules import Mode, Rules, key_rules
from promptweight.attention.control.share_controller import Keeper
from promptweight.attention.control.share_solver import Wanted, shares_in_text, wanted_of
from promptweight.attention.layers import Layout, chosen_layers, layout_of
from promptweight.attention.recording.record import Record
from promptweight.attention.recording.store import Store
from promptweight.conditioning import ROLES, Role, has_blend
from promptweight.errors import AttachError, SettingError
from promptweight.maps import PlacedTable, Voice, find, occurrences, recorded_rows
from promptweight.messages import Note, note

if TYPE_CHECKING:
    from promptweight.conditioning import Encoded, Staged

Text = tuple[Role, int, int]
"""One text of the session: its role, its prompt, and which of the prompt's texts it is."""


@dataclass(frozen=True)
class Prepared:
    """All that a session asks of a pipeline's model."""

    inputs: dict[str, Any]
    """Keyword arguments for the pipeline's call, the text embeddings among them."""
    layout: Layout
    registered: Registered
    voices: Mapping[Role, Sequence[tuple[Voice, ...]]]
    """Every text of every prompt and negative prompt."""
    texts: tuple[Text, ...]
    """All texts in one row; `rules` knows them by their place here."""
    planned: int
    """The sampling steps over which the prompts' changes were planned."""
    composer: Composer
    rules: Rules
    acts_in: frozenset[str]
    """The names of the layers in which weights act."""
    keeper: Keeper | None
    """Finds the weights of phrases with targets, where there are any."""
    store: Store | None
    """Where sums are kept, when anything is recorded."""
    edits: Edits | None

    def text_of(self, lane: Lane | None) -> int | None:
        """The place in `texts` of the text that a row carries."""
        return None if lane is None else self.texts.index((lane.role, lane.prompt, lane.voice))

    @property
    def placed(self) -> dict[Role, list[Voice]]:
        """The tables of every prompt's first text."""
        return {role: [voices[0] for voices in self.voices[role]] for role in ROLES}


def prepare(
    pipe: Any,
    staged: Staged,
    *,
    mode: Mode | None,
    layers: Sequence[str],
    edit: PromptToPrompt | None,
    targets: Mapping[str, float] | None,
    balance: bool | Sequence[str],
    record: bool | Record,
    warn: Callable[[Note], None],
) -> Prepared:
    """Reads a pipeline's model and the texts of its prompts; arguments as in `attach`.

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
    inputs, voices = staged.inputs, voices_of(staged)
    texts = tuple(
        (role, prompt, voice)
        for role in ROLES
        for prompt, of_prompt in enumerate(voices[role])
        for voice in range(len(of_prompt))
    )
    placed = {role: [of_prompt[0] for of_prompt in voices[role]] for role in ROLES}
    layout = layout_of(pipe)
    registered = Registered(inputs["prompt_embeds"], inputs.get("negative_prompt_embeds"))
    composer = Composer(staged, pipe, warn)
    length = registered.positive.shape[1]
    rules = Rules([key_rules(voices[role][prompt][voice], mode) for role, prompt, voice in texts], length)
    acts_in = frozenset(chosen_layers(layout.layers, layers))
    keeper = make_keeper(voices, texts, targets, balance, length, warn)
    chosen = record if isinstance(record, Record) else Record()
    if keeper is not None and "positive" not in chosen.lanes:
        raise SettingError(f"lanes={chosen.lanes!r}; shares are found by recording the positive lane")
    store = None
    if record or keeper is not None:
        columns = {
            (role, prompt, voice): recorded_rows(voices[role][prompt][voice]) for role, prompt, voice in texts
        }
        read = [layout.layers[name][0] for name in chosen_layers(layout.layers, chosen.layers)]
        store = Store(chosen, read, columns, length)
        if keeper is not None and acts_in.isdisjoint(layer.name for layer in read):
            raise SettingError(
                f"weights act in layers={layers!r} and Record(layers={chosen.layers!r}) records none of "
                "these; shares are measured in layers that both name"
            )
    if record:
        for prompt in dict.fromkeys(each[0].table.prompt for each in placed["positive"] if is_blend(each)):
            warn(
                note(
                    "each row of {prompt!r} stands for the words that the parts of .blend() have in this "
                    "place; such words share one map",
                    prompt=prompt.source,
                )
            )
    edits = None
    if edit is not None:
        edits = Edits(edit, voices["positive"], staged.scripts["positive"], staged.steps, length)
    if edits is not None and store is not None and store.record.patches:
        raise SettingError("patches of the picture cannot be recorded in an edit; record words alone")
    if edits is not None and keeper is not None:
        raise SettingError("an edit takes the attention of its source, so its words cannot have targets")
    return Prepared(
        inputs=inputs,
        layout=layout,
        registered=registered,
        voices=voices,
        texts=texts,
        planned=staged.steps,
        composer=composer,
        rules=rules,
        acts_in=acts_in,
        keeper=keeper,
        store=store,
        edits=edits,
    )


def is_blend(voice: Voice) -> bool:
    """Whether rows of a text stand for the words of several parts at once."""
    return any(has_blend(placed.table) for placed in voice)


def make_keeper(
    voices: Mapping[Role, Sequence[tuple[Voice, ...]]],
    texts: Sequence[Text],
    targets: Mapping[str, float] | None,
    balance: bool | Sequence[str],
    length: int,
    warn: Callable[[Note], None],
) -> Keeper | None:
    """What finds the weights of phrases with targets; None where no prompt has any.

    Args:
        voices: the token tables of every text of every prompt.
        texts: all texts in one row; the keeper knows them by their place here.
        targets: shares by phrase, besides those that the prompts ask for.
        balance: whether phrases are to have equal shares, or which.
        length: how many text positions the model reads.
        warn: told where a share that is asked for has no effect.

    Raises:
        SettingError: targets that cannot be had together.
        WordNotFoundError: no text of a prompt holds a phrase.
    """
    wanted: dict[Text, Wanted | None] = {}
    for prompt, of_prompt in enumerate(voices["positive"]):
        named = [*(targets or {}), *(() if isinstance(balance, bool) else balance)]
        for phrase in named:
            find(of_prompt, phrase)
        for number, voice in enumerate(of_prompt):
            held = {phrase for phrase in named if any(occurrences(voice, phrase))}
            wanted["positive", prompt, number] = wanted_of(
                voice,
                {phrase: share for phrase, share in (targets or {}).items() if phrase in held},
                balance if isinstance(balance, bool) else [phrase for phrase in balance if phrase in held],
            )
        if balance is not False and not any(
            wanted["positive", prompt, number] for number in range(len(of_prompt))
        ):
            text = of_prompt[0][0].table.prompt.text
            warn(note("{text!r} has fewer than two phrases, so there is nothing to balance", text=text))
    if any(shares_in_text(voice) for of_prompt in voices["negative"] for voice in of_prompt):
        warn(note("a share in the negative prompt has no effect; shares are of the prompt alone"))
    if not any(wanted.values()):
        return None
    tables = [voices[role][prompt][voice] for role, prompt, voice in texts]
    return Keeper([wanted.get(text) for text in texts], tables, length)


def voices_of(staged: Staged) -> dict[Role, list[tuple[Voice, ...]]]:
    """Every text of every prompt and negative prompt; none for negative prompts without embeddings.

    Raises:
        AttachError: tables and embeddings do not describe the same prompts.
    """
    inputs = staged.encoded.inputs
    placed = place_tables(
        staged.encoded, Registered(inputs["prompt_embeds"], inputs.get("negative_prompt_embeds"))
    )
    return {
        role: [
            tuple(placed[role][first : first + len(script.variants)])
            for first, script in zip(staged.firsts[role], staged.scripts[role], strict=True)
            if placed[role]
        ]
        for role in ROLES
    }


def place_tables(encoded: Encoded, registered: Registered) -> dict[Role, list[Voice]]:
    """The token tables of every prompt, for each text encoder; none for negative prompts without embeddings.

    Raises:
        AttachError: tables and embeddings do not describe the same prompts.
    """
    placed: dict[Role, list[Voice]] = {"positive": [], "negative": []}
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
