"""The app with its tabs, and how it is served."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# Gradio reads these at import; without them it sends analytics to its makers' servers.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import gradio as gr
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from promptweight import __version__
from promptweight.atomic_files import check_folder
from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.models import identify_model
from promptweight_ui.context import Context
from promptweight_ui.endpoints.api import Api
from promptweight_ui.examples import Examples
from promptweight_ui.form_store import keep_form
from promptweight_ui.i18n import LANGUAGES, gradio_translations, texts_with_prefix, translate
from promptweight_ui.models import Models
from promptweight_ui.outputs import Outputs
from promptweight_ui.request_guard import RequestGuard
from promptweight_ui.sdapi.server import ApiServer
from promptweight_ui.sessions import MAX_SESSIONS, Sessions
from promptweight_ui.static_files import call_script, mount_script, page_head, static_routes
from promptweight_ui.tabs import compare, explore, generate, history, picture_actions, regions

TABS = {
    "generate": generate,
    "compare": compare,
    "regions": regions,
    "explore": explore,
    "history": history,
}
"""The tabs in their order; the key of a tab's title is `<name>_tab`."""

MAX_THREADS = 200
"""Threads of Gradio; one for each run that waits or is followed."""

PORTS = range(7860, 7960)
"""Ports that are tried one after the other."""

ATTEMPTS = 5
"""Number of ports that are tried if other programs take those that were free."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Hosts that only this machine can open."""

CACHE_SECONDS = (600, 6 * 3600)
"""Interval in which Gradio deletes old files, and their greatest age."""


