"""Attaching to a pipeline: recording and weighting its attention for as long as a `with` block lasts.

    with attach(pipe, "um (gato:1.4) vermelho", space="attention") as session:
        image = pipe(**session.inputs, num_inference_steps=25).images[0]
    session.maps.word("gato").overlay(image)

The layers' own processors are put back at the end of the block, whatever happens inside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from diffusers.models.attention_processor import (
    AttnProcessor,
    AttnProcessor2_0,
    FusedAttnProcessor2_0,
    SlicedAttnProcessor,
    XFormersAttnProcessor,
)
from torch import Tensor

from promptweight.attention.lanes import ROLES, Lane, Registered, Role, classify
from promptweight.attention.layout import cross_attention_layers
from promptweight.attention.maps import AttentionMaps
from promptweight.attention.processors import Call, CrossProcessor
from promptweight.attention.recording import recorded_positions, take_recording
from promptweight.attention.rules import KeyWeights
from promptweight.attention.store import Record, Store
from promptweight.errors import AttachError, SettingError

if TYPE_CHECKING:
    from promptweight.conditioning import Encoded, TokenTable
    from promptweight.prompt import Prompt

Space = Literal["embedding", "attention"]

SAME_ARITHMETIC = (AttnProcessor2_0, FusedAttnProcessor2_0)
"""Processors that a `CrossProcessor` reproduces bit for bit."""
SAME_MEANING = (AttnProcessor, SlicedAttnProcessor, XFormersAttnProcessor)
"""Processors that compute the same attention with another kernel: replaced, and said so."""


def attach(
    pipe: Any,
    prompt: Encoded | str | Prompt | Sequence[str | Prompt],
    negative_prompt: str | Prompt | Sequence[str | Prompt] = "",
    *,
    space: Space = "embedding",
    record: bool | Record = True,
    **encoding: Any,
) -> AttentionSession:
    """A session that records what the words of `prompt` attend to, and may weight them there.

    Args:
        pipe: a diffusers pipeline with a `UNet2DConditionModel`.
        prompt: a prompt, a list of them, or what `conditioning.encode_prompts` returned.
        negative_prompt: the negative prompt or prompts; not read when `prompt` is already encoded.
        space: where the weights act. "embedding": in the text embeddings, and attention is only recorded.
            "attention": the embeddings are the clean text's, and a weight w adds log w to the logits of the
            word's keys in every cross-attention layer; the negative prompt's words are weighted likewise.
        record: whether to record, or what.
        encoding: further settings of `conditioning.encode_prompts`.

    Raises:
        AttachError: the pipeline has no cross-attention that can be read, or is attached already.
    """
    if space not in ("embedding", "attention"):
        raise SettingError(f"space={space!r}; it must be 'embedding' or 'attention'")
    if not hasattr(prompt, "inputs"):
        from promptweight.conditioning import encode_prompts

        if space == "attention":
            encoding["method"] = "none"
        prompt = encode_prompts(pipe, prompt, negative_prompt, **encoding)
    return AttentionSession(pipe, prompt, weighted=space == "attention", record=record)


class AttentionSession:
    """A pipeline under observation; made by `attach` and entered with `with`.

    Attributes:
        inputs: keyword arguments for the pipeline's call, the text embeddings among them.
        warnings: what the person should know, in full sentences; may grow while a picture is made.
    """

    def __init__(self, pipe: Any, encoded: Encoded, *, weighted: bool, record: bool | Record) -> None:
        self.inputs: dict[str, Any] = dict(encoded.inputs)
        self.warnings: list[str] = list(encoded.warnings)
        self.tables: dict[Role, tuple[TokenTable, ...]] = {
            "positive": tuple(encoded.positive),
            "negative": tuple(encoded.negative),
        }
        self._pipe = pipe
        self._unet = find_unet(pipe)
        self._registered = self._register()
        self._owners: list[tuple[Role, int]] = [
            (role, prompt) for role in ROLES for prompt in range(len(self._rows_of(role)))
        ]
        self._weights = KeyWeights(
            [
                table.weights if weighted else [1.0] * table.rows
                for role in ROLES
                for table in self._rows_of(role)
            ]
        )
        self._layers = cross_attention_layers(self._unet)
        self._store = self._make_store(Record() if record is True else record) if record else None
        self._call = Call()
        self._originals: dict[str, Any] = {}
        self._processors: dict[str, CrossProcessor] = {}
        self._hook: Any = None
        self._seen: tuple[Tensor, tuple[Lane | None, ...]] | None = None
        self._timesteps: Any = None

    def __enter__(self) -> AttentionSession:
        processors = {name: attn.processor for name, (_, attn) in self._layers.items()}
        for name, processor in processors.items():
            if isinstance(processor, CrossProcessor):
                raise AttachError(
                    f"{type(self._pipe).__name__} is attached already; leave that session first"
                )
            if type(processor) not in SAME_ARITHMETIC + SAME_MEANING:
                raise AttachError(f"layer {name} has a {type(processor).__name__}, which cannot be recorded")
        self._warn_of_other_kernels(processors)
        self._originals = processors
        for name, (_, attn) in self._layers.items():
            fused = isinstance(processors[name], FusedAttnProcessor2_0)
            self._processors[name] = CrossProcessor(self._call, fused=fused)
            set_processor(attn, self._processors[name])
        self._hook = self._unet.register_forward_pre_hook(self._before_call, with_kwargs=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hook.remove()
        for name, processor in self._originals.items():
            set_processor(self._layers[name][1], processor)
        self._originals = {}
        self._seen = None

    @property
    def maps(self) -> AttentionMaps:
        """What has been recorded up to now; a copy, so that a picture being made does not change it.

        Raises:
            AttachError: nothing has been recorded.
        """
        if self._store is None:
            raise AttachError("the session was opened with record=False, so there are no maps")
        if not self._store.slots:
            raise AttachError(
                "nothing is recorded yet; call the pipeline with **session.inputs inside the block"
            )
        pixels_per_latent = getattr(self._pipe, "vae_scale_factor", 1)
        return AttentionMaps.of(take_recording(self._store, self.tables, pixels_per_latent))

    def set_weight(
        self, word: str, weight: float, *, occurrence: int = 0, prompt: int = 0, lane: Role = "positive"
    ) -> None:
        """Give a word or phrase a new weight in attention, from the model's next call on.

        Raises:
            WordNotFoundError: the prompt does not hold the word.
            SettingError: the weight is not finite.
        """
        words = self._rows_of(lane)[prompt].find(word, occurrence)
        positions = {position for found in words for position in found.positions}
        self._weights.set(self._owners.index((lane, prompt)), positions, weight)

    def reset(self) -> None:
        """Forget what was recorded, as every new run of the pipeline does by itself."""
        if self._store is not None:
            self._store.clear()

    def _register(self) -> Registered:
        positive = self.inputs["prompt_embeds"]
        negative = self.inputs.get("negative_prompt_embeds")
        for role, embeds in zip(ROLES, (positive, negative), strict=True):
            if embeds is None:
                continue
            tables = self.tables[role]
            if (len(tables), max(table.rows for table in tables)) != tuple(embeds.shape[:2]):
                raise AttachError(
                    f"the {role} embeddings have shape {tuple(embeds.shape)}, the token tables "
                    f"{[table.rows for table in tables]} rows; they must describe the same prompts"
                )
        return Registered(positive, negative)

    def _rows_of(self, role: Role) -> tuple[TokenTable, ...]:
        return () if role == "negative" and self._registered.negative is None else self.tables[role]

    def _make_store(self, record: Record) -> Store:
        layers = [layer for layer, _ in self._layers.values()]
        if record.layers:
            layers = [layer for layer in layers if any(part in layer.name for part in record.layers)]
        if not layers:
            raise SettingError(
                f"no layer's name holds any of {record.layers}; layers: {', '.join(self._layers)}"
            )
        columns = {owner: recorded_positions(self.tables[owner[0]][owner[1]]) for owner in self._owners}
        return Store(record, layers, columns)

    def _warn_of_other_kernels(self, processors: dict[str, Any]) -> None:
        others = {type(processor).__name__ for processor in processors.values()} - {
            kind.__name__ for kind in SAME_ARITHMETIC
        }
        if others:
            self.warnings.append(
                f"{', '.join(sorted(others))} gives no columns of its softmax; inside the session "
                "cross-attention runs on torch's own kernel, and the picture may differ in the last digits"
            )

    def _before_call(self, _unet: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Tell the layers what the call that now begins asks of them."""
        sample = args[0] if args else kwargs["sample"]
        embeds = args[2] if len(args) > 2 else kwargs["encoder_hidden_states"]
        lanes = self._lanes(embeds)
        owners = [self._owners.index((lane.role, lane.prompt)) if lane else -1 for lane in lanes]
        self._call.bias, self._call.signs = self._weights.terms(owners, sample.device)
        recorded = self._record_call(lanes, tuple(sample.shape[-2:]), sample.device)
        self._call.rows, self._call.columns, self._call.places = recorded or (None, None, None)

    def _lanes(self, embeds: Tensor) -> tuple[Lane | None, ...]:
        # A pipeline passes the same tensor at every step, so the rows are compared once, not step by step.
        if self._seen is None or self._seen[0] is not embeds:
            guidance = bool(getattr(self._pipe, "do_classifier_free_guidance", True))
            self._seen = (embeds, classify(embeds, self._registered, guidance=guidance))
            if not any(self._seen[1]):
                self._warn_once(
                    "the model was called with embeddings that are not this session's, so nothing was "
                    "recorded or weighted; pass **session.inputs to the pipeline"
                )
        return self._seen[1]

    def _record_call(
        self, lanes: tuple[Lane | None, ...], size: tuple[int, int], device: Any
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        if self._store is None:
            return None
        # Every run of a pipeline makes its schedule anew, so another tensor of timesteps means another run.
        timesteps = getattr(getattr(self._pipe, "scheduler", None), "timesteps", None)
        if timesteps is not self._timesteps:
            self._timesteps = timesteps
            self._store.clear()
        slots = self._store.slots
        recorded = self._store.prepare(lanes, size, 1 if timesteps is None else len(timesteps), device)
        if self._store.slots is not slots and self._store.plan is not None:
            for name, processor in self._processors.items():
                processor.slot = self._store.slots.get(name)
            for warning in self._store.plan.warnings:
                self._warn_once(warning)
        return recorded

    def _warn_once(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)


def find_unet(pipe: Any) -> Any:
    """The pipeline's UNet; AttachError when it has none with cross-attention."""
    from diffusers import UNet2DConditionModel

    unet = getattr(pipe, "unet", None)
    if not isinstance(unet, UNet2DConditionModel):
        raise AttachError(
            f"{type(pipe).__name__} has no UNet2DConditionModel, whose cross-attention could be recorded"
        )
    return unet


def set_processor(attn: Any, processor: Any) -> None:
    """Put this very object into the layer; `Attention.set_processor` would do more than that."""
    attn.processor = processor
