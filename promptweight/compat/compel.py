"""compel's interface: `Compel`, which encodes prompts of compel's syntax.

    from promptweight.compat import Compel

    compel = Compel(tokenizer=pipe.tokenizer, text_encoder=pipe.text_encoder)
    image = pipe(prompt_embeds=compel("a (red)1.4 cat playing++")).images[0]

Names, arguments and results are those of damian0815/compel 2.5; the formula is
`promptweight.weighting.METHODS["compel"]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, Flag, auto
from typing import Any, TypeVar

import torch
from torch import Tensor

from promptweight.conditioning import EncoderKind, EncodingSettings, TextEncoder, TokenTable, Unit
from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.prompt import Prompt, as_prompt
from promptweight.validation import check_integer
from promptweight.weighting import Weighting

_DIALECT = "compel"
_SETTINGS = EncodingSettings(Weighting("compel"))
_MAX_LENGTH = 100_000

Choice = TypeVar("Choice", bound=Enum)


class DownweightMode(Enum):
    """Ways to hide a word of weight below 1 from the text encoder; `promptweight.compat` has MASK."""

    REMOVE = 0
    MASK = 1


class ReturnedEmbeddingsType(Enum):
    """The output of a text encoder that is returned.

    The last hidden states (Stable Diffusion 1 and 2), those before the last layer with or without the final
    normalization (clip skip; SDXL), or the pooled vector.
    """

    LAST_HIDDEN_STATES_NORMALIZED = 0
    PENULTIMATE_HIDDEN_STATES_NORMALIZED = 1
    PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED = 2
    POOLED = 3


class SplitLongTextMode(Flag):
    """Ends of chunks in the text of a long prompt; `promptweight.compat` has the first four."""

    BRUTAL = auto()
    WORDS = auto()
    PHRASES = auto()
    SENTENCES = auto()
    COPY_FIRST_CLS_TOKEN = auto()
    MERGE_CLS_TOKENS = auto()


_UNITS: dict[str, Unit] = {
    "BRUTAL": "tokens",
    "WORDS": "words",
    "PHRASES": "phrases",
    "SENTENCES": "sentences",
}


@dataclass(frozen=True)
class DiffusersTextualInversionManager:
    """Textual inversions of a pipeline.

    `Compel` expands the tokens of textual inversions with several vectors with and without a manager.

    Attributes:
        pipe: the pipeline with the textual inversions.
    """

    pipe: Any


class Compel:
    """Encoder of prompts in compel's syntax.

    Args:
        tokenizer: a tokenizer of transformers, or a list of them (SDXL).
        text_encoder: its text encoder, or a list of them, whose embeddings are concatenated along the
            channels.
        textual_inversion_manager: None or a `DiffusersTextualInversionManager`.
        dtype_for_device_getter: None; weights act in float32, and the embeddings have the type of the
            text encoder.
        truncate_long_prompts: whether a prompt is cut to one chunk; otherwise it has as many as it needs.
        padding_attention_mask_value: 1; padding is attended to.
        downweight_mode: `DownweightMode.MASK`.
        returned_embeddings_type: the output of the text encoders; in a list, one for each of them.
        requires_pooled: whether the pooled vector is returned; in a list, one for each text encoder.
        split_long_text_mode: where long prompts are split into chunks, without the `CLS_TOKEN` flags.
        device: the device of the token ids; None is that of the text encoder.
        model_max_length: the number of tokens in a chunk; None is the tokenizer's own.
        suppress_eos: False; the end of text is encoded.

    Raises:
        SettingError: an argument is missing or has a value that promptweight cannot follow, or lists differ
            in length.
    """

    def __init__(
        self,
        tokenizer: Any,
        text_encoder: Any,
        textual_inversion_manager: DiffusersTextualInversionManager | None = None,
        dtype_for_device_getter: Callable[[torch.device], torch.dtype] | None = None,
        truncate_long_prompts: bool = True,
        padding_attention_mask_value: int = 1,
        downweight_mode: DownweightMode = DownweightMode.MASK,
        returned_embeddings_type: ReturnedEmbeddingsType
        | Sequence[ReturnedEmbeddingsType] = ReturnedEmbeddingsType.LAST_HIDDEN_STATES_NORMALIZED,
        requires_pooled: bool | Sequence[bool] = False,
        split_long_text_mode: SplitLongTextMode = SplitLongTextMode.SENTENCES,
        device: str | torch.device | None = None,
        model_max_length: int | None = None,
        suppress_eos: bool = False,
    ) -> None:
        if not isinstance(textual_inversion_manager, DiffusersTextualInversionManager | None):
            valid = "None, a DiffusersTextualInversionManager of promptweight.compat"
            raise _refusal("textual_inversion_manager", valid, textual_inversion_manager)
        if dtype_for_device_getter is not None:
            raise _refusal("dtype_for_device_getter", "None", dtype_for_device_getter)
        if padding_attention_mask_value != 1:
            raise _refusal("padding_attention_mask_value", "1", padding_attention_mask_value)
        if _as_member(DownweightMode, "downweight_mode", downweight_mode) != DownweightMode.MASK:
            raise _refusal("downweight_mode", "DownweightMode.MASK", downweight_mode)
        if suppress_eos:
            raise _refusal("suppress_eos", "False", suppress_eos)
        if getattr(split_long_text_mode, "name", None) not in _UNITS:
            valid = ", ".join(f"SplitLongTextMode.{name}" for name in _UNITS)
            raise _refusal("split_long_text_mode", valid, split_long_text_mode)
        tokenizers, models = as_list(tokenizer), as_list(text_encoder)
        for name, given in (("tokenizer", tokenizers), ("text_encoder", models)):
            if not given or None in given:
                raise SettingError(message("compat-missing", name=name))
        count = len(models)
        types = _spread("returned_embeddings_type", returned_embeddings_type, count)
        pooled = _spread("requires_pooled", requires_pooled, count)
        if len(tokenizers) != count:
            raise SettingError(message("compat-lists", name="tokenizer", number=count, given=len(tokenizers)))
        if count > 1 and requires_pooled is True:
            raise _refusal("requires_pooled", "False, [False, True]", requires_pooled)
        self._types = [_as_member(ReturnedEmbeddingsType, "returned_embeddings_type", each) for each in types]
        if count > 1 and ReturnedEmbeddingsType.POOLED in self._types:
            raise _refusal("returned_embeddings_type", "LAST_…, PENULTIMATE_…", ReturnedEmbeddingsType.POOLED)
        self._tokenizers, self._models, self._pooled = tokenizers, models, pooled
        self._is_chunked = not truncate_long_prompts
        self._unit = _UNITS[str(split_long_text_mode.name)]
        if model_max_length is not None:
            check_integer("model_max_length", model_max_length, 3, _MAX_LENGTH)
        self._max_length = model_max_length
        self._device = device
        self.requires_pooled = requires_pooled

    @property
    def device(self) -> torch.device:
        """The device on which prompts are encoded."""
        return torch.device(self._device) if self._device else self._models[0].device

    @torch.no_grad()
    def build_conditioning_tensor(self, text: str, return_tokenization: bool = False) -> Any:
        """Encode one prompt.

        Args:
            text: the prompt.
            return_tokenization: whether the token ids are returned, (1, tokens).

        Returns:
            The embeddings (1, tokens, channels), or the pooled vector (1, channels) where that is the type;
            a tuple with the token ids and the pooled vector, in this order, where they are asked for.

        Raises:
            SettingError: the prompt is not text, or has `.swap()`.
        """
        return self._build(text, self._make_encoders(), return_tokenization)

    def _build(self, text: str, encoders: Sequence[TextEncoder], return_tokenization: bool) -> Any:
        """Encode one prompt with text encoders that keep their outputs, as `build_conditioning_tensor`."""
        prompt = _parse(text)
        tables = [encoder.tokenize(prompt) for encoder in encoders]
        if self._types[0] is ReturnedEmbeddingsType.POOLED:
            embeds = self._pool(encoders[0], prompt)
        else:
            chunks = max(table.chunks for table in tables)
            columns = []
            for number, (encoder, table) in enumerate(zip(encoders, tables, strict=True)):
                rows = encoder.embed(table, _weighting_of(encoder), self._skip(number), _ignore)
                if missing := chunks - table.chunks:
                    rows = torch.cat([rows, *[encoder.encode_empty(self._skip(number)).rows] * missing])
                columns.append(rows)
            embeds = torch.cat(columns, -1)[None]
        results = [embeds]
        if return_tokenization:
            results.append(torch.tensor([[each for table in tables for each in _list_ids(table)]]))
        wanted = [encoder for encoder, is_wanted in zip(encoders, self._pooled, strict=True) if is_wanted]
        if wanted:
            results.append(torch.cat([self._pool(encoder, prompt) for encoder in wanted], -1))
        return results[0] if len(results) == 1 else tuple(results)

    @torch.no_grad()
    def __call__(self, text: str | list[str], return_tokenization: bool = False) -> Any:
        """Encode a prompt or a list of prompts, padded to one length.

        Results are those of `build_conditioning_tensor`, along the first dimension; token ids are a list with
        a tensor for each prompt.
        """
        texts = text if isinstance(text, list) else [text]
        if not texts:
            raise SettingError(message("prompts-empty"))
        encoders = self._make_encoders()  # shared, so that they encode the empty prompt once for all texts
        outputs = [self._build(each, encoders, return_tokenization=True) for each in texts]
        embeds = self._pad([output[0] for output in outputs], lambda: self._encode_empty_chunk(encoders))
        results: list[Any] = [torch.cat(embeds)]
        if return_tokenization:
            results.append([output[1] for output in outputs])
        if any(self._pooled):
            results.append(torch.cat([output[2] for output in outputs]))
        return results[0] if len(results) == 1 else tuple(results)

    @torch.no_grad()
    def pad_conditioning_tensors_to_same_length(
        self, conditionings: list[Tensor], precomputed_padding: Tensor | None = None
    ) -> list[Tensor]:
        """Pad embeddings with those of empty chunks to the length of the longest.

        Args:
            conditionings: embeddings, (tokens, channels) or (prompts, tokens, channels).
            precomputed_padding: the embeddings of an empty chunk, (tokens, channels) or (1, tokens,
                channels); None for those of the empty prompt.

        Returns:
            The embeddings in this order; (prompts, tokens, channels) where any of them is padded.

        Raises:
            SettingError: they differ in more than their length, or their lengths are not whole chunks.
        """
        if precomputed_padding is not None:
            return self._pad(conditionings, lambda: precomputed_padding)
        return self._pad(conditionings, lambda: self._encode_empty_chunk(self._make_encoders()))

    def _pad(self, conditionings: list[Tensor], make_padding: Callable[[], Tensor]) -> list[Tensor]:
        """Pad embeddings as `pad_conditioning_tensors_to_same_length`; the padding is made where needed."""
        shapes = [tuple(each.shape) for each in conditionings]
        if len(set(shapes)) < 2:
            return conditionings
        batched = [each[None] if each.ndim == 2 else each for each in conditionings]
        if any(each.ndim != 3 for each in batched) or len({(len(x), x.shape[-1]) for x in batched}) > 1:
            raise SettingError(message("compat-padding-shapes", shapes=shapes))
        padding = make_padding()
        padding = padding[None] if padding.ndim == 2 else padding
        longest, chunk = max(each.shape[1] for each in batched), padding.shape[1]
        if any((longest - each.shape[1]) % chunk for each in batched):
            raise SettingError(message("compat-padding-chunks", rows=chunk, shapes=shapes))
        return [
            torch.cat([each, padding.to(each).repeat(len(each), (longest - each.shape[1]) // chunk, 1)], 1)
            for each in batched
        ]

    def describe_tokenization(self, text: str) -> list[str]:
        """Return the tokens of a text in the tokenizer's vocabulary, where `</w>` ends a word."""
        return self._tokenizers[0].tokenize(text)

    def get_tokens(self, text: str) -> list[int]:
        """Return the token ids of a text without those of its beginning and end."""
        return list(self._tokenizers[0](text, add_special_tokens=False, verbose=False).input_ids)

    def _make_encoders(self) -> list[TextEncoder]:
        """Return the text encoders with empty caches, so that they follow changes of the models."""
        return [self._make_encoder(number) for number in range(len(self._models))]

    def _make_encoder(self, number: int) -> TextEncoder:
        output = self._types[number]
        is_inner = output is ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED
        kind = EncoderKind(
            f"text encoder {number + 1}",
            "tokenizer",
            "text_encoder",
            "penultimate" if is_inner else "last",
            method="compel",
            is_chunked=self._is_chunked and output is not ReturnedEmbeddingsType.POOLED,
        )
        model = self._models[number]
        device = torch.device(self._device) if self._device else model.device
        return TextEncoder(
            kind, self._tokenizers[number], self._max_length, self._unit, model=model, device=device
        )

    def _skip(self, number: int) -> int | None:
        """Return the number of last layers to skip."""
        return (
            1 if self._types[number] is ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NORMALIZED else None
        )

    def _pool(self, encoder: TextEncoder, prompt: Prompt) -> Tensor:
        """Return the pooled vector of a prompt, cut to one chunk, (1, channels)."""
        truncating = replace(encoder, kind=replace(encoder.kind, is_chunked=False))
        return truncating.pool(truncating.tokenize(prompt), _weighting_of(encoder))[None]

    def _encode_empty_chunk(self, encoders: Sequence[TextEncoder]) -> Tensor:
        """Return the embeddings of an empty chunk, (tokens, channels)."""
        rows = [encoder.encode_empty(self._skip(number)).rows for number, encoder in enumerate(encoders)]
        return torch.cat(rows, -1)


