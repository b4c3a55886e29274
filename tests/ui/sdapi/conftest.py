"""The app with its API, served with a tiny random model and one of flow matching."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from tests.ui.conftest import serving, tracked_sessions


@pytest.fixture(scope="module")
def api(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The app at `url`, its `context`, the names of its two models, and `get` and `post` of a path."""
    from promptweight_ui.context import Context
    from promptweight_ui.models import Models
    from promptweight_ui.outputs import Outputs
    from promptweight_ui.sdapi.server import ApiServer

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        outputs = Outputs(tmp_path_factory.mktemp("out"), is_listed=True)
        context = Context(Models([str(model_folder), "mini-dit"], device="cpu"), tracked_sessions(), outputs)
        with (
            serving(context, routes=ApiServer(context).routes()) as app,
            httpx.Client(base_url=f"{app.url}/sdapi/v1/", timeout=None) as client,
        ):
            app.names = context.models.names
            app.client = client
            app.get = lambda path: client.get(path).json()
            app.post = lambda path, **body: client.post(path, json=body)
            yield app
