"""What the tabs share: the models, the sessions, and components whose texts follow the language switch.

Every tab is a module of its own with `build(context) -> None`, called inside the Blocks and its own gr.Tab:

    def build(context: Context) -> None:
        box = context.make(gr.Textbox, {"label": "history_file"})

Texts live in `strings/*.json`, each key beginning with the name of its tab.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from promptweight_ui.i18n import say, translations
from promptweight_ui.models import Models
from promptweight_ui.sessions import Sessions

GPU: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "gpu"}
"""What every event that runs a model is made with: one of them at a time, whatever tab it is of."""

LIGHT: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
"""What events are made with that only change the page."""


@dataclass
class Context:
    """What the tabs share while they are built, and what their handlers use afterwards.

    Attributes:
        models: the models that the server offers.
        sessions: what is remembered of each browser session.
        language: the switch; give it to handlers that make texts, and its value to `language.say`.
        parts: components that other tabs may fill or read, by name: "prompt", "negative", "seed" and so on
            of the Generate tab, and "tabs".
    """

    models: Models
    sessions: Sessions
    language: Any = None
    parts: dict[str, Any] = field(default_factory=dict)
    _spoken: list[tuple[Any, Mapping[str, str], Mapping[str, str]]] = field(default_factory=list)
    _i18n: gr.I18n = field(default_factory=translations)
    # Only its keys matter here; which languages stand behind them is `launch`'s affair.

    def make(
        self,
        kind: type,
        texts: Mapping[str, str],
        choices: Mapping[str, str] | Sequence[str | tuple[Any, str]] | None = None,
        **settings: Any,
    ) -> Any:
        """Make a component whose texts are translated.

        Args:
            kind: the component's class, such as `gr.Textbox`.
            texts: the keys of its texts, by argument: `{"label": "generate_steps", "info": …}`.
            choices: for lists, the key of each value's text, by value; or values that are their own texts,
                or come with what `text` made for them.
            settings: its other arguments.
        """
        said = {name: self._i18n(key) for name, key in texts.items()}
        keys = choices if isinstance(choices, Mapping) else {}
        if keys:
            settings["choices"] = [(self._i18n(key), value) for value, key in keys.items()]
        elif choices is not None:
            settings["choices"] = list(choices)
        component = kind(**said, **settings)
        self._spoken.append((component, texts, keys))
        return component

    def text(self, key: str) -> Any:
        """Return what Gradio shows as the text of that key in the browser's language."""
        return self._i18n(key)

    def follow_language(self) -> None:
        """Let every component that `make` made follow the switch; called once, when all tabs are built."""
        spoken = tuple(self._spoken)

        def translated(language: str) -> list[Any]:
            changes = []
            for _, texts, choices in spoken:
                change: dict[str, Any] = {name: say(language, key) for name, key in texts.items()}
                if choices:
                    change["choices"] = [(say(language, key), value) for value, key in choices.items()]
                changes.append(gr.update(**change))
            return changes

        self.language.change(
            translated,
            [self.language],
            [component for component, _, _ in spoken],
            api_visibility="private",
            **LIGHT,
        )
