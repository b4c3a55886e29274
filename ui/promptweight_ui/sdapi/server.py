"""Paths of AUTOMATIC1111's API: images, progress, options and lists, with the app's limits and turns."""

from __future__ import annotations

import asyncio
import base64
import binascii
import inspect
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from secrets import compare_digest
from time import monotonic
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from promptweight.errors import PromptweightError, SettingError
from promptweight.messages import message
from promptweight_ui.generation import join_results
from promptweight_ui.malloc_trim import trim
from promptweight_ui.request_guard import WRONG_LOGIN_DELAY
from promptweight_ui.runs import Run
from promptweight_ui.samplers import DEFAULT_SCHEDULE, OWN_SAMPLER
from promptweight_ui.sdapi.answers import make_answer
from promptweight_ui.sdapi.calls import (
    CHECKPOINT,
    CLIP_LAYER,
    ApiCall,
    check_options,
    in_api_terms,
    read_call,
)
from promptweight_ui.turns import QueueFullError
from promptweight_ui.validation import as_page_error

if TYPE_CHECKING:
    from promptweight import Result
    from promptweight.generation import Progress
    from promptweight_ui.context import Context

PATH = "/sdapi/v1"
POLL_INTERVAL = 0.05
"""Seconds between two looks whether a run has ended or its client has left."""


@dataclass
class Job:
    """A request whose images are drawn, or wait for their turn.

    Attributes:
        call: the request.
        run: its run.
        timestamp: the time at which it came.
        results: its finished images.
        start: the time at which it got its turn; None while it waits.
        progress: its last step.
    """

    call: ApiCall
    run: Run
    timestamp: str
    results: list[Result] = field(default_factory=list)
    start: float | None = None
    progress: Progress | None = None


