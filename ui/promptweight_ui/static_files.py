"""Static files of the page: JavaScript modules, styles, and the constants that they share with Python.

The files are served below `/promptweight/<version>/` under the paths that they have in the repository, so
that relative imports between them are valid in the page, in Node and for the type checker. The version is a
hash of their content: browsers never combine cached modules of one release with those of another.
"""

from __future__ import annotations

import json
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import BaseRoute, Route

STATIC = Path(str(files("promptweight_ui").joinpath("static")))
CONSTANTS = Path(str(files("promptweight.render").joinpath("constants.json")))
STYLES = ("app.css", "prompt.css", "picture.css", "compare.css", "explore.css", "regions.css")


@cache
def version() -> str:
    """Return a hash of all static files."""
    digest = sha256()
    for path in (*sorted(STATIC.iterdir()), CONSTANTS):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def static_routes() -> list[BaseRoute]:
    """Return the routes of the static files."""

    def constants(request: Request) -> FileResponse:  # noqa: ARG001
        return FileResponse(CONSTANTS, media_type="application/json")

    def static(request: Request) -> FileResponse:
        path = STATIC / request.path_params["name"]
        if path.parent != STATIC or not path.is_file():
            raise HTTPException(404)
        return FileResponse(path)

    root = f"/promptweight/{version()}"
    # Routes, because a mount of starlette finds no file where the app has a root path.
    return [
        Route(f"{root}/promptweight/render/constants.json", constants),
        Route(f"{root}/ui/promptweight_ui/static/{{name}}", static),
    ]


def page_head(language: str | None = None) -> str:
    """Return the styles and the script in the head of the page.

    The script sets `window.promptweight` to a promise of the module `app.js`: Gradio mounts components while
    the modules are loading.

    Args:
        language: the first language of the page, one of `i18n.LANGUAGES`; that of the browser when None.
    """
    styles = [STATIC.joinpath(name).read_text(encoding="utf-8") for name in STYLES]
    # relative to the page, which may be served below a path of its own
    module = f"./promptweight/{version()}/ui/promptweight_ui/static/app.js"
    script = (
        f"window.promptweight = import(new URL({json.dumps(module)}, document.baseURI))"
        f".then((page) => {{ page.start({json.dumps(language)}); return page; }});"
    )
    elements = [f"<style>\n{style}</style>" for style in styles]
    return "\n".join([*elements, f"<script>{script}</script>"])


def mount_script(component: str, *arguments: str) -> str:
    """Return the script with which a `gr.HTML` component mounts a JavaScript component on its element.

    Args:
        component: a name of `components` in `app.js`.
        arguments: names that Gradio gives to the script: "props", "watch", "server".
    """
    given = ", ".join((json.dumps(component), "element", *arguments))
    return f"promptweight.then((page) => page.mount({given}))"


def call_script(parameters: str, call: str) -> str:
    """Return the script of an event that calls a function of `app.js`.

    >>> call_script("language", "setLanguage(language)")
    '(language) => promptweight.then((page) => page.setLanguage(language))'
    """
    return f"({parameters}) => promptweight.then((page) => page.{call})"
