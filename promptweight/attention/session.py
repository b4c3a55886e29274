"""Session attached to a pipeline: it records and weights attention for the duration of a `with` block.

    with attach(pipe, "um (gato:1.4) vermelho", weighting="attention") as session:
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
from promptweight.attention.layers import select_layers
from promptweight.attention.negative_guidance import NegativeGuidance
from promptweight.attention.recording.record import Record
from promptweight.attention.recording.store import copy_recording
from promptweight.attention.session_config import SessionConfig, configure_session
from promptweight.conditioning import ROLES, Role
from promptweight.errors import AttachError, SettingError
from promptweight.maps import AttentionMaps, find_phrase, list_words
from promptweight.messages import Message, message
from promptweight.weighting import Weighting

if TYPE_CHECKING:
    from promptweight.conditioning import EncodedPrompts, ScheduledEncoding, TokenTable, Word
    from promptweight.maps import PromptVariant
    from promptweight.prompt import Prompt
    from promptweight.protocols import Pipeline


def attach(
    pipe: Pipeline,
    prompt: EncodedPrompts | ScheduledEncoding | str | Prompt | Sequence[str | Prompt],
    negative_prompt: str | Prompt | Sequence[str | Prompt] | None = "",
    *,
    weighting: Weighting | str | None = None,
    edit: PromptToPrompt | None = None,
    targets: Mapping[str, float] | None = None,
    record: bool | Record = True,
    negative_guidance: NegativeGuidance | str | None = None,
    num_inference_steps: int | None = None,
    dialect: str = "pw",
    clip_skip: int | None = None,
    max_sequence_length: int | None = None,
    lora_scale: float | None = None,
    image: Any = None,
) -> AttentionSession:
    """Return a session that records the attention to the words of `prompt`, and may weight it.

    With `num_inference_steps`, prompts change during the run (`[from:to:when]`, `[a|b]`). Parts joined by AND
    are composed (see `promptweight.attention.control.composition`).

    Args:
        pipe: a pipeline of a supported family (`promptweight.conditioning.FAMILIES`).
        prompt: a prompt, a list of prompts (the same prompt several times for several images, where the
            pipeline repeats no embeddings for `num_images_per_prompt`), or the result of `encode_prompts` or
            `encode_scheduled` of `promptweight.conditioning` with `in_session=True`, which has its own
            negative prompt, weighting, dialect, `clip_skip` and steps.
        negative_prompt: the negative prompt or prompts; None for the pipeline's default.
        weighting: how weights act, as `Weighting.of` takes it. With a method on embeddings, attention is only
            recorded, except that `presence` applies weights above 1 in attention. With `attention` or
            `attention-p2p` weights act in every cross- or joint-attention layer, also those of the negative
            prompt, and the embeddings are those of the text without weights. A word's own option `weighting`
            has precedence.
        edit: with several prompts, how the images of all but the first use its attention. The prompts may
            change during the run, but must not contain AND. Pass the pipeline one generator for each image,
            with the same seed, so that they begin from the same noise.
        targets: shares of the words' attention, 0 to 1, by phrase: weights in attention that give each phrase
            its share are solved for at every step, as with `(gato:=25%)` in the prompt. See
            `session.share_results`. In prompts that change, and in parts that AND joins, they are shares
            within each variant.
        record: True to record with default settings, False not to, or the settings.
        negative_guidance: the way in which the negative prompt acts, as `NegativeGuidance.of` takes it; None
            for classifier-free guidance. With `nag` and `vsf` it acts in attention, at any guidance scale,
            and recorded maps are those of the attention to the positive prompt alone.
        num_inference_steps: number of sampling steps of the run, for prompts that change during it; for a run
            that begins from an image, the number of steps that it really does.
        dialect: dialect of prompts given as text.
        clip_skip: as in `promptweight.encode`, like `max_sequence_length`.
        max_sequence_length: likewise.
        lora_scale: likewise.
        image: likewise; the pipeline's call gets it, too.

    Raises:
        AttachError: the pipeline's attention is not supported, or tables and embeddings do not match.
        SettingError: a value outside its range.
    """
    from promptweight.conditioning import EncodedPrompts, ScheduledEncoding, encode_scheduled

    if isinstance(prompt, EncodedPrompts):
        scheduled = ScheduledEncoding.plain(prompt)
    elif isinstance(prompt, ScheduledEncoding):
        scheduled = prompt
    else:
        scheduled = encode_scheduled(
            pipe,
            prompt,
            negative_prompt,
            num_inference_steps=num_inference_steps,
            weighting=weighting,
            dialect=dialect,
            clip_skip=clip_skip,
            max_sequence_length=max_sequence_length,
            lora_scale=lora_scale,
            image=image,
            in_session=True,
        )
    settings = scheduled.encoded.settings
    if not settings.in_session:
        raise SettingError(message("session-encoding"))
    own = settings.weighting
    if weighting is not None and Weighting.of(weighting).calibrated(own) != own:
        raise SettingError(message("session-weighting", weighting=Weighting.of(weighting), encoded=own))
    return AttentionSession(
        pipe,
        scheduled,
        weighting=settings.weighting,
        edit=edit,
        targets=targets,
        record=record,
        negative_guidance=NegativeGuidance.of(negative_guidance),
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
        pipe: Pipeline,
        scheduled: ScheduledEncoding,
        *,
        weighting: Weighting,
        edit: PromptToPrompt | None = None,
        targets: Mapping[str, float] | None = None,
        record: bool | Record = True,
        negative_guidance: NegativeGuidance,
    ) -> None:
        self.tables: dict[Role, tuple[TokenTable, ...]] = scheduled.tables
        self.warnings: list[Message] = list(scheduled.encoded.warnings)
        is_unused = (
            scheduled.encoded.other_negative_embeds is not None and not negative_guidance.acts_in_attention
        )
        if is_unused and any(table.prompt.text.strip() for table in self.tables["negative"]):
            self.warnings.append(message("negative-unsupported", name=type(pipe).__name__))
        self._pipe, self._has_maps = pipe, bool(record)
        # Not a method: what is left of a run would reference the session until a garbage collection.
        warn = partial(_append_once, self.warnings)
        self.config: SessionConfig = configure_session(
            pipe,
            scheduled,
            weighting=weighting,
            edit=edit,
            targets=targets,
            record=record,
            negative_guidance=negative_guidance,
            warn=warn,
        )
        self.inputs: dict[str, Any] = self.config.inputs
        self.installation = Installation(pipe, self.config, warn)
        self.controller = AttentionController(pipe, self.config, self.installation, warn)

    def __enter__(self) -> AttentionSession:
        self.installation.install(self.controller.before_call, self.controller.after_call)
        self.controller.crop.install()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.installation.uninstall()
        self.controller.crop.uninstall()
        self.controller.release()

    @property
    def maps(self) -> AttentionMaps:
        """Maps of the attention recorded so far; a copy, which a running pipeline does not change.

        Raises:
            AttachError: nothing has been recorded.
        """
        store = self.config.store
        if store is None or not self._has_maps:
            raise AttachError(message("session-without-maps"))
        if not store.slots:
            raise AttachError(message("session-not-run"))
        pipe: Any = self._pipe
        names = ("vae_scale_factor", "vae_scale_factor_spatial", "vae_spatial_compression_ratio")
        pixels_per_latent = next((getattr(pipe, name) for name in names if hasattr(pipe, name)), 1)
        placement = self.controller.crop.placement
        recording = copy_recording(store, self.config.variants, pixels_per_latent, placement)
        return AttentionMaps.from_recording(recording)

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
            options: `weighting`, `steps`, `layers` and `region` of `KeyRule`; the region also as a name, a
                box, an image or an array. Options that are not passed keep their values, at first those of
                the session's weighting.

        Raises:
            WordNotFoundError: the prompt does not contain the word.
            SettingError: a value outside its range.
        """
        match = find_phrase(self._get_variants(prompt, role), word, occurrence)
        if "layers" in options:
            select_layers(self.config.layout.layers, validation.check_layers(options["layers"]))
        for variant, rows in match.rows.items():
            index = self.config.variant_keys.index((role, prompt, variant))
            self.config.rules.set(index, rows, weight=weight, **options)

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
            raise SettingError(message("session-role", role=role))
        return of_role[validation.check_integer("prompt", prompt, 0, len(of_role) - 1)]


def _append_once(warnings: list[Message], warning: Message) -> None:
    """Append a warning unless the list has it."""
    if warning not in warnings:
        warnings.append(warning)
