"""Attaching to a pipeline: recording and weighting its attention for as long as a `with` block lasts.

    with attach(pipe, "um (gato:1.4) vermelho", space="attention") as session:
        image = pipe(**session.inputs, num_inference_steps=25).images[0]
    session.maps.word("gato").overlay(image)

The layers' own processors are put back at the end of the block, whatever happens inside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor

from promptweight.attention.adapt import (
    adapt,
    give_recorder,
    is_adaptable,
    is_adapted,
    release,
    take_recorder,
)
from promptweight.attention.calls import Arguments, listen, offloaded_device
from promptweight.attention.composing import Composer
from promptweight.attention.lanes import ROLES, Lane, Registered, Role, classify
from promptweight.attention.layout import Layer, argument, chosen_layers, grid, layout_of
from promptweight.attention.maps import AttentionMaps
from promptweight.attention.processors import (
    OTHER_KERNELS,
    readable,
    replacement,
    self_replacement,
    set_processor,
)
from promptweight.attention.prompt_to_prompt import Edits, PromptToPrompt, pairs_of
from promptweight.attention.recorder import Call, Recorder
from promptweight.attention.recording import take_recording
from promptweight.attention.rules import Mode, Rules, Terms
from promptweight.attention.run import Run
from promptweight.attention.shares import Found, Keeper, shares_in_text, wanted_of
from promptweight.attention.store import Kind, Record, Store, recorded_lanes
from promptweight.attention.tables import key_rules, recorded_rows
from promptweight.attention.voices import find, voices_of, words_of
from promptweight.errors import AttachError, SettingError

if TYPE_CHECKING:
    from promptweight.conditioning.encoding import Encoded
    from promptweight.conditioning.schedule import Staged
    from promptweight.conditioning.tokens import TokenTable, Word
    from promptweight.prompt import Prompt

Space = Literal["embedding", "attention"]
AttachMode = Literal["logit", "p2p", "value", "clip"]
ATTACH_MODES: tuple[AttachMode, ...] = get_args(AttachMode)
"""How weights act with `space="attention"`: in the denoiser's attention, or inside the CLIP text encoders."""


