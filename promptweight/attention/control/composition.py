"""Prompts that change while a picture is made, and prompts joined by AND, in the calls of the model.

Before a call the rows of its batch that carry a prompt are given the text of this step; where AND joins
parts, a row becomes one row for each. After it the predictions of the parts are joined again, so that the
pipeline, which knows nothing of all this, goes on with as many rows as it sent:

    c' = u + Σ w_i·(c_i − u)

u being the prediction for the negative prompt. The pipeline's own guidance, u + g·(c' − u), then is
u + g·Σ w_i·(c_i − u), as Liu et al. (2022) compose diffusion models and as AUTOMATIC1111 does. Where the
model is called without the negative prompt, and for the parts of a negative prompt itself, the mean
Σ w_i·c_i / Σ w_i takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from promptweight.attention.batch_rows import BatchRow
from promptweight.conditioning import Role
from promptweight.errors import SettingError
from promptweight.messages import Message, message

if TYPE_CHECKING:
    from promptweight.conditioning import ScheduledEncoding

PREFIXES: dict[Role, str] = {"positive": "", "negative": "negative_"}

UNBATCHED_ARGUMENTS = frozenset({"img_ids", "txt_ids", "ip_adapter_masks"})
"""Arguments of models whose first dimension is never the batch."""


@dataclass(frozen=True)
class ExpandedRow:
    """One row of the batch as the model gets it."""

    row: int
    """The row of the pipeline's batch that it comes from."""
    lane: BatchRow | None
    weight: float


