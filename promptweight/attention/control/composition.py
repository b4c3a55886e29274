"""Composition of prompts: prompts that change during a run, and parts joined by AND.

Before a call of the model, the rows of its batch get the text embeddings of the prompt's variant at this
step; where AND joins parts, one row becomes one row for each part. After the call the predictions of the
parts are combined, so that the pipeline gets as many rows as it sent:

    c' = u + Σ w_i·(c_i − u)

u is the prediction for the negative prompt. The pipeline's own guidance, u + g·(c' − u), then equals u + g·Σ
w_i·(c_i − u), the composition of diffusion models by Liu et al. (2022) and of AUTOMATIC1111. Where the model
is called without the negative prompt, and for the parts of a negative prompt, the mean Σ w_i·c_i / Σ w_i
replaces it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from promptweight.attention.batch_rows import BatchRow
from promptweight.attention.call_arguments import get_argument, set_argument
from promptweight.attention.layers import DenoiserKind
from promptweight.conditioning import Role, TextInput, look_up_family, pad_rows, stack_texts
from promptweight.errors import AttachError, SettingError
from promptweight.messages import Message, message

if TYPE_CHECKING:
    from promptweight.conditioning import ScheduledEncoding
    from promptweight.protocols import Pipeline

ROLE_PREFIXES: dict[Role, str] = {"positive": "", "negative": "negative_"}

UNBATCHED_ARGUMENTS = frozenset({"img_ids", "txt_ids", "ip_adapter_masks"})
"""Arguments of models whose first dimension is not the batch."""


@dataclass(frozen=True)
class ExpandedRow:
    """One row of the batch that the model gets."""

    source: int
    """Index of the row in the pipeline's batch."""
    row: BatchRow | None
    weight: float


