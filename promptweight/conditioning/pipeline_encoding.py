"""Encoding of text by a pipeline's own `encode_prompt`, and the token of each row of its embeddings.

A pipeline whose text encoder is a language model writes the prompt into a template, drops the rows of the
template's beginning, and pads or trims the others. It encodes the text without weights itself, so that its
embeddings are its own bit for bit where no weight is below 1. The token of each row is found in the pipeline:

    the template   is around a placeholder that is encoded in place of the prompt
    the tokens     are those of the tokenizer, with their characters in the templated text
    the rows       are those of a second call of `encode_prompt`, in which the text encoder returns the
                   number of each token in place of its hidden state

Only the first call runs the text encoder, and one more for each distinct weight below 1, whose phrases the
text encoder does not get.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from promptweight.conditioning.compel_blend import split_blocks
from promptweight.conditioning.families import EncoderKind, Family
from promptweight.conditioning.numbered_tokens import Place, number_tokens, read_places, watch_encoder
from promptweight.conditioning.prompt_embeds import (
    ROLES,
    EncoderSection,
    EncodingSettings,
    Role,
    stack_texts,
)
from promptweight.conditioning.removed_tokens import remove_tokens
from promptweight.conditioning.templated_table import (
    PLACEHOLDER,
    find_template,
    make_blank_table,
    make_templated_table,
)
from promptweight.conditioning.token_table import Token, TokenTable
from promptweight.conditioning.tokenizer_tap import TokenizedText, tap_tokenizers
from promptweight.errors import ModelError, SettingError
from promptweight.messages import message
from promptweight.prompt import NO_OPTIONS
from promptweight.weighting import METHODS

if TYPE_CHECKING:
    from promptweight.prompt import Prompt
    from promptweight.protocols import Pipeline

_PREFIXES: Mapping[Role, str] = {"positive": "", "negative": "negative_"}


@dataclass(frozen=True)
class _EncodedText:
    """A text in the pipeline's form.

    Attributes:
        embeds: its embeddings, (rows, dim).
        mask: which of them the model uses, (rows); None for all.
        table: its token table.
        is_listed: whether the pipeline has the embeddings of a batch in a list.
    """

    embeds: Tensor
    mask: Tensor | None
    table: TokenTable
    is_listed: bool = False


class _ImageIsPreparedError(Exception):
    """Ends a call of a pipeline that has prepared the image for its text encoder."""


@dataclass
class PipelineEncoder:
    """Encoder of prompts by a pipeline's own `encode_prompt`.

    Attributes:
        pipe: the pipeline.
        family: its family, which has `outputs`.
        settings: the settings of the encoding.
        max_sequence_length: the length of a text in tokens; None is the pipeline's default.
        image: the image or images that the pipeline encodes with the text; None for a text alone.
    """

    pipe: Pipeline
    family: Family
    settings: EncodingSettings
    max_sequence_length: int | None = None
    image: Any = None
    _known: dict[tuple[Prompt, Prompt], dict[Role, _EncodedText]] = field(default_factory=dict, repr=False)

    @property
    def kind(self) -> EncoderKind:
        """The text encoder of the rows of `prompt_embeds`."""
        return self.family.sections[0][0]

    def encode_batch(
        self, prompts: Sequence[Prompt], negatives: Sequence[Prompt]
    ) -> tuple[tuple[EncoderSection, ...], dict[str, Any]]:
        """Encode prompts and their negative prompts, each pair alone.

        Returns:
            The section of the embeddings, and the keyword arguments for the pipeline's call; the embeddings
            of a role have the rows of its longest text.

        Raises:
            ModelError: the pipeline lacks its text encoder, or encodes in a way that hides the tokens.
            SettingError: `.and()` or `.blend()` joins texts inside the embeddings.
        """
        pairs = list(zip(prompts, negatives, strict=True))
        for prompt in (*prompts, *negatives):
            if split_blocks(prompt):
                raise SettingError(message("joined-texts-encoding", prompt=prompt.source))
        for pair in pairs:
            if pair not in self._known:
                self._known[pair] = self._encode_pair(*pair)
        texts = {role: [self._known[pair][role] for pair in pairs] for role in ROLES}
        inputs: dict[str, Any] = {}
        for role, prefix in _PREFIXES.items():
            for name in self.family.outputs:
                if not name or name.startswith("negative_"):
                    continue
                parts = [_pick(each, name) for each in texts[role]]
                is_listed = any(each.is_listed for each in texts[role])
                inputs[prefix + name] = parts if is_listed else stack_texts(parts)
        tables = {role: tuple(each.table for each in texts[role]) for role in ROLES}
        longest = max(table.rows for role in ROLES for table in tables[role])
        section = EncoderSection((self.kind.name,), 0, longest, tables["positive"], tables["negative"])
        return (section,), inputs

    def _encode_pair(self, prompt: Prompt, negative: Prompt) -> dict[Role, _EncodedText]:
        """Encode a prompt and its negative prompt, in one call where the pipeline encodes both in one."""
        if any(name.startswith("negative_") for name in self.family.outputs):
            return self._encode_texts({"positive": prompt, "negative": negative})
        return {
            role: self._encode_texts({"positive": each})["positive"]
            for role, each in zip(ROLES, (prompt, negative), strict=True)
        }

    def _encode_texts(self, prompts: Mapping[Role, Prompt]) -> dict[Role, _EncodedText]:
        """Encode the prompts of one call of `encode_prompt`."""
        texts = {role: re.sub("[\ud800-\udfff]", "\ufffd", prompt.text) for role, prompt in prompts.items()}
        with tap_tokenizers(self.pipe) as tokenized:
            with watch_encoder(self._model) as calls:
                outputs = self._call(texts)
            tapped = list(tokenized)
            with number_tokens(self._model, calls):
                numbered = self._call(texts)
            places = {role: read_places(numbered[_PREFIXES[role] + "prompt_embeds"][0]) for role in prompts}
            # pipelines may have zeros for an empty text, of which the text encoder encodes nothing
            blank = [role for role in prompts if not any(places[role]) and not texts[role].strip()]
            tokenized.clear()
            with number_tokens(self._model, calls) as placeholder_ids:
                self._call({role: texts[role] if role in blank else PLACEHOLDER for role in prompts})
        encoded = {}
        for role, prompt in prompts.items():
            prefix = _PREFIXES[role]
            embeds = outputs[prefix + "prompt_embeds"][0]
            name = next((each for each in self.family.outputs if each.endswith("_mask")), None)
            masks = None if name is None else outputs[prefix + name]
            mask = None if masks is None else masks[0]
            if role in blank:
                table = make_blank_table(prompt, self.kind.name, len(embeds), tapped[0].tokenizer)
            else:
                known = next((place for place in places[role] if place is not None), None)
                if known is None or len(places[role]) != len(embeds):
                    raise self._untraceable_error()
                call, text = known[:2]
                ids = calls[call].ids[text].tolist()
                source, shift = self._find_text(tapped, ids)
                template, _ = self._find_text(tokenized, placeholder_ids[call][text].tolist())
                extent = find_template(source.text, template.text)
                if extent is None:
                    raise self._untraceable_error()
                # AuraFlow has the mask once for each channel
                used_rows = None if mask is None else mask.reshape(len(embeds), -1)[:, 0].bool().tolist()
                is_used = used_rows or [True] * len(embeds)
                rows = [
                    place[2] if place is not None and used else None
                    for place, used in zip(places[role], is_used, strict=True)
                ]
                table = make_templated_table(
                    prompt, texts[role], self.kind.name, source, extent, ids, rows, shift
                )

            def encode_without(
                is_hidden: Tensor,
                name: str = prefix + "prompt_embeds",
                own: Sequence[Place | None] = places[role],
            ) -> Tensor:
                with remove_tokens(self._model, calls, _collect(own, is_hidden)):
                    return self._call(texts)[name][0]

            embeds = self._weigh(embeds, table, encode_without)
            is_listed = isinstance(outputs[prefix + "prompt_embeds"], list)
            encoded[role] = _EncodedText(embeds, mask, table, is_listed)
        return encoded

    def _weigh(self, embeds: Tensor, table: TokenTable, encode_without: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the embeddings with weights below 1 on the rows of the other words.

        The phrase's own rows are weighted in attention. The other rows, those of the template and of padding
        among them, interpolate with those of the text without the phrase, as `presence` does.
        """
        dialect = table.prompt.dialect
        if self.settings.word_default(dialect) != "presence":
            return embeds
        weights = embeds.new_tensor(
            [self._get_interpolation(table.prompt, token) for token in table.tokens], dtype=torch.float32
        )
        if bool((weights == 1).all()):
            return embeds
        by_layer = embeds.reshape(len(embeds), -1, embeds.shape[-1]).transpose(0, 1)

        def encode(is_hidden: Tensor) -> Tensor:
            return encode_without(is_hidden[0]).reshape(by_layer.transpose(0, 1).shape).transpose(0, 1)

        weighted = METHODS["presence"](by_layer, weights.expand(len(by_layer), -1), by_layer, encode=encode)
        return weighted.transpose(0, 1).reshape(embeds.shape)

    def _get_interpolation(self, prompt: Prompt, token: Token) -> float:
        """Return how much of the phrase of a token the other rows keep, at most 1."""
        options = prompt.spans[token.span].options if token.span >= 0 else NO_OPTIONS
        if token.kind != "text" or options.weighting is not None or options.is_local or token.weight >= 1:
            return 1.0
        return self.settings.weighting.turn_dial(token.weight)

    def _call(self, texts: Mapping[Role, str]) -> dict[str, Any]:
        """Call the pipeline's `encode_prompt`; return its outputs by name."""
        encode = self.pipe.encode_prompt
        accepted = inspect.signature(encode).parameters
        defaults = inspect.signature(type(self.pipe).__call__).parameters
        arguments = {
            name: defaults[name].default
            for name in accepted
            if name in defaults and defaults[name].default is not inspect.Parameter.empty
        }
        arguments["prompt"] = texts["positive"]
        if "device" in accepted:
            arguments["device"] = self.pipe._execution_device
        if "num_images_per_prompt" in accepted:
            arguments["num_images_per_prompt"] = 1
        if "do_classifier_free_guidance" in accepted:
            arguments["do_classifier_free_guidance"] = "negative" in texts
        if texts.get("negative", "").strip():  # some have zeros without one
            arguments["negative_prompt"] = texts["negative"]
        if self.max_sequence_length is not None:
            arguments["max_sequence_length"] = self.max_sequence_length
        if self.image is not None:
            arguments["image"] = self._prepared_image
        values = encode(**arguments)
        values = values if isinstance(values, tuple) else (values,)
        if len(values) != len(self.family.outputs):
            raise self._untraceable_error()
        outputs = dict(zip(self.family.outputs, values, strict=True))
        if not isinstance(outputs["prompt_embeds"], (Tensor, list)):
            raise self._untraceable_error()
        return outputs

    @cached_property
    def _prepared_image(self) -> Any:
        """The image as the pipeline's own call prepares it for its text encoder."""
        pipe: Any = self.pipe
        own, prepared = vars(pipe).get("encode_prompt"), []

        def keep(*_: Any, image: Any, **__: Any) -> Any:
            prepared.append(image)
            raise _ImageIsPreparedError

        pipe.encode_prompt = keep
        try:
            pipe(image=self.image, prompt="", negative_prompt="", num_inference_steps=1)
        except _ImageIsPreparedError:
            pass
        finally:
            del pipe.encode_prompt
            if own is not None:
                pipe.encode_prompt = own
        return prepared[0]

    @property
    def _model(self) -> Any:
        model = getattr(self.pipe, self.kind.model, None)
        if model is None:
            raise ModelError(message("text-encoders-missing", pipeline=type(self.pipe).__name__))
        return model

    def _untraceable_error(self) -> ModelError:
        return ModelError(message("encoding-untraceable", pipeline=type(self.pipe).__name__))

    def _find_text(self, tokenized: Sequence[TokenizedText], ids: list[int]) -> tuple[TokenizedText, int]:
        """Return the text with these ids, and where in the ids it begins.

        The longest one, since the tokens of a short text, such as an empty negative prompt, may be among
        those of another.

        Raises:
            ModelError: there is none.
        """
        found = [(each, start) for each in tokenized if (start := each.find_in(ids)) is not None]
        if not found:
            raise self._untraceable_error()
        return max(reversed(found), key=lambda pair: min(len(pair[0].ids), len(ids)))


def _collect(places: Sequence[Place | None], is_hidden: Tensor) -> dict[tuple[int, int], set[int]]:
    """Return the tokens of hidden rows, by the call of the text encoder and the text in it."""
    hidden: dict[tuple[int, int], set[int]] = {}
    for place, hides in zip(places, is_hidden.tolist(), strict=True):
        if place is not None and hides:
            hidden.setdefault(place[:2], set()).add(place[2])
    return hidden


def _pick(text: _EncodedText, name: str) -> Tensor:
    """Return the embeddings of a text, or its mask, by the name of the pipeline's argument."""
    if not name.endswith("_mask"):
        return text.embeds
    return text.embeds.new_ones(len(text.embeds), dtype=torch.long) if text.mask is None else text.mask
