"""The family of a pipeline: a listed one, or one derived from its class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from promptweight.conditioning.derived_families import derive_family
from promptweight.conditioning.families import FAMILIES, Family
from promptweight.conditioning.refusals import find_refusal
from promptweight.errors import ModelError
from promptweight.messages import message

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline


def find_family(pipe: Pipeline) -> Family:
    """Return the family of a pipeline, by its class or one of its base classes, or one derived from it.

    Raises:
        ModelError: there is none; the error has the reason, or lists the supported families and pipelines.
    """
    family, name = look_up_family(pipe), type(pipe).__name__
    if family is not None:
        return family
    reason = find_refusal(type(pipe))
    if reason is not None:
        raise ModelError(message("pipeline-refused", name=name, reason=reason))
    raise ModelError(message("pipeline-unsupported", name=name, known=describe_families()))


def look_up_family(pipe: Pipeline) -> Family | None:
    """Return the family of a pipeline, as `find_family` does; None for none."""
    return find_class_family(type(pipe))


def find_class_family(kind: type) -> Family | None:
    """Return the family of the pipelines of a class; None for none."""
    listed = find_family_by_names([base.__name__ for base in kind.__mro__])
    return derive_family(kind) if listed is None and find_refusal(kind) is None else listed


def find_family_by_names(names: Sequence[str]) -> Family | None:
    """Return the listed family of a pipeline by the names of its class and base classes; None for none."""
    return next((each for each in FAMILIES if not set(each.pipelines).isdisjoint(names)), None)


def describe_families() -> str:
    """Return the supported families, each with its pipelines."""
    return "; ".join(f"{family.name}: {', '.join(family.pipelines)}" for family in FAMILIES)