class PromptComposer:
    """Application of a session's prompt schedules to the calls of its model.

    Attributes:
        is_active: True if any prompt has more than one variant.

    Args:
        scheduled: the encoded variants and their schedules.
        pipe: the pipeline.
        warn: receives warnings.
    """

    def __init__(self, scheduled: ScheduledEncoding, pipe: Pipeline, warn: Callable[[Message], None]) -> None:
        self.is_active = scheduled.changes
        if self.is_active and getattr(pipe, "controlnet", None) is not None:
            warn(message("controlnet-first-text"))
        self._scheduled = scheduled
        self._warn = warn
        family = look_up_family(pipe)
        inputs = scheduled.encoded.inputs
        has_mask = any(name.endswith("_mask") for name in inputs)
        is_own = family is None or not family.outputs or isinstance(inputs["prompt_embeds"], list)
        self._takes_padding = is_own or has_mask
        """False where zeros that pad a text to the length of another would act as text."""
        self._rows: list[ExpandedRow] = []
        self._cache: tuple[Tensor | None, dict[Any, tuple[Tensor, Tensor | None, Tensor | None]]] = (None, {})
        """The pipeline's embeddings, and by expanded rows the embeddings, masks and pooled vectors that
        replace its own."""
        self._unconditional: dict[int, Tensor] = {}
        """The last predictions for the negative prompts, by image."""

    def first_variant(self, step: int) -> int:
        """Return the first prompt's variant at a step; the first of parts that AND joins."""
        return self._scheduled.timelines["positive"][0].at(step)[0][0]

    def expand_rows(self, batch_rows: Sequence[BatchRow | None], step: int) -> list[ExpandedRow]:
        """Return the model's rows at a sampling step for the rows of the pipeline's batch.

        Raises:
            SettingError: AND with a guidance that divides the batch in three.
        """
        rows = []
        for index, row in enumerate(batch_rows):
            if row is None:
                rows.append(ExpandedRow(index, None, 1.0))
                continue
            parts = self._scheduled.timelines[row.role][row.prompt].at(step)
            rows += [ExpandedRow(index, replace(row, variant=variant), weight) for variant, weight in parts]
        if len(rows) > len(batch_rows) and any(row and row.is_perturbed for row in batch_rows):
            raise SettingError(message("and-perturbed"))
        return rows

    def replace_arguments(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        kind: DenoiserKind,
        embeds: Tensor,
        rows: list[ExpandedRow],
        batch: int,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of a call of the model with the rows and embeddings of this step.

        Args:
            args: positional arguments of the call.
            kwargs: named arguments of the call.
            kind: the places of the text embeddings and their mask among them.
            embeds: the text embeddings, (batch, tokens, dim).
            rows: the result of `expand_rows`.
            batch: number of rows of the call, of which a video may have one for each frame.
        """
        self._rows = rows
        given, latents = (get_argument(args, kwargs, *each) for each in (kind.text, kind.latents))
        added = kwargs.get("added_cond_kwargs") or {}
        pooled = added.get("text_embeds", kwargs.get("pooled_projections"))
        if self._cache[0] is not embeds:
            self._cache = (embeds, {})
        key = tuple((each.source, each.row) for each in rows)
        if key not in self._cache[1]:
            of_step = self._gather_embeds("prompt_embeds", embeds, rows)
            assert of_step is not None
            mask = None if kind.text_mask is None else self._gather_mask(embeds, rows)
            if mask is not None:
                of_step = of_step[:, : mask.shape[1]]
            elif isinstance(given, Tensor):
                of_step = of_step[:, : self.count_tokens([each.row for each in rows], of_step)]
            pooled = self._gather_embeds("pooled_prompt_embeds", pooled, rows[:: batch // len(latents)])
            self._cache[1][key] = (of_step, mask, pooled)
        new_embeds, new_mask, new_pooled = self._cache[1][key]
        if len(rows) > batch:
            index = torch.tensor([each.source for each in rows], device=embeds.device)
            args = tuple(repeat_rows(value, index, batch) for value in args)
            kwargs = repeat_rows(kwargs, index, batch)
            if isinstance(latents, list):
                args, kwargs = set_argument(args, kwargs, *kind.latents, [latents[row] for row in index])
        text: TextInput = new_embeds
        if isinstance(given, list):
            pairs = zip(new_embeds, rows, strict=True)
            text = [own[: self._count_tokens(each.row, own)] for own, each in pairs]
        if kind.text_lengths is not None:
            own_lengths = get_argument(args, kwargs, *kind.text_lengths)
            lengths = own_lengths.new_tensor(
                [
                    own_lengths[number] if each.row is None else self._count_tokens(each.row, own)
                    for number, (own, each) in enumerate(zip(new_embeds, rows, strict=True))
                ]
            )
            text = new_embeds[:, : int(lengths.max())]
            args, kwargs = set_argument(args, kwargs, *kind.text_lengths, lengths)
        args, kwargs = set_argument(args, kwargs, *kind.text, text)
        if kind.text_mask is not None and new_mask is not None:
            own = get_argument(args, kwargs, *kind.text_mask)
            if own is not None and own.shape[1] > embeds.shape[1]:  # it goes on over the image
                new_mask = torch.cat([new_mask.to(own), own[:, embeds.shape[1] :]], dim=1)
            elif own is not None:
                new_mask = new_mask.to(own)
            is_omitted = kind.omits_full_mask and bool(new_mask.all())
            args, kwargs = set_argument(args, kwargs, *kind.text_mask, None if is_omitted else new_mask)
        if "text_embeds" in added:
            kwargs = kwargs | {"added_cond_kwargs": kwargs["added_cond_kwargs"] | {"text_embeds": new_pooled}}
        elif "pooled_projections" in kwargs:
            kwargs = kwargs | {"pooled_projections": new_pooled}
        return args, kwargs

    def count_tokens(self, rows: Sequence[BatchRow | None], embeds: Tensor) -> int:
        """Return the number of text positions of a call's rows, whose embeddings are (batch, tokens, dim).

        Raises:
            AttachError: the model takes no padding, and the texts have different lengths.
        """
        if self._takes_padding:
            return embeds.shape[1]
        lengths = {self._count_tokens(row, embeds[0]) for row in rows}
        if len(lengths) > 1:
            raise AttachError(message("text-lengths", lengths=sorted(lengths)))
        return lengths.pop()

    def combine_output(self, output: Any, *, is_extra: bool) -> Any:
        """Return the model's output with one row for each row of the pipeline's batch.

        Args:
            output: a prediction, a tuple that begins with one, or a diffusers output with one.
            is_extra: True if the call adds to another one of the same step, which had the negative prompts.

        Raises:
            SettingError: the weights of a mean do not sum to more than 0.
        """
        rows, self._rows = self._rows, []
        if isinstance(output, Tensor):
            return self._combine_rows(output, rows, is_extra)
        if isinstance(output, tuple):
            return (self._combine_rows(output[0], rows, is_extra), *output[1:])
        return type(output)(sample=self._combine_rows(output.sample, rows, is_extra))

    def _combine_rows(self, predictions: TextInput, rows: Sequence[ExpandedRow], is_extra: bool) -> TextInput:
        parts: dict[int, list[int]] = {}
        for index, each in enumerate(rows):
            parts.setdefault(each.source, []).append(index)
        if len(parts) == len(rows):
            return predictions
        predictions = stack_texts(predictions)
        batch_rows = {source: rows[indices[0]].row for source, indices in parts.items()}
        weights = {source: [rows[index].weight for index in indices] for source, indices in parts.items()}
        combined: dict[int, Tensor] = {}
        unconditional: dict[int, Tensor] = dict(self._unconditional) if is_extra else {}
        for source, row in batch_rows.items():  # first, since positive rows are combined around these
            if row is None or row.role == "negative":
                combined[source] = combine_predictions(predictions[parts[source]], weights[source])
                if row is not None:
                    unconditional[row.image] = combined[source]
        for source, row in batch_rows.items():
            if row is not None and row.role == "positive":
                combined[source] = combine_predictions(
                    predictions[parts[source]], weights[source], unconditional.get(row.image)
                )
                if len(parts[source]) > 1 and row.image not in unconditional:
                    self._warn(message("and-parts-averaged"))
        self._unconditional = unconditional
        return torch.stack([combined[source] for source in sorted(combined)])

    def _gather_embeds(self, name: str, given: Tensor | None, rows: Sequence[ExpandedRow]) -> Tensor | None:
        """Return the embeddings of the rows in the pipeline's device and type; None for `given` None."""
        if given is None:
            return None
        gathered = []
        for each in rows:
            row = each.row
            known = (
                None if row is None else self._scheduled.encoded.inputs.get(ROLE_PREFIXES[row.role] + name)
            )
            if row is None or known is None:
                gathered.append(given[min(each.source, len(given) - 1)])
            else:
                first, known = self._scheduled.first_rows[row.role][row.prompt], stack_texts(known)
                gathered.append(known[first + row.variant].to(given.device, given.dtype))
        if gathered[0].ndim == 2:
            length = max(map(len, gathered))
            gathered = [pad_rows(each, length) for each in gathered]
        return torch.stack(gathered)

    def _count_tokens(self, row: BatchRow | None, given: Tensor) -> int:
        """Return the number of tokens of a row's text, without those that pad it to a longer variant."""
        if row is None:
            return len(given)
        encoded, role = self._scheduled.encoded, row.role
        tables = encoded.positive if role == "positive" else encoded.negative
        return tables[self._scheduled.first_rows[role][row.prompt] + row.variant].rows

    def _gather_mask(self, given: Tensor, rows: Sequence[ExpandedRow]) -> Tensor | None:
        """Return the mask of the rows' texts, (rows, tokens), on the device of the embeddings; None for none.

        Its length is that of the longest of them, which may be less than that of other variants. Rows of
        other texts than the session's are used whole.
        """
        inputs = self._scheduled.encoded.inputs
        name = next((name for name in inputs if name.endswith("_mask")), None)
        if name is None:
            return None
        name, masks = name.removeprefix("negative_"), []
        for each in rows:
            row = each.row
            known = None if row is None else inputs.get(ROLE_PREFIXES[row.role] + name)
            if row is None or known is None:
                masks.append(torch.ones(given.shape[1], dtype=torch.bool))
            else:
                number = self._scheduled.first_rows[row.role][row.prompt] + row.variant
                masks.append(known[number, : self._count_tokens(row, given[0])].bool().cpu())
        length = max(map(len, masks))
        return torch.stack([pad_rows(mask, length) for mask in masks]).to(given.device)


def repeat_rows(value: Any, index: Tensor, batch: int, name: str = "") -> Any:
    """Return an argument of the model's call with the batch rows `index`, through dicts, lists and tuples."""
    if isinstance(value, Tensor):
        is_batch = value.ndim > 0 and value.shape[0] == batch and name not in UNBATCHED_ARGUMENTS
        return value.index_select(0, index.to(value.device)) if is_batch else value
    if isinstance(value, dict):
        return {key: repeat_rows(each, index, batch, key) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(repeat_rows(each, index, batch, name) for each in value)
    return value


def combine_predictions(
    parts: Tensor, weights: Sequence[float], unconditional: Tensor | None = None
) -> Tensor:
    """Combine the predictions of parts (n, …) to u + Σ w_i·(c_i − u); to their weighted mean without u.

    Raises:
        SettingError: the weights of a mean do not sum to more than 0.
    """
    if len(weights) == 1 and weights[0] == 1:
        return parts[0]
    wide = torch.promote_types(parts.dtype, torch.float32)
    factors = torch.tensor(weights, device=parts.device, dtype=wide).view(-1, *[1] * (parts.ndim - 1))
    if unconditional is not None:
        center = unconditional.to(wide)
        return (center + (factors * (parts.to(wide) - center)).sum(0)).to(parts.dtype)
    if not sum(weights) > 0:
        raise SettingError(message("and-weights-sum", total=sum(weights)))
    return ((factors * parts.to(wide)).sum(0) / sum(weights)).to(parts.dtype)
