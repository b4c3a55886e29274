"""Families of pipelines that are in no list, derived from the class of the pipeline.

Pipelines of diffusers name the values that their `encode_prompt` returns as the arguments under which their
call takes them: its `return` statement is the list of `Family.outputs`. Which rows are a word's is found
in every encoding, as for the listed families.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from typing import Any

from promptweight.conditioning.families import Family, language_model

_TEXTS = ("prompt_embeds", "negative_prompt_embeds")
_OF_FILMS = frozenset({"num_frames", "frames", "video", "video_length"})


@cache
def derive_family(kind: type) -> Family | None:
    """Derive the family of a class of pipelines.

    Returns:
        The family; None for classes that draw no single images, that have several text encoders, or whose
        call does not take all that their `encode_prompt` returns of the text.
    """
    encode = getattr(kind, "encode_prompt", None)
    if not callable(encode) or not hasattr(kind, "components") or ".deprecated." in kind.__module__:
        return None
    accepted = inspect.signature(kind.__call__).parameters
    components = inspect.signature(kind).parameters
    draws_text = accepted.keys() >= {"prompt", "height", "width", "num_inference_steps"}
    draws_films = not _OF_FILMS.isdisjoint(accepted)
    encoders = [name for name in components if re.fullmatch(r"(\w+_)?text_encoder(_\d+)?", name)]
    tokenizer = next((name for name in ("tokenizer", "processor") if name in components), None)
    returned = _read_returned_names(encode)
    if not draws_text or draws_films or encoders != ["text_encoder"] or tokenizer is None:
        return None
    if len(returned) == 1:  # it may have any name
        returned = ["prompt_embeds"]
    outputs = tuple(name if name in accepted else "" for name in returned)
    if "prompt_embeds" not in outputs:
        return None
    if any(name and name not in _TEXTS and not name.endswith("_mask") for name in outputs):
        return None
    # a mask that the call makes itself would not be that of the text
    if any(name.endswith("_mask") and name not in accepted for name in returned):
        return None
    of_encoding = inspect.signature(encode).parameters
    defaults = [
        each["max_sequence_length"].default
        for each in (accepted, of_encoding)
        if "max_sequence_length" in each
    ]
    length = defaults[0] if "max_sequence_length" in of_encoding else None
    return Family(
        kind.__name__,
        (kind.__name__,),
        sections=((language_model("text", tokenizer),),),
        max_sequence_length=length if isinstance(length, int) else None,
        negative_is_optional="negative_prompt_embeds" not in outputs,
        outputs=outputs,
        guidance_argument="true_cfg_scale" if "true_cfg_scale" in accepted else "guidance_scale",
        is_derived=True,
    )


def _read_returned_names(function: Any) -> list[str]:
    """Return the names of the values that a function returns; none without its source.

    Of `value.to(device)`, `self.value` and `value if condition else None`, it is that of the value; of other
    expressions it is empty. There are none where two `return` statements have others in the same places.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return []
    returns = [node.value for node in _walk_body(tree.body[0]) if isinstance(node, ast.Return) and node.value]
    lists = [
        [_read_name(value) for value in (node.elts if isinstance(node, ast.Tuple) else [node])]
        for node in returns
    ]
    if len({len(names) for names in lists}) != 1:
        return []
    places = [{name for name in of_place if name} for of_place in zip(*lists, strict=True)]
    return [next(iter(names), "") for names in places] if all(len(names) < 2 for names in places) else []


def _walk_body(function: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function, without those of functions inside it."""
    for node in ast.iter_child_nodes(function):
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            yield from _walk_body(node)


def _read_name(value: ast.expr) -> str:
    """Return the name of the variable that a value is read from; empty for another expression."""
    while not isinstance(value, ast.Name):
        if isinstance(value, ast.IfExp):
            value = value.body
        elif isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
            value = value.func.value
        else:
            return value.attr if isinstance(value, ast.Attribute) else ""
    return value.id
