"""Phrases kept at their shares while a picture is made, text by text, and what was found on the way.

What a share is and how weights are solved for is in `promptweight.attention.control.share_solver`. The masses of one step
of the run set the weights of the next; the first step runs with weight 1. Where a prompt changes during the
run, or AND joins parts, each of its texts has the shares of its own words while it is said, and begins with
the weights that its phrases had in another one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from promptweight.attention.batch_rows import BatchRow
from promptweight.attention.control.share_solver import ShareTargets, solve_weights
from promptweight.maps import PlacedTable, recorded_rows
from promptweight.messages import Message, message


@dataclass(frozen=True)
class ShareResult:
    """What was found for one phrase of one picture."""

    phrase: str
    target: float
    weights: tuple[float, ...]
    """The weight at each step of the run in which the phrase is said; the first is 1."""
    shares: tuple[float, ...]
    """The share that it got at each of these steps, under the weight of that step."""

    @property
    def weight(self) -> float:
        """One weight for the whole run: the geometric mean of those that were found."""
        found = self.weights[1:] or self.weights
        return math.exp(sum(map(math.log, found)) / len(found))

    @property
    def share(self) -> float:
        """The mean share under the weights that were found."""
        reached = self.shares[1:] or self.shares
        return sum(reached) / len(reached)

    def told(self, picture: int) -> Message:
        """In a sentence, of the picture with this number."""
        return message(
            "share-missed",
            picture=picture,
            phrase=self.phrase,
            share=self.share,
            target=self.target,
            weight=self.weight,
        )


@dataclass
class ShareState:
    """What is known of the pictures of one prompt."""

    wanted: ShareTargets
    columns: Tensor
    """Which of the recorded columns belong to which group, (columns, groups) of 0 and 1."""
    keys: Tensor
    """Which keys do, (groups, length)."""
    targets: Tensor
    images: tuple[int, ...] = ()
    places: Tensor | None = None
    """Their rows among those recorded in the running call."""
    log_weights: Tensor | None = None
    """(pictures, groups); None before the first is found."""
    masses: list[Tensor] = field(default_factory=list)
    """What each layer of the last call gave every group, (pictures, rows, groups)."""
    call: int = 0
    """The number of that call."""
    calls: list[int] = field(default_factory=list)
    """The numbers of the calls in the lists that follow."""
    weights_by_step: list[Tensor] = field(default_factory=list)
    shares_by_step: list[Tensor] = field(default_factory=list)


class ShareController:
    """Keeps phrases at their shares while a picture is made.

    A prompt is here one text of a session: its lanes are told with the number of their text as their prompt.

    Args:
        wanted: what is asked for in each text; None where nothing is.
        tables: the token tables of each text.
        length: how many positions the text has.
    """

    def __init__(
        self, wanted: Sequence[ShareTargets | None], tables: Sequence[Sequence[PlacedTable]], length: int
    ) -> None:
        self.length = length
        self.is_held = False
        """Whether weights stay as they are; shares are measured all the same."""
        self.states = {
            number: build_share_state(each, recorded_rows(tables[number]), length)
            for number, each in enumerate(wanted)
            if each is not None
        }
        self._calls = 0

    def restart(self) -> None:
        """Begin with weight 1 again, as every run of the pipeline does."""
        self._calls = 0
        for state in self.states.values():
            state.log_weights, state.masses = None, []
            state.calls, state.weights_by_step, state.shares_by_step = [], [], []

    def begin(self, recorded: Sequence[BatchRow], device: torch.device) -> None:
        """Get ready for a call of the model, with the weights that the last one gives.

        Args:
            recorded: the lane of every row that is recorded in this call.
            device: where the model computes.
        """
        self._calls += 1
        for number, state in self.states.items():
            own = {place: lane for place, lane in enumerate(recorded) if is_of(lane, number)}
            if not own:
                state.places = None
                continue
            self._finish_step(state)
            images = tuple(lane.image for lane in own.values())
            if state.images != images:
                state.images, state.log_weights = images, None
            if state.log_weights is None:
                state.log_weights = self._borrowed(state)
            state.call = self._calls
            state.places = torch.tensor(list(own), device=device)
            state.columns = state.columns.to(device)
            state.keys = state.keys.to(device)
            state.targets = state.targets.to(device)

    def take(self, probabilities: Tensor) -> None:
        """Take note of what one layer recorded, (rows, heads, queries, columns)."""
        for state in self.states.values():
            if state.places is not None:
                own = probabilities.detach().index_select(0, state.places)
                own = own[..., : len(state.columns)]  # shorter prompts are padded to the longest
                state.masses.append((own @ state.columns).flatten(1, 2))

    def bias(self, lanes: Sequence[BatchRow | None], device: torch.device) -> Tensor | None:
        """What the weights add to the logits, (batch, 1, 1, length); None while all are 1."""
        rows: list[Tensor] = []
        nothing = torch.zeros(self.length, device=device)
        for lane in lanes:
            state = self.states.get(lane.prompt) if lane and lane.role == "positive" else None
            if lane is None or state is None or state.log_weights is None or lane.image not in state.images:
                rows.append(nothing)
            else:
                rows.append(state.log_weights[state.images.index(lane.image)] @ state.keys)
        if all(row is nothing for row in rows):
            return None
        return torch.stack(rows)[:, None, None]

    def found(self) -> dict[int, tuple[ShareResult, ...]]:
        """What was found for every phrase, by picture."""
        steps: dict[int, dict[tuple[str, float], list[tuple[int, float, float]]]] = {}
        for state in self.states.values():
            self._measure(state)
            if not state.shares_by_step:
                continue
            weights = torch.stack(state.weights_by_step).exp().cpu()  # (steps, pictures, groups)
            shares = torch.stack(state.shares_by_step).cpu()
            for place, image in enumerate(state.images):
                for group, phrase in enumerate(zip(state.wanted.names, state.wanted.shares, strict=True)):
                    of_phrase = weights[:, place, group].tolist(), shares[:, place, group].tolist()
                    known = steps.setdefault(image, {}).setdefault(phrase, [])
                    known += zip(state.calls, *of_phrase, strict=True)
        return {
            image: tuple(merge_steps(*phrase, known) for phrase, known in of_image.items())
            for image, of_image in sorted(steps.items())
        }

    def _borrowed(self, state: ShareState) -> Tensor | None:
        """The log weights that all phrases of a text have in the last one of the same pictures, if any."""
        wanted = state.wanted.names
        others = [
            other
            for other in self.states.values()
            if other.log_weights is not None
            and other.images == state.images
            and set(wanted) <= set(other.wanted.names)
        ]
        if not others:
            return None
        last = max(others, key=lambda other: other.call)
        assert last.log_weights is not None
        names = last.wanted.names
        groups = [*map(names.index, wanted), *range(len(names), last.log_weights.shape[1])]
        return last.log_weights[:, groups]

    def _measure(self, state: ShareState) -> tuple[Tensor, Tensor] | None:
        """Note the shares of the last call; returns its masses and how much each row counts."""
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
        now = state.log_weights
        state.weights_by_step.append(masses.new_zeros(parts.shape[::2]) if now is None else now)
        return masses, row_weights

    @torch.no_grad()
    def _finish_step(self, state: ShareState) -> None:
        """Find the weights that would have given the last call the shares that are asked for."""
        measured = self._measure(state)
        if measured is None or self.is_held:
            return
        masses, row_weights = measured
        if state.log_weights is not None:  # those of the plain attention
            masses = masses * (-state.log_weights)[:, None].exp()
        log_weights = solve_weights(masses, state.targets, row_weights)
        if state.wanted.is_balance:  # only the ratios count: their mean stays 1
            log_weights = log_weights - log_weights.mean(-1, keepdim=True)
        state.log_weights = log_weights


def is_of(lane: BatchRow, prompt: int) -> bool:
    """Whether a row carries this prompt."""
    return lane.role == "positive" and lane.prompt == prompt


def merge_steps(phrase: str, target: float, steps: Sequence[tuple[int, float, float]]) -> ShareResult:
    """What was found for a phrase in all texts that hold it, from (call, weight, share) of each step."""
    ordered = sorted(steps)
    return ShareResult(
        phrase, target, tuple(weight for _, weight, _ in ordered), tuple(share for _, _, share in ordered)
    )


def build_share_state(wanted: ShareTargets, recorded: Sequence[int], length: int) -> ShareState:
    """The tensors that stand for what is asked for in a prompt with these recorded rows."""
    rows = list(wanted.rows) + ([] if wanted.is_balance else [wanted.rest])
    keys = torch.zeros(len(rows), length)
    for group, each in enumerate(rows):
        keys[group, list(each)] = 1
    targets = [*wanted.shares, *([] if wanted.is_balance else [1 - sum(wanted.shares)])]
    return ShareState(wanted, keys[:, list(recorded)].T.contiguous(), keys, torch.tensor(targets))
