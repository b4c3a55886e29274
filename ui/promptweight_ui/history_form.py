"""Values of the Generate tab from the settings of a file, and what they leave out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptweight_ui import validation
from promptweight_ui.generation import MAX_GUIDANCE, MAX_SEED
from promptweight_ui.history import HistoryForm, integer, number
from promptweight_ui.i18n import translate, translate_message
from promptweight_ui.models import Models

FILLED_PARTS = (
    "prompt", "negative", "model", "weighting", "sampler", "schedule", "steps", "guidance", "seed", "random",
    "width", "height", "clip_skip",
)  # fmt: skip
"""The parts of the Generate tab that a file fills."""


MAX_NAMES = 300
"""Characters of a list of names in a note."""


@dataclass(frozen=True)
class FormValues:
    """Values of the Generate tab from a file.

    Attributes:
        values: the value of each of `FILLED_PARTS`; None to leave the part as it is.
        model: the model that will generate.
        left_out: key of a text and its values for each setting that is left out.
    """

    values: dict[str, Any]
    model: str
    left_out: tuple[tuple[str, dict[str, Any]], ...]


def form_values(models: Models, form: HistoryForm, present: object) -> FormValues:
    """Return the values of the Generate tab for a file.

    Args:
        models: the models that the server offers.
        form: the settings of the file.
        present: the selected model, from the browser.
    """
    given = form.values
    left_out: list[tuple[str, dict[str, Any]]] = []
    source = str(given.get("model") or "")
    matches = [name for name in models.names if name in (source, Path(source).name)]
    model = matches[0] if matches else str(present) if present in models.names else models.names[0]
    if source and not matches:
        left_out.append(("history_other_model", {"name": Path(source).name[:80], "model": model}))

    longest = models.facts(model).max_side
    sides = {side: integer(given.get(side), 8, longest) for side in ("width", "height")}
    if any(given.get(side) is not None and value is None for side, value in sides.items()):
        size = " × ".join(str(given.get(side, "?"))[:8] for side in sides)
        left_out.append(("history_size", {"size": size, "model": model, "most": longest}))
        sides = dict.fromkeys(sides)

    sampler = given.get("sampler")
    found = None if sampler is None else models.split_sampler(model, sampler)
    if sampler is not None and found is None:
        left_out.append(("history_sampler", {"name": str(sampler)[:80], "model": model}))

    numbers = {
        "steps": integer(given.get("steps"), 1, validation.MAX_STEPS),
        "guidance": number(given.get("guidance"), 0, MAX_GUIDANCE),
        "seed": integer(given.get("seed"), 0, MAX_SEED),
        "clip_skip": integer(given.get("clip_skip"), 0, validation.MAX_CLIP_SKIP),
    }
    for name, value in numbers.items():
        if given.get(name) is not None and value is None:
            label = validation.TextKey(f"generate_{name}")
            left_out.append(("history_value", {"name": label, "value": str(given[name])[:40]}))
    if form.left_out:
        left_out.append(("history_left_out", {"names": ", ".join(form.left_out)}))
    values = {
        "prompt": form.prompt[: validation.MAX_CHARACTERS],
        "negative": form.negative[: validation.MAX_CHARACTERS],
        "model": matches[0] if matches else None,
        "weighting": given.get("weighting"),
        "sampler": found and found[0],
        "schedule": found and found[1],
        "random": None if numbers["seed"] is None else False,
        **{side: "" if value is None else str(value) for side, value in sides.items()},
        **numbers,
        "clip_skip": numbers["clip_skip"] or 0,
    }
    return FormValues(values, model, tuple(left_out))


def left_out_texts(form: HistoryForm, values: FormValues, language: object) -> Iterator[str]:
    """Yield a sentence for each setting of a file that the Generate tab leaves out."""
    for key, fields in values.left_out:
        yield validation.page_text(language, key, fields, MAX_NAMES)
    for note in form.notes:
        text = translate_message(language, note)
        yield text[:1].upper() + text[1:]
    if len(form.prompt) > validation.MAX_CHARACTERS or len(form.negative) > validation.MAX_CHARACTERS:
        yield translate(language, "history_cut", most=validation.MAX_CHARACTERS)
