"""Attaching to a pipeline: recording and weighting its attention for as long as a `with` block lasts.

    with attach(pipe, "um (gato:1.4) vermelho", space="attention") as session:
        image = pipe(**session.inputs, num_inference_steps=25).images[0]
    session.maps.word("gato").overlay(image)

The layers' own processors are put back at the end of the block, whatever happens inside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, get_args

from promptweight import validation
from promptweight.attention.control.prompt_to_prompt import PromptToPrompt
from promptweight.attention.control.rules import KeyMode
from promptweight.attention.control.share_controller import ShareResult
from promptweight.attention.hooks.controller import AttentionController
from promptweight.attention.hooks.install import Installation
from promptweight.attention.recording.record import Record
from promptweight.attention.recording.store import copy_recording
from promptweight.attention.session_config import configure_session
from promptweight.conditioning import ROLES, Role
from promptweight.errors import AttachError, SettingError
from promptweight.maps import AttentionMaps, find, words_of
from promptweight.messages import Message

if TYPE_CHECKING:
    from promptweight.conditioning import EncodedPrompts, ScheduledEncoding, TokenTable, Word
    from promptweight.maps import PromptVariant
    from promptweight.prompt import Prompt

Space = Literal["embedding", "attention"]
AttachMode = Literal["logit", "p2p", "value", "clip"]
ATTACH_MODES: tuple[AttachMode, ...] = get_args(AttachMode)
"""How weights act with `space="attention"`: in the denoiser's attention, or inside the CLIP text encoders."""


def attach(
    pipe: Any,
    prompt: EncodedPrompts | str | Prompt | Sequence[str | Prompt],
    negative_prompt: str | Prompt | Sequence[str | Prompt] = "",
    *,
    space: Space = "embedding",
    mode: AttachMode = "logit",
    layers: Sequence[str] = (),
    edit: PromptToPrompt | None = None,
    targets: Mapping[str, float] | None = None,
    balance: bool | Sequence[str] = False,
    record: bool | Record = True,
    num_inference_steps: int | None = None,
    **encoding: Any,
) -> AttentionSession:
    """A session that records what the words of `prompt` attend to, and may weight them there.

    Prompts that change while the picture is made (`[from:to:when]`, `[a|b]`) do so when
    `num_inference_steps` is given, and parts joined by AND are each shown to the model, which
    `promptweight.attention.control.composition` explains. Encoded prompts stay as they are.

    Args:
        pipe: a diffusers pipeline of Stable Diffusion 1, 2, XL or 3 or of FLUX.1.
        prompt: a prompt, a list of them (several times the same for several pictures, where the pipeline
            repeats no embeddings for `num_images_per_prompt`), or what `encode_prompts` of
            `promptweight.conditioning` returned; for `space="attention"` it must have been called with
            `method="none"`, or the weights act twice.
        negative_prompt: the negative prompt or prompts; not read when `prompt` is already encoded.
        space: where the weights act. "embedding": in the text embeddings, and attention is only recorded.
            "attention": in every cross- or joint-attention layer, the negative prompt's words too, while the
            embeddings are the clean text's. A word's own option `mode` goes before this.
        mode: how weights act in attention (see `promptweight.attention.control.rules`); "clip" in that of the CLIP
            text encoders (see `promptweight.conditioning.clip_bias`), which leaves a T5 alone.
        layers: parts of the names of the layers in which they act; all layers when empty.
        edit: with several prompts, how the pictures of all but the first take its attention. They may change
            while the pictures are made, but hold no AND. Give the pipeline one generator for each, of the
            same seed, so that they begin from the same noise.
        targets: shares of the words' attention, 0 to 1, by phrase: weights in attention are found at every
            step that give each phrase its share, as `(gato:=25%)` in the prompt does. See `session.found`. In
            prompts that change, and of parts that AND joins, they are shares of the text that is said.
        balance: True for weights, found likewise, that give the phrases of a prompt equal shares among each
            other (`promptweight.prompt.phrases`); or the phrases that are to have them.
        record: whether to record, or what.
        num_inference_steps: how many sampling steps the run will have, where prompts change during it; of a
            run that begins from a picture those that it really does.
        encoding: further settings of `conditioning.encode_prompts`.

    Raises:
        AttachError: the pipeline has no attention that can be read, or the encoding is not of this kind.
        SettingError: a value outside its range.
    """
    if space not in ("embedding", "attention"):
        raise SettingError(f"space={space!r}; it must be 'embedding' or 'attention'")
    if mode not in ATTACH_MODES:
        raise SettingError(f"mode={mode!r}; it must be one of {', '.join(ATTACH_MODES)}")
    from promptweight.conditioning import ScheduledEncoding, encode_scheduled

    given: Any = prompt
    if hasattr(prompt, "inputs"):
        staged = ScheduledEncoding.plain(given)
    else:
        if space == "attention":
            encoding["method"] = "none"
            if mode == "clip":
                encoding["mode"] = "clip"
        steps = num_inference_steps
        staged = encode_scheduled(pipe, given, negative_prompt, num_inference_steps=steps, **encoding)
    default = None if space == "embedding" or mode == "clip" else mode
    return AttentionSession(
        pipe,
        staged,
        mode=default,
        layers=layers,
        edit=edit,
        targets=targets,
        balance=balance,
        record=record,
    )