def build_app(context: Context) -> gr.Blocks:
    """Return the app, not yet served.

    Args:
        context: the objects that the tabs share.
    """
    if context.outputs.is_listed and context.outputs.folder is not None:
        gr.set_static_paths([context.outputs.folder])  # handed out without copies
    with gr.Blocks(title="promptweight", analytics_enabled=False, delete_cache=CACHE_SECONDS) as app:
        Api(context).build()  # first: later events that have the name of a function get another one
        with gr.Row(elem_classes="pw-head"):
            gr.HTML(
                html_template=f'<h1 class="pw-title">promptweight <small>{__version__}</small></h1>',
                js_on_load=None,
                apply_default_css=False,
            )
            gr.HTML(
                html_template='<div class="pw-help-place"></div>',
                js_on_load=mount_script("HelpDialog", "props"),
                elem_id="help",
                version=__version__,
                texts=_help_texts(),
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
                label = {"label": f"{name}_tab"}
                with context.make(gr.Tab, label, id=name, elem_id=f"tab-{name}") as part:
                    context.parts[f"tab_{name}"] = part
                    tab.build(context)
        for name in ("picture", "regions_picture"):
            picture_actions.build(context, context.parts[name])
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
        keep_form(context, app)

        def close_session(request: gr.Request) -> None:
            # Gradio keeps the last values of every component for each page that was ever open.
            app.state_holder.session_data.pop(request.session_hash or "", None)
            context.sessions.remove(request)

        app.unload(close_session)
    app.queue(default_concurrency_limit=None)
    return app


def _help_texts() -> dict[str, dict[str, str]]:
    """Return the texts of the help by language, with the titles of the tabs."""
    titles = [f"{name}_tab" for name in TABS]
    return {
        language: {**texts, **{title: translate(language, title) for title in titles}}
        for language, texts in texts_with_prefix("help_").items()
    }


def launch(
    models: Sequence[str] = ("mini",),
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    share: bool = False,
    auth: Sequence[tuple[str, str]] = (),
    language: str | None = None,
    output_dir: str | os.PathLike[str] | None = "out",
    output_limit: int | None = None,
    lora_dir: str | os.PathLike[str] | None = None,
    embeddings_dir: str | os.PathLike[str] | None = None,
    load_now: bool = True,
    root_path: str | None = None,
    api: bool = False,
    **more: Any,
) -> gr.Blocks:
    """Build the app and serve it.

    Args:
        models: the models to offer, each an argument of `promptweight.load`; the first is selected at first.
        host: the address to listen on; by default only this machine.
        port: the port; the first free one from 7860 when None, any free one when 0.
        share: whether Gradio creates a public link.
        auth: pairs of name and password that may log in; no login when empty.
        language: one of `LANGUAGES` for every browser; the language of each browser when None.
        output_dir: the folder in which finished images are saved; None for none. The History tab lists it if
            only this machine can open the page and there is no login; else a browser sees its own images.
        output_limit: the size of that folder in bytes above which no further image is drawn; no limit when
            None. Nothing is deleted.
        lora_dir: the folder of the LoRAs that prompts name.
        embeddings_dir: the folder of the textual inversions that prompts name.
        load_now: whether to load the first model at once instead of at its first use.
        root_path: the path (`/images`) or address at which a reverse proxy serves the app; that of the
            environment variable `GRADIO_ROOT_PATH` when None.
        api: whether programs may draw images through the paths of AUTOMATIC1111's API (`/sdapi/v1/…`).
        more: further arguments of Gradio's `launch`.

    Raises:
        ModelError: a model is neither built in nor a file or folder, and its name is not a hub id.
        SettingError: the folder of LoRAs or textual inversions does not exist.
        OSError: images cannot be saved in the output folder.
    """
    for model in models:
        identify_model(model, offline=True)
    for argument, folder in (("lora_dir", lora_dir), ("embeddings_dir", embeddings_dir)):
        if folder is not None and not Path(folder).is_dir():
            raise SettingError(message("folder-missing", argument=argument, folder=os.fspath(folder)))
    if output_dir is not None:
        check_folder(Path(output_dir))
    offered = Models(models)
    is_private = host in LOOPBACK and not share and not auth
    outputs = Outputs(output_dir, is_listed=is_private, limit=output_limit)
    context = Context(offered, Sessions(), outputs, lora_dir, embeddings_dir)
    examples = context.parts["examples"] = Examples(context, is_pending=load_now)
    app = build_app(context)
    is_blocking = not more.pop("prevent_thread_lock", False)
    more |= {"root_path": root_path, "share": share, "auth": list(auth) or None, "prevent_thread_lock": True}
    routes = ApiServer(context, auth).routes() if api else ()
    is_quiet = more.pop("quiet", False)
    serve(app, host=host, port=port, language=language, routes=routes, quiet=is_quiet or not share, **more)
    if not is_quiet and not share:  # Gradio would recommend its public links
        print(f"The app is at {app.local_url}; Ctrl-C ends it", flush=True)
    if load_now:  # after `serve`, so that the page opens without waiting for the model
        offered.preload()
        examples.begin()
    if is_blocking:
        app.block_thread()
    return app


def make_theme() -> gr.themes.Base:
    """Return the theme: text and buttons have a contrast of at least 4.5 in light and dark mode (WCAG AA)."""
    theme = gr.themes.Default(
        primary_hue="orange", neutral_hue="slate", font=["system-ui", "sans-serif"], text_size="md"
    )
    return theme.set(
        body_text_color_subdued="#52617a",
        body_text_color_subdued_dark="#a8b3c4",
        block_info_text_color="#52617a",
        block_info_text_color_dark="#a8b3c4",
        block_label_text_color="#475569",
        block_title_text_color="#334155",
        input_placeholder_color="#64748b",
        input_placeholder_color_dark="#a8b3c4",
        button_primary_background_fill="#c2410c",
        button_primary_background_fill_hover="#9a3412",
        button_primary_background_fill_dark="#c2410c",
        button_primary_background_fill_hover_dark="#9a3412",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#ffffff",
    )


def serve(
    app: gr.Blocks,
    *,
    host: str,
    port: int | None,
    language: str | None = None,
    routes: Sequence[BaseRoute] = (),
    **more: Any,
) -> None:
    """Serve a built app with its theme and its safe settings.

    Args:
        app: the app.
        host: the address to listen on.
        port: the port, as in `launch`.
        language: the language, as in `launch`.
        routes: further paths beside those of the page.
        more: further arguments of Gradio's `launch`.
    """
    guard = Middleware(RequestGuard, hosts=own_hosts(host, **more))
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with _bypass_proxy(host):
                app.launch(
                    server_name=host,
                    server_port=_choose_port(host, port),
                    i18n=gradio_translations(language),
                    theme=make_theme(),
                    head=page_head(language),
                    app_kwargs={"routes": [*static_routes(), *routes], "middleware": [guard]},
                    footer_links=["api"],
                    run_history=False,
                    show_error=False,
                    max_threads=MAX_THREADS,
                    ssr_mode=False,
                    max_file_size="32mb",
                    state_session_capacity=MAX_SESSIONS,
                    **more,
                )
        except OSError:  # another program took the port meanwhile
            if attempt == ATTEMPTS:
                raise
        else:
            return


def own_hosts(host: str, *, share: bool = False, root_path: str | None = None, **_: Any) -> set[str] | None:
    """Return the names of a server for this machine alone, and that of its reverse proxy; else None."""
    root = root_path or os.environ.get("GRADIO_ROOT_PATH", "")
    if host not in LOOPBACK or share or root.startswith("/"):
        return None  # behind a proxy whose name is not known, every name is right
    proxy = urlsplit(root).hostname
    return {*LOOPBACK, *([proxy] if proxy else [])}


@contextmanager
def _bypass_proxy(host: str) -> Iterator[None]:
    """Connect to this machine without a proxy inside the block; Gradio asks its own server as it starts."""
    names = ("no_proxy", "NO_PROXY")
    before = {name: os.environ.get(name) for name in names}
    given = [value for value in before.values() if value]
    for name in names:
        os.environ[name] = ",".join(dict.fromkeys([*given, "localhost", *LOOPBACK, host]))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _choose_port(host: str, port: int | None) -> int:
    """Return the port, or the first one of `PORTS` that nothing listens on.

    Raises:
        SettingError: if the port or all of `PORTS` are taken, or if this machine does not have the address.
    """
    for each in PORTS if port is None else (port,):
        # Gradio's own search leaves a socket open for each port that is taken.
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, each))
            except OSError as error:
                if error.errno in (errno.EADDRINUSE, errno.EACCES):
                    continue
                raise SettingError(
                    f"host must be an address of this machine; got {host!r} ({error})"
                ) from None
            return int(probe.getsockname()[1])
    taken = f"the ports {PORTS[0]} to {PORTS[-1]} are" if port is None else f"the port {port} is"
    raise SettingError(f"{taken} taken or not allowed on {host}; choose another port")
