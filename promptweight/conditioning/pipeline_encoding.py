"""Encoding of text by a pipeline's own `encode_prompt`, and the token of each row of its embeddings.

A pipeline whose text encoder is a language model writes the prompt into a template, drops the rows of the
template's beginning, and pads or trims the others. It encodes the text without weights itself, so that its
embeddings are its own bit for bit. Which row is which token is found in the pipeline:

    the template   is around a placeholder that is encoded in place of the prompt
    the tokens     are those of the tokenizer, with their characters in the templated text
    the rows       are those of a second call of `encode_prompt`, in which the text encoder returns the
                   number of each token in place of its hidden state

Only the first call runs the text encoder.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from promptweight.conditioning.chunking import ChunkLayout, SpecialToken
from promptweight.conditioning.compel_blend import split_blocks
from promptweight.conditioning.families import EncoderKind, Family
from promptweight.conditioning.prompt_embeds import ROLES, EncoderSection, Role, stack_texts
from promptweight.conditioning.token_table import Token, TokenKind, TokenTable
from promptweight.conditioning.tokenization import find_span, merge_words
from promptweight.conditioning.tokenizer_tap import TokenizedText, tap_tokenizers
from promptweight.errors import ModelError, SettingError
from promptweight.messages import message

if TYPE_CHECKING:
    from promptweight.prompt import Prompt
    from promptweight.protocols import Pipeline, Tokenizer

PLACEHOLDER = "promptweight"
"""Text that is encoded in place of a prompt to find the template around it."""

_PREFIXES: Mapping[Role, str] = {"positive": "", "negative": "negative_"}

_CODE_BASE = 128
"""Numbers below it are exact in every type of model."""


@dataclass(frozen=True)
class _EncoderCall:
    """A call of the text encoder: the ids that it got, (texts, tokens), and its output."""

    ids: Tensor
    output: Any


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
        max_sequence_length: the length of a text in tokens; None is the pipeline's default.
        image: the image or images that the pipeline encodes with the text; None for a text alone.
    """

    pipe: Pipeline
    family: Family
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
            with self._watch_encoder() as calls:
                outputs = self._call(texts)
            tapped = list(tokenized)
            with self._number_tokens(calls):
                numbered = self._call(texts)
            places = {role: _read_places(numbered[_PREFIXES[role] + "prompt_embeds"][0]) for role in prompts}
            # pipelines may have zeros for an empty text, of which the text encoder encodes nothing
            blank = [role for role in prompts if not any(places[role]) and not texts[role].strip()]
            tokenized.clear()
            with self._number_tokens(calls) as placeholder_ids:
                self._call({role: texts[role] if role in blank else PLACEHOLDER for role in prompts})
        encoded = {}
        for role, prompt in prompts.items():
            prefix = _PREFIXES[role]
            embeds = outputs[prefix + "prompt_embeds"][0]
            name = next((each for each in self.family.outputs if each.endswith("_mask")), None)
            masks = None if name is None else outputs[prefix + name]
            mask = None if masks is None else masks[0]
            if role in blank:
                table = self._make_blank_table(prompt, len(embeds), tapped[0].tokenizer)
            else:
                known = next((place for place in places[role] if place is not None), None)
                if known is None or len(places[role]) != len(embeds):
                    raise ModelError(message("encoding-untraceable", pipeline=type(self.pipe).__name__))
                call, text = known[:2]
                source = self._find_text(tapped, calls[call].ids[text].tolist())
                template = self._find_text(tokenized, placeholder_ids[call][text].tolist())
                table = self._make_table(
                    prompt, texts[role], source, template, calls[call], text, places[role], mask
                )
            is_listed = isinstance(outputs[prefix + "prompt_embeds"], list)
            encoded[role] = _EncodedText(embeds, mask, table, is_listed)
        return encoded

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
        arguments |= {"prompt": texts["positive"], "device": self.pipe._execution_device}
        if "num_images_per_prompt" in accepted:
            arguments["num_images_per_prompt"] = 1
        if "do_classifier_free_guidance" in accepted:
            arguments["do_classifier_free_guidance"] = "negative" in texts
        if "negative" in texts:
            arguments["negative_prompt"] = texts["negative"]
        if self.max_sequence_length is not None:
            arguments["max_sequence_length"] = self.max_sequence_length
        if self.image is not None:
            arguments["image"] = self._prepared_image
        values = encode(**arguments)
        values = values if isinstance(values, tuple) else (values,)
        return dict(zip(self.family.outputs, values, strict=True))

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

    @contextmanager
    def _watch_encoder(self) -> Iterator[list[_EncoderCall]]:
        """Collect the calls of the text encoder inside the block."""
        calls: list[_EncoderCall] = []

        def keep(_model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            calls.append(_EncoderCall(_read_ids(args, kwargs), output))

        handle = self._model.register_forward_hook(keep, with_kwargs=True)
        try:
            yield calls
        finally:
            handle.remove()

    @contextmanager
    def _number_tokens(self, calls: Sequence[_EncoderCall]) -> Iterator[list[Tensor]]:
        """Have the text encoder return the numbers of its tokens; collect the ids of each call."""
        model, own = self._model, vars(self._model).get("forward")
        ids: list[Tensor] = []

        def number(*args: Any, **kwargs: Any) -> Any:
            ids.append(_read_ids(args, kwargs))
            return _number_rows(calls[len(ids) - 1], ids[-1], len(ids) - 1)

        def number_again(*_: Any) -> Any:  # after hooks of others, which may change the output
            return _number_rows(calls[len(ids) - 1], ids[-1], len(ids) - 1)

        model.forward = number
        handle = model.register_forward_hook(number_again)
        try:
            yield ids
        finally:
            handle.remove()
            del model.forward
            if own is not None:
                model.forward = own

    def _find_text(self, tokenized: Sequence[TokenizedText], ids: list[int]) -> tuple[TokenizedText, int]:
        """Return the text with these ids, and where in the ids it begins.

        The longest one, since the tokens of a short text, such as an empty negative prompt, may be among
        those of another.

        Raises:
            ModelError: there is none.
        """
        found = [(each, start) for each in tokenized if (start := each.find_in(ids)) is not None]
        if not found:
            raise ModelError(message("encoding-untraceable", pipeline=type(self.pipe).__name__))
        return max(reversed(found), key=lambda pair: min(len(pair[0].ids), len(ids)))

    def _make_table(
        self,
        prompt: Prompt,
        text: str,
        source: tuple[TokenizedText, int],
        template: tuple[TokenizedText, int],
        call: _EncoderCall,
        row: int,
        places: Sequence[tuple[int, int, int] | None],
        mask: Tensor | None,
    ) -> TokenTable:
        """Make the token table of a prompt from the templated text and the tokens of the rows."""
        (tokenized, shift), ids = source, call.ids[row].tolist()
        before, _, after = template[0].text.rpartition(PLACEHOLDER)
        if not _is_around(before, after, tokenized.text, template[0].text):
            raise ModelError(message("encoding-untraceable", pipeline=type(self.pipe).__name__))
        first, last = len(before), len(tokenized.text) - len(after)
        origin = _align(text, tokenized.text[first:last])
        is_used = [True] * len(places) if mask is None else [bool(each) for each in mask.tolist()]
        pieces = tokenized.tokenizer.convert_ids_to_tokens(ids)
        pad_token = _find_pad_token(tokenized.tokenizer)
        tokens: list[Token] = []
        seen_text = False
        for position, place in enumerate(places):
            if place is None or not is_used[position]:
                tokens.append(Token(*pad_token, 0, 0, 0, position, 1.0, "pad"))
                continue
            number = place[2] - shift
            if number < 0:  # the pipeline pads on the left
                tokens.append(Token(*pad_token, 0, 0, 0, position, 1.0, "pad"))
                continue
            start, end = tokenized.offsets[number] if 0 <= number < len(tokenized.offsets) else (0, 0)
            token_id, piece = ids[place[2]], pieces[place[2]]
            characters = [origin(each - first) for each in range(max(start, first), min(end, last))]
            known = [each for each in characters if each is not None]
            # a token that begins with the space before a word is the word's
            known = [each for each in known if not prompt.text[each].isspace()] or known
            if not known:
                kind: TokenKind = "eos" if seen_text or start >= last > first else "bos"
                tokens.append(Token(token_id, piece, 0, 0, 0, position, 1.0, kind))
                continue
            seen_text = True
            span, weight = find_span(prompt, known[0], known[-1] + 1)
            ends = (known[0], known[-1] + 1)
            tokens.append(Token(token_id, piece, *ends, 0, position, weight, "text", span))
        written = max((token.end for token in tokens), default=0)
        layout = ChunkLayout(
            tuple(SpecialToken(token.id, token.piece) for token in tokens if token.kind == "bos"),
            tuple(SpecialToken(token.id, token.piece) for token in tokens if token.kind == "eos"),
            pad_token,
            len(tokens),
        )
        words = merge_words(prompt, tokens, prompt.breaks)
        cut = prompt.text[written:].strip()
        return TokenTable(prompt, self.kind.name, tuple(tokens), words, 1, cut, layout)

    def _make_blank_table(self, prompt: Prompt, rows: int, tokenizer: Tokenizer) -> TokenTable:
        """Make the token table of a prompt without text, all of whose rows are padding."""
        pad_token = _find_pad_token(tokenizer)
        tokens = tuple(Token(*pad_token, 0, 0, 0, position, 1.0, "pad") for position in range(rows))
        layout = ChunkLayout((), (), pad_token, rows)
        return TokenTable(prompt, self.kind.name, tokens, (), 1, "", layout)


def _find_pad_token(tokenizer: Tokenizer) -> SpecialToken:
    """Return the token that pads texts, or ends them in a tokenizer without one."""
    pad = tokenizer.pad_token_id
    pad = tokenizer.eos_token_id if pad is None else pad
    return SpecialToken(pad, tokenizer.convert_ids_to_tokens(pad))


def _read_ids(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """Return the token ids of a text encoder's call, (texts, tokens)."""
    ids: Tensor = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
    return ids


def _number_rows(call: _EncoderCall, ids: Tensor, number: int) -> Any:
    """Return the output of a call with hidden states (texts, tokens, dim) that name their tokens.

    The first channels are the number of the call, of the text, and of the token: its quotient by
    `_CODE_BASE`, and the remainder plus 1. `_decode` reads them.
    """
    texts, length = ids.shape
    positions = torch.arange(length)
    codes = torch.stack(
        [
            torch.full((texts, length), number),
            torch.arange(texts)[:, None].expand(texts, length),
            (positions // _CODE_BASE).expand(texts, length),
            (positions % _CODE_BASE + 1).expand(texts, length),
        ],
        -1,
    )

    def replace(value: Any) -> Any:
        if isinstance(value, Tensor) and value.ndim == 3 and value.is_floating_point():
            return F.pad(codes.to(value.device, value.dtype), (0, value.shape[-1] - codes.shape[-1]))
        if isinstance(value, dict):
            return type(value)(**{name: replace(each) for name, each in value.items()})
        if isinstance(value, (tuple, list)):
            return type(value)(replace(each) for each in value)
        return value

    return replace(call.output)


def _read_places(codes: Tensor) -> list[tuple[int, int, int] | None]:
    """Return the numbers of call, text and token of rows of `_number_rows`, (rows, dim) or (rows, …, dim)."""
    return [_decode(row) for row in codes.flatten(1)[:, :4].long().tolist()]


def _decode(code: Sequence[int]) -> tuple[int, int, int] | None:
    """Return the numbers of call, text and token of a row of `_number_rows`; None for a row of zeros."""
    call, text, high, low = code
    return (call, text, high * _CODE_BASE + low - 1) if low else None


def _pick(text: _EncodedText, name: str) -> Tensor:
    """Return the embeddings of a text, or its mask, by the name of the pipeline's argument."""
    if not name.endswith("_mask"):
        return text.embeds
    return text.embeds.new_ones(len(text.embeds), dtype=torch.long) if text.mask is None else text.mask


def _is_around(before: str, after: str, text: str, template: str) -> bool:
    """Return whether a template with these ends has the placeholder, and is around a text."""
    fits = text.startswith(before) and text.endswith(after) and len(text) >= len(before) + len(after)
    return fits and len(template) == len(before) + len(PLACEHOLDER) + len(after)


def _align(text: str, written: str) -> Callable[[int], int | None]:
    """Return a function from a character of the prompt as the pipeline writes it to that of the prompt.

    Pipelines strip prompts, write them in small letters, or clean them.
    """
    stripped = text.strip()
    for shift, candidate in ((0, text), (len(text) - len(text.lstrip()), stripped)):
        if len(candidate) == len(written) and candidate.casefold() == written.casefold():
            return lambda index: index + shift
    matcher = SequenceMatcher(None, text.lower(), written.lower(), autojunk=False)
    if len(text.lower()) != len(text) or len(written.lower()) != len(written):
        matcher = SequenceMatcher(None, text, written, autojunk=False)
    origin = {
        block.b + offset: block.a + offset
        for block in matcher.get_matching_blocks()
        for offset in range(block.size)
    }
    return origin.get
