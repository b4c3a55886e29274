"""``schedule``: the text that each step of sampling gets, where prompt editing and alternation change it."""

from __future__ import annotations

from promptweight.errors import SettingError
from promptweight.prompt.parser import check_dialect
from promptweight.prompt.parser.tags_and_comments import opaque_ranges
from promptweight.prompt.prompt_editing import find_changes


def schedule(
    text: str,
    steps: int,
    dialect: str = "pw",
    *,
    second_pass_steps: int | None = None,
    use_old_scheduling: bool = False,
) -> list[tuple[int, str]]:
    """Resolve prompt editing into ``(last step, text)`` pairs, steps counted from 1, as A1111 gives them.

    ``steps`` are those of the first pass. With ``second_pass_steps`` the schedule is that of a second pass
    (hires fix) of so many steps: whole numbers count on from ``steps``, fractions from 1.0.
    ``use_old_scheduling``: every number below 1 is a fraction, every other one counts steps, and the second
    pass is scheduled like the first. Dialects without prompt editing have one text. Raises SettingError for
    fewer than one step.

        >>> schedule("um [gato:cão:0.5]", 10)
        [(5, 'um gato'), (10, 'um cão')]
    """
    check_dialect(dialect)
    for name, count in (("steps", steps), ("second_pass_steps", second_pass_steps)):
        if count is not None and count < 1:
            raise SettingError(f"{name}={count} is too few; sampling needs at least 1 step")
    first_pass_steps = None
    if second_pass_steps is not None and not use_old_scheduling:
        first_pass_steps, steps = steps, second_pass_steps
    if dialect not in ("pw", "a1111"):
        return [(steps, text)]
    opaque = opaque_ranges(text, dialect) if dialect == "pw" else ()
    changes = find_changes(text, dialect, opaque)
    if not changes.found:
        return [(steps, text)]
    return [
        (last, changes.at(last, steps, first_pass_steps, use_old_scheduling))
        for last in changes.last_steps(steps, first_pass_steps, use_old_scheduling)
    ]