class AttentionSession:
    """A pipeline under observation; made by `attach` and entered with `with`.

    Attributes:
        inputs: keyword arguments for the pipeline's call, the text embeddings among them.
        tables: the token tables of the prompts and of the negative prompts, one for each; of prompts with
            several texts, that of the one that is said first.
        warnings: what the person should know, in full sentences; may grow while a picture is made.
    """

    def __init__(
        self,
        pipe: Any,
        staged: ScheduledEncoding,
        *,
        mode: KeyMode | None,
        layers: Sequence[str],
        edit: PromptToPrompt | None = None,
        targets: Mapping[str, float] | None = None,
        balance: bool | Sequence[str] = False,
        record: bool | Record = True,
    ) -> None:
        self.tables: dict[Role, tuple[TokenTable, ...]] = staged.tables
        self.warnings: list[Message] = list(staged.encoded.warnings)
        self._pipe, self._shows_maps = pipe, bool(record)
        # Not a method: what is left of a run would hold the session, and wait for a garbage collection.
        warn = partial(keep_once, self.warnings)
        self._prepared = configure_session(
            pipe,
            staged,
            mode=mode,
            layers=layers,
            edit=edit,
            targets=targets,
            balance=balance,
            record=record,
            warn=warn,
        )
        self.inputs: dict[str, Any] = self._prepared.inputs
        self._installation = Installation(pipe, self._prepared, warn)
        self._director = AttentionController(pipe, self._prepared, self._installation, warn)

    def __enter__(self) -> AttentionSession:
        self._installation.install(self._director.before_call, self._director.after_call)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._installation.put_back()
        self._director.rest()

    @property
    def maps(self) -> AttentionMaps:
        """What has been recorded up to now; a copy, so that a picture being made does not change it.

        Raises:
            AttachError: nothing has been recorded.
        """
        store = self._prepared.store
        if store is None or not self._shows_maps:
            raise AttachError("the session was opened with record=False, so there are no maps")
        if not store.slots:
            raise AttachError("nothing is recorded yet; call the pipeline with **session.inputs in the block")
        pixels_per_latent = getattr(self._pipe, "vae_scale_factor", 1)
        return AttentionMaps.of(copy_recording(store, self._prepared.variants, pixels_per_latent))

    def set_weight(
        self,
        word: str,
        weight: float,
        *,
        occurrence: int = 0,
        prompt: int = 0,
        lane: Role = "positive",
        **options: Any,
    ) -> None:
        """Give a word or phrase a new weight in attention, from the model's next call on.

        Args:
            word: the word or the phrase.
            weight: any finite number.
            occurrence: which of several equal phrases.
            prompt: which prompt of a batch.
            lane: the prompt or the negative prompt.
            options: `mode`, `steps`, `to` and `region` as in `KeyRule`, the region also as a name, a box, a
                picture or an array. Those not given stay as they are, except `to`, which is dropped.

        Raises:
            WordNotFoundError: the prompt does not hold the word.
            SettingError: a value outside its range, or there is no such prompt.
        """
        prepared = self._prepared
        found = find(self._variants(prompt, lane), word, occurrence)
        for variant, rows in found.rows.items():
            text = prepared.texts.index((lane, prompt, variant))
            prepared.rules.set(text, rows, weight=weight, **{"to": None} | options)

    def words(self, *, prompt: int = 0, lane: Role = "positive") -> tuple[Word, ...]:
        """The words of a prompt or negative prompt; of one with several texts those of all, once each.

        Raises:
            SettingError: there is no such prompt.
        """
        return words_of(self._variants(prompt, lane))

    def find(
        self, phrase: str, occurrence: int = 0, *, prompt: int = 0, lane: Role = "positive"
    ) -> tuple[Word, ...]:
        """Find consecutive words that read as `phrase`, in any text of a prompt or negative prompt.

        Raises:
            WordNotFoundError: none holds the phrase; lists the words there are.
            SettingError: there is no such prompt.
        """
        return find(self._variants(prompt, lane), phrase, occurrence).words

    @property
    def found(self) -> dict[int, tuple[ShareResult, ...]]:
        """The weights that were found for phrases with targets, and the shares they got, by picture."""
        return {} if self._prepared.keeper is None else self._prepared.keeper.found()

    def hold(self) -> None:
        """Leave the weights of phrases with targets as they now are; their shares are still measured."""
        if self._prepared.keeper is not None:
            self._prepared.keeper.is_held = True

    def reset(self) -> None:
        """Forget what was recorded, as every new run of the pipeline does by itself."""
        self._director.restart()

    def _variants(self, prompt: int, lane: Role) -> tuple[PromptVariant, ...]:
        validation.check_choice("lane", lane, ROLES)
        of_lane = self._prepared.variants[lane]
        if not of_lane:
            raise SettingError(f"lane is {lane!r}, but the session has no {lane} prompts")
        return of_lane[validation.check_integer("prompt", prompt, 0, len(of_lane) - 1)]


def keep_once(warnings: list[Message], warning: Message) -> None:
    """Add a warning that is not there yet."""
    if warning not in warnings:
        warnings.append(warning)
