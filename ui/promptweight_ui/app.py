"""The app put together: its tabs, its look, and how it is served."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

# Before Gradio is imported: it would ask its makers' servers for news otherwise.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import gradio as gr

from promptweight_ui.context import Context
from promptweight_ui.i18n import LANGUAGES, translations
from promptweight_ui.models import Models
from promptweight_ui.sessions import MOST_SESSIONS, Sessions
from promptweight_ui.tabs import compare, explore, generate, history, regions

TABS = {
    "generate": generate,
    "compare": compare,
    "regions": regions,
    "explore": explore,
    "history": history,
}
"""The tabs in their order; the key of a tab's title is `<name>_tab`."""

SCRIPTS = (
    "app.js",
    "prompt.js",
    "heat.js",
    "upscale.js",
    "picture_words.js",
    "picture_heat.js",
    "picture_view.js",
    "picture.js",
    "compare_curve.js",
    "compare_versus.js",
    "compare.js",
    "explore_numbers.js",
    "explore_text.js",
    "explore_drawing.js",
    "explore_picture.js",
    "explore_sums.js",
)
STYLES = ("app.css", "prompt.css", "picture.css", "compare.css", "explore.css", "regions.css")

MOST_WAITING = 32
"""Runs in the queue; whoever comes later is told that it is full."""

CACHE_SECONDS = (600, 6 * 3600)
"""How often old files are looked for, and how old they get."""


def build(context: Context) -> gr.Blocks:
    """Return the app, not yet served; `context` is what the tabs share."""
    with gr.Blocks(title="promptweight", analytics_enabled=False, delete_cache=CACHE_SECONDS) as app:
        with gr.Row(elem_classes="pw-head"):
            gr.HTML(
                html_template='<h1 class="pw-title">promptweight</h1>',
                js_on_load=None,
                apply_default_css=False,
            )
            context.language = gr.Radio(
                [(name, code) for code, name in LANGUAGES.items()],
                value=None,
                show_label=False,
                container=False,
                elem_id="language",
                scale=0,
            )
        with gr.Tabs() as tabs:
            context.parts["tabs"] = tabs
            for name, tab in TABS.items():
                with context.make(gr.Tab, {"label": f"{name}_tab"}, id=name, elem_id=f"tab-{name}"):
                    tab.build(context)
        context.follow_language()
        for event, script in ((context.language.change, "use"), (context.language.input, "keep")):
            event(
                None,
                [context.language],
                None,
                js=f"(language) => promptweight.language.{script}(language)",
                api_visibility="private",
            )
        app.load(
            None,
            None,
            [context.language],
            js="() => promptweight.language.initial()",
            api_visibility="private",
        )

        def forget(request: gr.Request) -> None:
            context.sessions.drop(request)
            # Gradio would keep the last values of every component, for each page that was ever open.
            app.state_holder.session_data.pop(request.session_hash or "", None)

        app.unload(forget)
    app.queue(max_size=MOST_WAITING)
    return app


def launch(
    models: Sequence[str] = ("mini",),
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    share: bool = False,
    auth: Sequence[tuple[str, str]] = (),
    language: str | None = None,
    load_now: bool = True,
    **more: Any,
) -> gr.Blocks:
    """Build the app and serves it.

    Args:
        models: the models to offer, each what `promptweight.load` takes; the first is chosen at first.
        host: the address to listen at; only this machine by default.
        port: the port; the first free one from 7860 when None.
        share: whether Gradio makes a public link.
        auth: names and passwords that are let in; everyone when empty.
        language: one of `LANGUAGES` for every browser; each browser's own when None.
        load_now: whether the first model begins to be loaded before anyone asks for it.
        more: further arguments of Gradio's `launch`.
    """
    offered = Models(models)
    app = build(Context(offered, Sessions()))
    is_waited_for = not more.pop("prevent_thread_lock", False)
    more |= {"share": share, "auth": list(auth) or None, "prevent_thread_lock": True}
    serve(app, host=host, port=port, language=language, **more)
    if load_now:  # only now, so that the page opens without waiting for it
        offered.preload()
    if is_waited_for:
        app.block_thread()
    return app


def serve(app: gr.Blocks, *, host: str, port: int | None, language: str | None = None, **more: Any) -> None:
    """Serve a built app with its look and its safe settings; `more` as in Gradio's `launch`."""
    app.launch(
        server_name=host,
        server_port=port,
        i18n=translations(language),
        theme=gr.themes.Default(primary_hue="orange", neutral_hue="slate", font=["system-ui", "sans-serif"]),
        head=page_head(language),
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        max_file_size="32mb",
        state_session_capacity=MOST_SESSIONS,
        **more,
    )


def page_head(language: str | None = None) -> str:
    """Return the app's own scripts and styles, as they go into the head of the page.

    Args:
        language: one of `LANGUAGES` to begin with; None leaves it to the browser.
    """
    folder = files("promptweight_ui").joinpath("static")
    scripts = [folder.joinpath(name).read_text(encoding="utf-8") for name in SCRIPTS]
    styles = [folder.joinpath(name).read_text(encoding="utf-8") for name in STYLES]
    scripts.insert(0, f"window.promptweight = {{ servedLanguage: {json.dumps(language)} }};\n")
    elements = [f"<style>\n{style}</style>" for style in styles]
    return "\n".join([*elements, *(f"<script>\n{script}</script>" for script in scripts)])
