"""Widget with the words of a prompt over its image, on anywidget: maps under the pointer, movable weights."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from promptweight.errors import PromptweightError, SettingError, WordNotFoundError
from promptweight.generation import GenerateOptions, Progress, Result, generate, open_pipeline
from promptweight.messages import Message, catalog, message
from promptweight.prompt import as_prompt, find_phrase
from promptweight.prompt import set_weight as set_weight_in_text
from promptweight.render import colormap_table, quantize_heats
from promptweight.validation import check_choice, check_integer, check_number

try:
    import anywidget
    import traitlets
except ModuleNotFoundError as error:
    if error.name not in ("anywidget", "traitlets"):
        raise
    raise SettingError(message("widget-missing")) from None

LANGUAGES = ("en", "pt-br")
MAX_WEIGHT = 100.0
"""Largest absolute weight of a word."""

_STATIC = Path(str(files("promptweight.widget").joinpath("static")))


class PromptWidget(anywidget.AnyWidget):
    """An image of a prompt in a notebook, with the map of the word under the pointer and a slider of weights.

    The image is drawn when the widget is made, and again whenever a weight is changed.

    Args:
        pipe: a pipeline, or what `promptweight.load` takes.
        prompt: the prompt as text.
        seed: the seed of the image.
        language: "en" or "pt-br", for the labels and messages.
        colormap: the colors of the maps, one of `promptweight.render.COLORMAPS`.
        keywords: fields of `promptweight.GenerateOptions`, and arguments of the pipeline.

    Attributes:
        prompt: the prompt with the present weights.
        words: text, weight and map of each word; `plane` is the number of its map, -1 for punctuation.
        image: the image as a PNG file.
        planes: the maps of the words, one after the other, as rows of `colors`.
        plane_size: rows and columns of a map.
        colors: 256 RGB colors.
        selected: the number of the word whose weight the slider changes.
        state: "idle", "running" or "failed".
        step: the number of finished steps.
        steps: the number of steps.
        error: the sentence of an error.
        warnings: the warnings about the image.
        result: the last result of `promptweight.generate`, which is not shared with the page.

    Raises:
        SettingError: an argument is invalid; the widget draws one image without an edit, and records it.
    """

    _esm = _STATIC / "prompt_widget.js"
    _css = _STATIC / "prompt_widget.css"

    prompt = traitlets.Unicode().tag(sync=True)
    words: Any = traitlets.List().tag(sync=True)
    image = traitlets.Bytes().tag(sync=True)
    planes = traitlets.Bytes().tag(sync=True)
    plane_size = traitlets.List([1, 1]).tag(sync=True)
    colors = traitlets.Bytes().tag(sync=True)
    selected = traitlets.Int(0).tag(sync=True)
    state = traitlets.Unicode("idle").tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)
    steps = traitlets.Int(0).tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)
    error = traitlets.Unicode().tag(sync=True)
    warnings: Any = traitlets.List().tag(sync=True)
    texts = traitlets.Dict().tag(sync=True)

    result: Result

    def __init__(
        self,
        pipe: Any,
        prompt: str,
        *,
        seed: int = 0,
        language: str = "en",
        colormap: str = "inferno",
        **keywords: Any,
    ) -> None:
        check_choice("language", language, LANGUAGES)
        if not isinstance(prompt, str):
            raise SettingError(message("prompt-type", name="prompt", kind=type(prompt).__name__))
        options = GenerateOptions.from_keywords(None, {**keywords, "seed": seed})
        if options.num_images_per_prompt != 1 or options.edit is not None or not options.record:
            raise SettingError(message("widget-options"))
        self._language, self._options = language, options
        self._pipe = open_pipeline(pipe)
        super().__init__(
            prompt=prompt,
            seed=seed,
            colors=colormap_table(colormap).tobytes(),
            texts=self._make_texts(),
        )
        self.on_msg(lambda _, content, buffers: self.receive(content))  # noqa: ARG005
        self.draw()

    def draw(self) -> Result:
        """Draw the image of the present prompt and seed, and return the result.

        Raises:
            PromptweightError: as `promptweight.generate` raises it; the widget shows it, too.
        """
        options = replace(self._options, seed=self.seed)
        with self.hold_sync():
            self.error, self.state = "", "running"
            self.step, self.steps = 0, options.num_inference_steps
        try:
            result = generate(self._pipe, self.prompt, options=options, callback=self._follow)
            self._show(result)
        except BaseException as error:
            with self.hold_sync():
                self.state = "failed"
                self.error = self._describe(error)
            raise
        self.result = result
        return result

    def set_weight(self, phrase: str, weight: float) -> Result:
        """Give every occurrence of a word or phrase this weight, draw the image again, and return the result.

        Raises:
            SettingError: the weight is not a number from -`MAX_WEIGHT` to `MAX_WEIGHT`, or the dialect of the
                prompt does not have it.
            WordNotFoundError: the prompt does not contain the phrase.
        """
        check_number("weight", weight, -MAX_WEIGHT, MAX_WEIGHT)
        dialect = self._options.dialect
        if not find_phrase(as_prompt(self.prompt, dialect), phrase):
            raise WordNotFoundError(message("grid-word-missing", word=phrase))
        self.prompt = set_weight_in_text(self.prompt, phrase, float(weight), dialect)
        return self.draw()

    def receive(self, content: object) -> None:
        """Follow a message of the page; an error of promptweight is shown, not raised.

        Args:
            content: `{"kind": "weight", "word": number, "weight": weight}`, or `{"kind": "seed", "seed":
                seed}`, each of which draws a new image. Other messages are refused.
        """
        fields: Mapping[str, Any] = content if isinstance(content, Mapping) else {}
        try:
            kind = fields.get("kind")
            if kind == "weight":
                number = check_integer("word", fields.get("word"), 0, len(self.words) - 1)
                self.set_weight(self.words[number]["text"], fields.get("weight", 1.0))
            elif kind == "seed":
                options = replace(self._options, seed=fields.get("seed"))  # checks it
                self.seed = 0 if options.seed is None else options.seed
                self.draw()
            else:
                check_choice("kind", kind, ("weight", "seed"))
        except PromptweightError as error:
            with self.hold_sync():
                self.state = "failed"
                self.error = self._describe(error)

    def _follow(self, progress: Progress) -> bool:
        self.step = progress.step
        return True

    def _show(self, result: Result) -> None:
        """Share a result with the page, at once."""
        maps = result.maps
        assert maps is not None
        shown = [word for word in result.words if not word.is_punctuation]
        heats = [maps.overlay_word(word.text, word.occurrence) for word in shown]
        planes = quantize_heats([heat.tensor for heat in heats])
        numbers = {word.index: number for number, word in enumerate(shown)}
        file = io.BytesIO()
        result.images[0].save(file, "PNG")
        words = []
        for word in result.words:
            plane = numbers.get(word.index, -1)
            share = float(heats[plane].tensor.mean()) if plane >= 0 else 0.0
            words.append({"text": word.text, "weight": word.weight, "plane": plane, "mean": share})
        translated = catalog(self._language)
        with self.hold_sync():
            self.words = words
            self.planes = b"".join(plane.numpy().tobytes() for plane in planes)
            self.plane_size = list(planes[0].shape) if planes else [1, 1]
            self.image = file.getvalue()
            self.warnings = [text.translated(translated) for text in result.warnings]
            self.selected = min(self.selected, max(0, len(words) - 1))
            self.state = "idle"

    def _describe(self, error: BaseException) -> str:
        """Return the sentence of an error in the language of the widget."""
        first = error.args[0] if error.args else ""
        if isinstance(error, PromptweightError) and isinstance(first, Message):
            return first.translated(catalog(self._language))
        return f"{type(error).__name__}: {error}"

    def _make_texts(self) -> dict[str, str]:
        """Return the labels of the page."""
        labels = {
            "weight": message("widget-weight"),
            "seed": message("widget-seed"),
            "running": message("widget-running"),
            "image": message("widget-image"),
        }
        return {name: label.translated(catalog(self._language)) for name, label in labels.items()}
