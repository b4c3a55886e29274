"""Objects shared by all tabs: models, sessions, and components whose texts follow the language switch.

Every tab is a module with `build(context) -> None`, called inside the Blocks and its own gr.Tab:

    def build(context: Context) -> None:
        box = context.make(gr.Textbox, {"label": "history_file"})

Texts are in `strings/*.json`; the key of each begins with the name of its tab.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from promptweight_ui.i18n import gradio_translations, translate
from promptweight_ui.models import Models
from promptweight_ui.outputs import Outputs
from promptweight_ui.sessions import Sessions

RUN: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden"}
"""Settings of every event that runs a model; `Models.turns` gives the order of the runs."""

LIGHT: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
"""Settings of events that only change the page."""

ARRIVAL: dict[str, Any] = {"trigger_mode": "always_last"}
"""Settings of events of an opened tab: by default Gradio drops those that come while one is running."""


@dataclass
class Context:
    """Objects that the tabs share while they are built and that their handlers use afterwards.

    Attributes:
        models: the models that the server offers.
        sessions: the state of each browser session.
        outputs: the output folder.
        lora_dir: the folder of the LoRAs that prompts name; None for none.
        embeddings_dir: the folder of the textual inversions that prompts name.
        language: the language switch; handlers that make texts take its value.
        parts: components that other tabs fill or read, by name: "prompt", "negative", "seed" and so on of
            the Generate tab, and "tabs"; also "history", and "examples" where the app has some.
    """

    models: Models
    sessions: Sessions
    outputs: Outputs = field(default_factory=Outputs)
    lora_dir: str | os.PathLike[str] | None = None
    embeddings_dir: str | os.PathLike[str] | None = None
    language: Any = None
    parts: dict[str, Any] = field(default_factory=dict)
    _translated: list[tuple[Any, Mapping[str, str], Mapping[str, str]]] = field(default_factory=list)
    # Only its keys are used here; `serve` decides which language stands behind each.
    _i18n: gr.I18n = field(default_factory=gradio_translations)

    def make(
        self,
        kind: type,
        texts: Mapping[str, str],
        choices: Mapping[str, str] | Sequence[str | tuple[Any, str]] | None = None,
        **options: Any,
    ) -> Any:
        """Make a component whose texts are translated.

        Args:
            kind: the class of the component, such as `gr.Textbox`.
            texts: the keys of its texts, by argument: `{"label": "generate_steps", "info": …}`.
            choices: for lists, the key of each value's text, by value; or values that are their own texts,
                or pairs with a text made by `text`.
            options: its other arguments.
        """
        labels = {name: self._i18n(key) for name, key in texts.items()}
        keys = choices if isinstance(choices, Mapping) else {}
        if keys:
            options["choices"] = [(self._i18n(key), value) for value, key in keys.items()]
        elif choices is not None:
            options["choices"] = list(choices)
        component = kind(**labels, **options)
        self._translated.append((component, texts, keys))
        return component

    def text(self, key: str) -> Any:
        """Return an object that Gradio shows as the text of `key` in the language of the browser."""
        return self._i18n(key)

    def stop_run(self, request: gr.Request) -> None:
        """End the run of a browser's session."""
        self.sessions.get(request).stop()

    def follow_language(self) -> None:
        """Translate every component of `make` when the language changes; called once, after all tabs."""
        translated = tuple(self._translated)

        def update(language: str) -> list[Any]:
            changes = []
            for _, texts, choices in translated:
                change: dict[str, Any] = {name: translate(language, key) for name, key in texts.items()}
                if choices:
                    change["choices"] = [(translate(language, key), value) for value, key in choices.items()]
                changes.append(gr.update(**change))
            return changes

        components = [component for component, _, _ in translated]
        self.language.change(update, [self.language], components, api_visibility="private", **LIGHT)
