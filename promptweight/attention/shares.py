"""Weights found while a picture is made, so that phrases get the shares of attention that are asked for.

The share of a phrase is what its words get of the attention that all words of the prompt get, a number from
0 to 1 in every row of a softmax; it is averaged over the rows of all pixels, heads and layers, a layer with
many pixels counting no more than one with few. Beginning, end and padding, where most attention rests, do
not count. In a row n whose words have masses m_g(n) in groups g, log weights u_g on the logits give

    s_g(u) = mean over n of exp(u_g) m_g(n) / Σ_h exp(u_h) m_h(n),

whatever else is in the row. That is the gradient of the convex function mean log Σ_h exp(u_h) m_h(n), so the
weights that give the targets are unique, and Newton's method finds them from the masses alone, without a
gradient of the model. Moving no log weight further than 1 against another in a step, the function bends too
little for Newton to miss: every step brings the shares nearer.

The masses of one step of the run set the weights of the next; the first step runs with weight 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from promptweight.attention.lanes import Lane
from promptweight.attention.phrases import named, phrases
from promptweight.attention.tables import PlacedTable, find_rows, recorded_rows
from promptweight.errors import SettingError

ITERATIONS = 16
LARGEST = 20.0
"""No weight that is found is larger than this, or smaller than one part in it."""
RIDGE = 1e-7
"""Added to the diagonal of the slopes, for groups that no row tells apart."""


@dataclass(frozen=True)
class Wanted:
    """The shares that are asked for in one prompt."""

    names: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]
    """The rows of the text embeddings of each phrase."""
    shares: tuple[float, ...]
    """Their targets. With `is_balance` they are shares of the phrases alone and sum to 1."""
    rest: tuple[int, ...]
    """The rows of all other words."""
    is_balance: bool = False


@dataclass(frozen=True)
class Found:
    """What was found for one phrase of one picture."""

    phrase: str
    target: float
    weights: tuple[float, ...]
    """The weight at each step of the run; the first is 1."""
    shares: tuple[float, ...]
    """The share that it got at each step, under the weight of that step."""

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

    def told(self, picture: int) -> str:
        """In a sentence, of the picture with this number."""
        return (
            f"in picture {picture} {self.phrase!r} got {self.share:.1%} of what was to be shared (asked: "
            f"{self.target:.1%}), with weights round {self.weight:.3g}"
        )


def solve_weights(
    masses: Tensor, targets: Tensor, row_weights: Tensor | None = None, *, largest: float = LARGEST
) -> Tensor:
    """The log weights that give groups of words their target shares.

    Args:
        masses: what each group gets in each row of softmax, (pictures, rows, groups), above 0 somewhere.
        targets: the shares wanted, (groups,), all above 0, summing to 1.
        row_weights: how much each row counts, (rows,), summing to 1; the same for all when None.
        largest: no weight is larger, or smaller than one part in it.

    Returns:
        Log weights (pictures, groups); that of the last group is 0, since only ratios count.
    """
    if row_weights is None:
        row_weights = masses.new_full(masses.shape[1:2], 1 / masses.shape[1])
    logs = masses.clamp_min(torch.finfo(masses.dtype).tiny).log()
    log_weights = masses.new_zeros(masses.shape[0], masses.shape[2])
    ridge = RIDGE * torch.eye(masses.shape[2] - 1, dtype=masses.dtype, device=masses.device)
    for _ in range(ITERATIONS + math.ceil(math.log(largest))):
        shares = (logs + log_weights[:, None]).softmax(-1)
        weighted = shares * row_weights[:, None]
        means = weighted.sum(1)
        slopes = torch.diag_embed(means) - weighted.mT @ shares
        missing = (targets - means)[:, :-1]
        # solve_ex does not look at its result, which would make the host wait for the device
        step = torch.linalg.solve_ex(slopes[:, :-1, :-1] + ridge, missing)[0]
        width = step.amax(1).clamp_min(0) - step.amin(1).clamp_max(0)
        log_weights[:, :-1] += step / width.clamp_min(1)[:, None]
    return log_weights.clamp(-math.log(largest), math.log(largest))


def wanted_of(
    tables: Sequence[PlacedTable],
    targets: Mapping[str, float] | None = None,
    balance: bool | Sequence[str] = False,
) -> Wanted | None:
    """What is asked for in a prompt: in its own text (`(gato:=25%)`), by name, or a balance; None if nothing.

    Args:
        tables: the prompt's token tables, one for each text encoder.
        targets: shares by phrase.
        balance: True for equal shares of all phrases (`phrases`), or the phrases that are to get them.

    Raises:
        SettingError: targets that cannot be had together.
        WordNotFoundError: the prompt does not hold a phrase.
    """
    written = shares_in_text(tables)
    named_rows = [(name, find_rows(tables, name)[0], share) for name, share in (targets or {}).items()]
    asked = written + named_rows
    for name, _, share in asked:
        if not 0 < share < 1:
            raise SettingError(f"the target of {name!r} is {share}; a share lies between 0 and 1")
    if balance is not False:
        if asked:
            raise SettingError(f"{asked[0][0]!r} has a target of its own; with balance there can be none")
        names = named(phrases(tables[0].table.words)) if balance is True else [(name, 0) for name in balance]
        asked = [(name, find_rows(tables, name, place)[0], 1 / len(names)) for name, place in names]
        if len(asked) < 2:
            return None
    if not asked:
        return None
    taken: dict[int, str] = {}
    for name, rows, _ in asked:
        if common := rows & taken.keys():
            other = taken[min(common)]
            raise SettingError(f"{name!r} and {other!r} have words in common; each word has one target")
        taken |= dict.fromkeys(rows, name)
    rest = {row for placed in tables for row in placed.rows("text")} - taken.keys()
    if balance is False:
        total = sum(share for _, _, share in asked)
        if total >= 1 or not rest:
            left = "no other word is in the prompt" if not rest else "nothing is left for the other words"
            raise SettingError(
                f"the targets {', '.join(f'{name!r} {share:g}' for name, _, share in asked)} sum to "
                f"{total:g} and {left}; shares are of all words' attention and must leave some"
            )
    return Wanted(
        tuple(name for name, _, _ in asked),
        tuple(tuple(sorted(rows)) for _, rows, _ in asked),
        tuple(share for _, _, share in asked),
        tuple(sorted(rest)),
        balance is not False,
    )


def shares_in_text(tables: Sequence[PlacedTable]) -> list[tuple[str, set[int], float]]:
    """The phrases whose shares the prompt itself asks for, their rows and the shares."""
    prompt = tables[0].table.prompt
    groups: list[tuple[list[int], float]] = []
    previous: float | None = None
    for number, span in enumerate(prompt.spans):
        share = span.options.share
        if share is not None and share == previous:
            groups[-1][0].append(number)
        elif share is not None:
            groups.append(([number], share))
        previous = share
    asked = []
    for numbers, share in groups:
        rows = {
            placed.start + token.position
            for placed in tables
            for token in placed.table.tokens
            if token.kind == "text" and token.span in numbers
        }
        if rows:
            asked.append(("".join(prompt.spans[number].text for number in numbers).strip(), rows, share))
    return asked


@dataclass
class State:
    """What is known of the pictures of one prompt."""

    wanted: Wanted
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
    weights_by_step: list[Tensor] = field(default_factory=list)
    shares_by_step: list[Tensor] = field(default_factory=list)


class Keeper:
    """Keeps phrases at their shares while a picture is made.

    Args:
        wanted: what is asked for in each prompt; None where nothing is.
        tables: the token tables of each prompt.
        length: how many positions the text has.
    """

    def __init__(
        self, wanted: Sequence[Wanted | None], tables: Sequence[Sequence[PlacedTable]], length: int
    ) -> None:
        self.length = length
        self.is_held = False
        """Whether weights stay as they are; shares are measured all the same."""
        self.states = {
            number: make_state(each, recorded_rows(tables[number]), length)
            for number, each in enumerate(wanted)
            if each is not None
        }

    def restart(self) -> None:
        """Begin with weight 1 again, as every run of the pipeline does."""
        for state in self.states.values():
            state.log_weights, state.masses = None, []
            state.weights_by_step, state.shares_by_step = [], []

    def begin(self, recorded: Sequence[Lane], device: torch.device) -> None:
        """Get ready for a call of the model, with the weights that the last one gives.

        Args:
            recorded: the lane of every row that is recorded in this call.
            device: where the model computes.
        """
        for number, state in self.states.items():
            own = {place: lane for place, lane in enumerate(recorded) if is_of(lane, number)}
            if not own:
                state.places = None
                continue
            self._finish_step(state)
            images = tuple(lane.image for lane in own.values())
            if state.images != images:
                state.images, state.log_weights = images, None
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

    def bias(self, lanes: Sequence[Lane | None], device: torch.device) -> Tensor | None:
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

    def found(self) -> dict[int, tuple[Found, ...]]:
        """What was found for every phrase, by picture."""
        found: dict[int, tuple[Found, ...]] = {}
        for state in self.states.values():
            self._measure(state)
            if not state.shares_by_step:
                continue
            weights = torch.stack(state.weights_by_step).exp().cpu()  # (steps, pictures, groups)
            shares = torch.stack(state.shares_by_step).cpu()
            for place, image in enumerate(state.images):
                found[image] = tuple(
                    Found(
                        name,
                        state.wanted.shares[group],
                        tuple(weights[:, place, group].tolist()),
                        tuple(shares[:, place, group].tolist()),
                    )
                    for group, name in enumerate(state.wanted.names)
                )
        return dict(sorted(found.items()))

    def _measure(self, state: State) -> tuple[Tensor, Tensor] | None:
        """Note the shares of the last call; returns its masses and how much each row counts."""
        if not state.masses:
            return None
        masses = torch.cat(state.masses, 1)
        row_weights = torch.cat(
            [each.new_full((each.shape[1],), 1 / each.shape[1]) for each in state.masses]
        ) / len(state.masses)
        state.masses = []
        parts = masses / masses.sum(-1, keepdim=True).clamp_min(torch.finfo(masses.dtype).tiny)
        state.shares_by_step.append((parts * row_weights[:, None]).sum(1))
        now = state.log_weights
        state.weights_by_step.append(masses.new_zeros(parts.shape[::2]) if now is None else now)
        return masses, row_weights

    @torch.no_grad()
    def _finish_step(self, state: State) -> None:
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


def is_of(lane: Lane, prompt: int) -> bool:
    """Whether a row carries this prompt."""
    return lane.role == "positive" and lane.prompt == prompt


def make_state(wanted: Wanted, recorded: Sequence[int], length: int) -> State:
    """The tensors that stand for what is asked for in a prompt with these recorded rows."""
    rows = list(wanted.rows) + ([] if wanted.is_balance else [wanted.rest])
    keys = torch.zeros(len(rows), length)
    for group, each in enumerate(rows):
        keys[group, list(each)] = 1
    targets = [*wanted.shares, *([] if wanted.is_balance else [1 - sum(wanted.shares)])]
    return State(wanted, keys[:, list(recorded)].T.contiguous(), keys, torch.tensor(targets))
