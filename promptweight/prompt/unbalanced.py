"""Which groups A1111 gives up in a text whose brackets do not balance.

A1111 parses prompt editing with an ambiguous Earley grammar in which any bracket or colon may also be bare
text. Where bare brackets follow a group directly, the parser chooses between the group and a longer run of
bare marks, and its order of trying makes the choice alternate with the length of that run: the closing
brackets that touch it on the left, and the bare marks themselves. An odd length of three or more takes the
groups apart. Derived by running that grammar (AUTOMATIC1111/stable-diffusion-webui v1.8.0, lark 1.3.1) on
generated texts.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Marks:
    """The brackets and colons of one group, as indices into all marks of the text."""

    indices: list[int]
    fixed: bool  # an alternation: its bars can be nothing else


def groups_given_up(places: list[int], owners: list[Marks | None]) -> set[int]:
    """The opening places of the groups whose marks A1111 reads as text.

    ``places`` are those of all brackets and colons, in order; ``owners`` the closed group that each belongs
    to, None where a mark is bare. ``owners`` is changed: the marks of a group that is given up become bare.
    """
    given_up: set[int] = set()
    index = len(places) - 1
    run = 0  # bare marks directly to the right
    run_start = -1
    while index >= 0:
        place, owner = places[index], owners[index]
        if owner is None:
            run = run + 1 if run_start == place + 1 else 1
            run_start = place
            index -= 1
            continue
        touching = closers_before(index, places, owners) if run and run_start == place + 1 else []
        length = len(touching) + run
        if touching and length >= 3 and length % 2 == 1:
            for group in touching:
                given_up.add(places[group.indices[0]])
                for mark in group.indices:
                    owners[mark] = None
        else:
            index = owner.indices[0] - 1
            run, run_start = 0, -1
    return given_up


def closers_before(index: int, places: list[int], owners: list[Marks | None]) -> list[Marks]:
    """The groups that close one directly before the other, ending with the mark at ``index``."""
    groups: list[Marks] = []
    place = places[index]
    while index >= 0:
        owner = owners[index]
        if owner is None or owner.fixed or owner.indices[-1] != index or places[index] != place - len(groups):
            break
        groups.append(owner)
        index -= 1
    return groups