class ApiServer:
    """The API of an app.

    Args:
        context: the objects of the app.
        logins: pairs of name and password, one of which a request must have (HTTP Basic); none when empty.
    """

    def __init__(self, context: Context, logins: Sequence[tuple[str, str]] = ()) -> None:
        self._context = context
        self._logins = [f"{name}:{password}".encode() for name, password in logins]
        self._options: dict[str, Any] = {CHECKPOINT: context.models.names[0], CLIP_LAYER: 1}
        self._jobs: list[Job] = []
        self._wrong_logins = asyncio.Lock()

    def routes(self) -> list[BaseRoute]:
        """Return the routes of all paths."""
        paths: tuple[tuple[str, str, Callable[[Request], Awaitable[Any]]], ...] = (
            ("POST", "txt2img", self.draw),
            ("POST", "img2img", self.draw),
            ("GET", "progress", self.progress),
            ("POST", "interrupt", self.interrupt),
            ("GET", "options", self.options),
            ("POST", "options", self.set_options),
            ("GET", "sd-models", self.models),
            ("GET", "samplers", self.samplers),
            ("GET", "schedulers", self.schedulers),
        )
        return [
            Route(f"{PATH}/{name}", self._endpoint(function), methods=[method])
            for method, name, function in paths
        ]

    async def draw(self, request: Request) -> dict[str, Any]:
        """Generate images; a client that leaves ends its run.

        Raises:
            SettingError: a field is unknown, invalid, or cannot be followed.
            QueueFullError: too many runs are waiting.
        """
        body = await _read_body(request)
        task = request.url.path.rpartition("/")[2]
        call = await run_in_threadpool(read_call, self._context, dict(self._options), task, body)
        job = Job(call, Run(self._context.models.turns), datetime.now().strftime("%Y%m%d%H%M%S"))
        self._jobs.append(job)
        try:
            job.run.start(lambda run: self._draw(job, run))
            while not job.run.is_done:
                await asyncio.sleep(POLL_INTERVAL)
                if await request.is_disconnected():
                    job.run.stop()
            result = job.run.outcome
        finally:
            job.run.stop()  # no effect on a run that has ended
            self._jobs.remove(job)
            trim()
        if result is None and job.results:
            result = join_results(job.results)
        return await run_in_threadpool(make_answer, self._context, call, result, body, job.timestamp)

    def _draw(self, job: Job, run: Run) -> Result:
        """Draw the images of a job in the thread of its run."""
        from promptweight import generate
        from promptweight.models import make_picture_pipeline

        def after_step(progress: Progress) -> bool:
            job.progress = progress
            return run.after_step(progress)

        job.start = monotonic()
        call = job.call
        with self._context.models.use(call.model) as loaded, run.interrupting(loaded):
            arguments = {} if call.picture is None else {"image": call.picture, "strength": call.strength}
            pipe = make_picture_pipeline(loaded, ["image"]) if arguments else loaded
            options = replace(call.options, pipeline_kwargs=arguments)
            if call.size is not None and "height" in inspect.signature(type(pipe).__call__).parameters:
                options = replace(options, width=call.size[0], height=call.size[1])
            try:
                return generate(
                    pipe, call.prompt, options=options, callback=after_step, on_image=job.results.append
                )
            except SettingError as error:
                raise in_api_terms(error) from error

    async def progress(self, request: Request) -> dict[str, Any]:  # noqa: ARG002
        """Return the progress of the run that has its turn, without its unfinished image."""
        job = self._current
        done = seconds = 0.0
        state: dict[str, Any] = {
            "skipped": False,
            "interrupted": job is not None and job.run.is_stopped,
            "stopping_generation": False,
            "job": "" if job is None else job.call.task,
            "job_count": len(self._jobs),
            "job_timestamp": "0" if job is None else job.timestamp,
            "job_no": 0,
            "sampling_step": 0,
            "sampling_steps": 0,
        }
        if job is not None and job.start is not None:
            state["sampling_steps"] = job.call.options.num_inference_steps
            if (step := job.progress) is not None:
                done = ((step.image_number - 1) * step.steps + step.step) / (step.image_count * step.steps)
                seconds = (monotonic() - job.start) * (1 - done) / done if done else 0.0
                state |= {
                    "job_no": step.image_number - 1,
                    "sampling_step": step.step,
                    "sampling_steps": step.steps,
                }
        return {
            "progress": done,
            "eta_relative": seconds,
            "state": state,
            "current_image": None,
            "textinfo": None,
        }

    async def interrupt(self, request: Request) -> dict[str, Any]:  # noqa: ARG002
        """End the run of the API that has its turn; its answer has the images so far."""
        if (job := self._current) is not None:
            job.run.stop()
        return {}

    async def options(self, request: Request) -> dict[str, Any]:  # noqa: ARG002
        """Return the options of the server."""
        return {**self._options, "samples_format": "png"}

    async def set_options(self, request: Request) -> dict[str, Any]:
        """Change options for the later requests of all clients.

        Raises:
            SettingError: an option is unknown or has an invalid value.
        """
        self._options |= check_options(self._context, await _read_body(request))
        return {}

    async def models(self, request: Request) -> list[dict[str, Any]]:  # noqa: ARG002
        """Return the models that the server offers, without their folders."""
        return [
            {
                "title": name,
                "model_name": name,
                "hash": None,
                "sha256": None,
                "filename": name,
                "config": None,
            }
            for name in self._context.models.names
        ]

    async def samplers(self, request: Request) -> list[dict[str, Any]]:  # noqa: ARG002
        """Return the samplers of the selected model; a request without one has the model's own."""
        names = self._context.models.samplers(self._options[CHECKPOINT])
        return [{"name": name, "aliases": [], "options": {}} for name in names if name != OWN_SAMPLER]

    async def schedulers(self, request: Request) -> list[dict[str, Any]]:  # noqa: ARG002
        """Return the noise schedules that a sampler of the selected model has."""
        models, model = self._context.models, self._options[CHECKPOINT]
        found = (models.schedules(model, sampler) for sampler in models.samplers(model))
        names = dict.fromkeys(name for names in found for name in names if name != DEFAULT_SCHEDULE)
        labels = {"automatic": "Automatic", **{name.casefold().replace(" ", "_"): name for name in names}}
        return [
            {"name": name, "label": label, "aliases": None, "default_rho": -1, "need_inner_model": False}
            for name, label in labels.items()
        ]

    @property
    def _current(self) -> Job | None:
        """The job that has its turn; else the first that waits."""
        running = [job for job in self._jobs if job.start is not None]
        return next(iter(running or self._jobs), None)

    def _endpoint(
        self, function: Callable[[Request], Awaitable[Any]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return the endpoint of a path, which checks the login and answers errors with a sentence."""

        async def endpoint(request: Request) -> Response:
            if not self._is_known(request):
                async with self._wrong_logins:
                    await asyncio.sleep(WRONG_LOGIN_DELAY)
                return _refuse(401, message("sdapi-login"), {"WWW-Authenticate": "Basic"})
            try:
                return JSONResponse(await function(request))
            except PromptweightError as error:
                return _refuse(422, str(error))
            except HTTPException:  # from the guard of the requests
                raise
            except ClientDisconnect:  # in the middle of its request; nobody reads this answer
                return Response(status_code=400)
            except QueueFullError as error:
                return _refuse(503, as_page_error("en", error).texts["en"])
            except Exception as error:
                return _refuse(500, as_page_error("en", error).texts["en"])

        return endpoint

    def _is_known(self, request: Request) -> bool:
        """Return whether a request has a login, or needs none."""
        if not self._logins:
            return True
        kind, _, encoded = request.headers.get("authorization", "").partition(" ")
        try:
            given = base64.b64decode(encoded, validate=True) if kind.casefold() == "basic" else b""
        except (binascii.Error, ValueError):
            return False
        return sum(compare_digest(given, login) for login in self._logins) > 0  # no early end


async def _read_body(request: Request) -> Any:
    """Return the JSON of a request.

    Raises:
        SettingError: it is not JSON. A page of another site could send text, but not JSON, unasked.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().casefold()
    if kind != "application/json":
        raise SettingError(message("sdapi-content-type", value=kind[:60]))
    try:
        body = json.loads(await request.body(), parse_constant=_refuse_constant)
        json.dumps(body, ensure_ascii=False).encode()  # fails for half of a surrogate pair
    except (ValueError, RecursionError) as error:
        raise SettingError(message("sdapi-json", reason=str(error)[:100])) from None
    return body


def _refuse_constant(name: str) -> None:
    """Refuse NaN and infinite numbers, which JSON does not have."""
    raise ValueError(f"{name} is not a number of JSON")


def _refuse(status: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
    shown = text.encode("utf-8", "replace").decode("utf-8")
    return JSONResponse({"detail": shown}, status, headers)