class PromptComposer:
    """What the prompts of a session say at each step, laid on the calls of its model.

    Args:
        staged: the encoded texts, and when each is said.
        pipe: the pipeline.
        warn: told, in a sentence, what a person should know.
    """

    def __init__(self, staged: ScheduledEncoding, pipe: Any, warn: Callable[[Message], None]) -> None:
        self.acts = staged.changes
        if self.acts and getattr(pipe, "controlnet", None) is not None:
            warn(message("controlnet-first-text"))
        self._staged = staged
        self._warn = warn
        self._rows: list[ExpandedRow] = []
        self._given: tuple[Tensor | None, dict[Any, tuple[Tensor, Tensor | None]]] = (None, {})
        """The pipeline's embeddings, and what was made of them by the rows that it was made for."""
        self._unconditional: dict[int, Tensor] = {}
        """The last predictions for the negative prompts, by image."""

    def first_said(self, step: int) -> int:
        """Which text of the first prompt is read at a step: of parts that AND joins, the first."""
        return self._staged.scripts["positive"][0].at(step)[0][0]

    def voiced(self, lanes: Sequence[BatchRow | None], step: int) -> list[ExpandedRow]:
        """The rows that the model gets at a sampling step for the rows that the pipeline sends.

        Raises:
            SettingError: AND under a guidance that divides the batch in three.
        """
        rows = []
        for row, lane in enumerate(lanes):
            if lane is None:
                rows.append(ExpandedRow(row, None, 1.0))
                continue
            turn = self._staged.scripts[lane.role][lane.prompt].at(step)
            rows += [ExpandedRow(row, replace(lane, variant=variant), weight) for variant, weight in turn]
        if len(rows) > len(lanes) and any(lane and lane.perturbed for lane in lanes):
            raise SettingError(
                "AND cannot be combined with perturbed-attention guidance, whose layers divide the batch "
                "themselves; set pag_scale=0 or leave AND out of the prompt"
            )
        return rows

    def before(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        text: tuple[int, str],
        rows: list[ExpandedRow],
        batch: int,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments that the model gets in the place of a call's own.

        Args:
            args: of the call, by position.
            kwargs: of the call, by name.
            text: place and name of the text embeddings among them.
            rows: what `voiced` returned.
            batch: how many rows the call has.
        """
        self._rows = rows
        place, name = text
        embeds = args[place] if len(args) > place else kwargs[name]
        added = kwargs.get("added_cond_kwargs") or {}
        pooled = added.get("text_embeds", kwargs.get("pooled_projections"))
        if self._given[0] is not embeds:
            self._given = (embeds, {})
        key = tuple((each.row, each.lane) for each in rows)
        if key not in self._given[1]:
            said = self._said("prompt_embeds", embeds, rows)
            assert said is not None
            self._given[1][key] = (said, self._said("pooled_prompt_embeds", pooled, rows))
        new_embeds, new_pooled = self._given[1][key]
        if len(rows) > batch:
            index = torch.tensor([each.row for each in rows], device=embeds.device)
            args = tuple(repeat_rows(value, index, batch) for value in args)
            kwargs = repeat_rows(kwargs, index, batch)
        if len(args) > place:
            args = (*args[:place], new_embeds, *args[place + 1 :])
        else:
            kwargs = kwargs | {name: new_embeds}
        if "text_embeds" in added:
            kwargs = kwargs | {"added_cond_kwargs": kwargs["added_cond_kwargs"] | {"text_embeds": new_pooled}}
        elif "pooled_projections" in kwargs:
            kwargs = kwargs | {"pooled_projections": new_pooled}
        return args, kwargs

    def after(self, output: Any, *, is_extra: bool) -> Any:
        """The model's output with one row again for each that the pipeline sent.

        Args:
            output: a prediction, a tuple that begins with one, or an output of diffusers that has one.
            is_extra: whether the call adds to another one of the same step, which had the negative prompts.

        Raises:
            SettingError: the weights to average by do not sum to more than 0.
        """
        rows, self._rows = self._rows, []
        if isinstance(output, Tensor):
            return self._folded(output, rows, is_extra)
        if isinstance(output, tuple):
            return (self._folded(output[0], rows, is_extra), *output[1:])
        return type(output)(sample=self._folded(output.sample, rows, is_extra))

    def _folded(self, predictions: Tensor, rows: Sequence[ExpandedRow], is_extra: bool) -> Tensor:
        parts: dict[int, list[int]] = {}
        for place, each in enumerate(rows):
            parts.setdefault(each.row, []).append(place)
        if len(parts) == len(rows):
            return predictions
        lanes = {row: rows[places[0]].lane for row, places in parts.items()}
        weights = {row: [rows[place].weight for place in places] for row, places in parts.items()}
        folded: dict[int, Tensor] = {}
        around: dict[int, Tensor] = dict(self._unconditional) if is_extra else {}
        for row, lane in lanes.items():  # first, since the others are joined round them
            if lane is None or lane.role == "negative":
                folded[row] = combine_predictions(predictions[parts[row]], weights[row])
                if lane is not None:
                    around[lane.image] = folded[row]
        for row, lane in lanes.items():
            if lane is not None and lane.role == "positive":
                folded[row] = combine_predictions(
                    predictions[parts[row]], weights[row], around.get(lane.image)
                )
                if len(parts[row]) > 1 and lane.image not in around:
                    self._warn(message("and-parts-averaged"))
        self._unconditional = around
        return torch.stack([folded[row] for row in sorted(folded)])

    def _said(self, name: str, given: Tensor | None, rows: Sequence[ExpandedRow]) -> Tensor | None:
        """What the rows say, in the form in which the pipeline gave it; None where it gave nothing."""
        if given is None:
            return None
        said = []
        for each in rows:
            lane = each.lane
            known = None if lane is None else self._staged.encoded.inputs.get(PREFIXES[lane.role] + name)
            if lane is None or known is None:
                said.append(given[min(each.row, len(given) - 1)])
            else:
                first = self._staged.firsts[lane.role][lane.prompt]
                said.append(known[first + lane.variant].to(given.device, given.dtype))
        return torch.stack(said)


def repeat_rows(value: Any, index: Tensor, batch: int, name: str = "") -> Any:
    """An argument of the model's call with the rows `index` of its batch, in whatever it is wrapped."""
    if isinstance(value, Tensor):
        is_batch = value.ndim > 0 and value.shape[0] == batch and name not in UNBATCHED_ARGUMENTS
        return value.index_select(0, index.to(value.device)) if is_batch else value
    if isinstance(value, dict):
        return {key: repeat_rows(each, index, batch, key) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(repeat_rows(each, index, batch, name) for each in value)
    return value


def combine_predictions(parts: Tensor, weights: Sequence[float], around: Tensor | None = None) -> Tensor:
    """The predictions of parts (n, …) as one, u + Σ w_i·(c_i − u) round u; their weighted mean without u.

    Raises:
        SettingError: the weights of a mean do not sum to more than 0.
    """
    if len(weights) == 1 and weights[0] == 1:
        return parts[0]
    wide = torch.promote_types(parts.dtype, torch.float32)
    factors = torch.tensor(weights, device=parts.device, dtype=wide).view(-1, *[1] * (parts.ndim - 1))
    if around is not None:
        center = around.to(wide)
        return (center + (factors * (parts.to(wide) - center)).sum(0)).to(parts.dtype)
    if not sum(weights) > 0:
        raise SettingError(
            message(
                "and-weights-sum",
                total=sum(weights),
            )
        )
    return ((factors * parts.to(wide)).sum(0) / sum(weights)).to(parts.dtype)