def _parse(text: str) -> Prompt:
    if not isinstance(text, str):
        raise SettingError(message("prompts-type", kind=type(text).__name__, advice=""))
    prompt = as_prompt(text, _DIALECT)
    if prompt.swaps:
        raise SettingError(message("compat-swap", prompt=text))
    return prompt


def _list_ids(table: TokenTable) -> list[int]:
    """Return the token ids of a prompt; of a blend, those of its first part."""
    if not table.parts:
        return [token.id for token in table.tokens]
    return [token.id for block in table.parts for token in block[0].tokens]


def _weighting_of(encoder: TextEncoder) -> Any:
    return _SETTINGS.for_encoder(encoder.kind, _DIALECT)


def _ignore(_: object) -> None:
    """Drop a warning; the method `compel` has none."""


def as_list(value: Any) -> list[Any]:
    """Return a list of one value or of those of a list."""
    return list(value) if isinstance(value, list | tuple) else [value]


def _spread(name: str, value: Any, number: int) -> list[Any]:
    """Return one value for each text encoder.

    Raises:
        SettingError: a list has another length.
    """
    values = as_list(value)
    if isinstance(value, list | tuple) and len(values) != number:
        raise SettingError(message("compat-lists", name=name, number=number, given=len(values)))
    return values if isinstance(value, list | tuple) else values * number


def _as_member(kind: type[Choice], name: str, value: Any) -> Choice:
    """Return a member of `kind`; one of compel's own enumeration is taken by its name."""
    if not isinstance(value, Enum) or value.name not in kind.__members__:
        raise _refusal(name, ", ".join(f"{kind.__name__}.{each}" for each in kind.__members__), value)
    return kind[value.name]


def _refusal(name: str, valid: str, value: object) -> SettingError:
    return SettingError(message("compat-argument", name=name, valid=valid, value=value))
