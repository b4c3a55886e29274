"""Controller of attention shares: phrases keep their target shares during a run.

`promptweight.attention.control.share_solver` defines shares and solves for weights. The masses of one step of
the run set the weights of the next; the first step runs with weight 1. Where a prompt changes during the run,
or AND joins parts, each of its variants has shares of its own words, and begins with the weights that its
phrases had in an earlier variant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from promptweight.attention.control.share_solver import ShareTargets, solve_weights
from promptweight.maps import PlacedTable, list_recorded_rows
from promptweight.messages import Message, message

VariantRow = tuple[int, int] | None
"""Variant and image of a batch row with a positive prompt; None for other rows."""


@dataclass(frozen=True)
class ShareResult:
    """Weights and shares of one phrase in one image."""

    phrase: str
    target: float
    weights: tuple[float, ...]
    """Weight at each step of the run in which the prompt contains the phrase; the first is 1."""
    shares: tuple[float, ...]
    """Share at each of these steps, under the weight of that step."""

    @property
    def weight(self) -> float:
        """One weight for the whole run: the geometric mean of those that the solver found."""
        solved = self.weights[1:] or self.weights
        return math.exp(sum(map(math.log, solved)) / len(solved))

    @property
    def share(self) -> float:
        """Mean share under the weights that the solver found."""
        reached = self.shares[1:] or self.shares
        return sum(reached) / len(reached)

    def summary(self, image: int) -> Message:
        """Return a message with share, target and weight in the image of this number."""
        return message(
            "share-missed",
            picture=image,
            phrase=self.phrase,
            share=self.share,
            target=self.target,
            weight=self.weight,
        )


@dataclass
class ShareState:
    """Masses, weights and shares of one prompt variant, in all images with it."""

    targets: ShareTargets
    columns: Tensor
    """Membership of the recorded columns in the groups, (columns, groups) of 0 and 1."""
    keys: Tensor
    """Membership of the keys in the groups, (groups, length)."""
    shares: Tensor
    """Target share of each group, (groups,)."""
    images: tuple[int, ...] = ()
    rows: Tensor | None = None
    """Their rows among those recorded in the current call; None where it has none."""
    log_weights: Tensor | None = None
    """(images, groups); None before the first solution."""
    masses: list[Tensor] = field(default_factory=list)
    """Mass of every group in each layer of the last call, (images, rows, groups)."""
    call: int = 0
    """Number of that call."""
    calls: list[int] = field(default_factory=list)
    """Numbers of the calls in the two lists that follow."""
    weights_by_step: list[Tensor] = field(default_factory=list)
    shares_by_step: list[Tensor] = field(default_factory=list)


class ShareController:
    """Measurement of attention shares, and weights that give phrases their target shares.

    Attributes:
        is_frozen: True if weights keep their values; shares are measured all the same.

    Args:
        targets: the targets of each variant of the session; None for variants without.
        variants: the token tables of each variant.
        length: number of text positions.
    """

    def __init__(
        self,
        targets: Sequence[ShareTargets | None],
        variants: Sequence[Sequence[PlacedTable]],
        length: int,
    ) -> None:
        self.length = length
        self.is_frozen = False
        self.states = {
            number: _build_state(each, list_recorded_rows(variants[number]), length)
            for number, each in enumerate(targets)
            if each is not None
        }
        self._calls = 0

    def restart(self) -> None:
        """Begin again with weight 1, as every run of the pipeline does."""
        self._calls = 0
        for state in self.states.values():
            state.log_weights, state.masses = None, []
            state.calls, state.weights_by_step, state.shares_by_step = [], [], []

    def begin_call(self, recorded: Sequence[VariantRow], device: torch.device) -> None:
        """Solve for the weights from the last call, and prepare for the next one.

        Args:
            recorded: variant and image of every recorded row of this call.
            device: device of the model.
        """
        self._calls += 1
        for number, state in self.states.items():
            own = {index: row[1] for index, row in enumerate(recorded) if row and row[0] == number}
            if not own:
                state.rows = None
                continue
            self._finish_step(state)
            images = tuple(own.values())
            if state.images != images:
                state.images, state.log_weights = images, None
            if state.log_weights is None:
                state.log_weights = self._inherit_weights(state)
            state.call = self._calls
            state.rows = torch.tensor(list(own), device=device)
            state.columns = state.columns.to(device)
            state.keys = state.keys.to(device)
            state.shares = state.shares.to(device)

    def add_probabilities(self, probabilities: Tensor) -> None:
        """Add the recorded probabilities of one layer, (rows, heads, queries, columns)."""
        for state in self.states.values():
            if state.rows is not None:
                own = probabilities.detach().index_select(0, state.rows)
                own = own[..., : len(state.columns)]  # shorter prompts are padded to the longest
                state.masses.append((own @ state.columns).flatten(1, 2))

    def bias(self, rows: Sequence[VariantRow], device: torch.device) -> Tensor | None:
        """Return the bias of the weights on the logits, (batch, 1, 1, length); None while all are 1."""
        biases: list[Tensor] = []
        zero = torch.zeros(self.length, dtype=torch.float32, device=device)
        for row in rows:
            state = None if row is None else self.states.get(row[0])
            if row is None or state is None or state.log_weights is None or row[1] not in state.images:
                biases.append(zero)
            else:
                biases.append(state.log_weights[state.images.index(row[1])] @ state.keys)
        if all(each is zero for each in biases):
            return None
        return torch.stack(biases)[:, None, None]

    def results(self) -> dict[int, tuple[ShareResult, ...]]:
        """Return the results of every phrase, by image."""
        steps: dict[int, dict[tuple[str, float], list[tuple[int, float, float]]]] = {}
        for state in self.states.values():
            self._measure(state)
            if not state.shares_by_step:
                continue
            weights = torch.stack(state.weights_by_step).exp().cpu()  # (steps, images, groups)
            shares = torch.stack(state.shares_by_step).cpu()
            targets = list(zip(state.targets.phrases, state.targets.shares, strict=True))
            for index, image in enumerate(state.images):
                for group, target in enumerate(targets):
                    of_phrase = weights[:, index, group].tolist(), shares[:, index, group].tolist()
                    known = steps.setdefault(image, {}).setdefault(target, [])
                    known += zip(state.calls, *of_phrase, strict=True)
        return {
            image: tuple(_merge_steps(*target, known) for target, known in of_image.items())
            for image, of_image in sorted(steps.items())
        }

    def _inherit_weights(self, state: ShareState) -> Tensor | None:
        """Return the log weights of the last variant of the same images with all phrases of this one."""
        phrases = state.targets.phrases
        others = [
            other
            for other in self.states.values()
            if other.log_weights is not None
            and other.images == state.images
            and set(phrases) <= set(other.targets.phrases)
        ]
        if not others:
            return None
        last = max(others, key=lambda other: other.call)
        assert last.log_weights is not None
        known = last.targets.phrases
        groups = [*map(known.index, phrases), *range(len(known), last.log_weights.shape[1])]
        return last.log_weights[:, groups]

    def _measure(self, state: ShareState) -> tuple[Tensor, Tensor] | None:
        """Append the shares of the last call; return its masses and the weight of each row in the mean."""
        if not state.masses:
            return None
        masses = torch.cat(state.masses, 1)
        row_weights = torch.cat(
            [each.new_full((each.shape[1],), 1 / each.shape[1]) for each in state.masses]
        ) / len(state.masses)
        state.masses = []
        parts = masses / masses.sum(-1, keepdim=True).clamp_min(torch.finfo(masses.dtype).tiny)
        state.calls.append(state.call)
        state.shares_by_step.append((parts * row_weights[:, None]).sum(1))
        current = state.log_weights
        state.weights_by_step.append(masses.new_zeros(parts.shape[::2]) if current is None else current)
        return masses, row_weights

    @torch.no_grad()
    def _finish_step(self, state: ShareState) -> None:
        """Solve for the weights that would have given the last call its target shares."""
        measured = self._measure(state)
        if measured is None or self.is_frozen:
            return
        masses, row_weights = measured
        if state.log_weights is not None:  # back to the masses without weights
            masses = masses * (-state.log_weights)[:, None].exp()
        state.log_weights = solve_weights(masses, state.shares, row_weights)


def _merge_steps(phrase: str, target: float, steps: Sequence[tuple[int, float, float]]) -> ShareResult:
    """Return the result of a phrase in all variants with it, from (call, weight, share) of each step."""
    ordered = sorted(steps)
    return ShareResult(
        phrase, target, tuple(weight for _, weight, _ in ordered), tuple(share for _, _, share in ordered)
    )


def _build_state(targets: ShareTargets, recorded: Sequence[int], length: int) -> ShareState:
    """Build the state of a variant with these targets and recorded rows of the text embeddings."""
    rows = [*targets.rows, targets.rest]
    keys = torch.zeros(len(rows), length, dtype=torch.float32)
    for group, each in enumerate(rows):
        keys[group, list(each)] = 1
    shares = [*targets.shares, 1 - sum(targets.shares)]
    return ShareState(
        targets, keys[:, list(recorded)].T.contiguous(), keys, torch.tensor(shares, dtype=torch.float32)
    )
