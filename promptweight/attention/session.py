"""Session attached to a pipeline: it records and weights attention for the duration of a `with` block.

    with attach(pipe, "um (gato:1.4) vermelho", space="attention") as session:
        image = pipe(**session.inputs, num_inference_steps=25).images[0]
    session.maps.word("gato").overlay(image)

The end of the block restores the layers' own processors, also after an exception.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from promptweight import validation
from promptweight.attention.control.prompt_to_prompt import PromptToPrompt
from promptweight.attention.control.share_controller import ShareResult
from promptweight.attention.hooks.controller import AttentionController
from promptweight.attention.hooks.install import Installation
from promptweight.attention.recording.record import Record
from promptweight.attention.recording.store import copy_recording
from promptweight.attention.session_config import SessionConfig, configure_session
from promptweight.conditioning import ROLES, Role
from promptweight.errors import AttachError, SettingError
from promptweight.maps import AttentionMaps, find_phrase, list_words
from promptweight.messages import Message
from promptweight.weighting import ATTACH_MODES, SPACES, AttachMode, SessionMode, Space

if TYPE_CHECKING:
    from promptweight.conditioning import EncodedPrompts, ScheduledEncoding, TokenTable, Word
    from promptweight.maps import PromptVariant
    from promptweight.prompt import Prompt


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
    """Return a session that records the attention to the words of `prompt`, and may weight it.

    With `num_inference_steps`, prompts change during the run (`[from:to:when]`, `[a|b]`). Parts joined by AND
    are composed (see `promptweight.attention.control.composition`). Encoded prompts do not change.

    Args:
        pipe: a diffusers pipeline of Stable Diffusion 1, 2, XL or 3 or of FLUX.1.
        prompt: a prompt, a list of prompts (the same prompt several times for several images, where the
            pipeline repeats no embeddings for `num_images_per_prompt`), or the result of `encode_prompts` of
            `promptweight.conditioning`; with `space="attention"` one encoded with `method="none"`, or the
            weights act twice.
        negative_prompt: the negative prompt or prompts; ignored if `prompt` is encoded already.
        space: "embedding": weights act in the text embeddings, and attention is only recorded; with the
            method `presence`, the default of the dialect pw, those above 1 act in attention. "attention":
            weights act in every cross- or joint-attention layer, also those of the negative prompt, and the
            embeddings are those of the text without weights. A word's own option `mode` has precedence.
        mode: how weights act in attention (see `promptweight.attention.control.rules`); "clip" for the
            attention of the CLIP text encoders (see `promptweight.conditioning.clip_bias`), without effect on
            a T5.
        layers: parts of the names of the layers in which weights act; all layers when empty.
        edit: with several prompts, how the images of all but the first use its attention. The prompts may
            change during the run, but must not contain AND. Pass the pipeline one generator for each image,
            with the same seed, so that they begin from the same noise.
        targets: shares of the words' attention, 0 to 1, by phrase: weights in attention that give each phrase
            its share are solved for at every step, as with `(gato:=25%)` in the prompt. See
            `session.share_results`. In prompts that change, and in parts that AND joins, they are shares
            within each variant.
        balance: True for weights that give the phrases of a prompt equal shares among themselves
            (`promptweight.prompt.phrases`), or the phrases to balance.
        record: True to record with default settings, False not to, or the settings.
        num_inference_steps: number of sampling steps of the run, for prompts that change during it; for a run
            that begins from an image, the number of steps that it really does.
        encoding: further arguments of `promptweight.conditioning.encode_prompts`.

    Raises:
        AttachError: the pipeline's attention is not supported, or tables and embeddings do not match.
        SettingError: a value outside its range.
    """
    validation.check_choice("space", space, SPACES)
    validation.check_choice("mode", mode, ATTACH_MODES)
    from promptweight.conditioning import ScheduledEncoding, encode_scheduled

    given: Any = prompt
    method = encoding.get("method")
    if hasattr(prompt, "inputs"):
        scheduled = ScheduledEncoding.plain(given)
        settings = given.settings
        splits = space == "embedding" and settings is not None and settings.mode == "split"
        if splits and settings.method is not None:
            method = settings.method.name
    else:
        if space == "attention":
            encoding["method"] = "none"
            if mode == "clip":
                encoding["mode"] = "clip"
        splits = space == "embedding" and encoding.setdefault("mode", "split") == "split"
        scheduled = encode_scheduled(
            pipe, given, negative_prompt, num_inference_steps=num_inference_steps, **encoding
        )
    return AttentionSession(
        pipe,
        scheduled,
        mode="split" if splits else None if space == "embedding" or mode == "clip" else mode,
        method=method,
        layers=layers,
        edit=edit,
        targets=targets,
        balance=balance,
        record=record,
    )


class AttentionSession:
    """Session on a pipeline; made by `attach` and entered with `with`.

    Attributes:
        inputs: keyword arguments for the pipeline's call, with the text embeddings.
        tables: the token table of every prompt and negative prompt, by role; of prompts with several
            variants, the first variant's.
        warnings: messages for the user, each once; may grow during a run.
        config: the session's settings.
        installation: the hooks in the model.
        controller: the control of the hooks during a run.
    """

    def __init__(
        self,
        pipe: Any,
        scheduled: ScheduledEncoding,
        *,
        mode: SessionMode | None,
        method: str | None,
        layers: Sequence[str],
        edit: PromptToPrompt | None = None,
        targets: Mapping[str, float] | None = None,
        balance: bool | Sequence[str] = False,
        record: bool | Record = True,
    ) -> None:
        self.tables: dict[Role, tuple[TokenTable, ...]] = scheduled.tables
        self.warnings: list[Message] = list(scheduled.encoded.warnings)
        self._pipe, self._has_maps = pipe, bool(record)
        # Not a method: what is left of a run would reference the session until a garbage collection.
        warn = partial(_append_once, self.warnings)
        self.config: SessionConfig = configure_session(
            pipe,
            scheduled,
            mode=mode,
            method=method,
            layers=layers,
            edit=edit,
            targets=targets,
            balance=balance,
            record=record,
            warn=warn,
        )
        self.inputs: dict[str, Any] = self.config.inputs
        self.installation = Installation(pipe, self.config, warn)
        self.controller = AttentionController(pipe, self.config, self.installation, warn)

    def __enter__(self) -> AttentionSession:
        self.installation.install(self.controller.before_call, self.controller.after_call)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.installation.uninstall()
        self.controller.release()

    @property
    def maps(self) -> AttentionMaps:
        """Maps of the attention recorded so far; a copy, which a running pipeline does not change.

        Raises:
            AttachError: nothing has been recorded.
        """
        store = self.config.store
        if store is None or not self._has_maps:
            raise AttachError("the session has no maps, since it was opened with record=False")
        if not store.slots:
            raise AttachError("nothing is recorded yet; call the pipeline with **session.inputs in the block")
        pixels_per_latent = getattr(self._pipe, "vae_scale_factor", 1)
        return AttentionMaps.from_recording(copy_recording(store, self.config.variants, pixels_per_latent))

    def set_weight(
        self,
        word: str,
        weight: float,
        *,
        occurrence: int = 0,
        prompt: int = 0,
        role: Role = "positive",
        **options: Any,
    ) -> None:
        """Set the weight of a word or phrase in attention, from the model's next call on.

        Args:
            word: the word or the phrase.
            weight: any finite number.
            occurrence: index among equal phrases of the prompt.
            prompt: index of the prompt in the batch.
            role: "positive" or "negative".
            options: `mode`, `steps`, `to` and `region` of `KeyRule`; the region also as a name, a box, an
                image or an array. Options that are not passed keep their values, except `to`, which is
                removed.

        Raises:
            WordNotFoundError: the prompt does not contain the word.
            SettingError: a value outside its range.
        """
        match = find_phrase(self._get_variants(prompt, role), word, occurrence)
        for variant, rows in match.rows.items():
            index = self.config.variant_keys.index((role, prompt, variant))
            self.config.rules.set(index, rows, weight=weight, **{"to": None} | options)

    def words(self, *, prompt: int = 0, role: Role = "positive") -> tuple[Word, ...]:
        """Return the words of a prompt or negative prompt; with several variants the words of all, each once.

        Raises:
            SettingError: `prompt` or `role` is outside its range.
        """
        return list_words(self._get_variants(prompt, role))

    def find(
        self, phrase: str, occurrence: int = 0, *, prompt: int = 0, role: Role = "positive"
    ) -> tuple[Word, ...]:
        """Find the consecutive words of `phrase` in any variant of a prompt or negative prompt.

        Raises:
            WordNotFoundError: no variant contains the phrase; the error lists the words.
            SettingError: `prompt` or `role` is outside its range.
        """
        return find_phrase(self._get_variants(prompt, role), phrase, occurrence).words

    @property
    def share_results(self) -> dict[int, tuple[ShareResult, ...]]:
        """Weights and shares of the phrases with targets, by image."""
        controller = self.config.share_controller
        return {} if controller is None else controller.results()

    def freeze_weights(self) -> None:
        """Keep the current weights of phrases with targets; their shares are still measured."""
        if self.config.share_controller is not None:
            self.config.share_controller.is_frozen = True

    def reset(self) -> None:
        """Drop the recording, as every new run of the pipeline does by itself."""
        self.controller.restart()

    def _get_variants(self, prompt: int, role: Role) -> tuple[PromptVariant, ...]:
        validation.check_choice("role", role, ROLES)
        of_role = self.config.variants[role]
        if not of_role:
            raise SettingError(
                f"role must be a role with prompts; got {role!r}, of which the session has none"
            )
        return of_role[validation.check_integer("prompt", prompt, 0, len(of_role) - 1)]


def _append_once(warnings: list[Message], warning: Message) -> None:
    """Append a warning unless the list has it."""
    if warning not in warnings:
        warnings.append(warning)
