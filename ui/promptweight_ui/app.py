"""The app with its tabs, and how it is served."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

# Gradio reads these at import; without them it sends analytics to its makers' servers.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import gradio as gr

from promptweight_ui.context import Context
from promptweight_ui.i18n import LANGUAGES, gradio_translations
from promptweight_ui.models import Models
from promptweight_ui.sessions import MAX_SESSIONS, Sessions
from promptweight_ui.static_files import call_script, page_head, static_routes
from promptweight_ui.tabs import compare, explore, generate, history, regions

TABS = {
    "generate": generate,
    "compare": compare,
    "regions": regions,
    "explore": explore,
    "history": history,
}
"""The tabs in their order; the key of a tab's title is `<name>_tab`."""

MAX_QUEUED = 32
"""Runs in the queue; further ones are refused."""

CACHE_SECONDS = (600, 6 * 3600)
"""Interval in which Gradio deletes old files, and their greatest age."""


def build_app(context: Context) -> gr.Blocks:
    """Return the app, not yet served.

    Args:
        context: the objects that the tabs share.
    """
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
        for event, function in (
            (context.language.change, "setLanguage"),
            (context.language.input, "storeLanguage"),
        ):
            script = call_script("language", f"{function}(language)")
            event(None, [context.language], None, js=script, api_visibility="private")
        app.load(
            None,
            None,
            [context.language],
            js=call_script("", "initialLanguage()"),
            api_visibility="private",
        )

        def close_session(request: gr.Request) -> None:
            # Gradio keeps the last values of every component for each page that was ever open.
            app.state_holder.session_data.pop(request.session_hash or "", None)
            context.sessions.remove(request)

        app.unload(close_session)
    app.queue(max_size=MAX_QUEUED)
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
    """Build the app and serve it.

    Args:
        models: the models to offer, each an argument of `promptweight.load`; the first is selected at first.
        host: the address to listen on; by default only this machine.
        port: the port; the first free one from 7860 when None.
        share: whether Gradio creates a public link.
        auth: pairs of name and password that may log in; no login when empty.
        language: one of `LANGUAGES` for every browser; the language of each browser when None.
        load_now: whether to load the first model at once instead of at its first use.
        more: further arguments of Gradio's `launch`.
    """
    offered = Models(models)
    app = build_app(Context(offered, Sessions()))
    is_blocking = not more.pop("prevent_thread_lock", False)
    more |= {"share": share, "auth": list(auth) or None, "prevent_thread_lock": True}
    serve(app, host=host, port=port, language=language, **more)
    if load_now:  # after `serve`, so that the page opens without waiting for the model
        offered.preload()
    if is_blocking:
        app.block_thread()
    return app


def serve(app: gr.Blocks, *, host: str, port: int | None, language: str | None = None, **more: Any) -> None:
    """Serve a built app with its theme and its safe settings; `more` as in Gradio's `launch`."""
    app.launch(
        server_name=host,
        server_port=port,
        i18n=gradio_translations(language),
        theme=gr.themes.Default(primary_hue="orange", neutral_hue="slate", font=["system-ui", "sans-serif"]),
        head=page_head(language),
        app_kwargs={"routes": static_routes()},
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        max_file_size="32mb",
        state_session_capacity=MAX_SESSIONS,
        **more,
    )
