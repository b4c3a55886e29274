"""Schedule of a prompt's texts, as A1111's `get_learned_conditioning_prompt_schedules` returns it."""

from __future__ import annotations

from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.prompt.changes import Change, Changes
from promptweight.prompt.diagnostics import Remarks
from promptweight.prompt.dialects.tags_and_comments import extract_tags
from promptweight.prompt.parser import check_dialect
from promptweight.prompt.prompt_editing import find_changes


def schedule(
    text: str,
    steps: int,
    dialect: str = "pw",
    *,
    second_pass_steps: int | None = None,
    use_old_scheduling: bool = False,
) -> list[tuple[int, str]]:
    """Resolve prompt editing into `(last step, text)` pairs, steps counted from 1, as A1111 does.

    The texts are raw: weights, tags and AND stay. `ParseTree.timeline` returns parsed prompts instead.

    Args:
        text: the prompt.
        steps: the number of steps of the first pass.
        dialect: the dialect of the prompt; dialects without prompt editing have one text.
        second_pass_steps: the number of steps of a second pass (hires fix), whose schedule is returned:
            whole numbers count on from `steps`, fractions from 1.0.
        use_old_scheduling: every number below 1 is a fraction, every other one counts steps, and the second
            pass has the schedule of the first.

    Raises:
        SettingError: for fewer than one step, or an unknown dialect.

    >>> schedule("um [gato:cão:0.5]", 10)
    [(5, 'um gato'), (10, 'um cão')]
    """
    check_dialect(dialect)
    for name, count in (("steps", steps), ("second_pass_steps", second_pass_steps)):
        if count is not None and count < 1:
            raise SettingError(message("count-minimum", name=name, count=count))
    first_pass_steps = None
    if second_pass_steps is not None and not use_old_scheduling:
        first_pass_steps, steps = steps, second_pass_steps
    if dialect not in ("pw", "a1111"):
        return [(steps, text)]
    changes = _find_source_changes(text) if dialect == "pw" else find_changes(text, dialect)
    if not changes.items:
        return [(steps, text)]
    return [
        (last, changes.text_at(last, steps, first_pass_steps, use_old_scheduling))
        for last in changes.last_steps(steps, first_pass_steps, use_old_scheduling)
    ]


def _find_source_changes(source: str) -> Changes:
    """Return the changes of a `pw` prompt without its tags and comments, at their offsets in the source."""
    mapped, _ = extract_tags(source, "pw", Remarks())
    found = find_changes(mapped.text, "pw")
    items = tuple(
        Change(
            mapped.source_start(change.start),
            tuple(mapped.source_start(separator) for separator in change.separators),
            mapped.source_start(change.stop),
            change.when,
        )
        for change in found.items
    )
    return Changes(source, items, found.scanned)
