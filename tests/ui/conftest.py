"""Fixtures of the app: served with a tiny random model, and opened in a headless browser."""

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Condition, Event
from types import SimpleNamespace
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # warnings of Gradio's own imports
    gradio = pytest.importorskip("gradio", reason="gradio is not installed")

PATIENCE = 600_000  # milliseconds; a busy machine must not fail a test


def tracked_sessions() -> Any:
    """Return sessions that tests can list: `used` holds them by hash, the most recently used one last."""
    from promptweight_ui.sessions import Session, Sessions

    class TrackedSessions(Sessions):
        def __init__(self) -> None:
            super().__init__()
            self.used: dict[str, Session] = {}
            self._removed = Condition()

        def get(self, request: Any) -> Session:
            session = super().get(request)
            self.used.pop(request.session_hash, None)
            self.used[request.session_hash] = session
            return session

        def remove(self, request: Any) -> None:
            super().remove(request)
            with self._removed:
                self.used.pop(request.session_hash, None)
                self._removed.notify_all()

        def wait_removed(self, session_hash: str) -> bool:
            """Wait until the page of a session is closed, and return whether it is."""
            with self._removed:
                return self._removed.wait_for(lambda: session_hash not in self.used, PATIENCE / 1000)

        def last(self, name: str) -> Session:
            """Return the most recently used session that has a "run" or a "result"."""
            return next(each for each in reversed(self.used.values()) if getattr(each, name) is not None)

    return TrackedSessions()


@pytest.fixture(scope="session")
def served(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The app at `url` with its `context`; its models are a tiny random one and one of flow matching."""
    from promptweight_ui.context import Context
    from promptweight_ui.models import Models

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        context = Context(Models([str(model_folder), "mini-dit"], device="cpu"), tracked_sessions())
        with serving(context) as app:
            yield app


@contextmanager
def serving(context: Any, port: int = 0, **options: Any) -> Iterator[SimpleNamespace]:
    """Serve the app of a context inside the block: its `url`, `context` and `app`."""
    from promptweight_ui import app as module

    app = module.build_app(context)
    module.serve(app, host="127.0.0.1", port=port, prevent_thread_lock=True, quiet=True, **options)
    with context.models.use(context.models.names[0]):
        pass
    _collect()
    yield SimpleNamespace(url=app.local_url.rstrip("/"), context=context, app=app)
    app.close()
    _collect()


def _collect() -> None:
    """Collect what Gradio leaves open: event loops and sockets, which warn wherever they are collected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture
def open_page(served: SimpleNamespace, browser: Any) -> Iterator[Any]:
    """Opens the app in a browser context of its own; an error on the page fails the test.

    Its argument `url` is that of another server than `served`.
    """
    contexts: list[Any] = []
    errors: list[str] = []

    def opened(query: str = "", url: str = served.url, **settings: Any) -> Any:
        context = browser.new_context(
            **{"locale": "en-US", "viewport": {"width": 1280, "height": 900}, **settings}
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{url}/{query}")
        page.wait_for_selector("#generate-prompt textarea.pw-area")
        page.wait_for_selector("#language label.selected")
        page.wait_for_function("document.querySelector('#generate-prompt-report').textContent.length > 4")
        page.evaluate("promptweight.then((app) => { window.app = app; })")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def hold_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that holds the next run at one step of one image until `release` is called."""
    import promptweight

    generate, released = promptweight.generate, Event()

    def hold(image_number: int, step: int) -> SimpleNamespace:
        held = Event()

        def held_generate(*arguments: Any, callback: Any, **options: Any) -> Any:
            def held_callback(progress: Any) -> Any:
                if (progress.image_number, progress.step) == (image_number, step):
                    held.set()
                    assert released.wait(PATIENCE / 1000)
                return callback(progress)

            return generate(*arguments, callback=held_callback, **options)

        monkeypatch.setattr(promptweight, "generate", held_generate)
        return SimpleNamespace(wait=lambda: held.wait(PATIENCE / 1000), release=released.set)

    yield hold
    released.set()


@pytest.fixture
def fail_run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that lets the n-th next call of `generate`, from 0, fail after its first step."""
    import promptweight

    generate, calls = promptweight.generate, count()

    def fail(number: int = 0) -> None:
        def failing_generate(*arguments: Any, callback: Any, **options: Any) -> Any:
            def failing_callback(progress: Any) -> Any:
                callback(progress)
                raise IndexError("index 26 is out of bounds in /home/ana/model")

            is_failing = next(calls) == number
            return generate(*arguments, callback=failing_callback if is_failing else callback, **options)

        monkeypatch.setattr(promptweight, "generate", failing_generate)

    return fail


def called(owner: Any, name: str) -> Event:
    """Return an event that the next call of a method sets."""
    method, event = getattr(owner, name), Event()

    def call() -> None:
        method()
        event.set()

    setattr(owner, name, call)
    return event
