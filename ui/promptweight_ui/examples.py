"""Examples of a built-in model: prompts that it can draw, and the images with which the page opens."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Condition, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any

from promptweight.errors import PromptweightError
from promptweight.generation import GenerateOptions
from promptweight_ui.compare.cells import cell_payload, grid_payload
from promptweight_ui.compare.grid import NO_AXIS, NUMERIC_DEFAULTS, parse_axis, plan_cells, prompt_words
from promptweight_ui.components.example_prompts import example_prompts
from promptweight_ui.components.picture import finished_message, image_payload
from promptweight_ui.generation import GenerateCall
from promptweight_ui.i18n import known_language
from promptweight_ui.outputs import Outputs
from promptweight_ui.threads import is_exiting, start_thread
from promptweight_ui.validation import MAX_STEPS

if TYPE_CHECKING:
    from promptweight import Result
    from promptweight_ui.context import Context

SEEDS = {"en": 6, "pt-br": 2}
"""Seeds with which the weight of the first example changes its image, by language."""

MAX_ATTEMPTS = 50
"""Attempts to make an image while no run waits for the model."""


@dataclass(frozen=True)
class Example:
    """Finished image of the first example prompt.

    Attributes:
        prompt: the prompt.
        result: its result.
        message: its message for the picture component.
    """

    prompt: str
    result: Result
    message: Mapping[str, Any]


class Examples:
    """Finished images and comparisons by language, made once in a thread while nobody waits for the model.

    Args:
        context: the objects that the tabs share.
        is_pending: whether `begin` will be called, so that pages wait for the images.
    """

    def __init__(self, context: Context, *, is_pending: bool = False) -> None:
        self._context = context
        self._made: dict[str, Example] = {}
        self._dials: dict[str, Mapping[str, Any]] = {}
        self._is_pending = is_pending
        self._changed = Condition()

    @property
    def made(self) -> Mapping[str, Example]:
        """The finished images by language."""
        return self._made

    def begin(self) -> Thread:
        """Make the images in a thread, which is returned."""
        prompts = example_prompts(self._context.models)

        def make() -> None:
            try:
                self._make_all({language: texts[0] for language, texts in prompts.items()})
            except _NeverFreeError:
                pass
            except PromptweightError as error:
                logging.getLogger("promptweight").error("%s", error)
            finally:
                with self._changed:
                    self._is_pending = False
                    self._changed.notify_all()

        self._is_pending = True
        return start_thread("example", make)

    def wait(self, prompt: object, language: object, timeout: float) -> Example | None:
        """Return the image of a prompt as soon as it is made.

        The result is None if it is not made in time, and at once for a prompt that is not that of an example.

        Args:
            prompt: the prompt of the page; None for the example of the language.
            language: the language of the page.
            timeout: the longest wait in seconds.
        """
        first = {name: texts[0] for name, texts in example_prompts(self._context.models).items()}
        languages = [name for name, text in first.items() if text == prompt]
        if prompt is None:
            languages = [known_language(language)]
        if not languages:
            return None
        (name,) = languages
        with self._changed:
            self._changed.wait_for(lambda: name in self._made or not self._is_pending, timeout)
            return self._made.get(name)

    def dial(self, prompt: object) -> Mapping[str, Any] | None:
        """Return the comparison of weights for the prompt of an example; None while there is none."""
        languages = [language for language, made in self._made.items() if made.prompt == prompt]
        return self._dials.get(languages[0]) if languages else None

    def _make_all(self, prompts: Mapping[str, str]) -> None:
        component = self._context.parts["picture"]
        for language, prompt in prompts.items():
            start = monotonic()
            result = self._generate(prompt, GenerateOptions(seed=SEEDS[language]), refine=True)
            (path,) = _keep(result, component)
            message = finished_message(result, [image_payload(result, 0, path)], monotonic() - start)
            with self._changed:
                self._made[language] = Example(prompt, result, {**message, "former": True, "pins": True})
                self._changed.notify_all()
        for language, prompt in prompts.items():
            self._dials[language] = self._make_dial(prompt, SEEDS[language])

    def _make_dial(self, prompt: str, seed: int) -> Mapping[str, Any]:
        """Return the comparison that the Compare tab makes of a prompt by default."""
        component = self._context.parts["compare_grid"]
        models = self._context.models
        word = prompt_words(prompt)[0]
        across = parse_axis("weight", NUMERIC_DEFAULTS["weight"], {}, MAX_STEPS)
        call = GenerateCall(models.names[0], prompt, GenerateOptions(seed=seed))
        planned = plan_cells(call, word, across, NO_AXIS, models)
        cells = []
        for row, column, cell in planned:
            result = self._generate(str(cell.prompt), cell.options)
            (path,) = _keep(result, component)
            image = image_payload(result, 0, path)
            cells.append({"row": row, "column": column, **cell_payload(image, result, word)})
        about = grid_payload(word, across, NO_AXIS, len(planned), seed)
        return {"state": "done", **about, "cells": cells}

    def _generate(self, prompt: str, options: GenerateOptions, *, refine: bool = False) -> Result:
        """Return the result of a prompt; every run that waits for the model goes first.

        Raises:
            _NeverFreeError: in no attempt was the model free for as long as it takes, or the process exits.
        """
        models = self._context.models
        for _ in range(MAX_ATTEMPTS):
            with models.use(models.names[0]) as pipe:
                from promptweight import generate
                from promptweight.attention import Record

                result = generate(
                    pipe,
                    prompt,
                    options=options,
                    record=Record(steps="keep", refine=refine),
                    callback=lambda _: not (models.turns.is_awaited or is_exiting()),
                )
            if result.stopped_after is None and result.images:
                return result
            if is_exiting():
                break
        raise _NeverFreeError


def _keep(result: Result, component: Any) -> list[str]:
    """Save the images of a result in Gradio's cache, which does not delete them when they are old."""
    paths = Outputs().save(result, component)
    component.keep_in_cache.update(paths)
    return paths


class _NeverFreeError(Exception):
    """Exit from making examples on a server whose model is never free, or that is closed."""