def attach(
    pipe: Any,
    prompt: Encoded | str | Prompt | Sequence[str | Prompt],
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
    `promptweight.attention.composing` explains. Encoded prompts stay as they are.

    Args:
        pipe: a diffusers pipeline of Stable Diffusion 1, 2, XL or 3 or of FLUX.1.
        prompt: a prompt, a list of them, or what `conditioning.encode_prompts` returned; for
            `space="attention"` it must have been called with `method="none"`, or the weights act twice.
        negative_prompt: the negative prompt or prompts; not read when `prompt` is already encoded.
        space: where the weights act. "embedding": in the text embeddings, and attention is only recorded.
            "attention": in every cross- or joint-attention layer, the negative prompt's words too, while the
            embeddings are the clean text's. A word's own option `mode` goes before this.
        mode: how weights act in attention (see `promptweight.attention.rules`); "clip" in that of the CLIP
            text encoders (see `promptweight.conditioning.text_bias`), which leaves a T5 alone.
        layers: parts of the names of the layers in which they act; all layers when empty.
        edit: with several prompts, how the pictures of all but the first take its attention. Give the
            pipeline one generator for each, of the same seed, so that they begin from the same noise.
        targets: shares of the words' attention, 0 to 1, by phrase: weights in attention are found at every
            step that give each phrase its share, as `(gato:=25%)` in the prompt does. See `session.found`.
        balance: True for weights, found likewise, that give the phrases of a prompt equal shares among each
            other (`promptweight.attention.phrases`); or the phrases that are to have them.
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
    from promptweight.conditioning.schedule import Staged, encode_scripts

    given: Any = prompt
    if hasattr(prompt, "inputs"):
        staged = Staged.plain(given)
    else:
        if space == "attention":
            encoding["method"] = "none"
            if mode == "clip":
                encoding["mode"] = "clip"
        steps = num_inference_steps
        staged = encode_scripts(pipe, given, negative_prompt, num_inference_steps=steps, **encoding)
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
        staged: Staged,
        *,
        mode: Mode | None,
        layers: Sequence[str],
        edit: PromptToPrompt | None = None,
        targets: Mapping[str, float] | None = None,
        balance: bool | Sequence[str] = False,
        record: bool | Record = True,
    ) -> None:
        self.inputs: dict[str, Any] = staged.inputs
        self.tables: dict[Role, tuple[TokenTable, ...]] = staged.tables
        self.warnings: list[str] = list(staged.encoded.warnings)
        self._pipe = pipe
        self._voices = voices_of(staged)
        self._placed = {role: [voices[0] for voices in self._voices[role]] for role in ROLES}
        """The tables of every prompt's first text."""
        self._texts = [
            (role, prompt, voice)
            for role in ROLES
            for prompt, voices in enumerate(self._voices[role])
            for voice in range(len(voices))
        ]
        self._layout = layout_of(pipe)
        self._registered = Registered(self.inputs["prompt_embeds"], self.inputs.get("negative_prompt_embeds"))
        self._composer = Composer(staged, pipe, self._warn_once)
        self._planned = staged.steps
        rules = [key_rules(self._voices[role][prompt][voice], mode) for role, prompt, voice in self._texts]
        self._rules = Rules(rules, self._registered.positive.shape[1])
        self._acts_in = set(chosen_layers(self._layout.layers, layers))
        length = self._registered.positive.shape[1]
        self._keeper = self._make_keeper(targets, balance, length)
        self._shows_maps = bool(record)
        chosen = record if isinstance(record, Record) else Record()
        if self._keeper is not None and "positive" not in chosen.lanes:
            raise SettingError(f"lanes={chosen.lanes!r}; shares are found by recording the positive lane")
        self._store = self._make_store(chosen) if record or self._keeper else None
        if edit is not None and staged.changes:
            raise SettingError("an edit needs prompts that stay as they are, without [from:to:when] or AND")
        if self._keeper is not None and staged.changes:
            raise SettingError("shares need prompts that stay as they are, without [from:to:when] or AND")
        self._edits = None if edit is None else Edits(edit, self._placed["positive"], length)
        if self._edits is not None and self._store is not None and self._store.record.patches:
            raise SettingError("patches of the picture cannot be recorded in an edit; record words alone")
        if self._edits is not None and self._keeper is not None:
            raise SettingError("an edit takes the attention of its source, so its words cannot have targets")
        self._run = Run(pipe)
        self._calls: dict[tuple[int, bool], Call] = {}
        self._modules: dict[str, Any] = {}
        self._originals: dict[str, Any] = {}
        self._recorders: dict[str, Recorder] = {}
        self._stop_listening: Callable[[], None] | None = None
        self._device: torch.device | None = None
        self._seen: list[tuple[Tensor, tuple[Lane | None, ...]]] = []
        self._is_extra = False

    def __enter__(self) -> AttentionSession:
        layers = self._layout.layers
        self._modules = {name: attn for name, (_, attn) in layers.items()} | self._self_attentions()
        originals = {name: attn.processor for name, attn in self._modules.items()}
        if any(isinstance(each, Recorder) or is_adapted(each) for each in originals.values()):
            raise AttachError(f"{type(self._pipe).__name__} is attached already; leave its session first")
        self._recorders, self._calls = {}, {}
        for name, (layer, _) in layers.items():
            call = self._calls.setdefault((layer.stride, name in self._acts_in), Call())
            recorder: Recorder | None = replacement(originals[name], call)
            if recorder is None and is_adaptable(originals[name]):
                recorder = Recorder(call, layer.order)
            self._recorders[name] = recorder = readable(recorder, name, originals[name])
            if layer.self_attention in originals and layer.order == "cross":
                own = layer.self_attention
                recorder.before = readable(self_replacement(originals[own], call), own, originals[own])
                self._recorders[own] = recorder.before
        if self._store is not None:
            self._hand_out_slots(self._store)  # those of an earlier block, when it is entered again
        self._warn_of_other_kernels({type(original).__name__ for original in originals.values()})
        self._originals = originals
        self._device = offloaded_device(self._layout.model)
        try:
            self._install()
        except BaseException:
            self._put_back()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._put_back()

    def _install(self) -> None:
        for name, original in self._originals.items():
            if is_adaptable(original):
                give_recorder(self._modules[name], self._recorders[name])
                if not is_adapted(original):  # several layers may share it
                    adapt(original)
            else:
                set_processor(self._modules[name], self._recorders[name])
        self._stop_listening = listen(self._layout.called, self._before_call, self._after_call)

    def _put_back(self) -> None:
        if self._stop_listening is not None:
            self._stop_listening()
        for name, original in self._originals.items():
            if is_adapted(original):
                release(original)
            attn = self._modules[name]
            take_recorder(attn)
            if attn.processor is not original:
                set_processor(attn, original)
        self._originals, self._stop_listening, self._seen = {}, None, []

    @property
    def maps(self) -> AttentionMaps:
        """What has been recorded up to now; a copy, so that a picture being made does not change it.

        Raises:
            AttachError: nothing has been recorded.
        """
        if self._store is None or not self._shows_maps:
            raise AttachError("the session was opened with record=False, so there are no maps")
        if not self._store.slots:
            raise AttachError("nothing is recorded yet; call the pipeline with **session.inputs in the block")
        pixels_per_latent = getattr(self._pipe, "vae_scale_factor", 1)
        return AttentionMaps.of(take_recording(self._store, self._voices, pixels_per_latent))

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
            SettingError: a value outside its range.
        """
        found = find(self._voices[lane][prompt], word, occurrence)
        for voice, rows in found.rows.items():
            text = self._texts.index((lane, prompt, voice))
            self._rules.set(text, rows, weight=weight, **{"to": None} | options)

    def words(self, *, prompt: int = 0, lane: Role = "positive") -> tuple[Word, ...]:
        """The words of a prompt or negative prompt; of one with several texts those of all, once each."""
        return words_of(self._voices[lane][prompt])

    def find(
        self, phrase: str, occurrence: int = 0, *, prompt: int = 0, lane: Role = "positive"
    ) -> tuple[Word, ...]:
        """Finds consecutive words that read as `phrase`, in any text of a prompt or negative prompt.

        Raises:
            WordNotFoundError: none holds the phrase; lists the words there are.
        """
        return find(self._voices[lane][prompt], phrase, occurrence).words

    @property
    def found(self) -> dict[int, tuple[Found, ...]]:
        """The weights that were found for phrases with targets, and the shares they got, by picture."""
        return {} if self._keeper is None else self._keeper.found()

    def hold(self) -> None:
        """Leave the weights of phrases with targets as they now are; their shares are still measured."""
        if self._keeper is not None:
            self._keeper.is_held = True

    def reset(self) -> None:
        """Forget what was recorded, as every new run of the pipeline does by itself."""
        self._run.restart()
        self._forget()

    def _forget(self) -> None:
        if self._store is not None:
            self._store.clear()
        if self._keeper is not None:
            self._keeper.restart()

    def _make_keeper(
        self, targets: Mapping[str, float] | None, balance: bool | Sequence[str], length: int
    ) -> Keeper | None:
        tables = self._placed["positive"]
        wanted = [wanted_of(each, targets, balance) for each in tables]
        if balance is not False and None in wanted:
            text = tables[wanted.index(None)][0].table.prompt.text
            self.warnings.append(f"{text!r} has fewer than two phrases, so there is nothing to balance")
        if any(shares_in_text(each) for each in self._placed["negative"]):
            self.warnings.append(
                "a share in the negative prompt has no effect; shares are of the prompt alone"
            )
        return Keeper(wanted, tables, length) if any(wanted) else None

    def _make_store(self, record: Record) -> Store:
        chosen = chosen_layers(self._layout.layers, record.layers)
        columns = {
            (role, prompt, voice): recorded_rows(self._voices[role][prompt][voice])
            for role, prompt, voice in self._texts
        }
        layers = [self._layout.layers[name][0] for name in chosen]
        return Store(record, layers, columns, self._registered.positive.shape[1])

    def _before_call(self, _model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments | None:
        """Tell the layers what the call that now begins asks of them; the arguments that it is to have."""
        embeds = argument(args, kwargs, *self._layout.text)
        lanes = self._lanes(embeds, len(argument(args, kwargs, *self._layout.latents)))
        if self._run.has_begun():
            self._forget()
            self._check_steps()
        # A call that leaves layers out is for skip-layer guidance: no step of its own, and not recorded.
        roles = {lane.role for lane in lanes if lane}
        self._is_extra = kwargs.get("skip_layers") is not None or self._run.is_repeated(roles)
        step = self._run.current if self._is_extra else self._run.count(roles)
        size, device = self._layout.size(args, kwargs), self._device or embeds.device
        given: Arguments | None = None
        if self._composer.acts:
            voiced = self._composer.voiced(lanes, self._run.position(step, self._planned))
            given = self._composer.before(args, kwargs, self._layout.text, voiced, len(lanes))
            lanes = tuple(each.lane for each in voiced)
        recorded = None if self._is_extra else self._record_call(lanes, size, step, device)
        texts = [self._texts.index((lane.role, lane.prompt, lane.voice)) if lane else None for lane in lanes]
        exchange = None
        if self._edits is not None:
            exchange = self._edits.exchange(lanes, step, self._run.steps, device)
            if any(lane and lane.role == "positive" for lane in lanes) and not any(pairs_of(lanes)):
                self._warn_once(
                    "the edit did nothing where source and edited picture were not in one call of the model"
                )
        kept = None
        if self._keeper is not None and self._store is not None and not self._is_extra:
            rows = recorded_lanes(lanes, self._store.record.lanes)
            self._keeper.begin(list(rows.values()), device)
        if self._keeper is not None:
            kept = self._keeper.bias(lanes, device)
        for (stride, acts), call in self._calls.items():
            call.text_length = embeds.shape[1]
            call.terms = self._terms(texts, step, size, stride, device) if acts else Terms()
            if kept is not None and acts:
                call.terms = call.terms.with_bias(kept)
            call.rows, call.columns, call.places = recorded or (None, None, None)
            call.exchange = exchange
        return given

    def _after_call(self, _model: Any, _args: tuple[Any, ...], output: Any) -> Any:
        """What the pipeline gets of the call's output; None for the output itself."""
        return self._composer.after(output, is_extra=self._is_extra) if self._composer.acts else None

    def _check_steps(self) -> None:
        """Warn where the run that has begun has other steps than the prompts' changes were planned for."""
        if self._planned > 1 and not self._run.is_of(self._planned):
            self._warn_once(
                f"the prompt's changes were planned for {self._planned} steps and are spread over the "
                f"{self._run.steps} that the run has; give attach num_inference_steps={self._run.steps}"
            )

    def _terms(
        self, texts: list[int | None], step: int, size: tuple[int, int], stride: int, device: Any
    ) -> Terms:
        steps = self._run.steps
        return self._rules.terms(texts, min(step, steps - 1), steps, grid(*size, stride), device)

    def _lanes(self, embeds: Tensor, pictures: int) -> tuple[Lane | None, ...]:
        # A pipeline passes the same tensors at every step, so the rows are compared once, not step by step.
        for known, lanes in self._seen:
            if known is embeds and len(lanes) == max(len(embeds), pictures):
                return lanes
        lanes = classify(
            # FLUX's pipeline gives one row of text to several pictures
            embeds.expand(pictures, -1, -1) if len(embeds) == 1 else embeds,
            self._registered,
            guidance=bool(getattr(self._pipe, "do_classifier_free_guidance", True)),
            perturbed=bool(getattr(self._pipe, "do_perturbed_attention_guidance", False)),
        )
        self._seen = [(embeds, lanes), *self._seen[:3]]
        if not any(lanes):
            self._warn_once(
                "the model was called with embeddings that are not this session's, so nothing was "
                "recorded or weighted; pass **session.inputs to the pipeline"
            )
        return lanes

    def _record_call(
        self, lanes: tuple[Lane | None, ...], size: tuple[int, int], step: int, device: Any
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        if self._store is None:
            return None
        slots = self._store.slots
        recorded = self._store.prepare(lanes, size, step, self._run.steps, device)
        if self._store.slots is not slots and self._store.plan is not None:
            self._hand_out_slots(self._store)
            for warning in self._store.plan.warnings:
                self._warn_once(warning)
        return recorded

    def _hand_out_slots(self, store: Store) -> None:
        words, refined, patches, rows = (store.slots.get(kind, {}) for kind in get_args(Kind))
        if self._keeper is not None:
            for name in self._acts_in & words.keys():
                words[name].listener = self._keeper.take
        for name in self._layout.layers:
            recorder = self._recorders[name]
            recorder.slot, recorder.refined = words.get(name), refined.get(name)
            recorder.rows = rows.get(name)
            reader = recorder if recorder.before is None else recorder.before
            reader.patches = patches.get(name)
            if recorder.before is not None:
                recorder.before.keeps = recorder.refined is not None

    def _self_attentions(self) -> dict[str, Any]:
        """The UNet's layers that are listened to besides those that read the text, by name."""
        read: list[Layer] = []
        if self._edits is not None and self._edits.edit.self_replace_steps > 0:
            read += [layer for layer, _ in self._layout.layers.values()]
        elif self._store is not None and self._store.record.reads_image:
            read += self._store.layers
        names = {layer.self_attention for layer in read if layer.order == "cross"} - {""}
        return {name: self._layout.model.get_submodule(name) for name in names}

    def _warn_of_other_kernels(self, kinds: set[str]) -> None:
        if others := sorted(kinds.intersection(OTHER_KERNELS)):
            self._warn_once(
                f"{', '.join(others)} gives no columns of its softmax; inside the session these layers run "
                "on torch's own kernel, and the picture may differ in the last digits"
            )

    def _warn_once(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)
