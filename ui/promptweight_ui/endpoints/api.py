"""The endpoints `generate`, `maps`, `compare`, `parse` and `info`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from gradio import FileData
from gradio.utils import get_upload_folder
from starlette.concurrency import run_in_threadpool

from promptweight import validation
from promptweight.errors import PromptweightError, SettingError
from promptweight.messages import message
from promptweight_ui.compare import grid
from promptweight_ui.components.prompt_server import count_tokens
from promptweight_ui.endpoints.answers import (
    ComparedImage,
    Comparison,
    GeneratedImages,
    WordMaps,
    make_encodable,
    make_phrase_map,
    save_raw_maps,
    translated_warnings,
)
from promptweight_ui.endpoints.registration import Caller, add_endpoint
from promptweight_ui.endpoints.settings import ImageSettings, check_list, read_call
from promptweight_ui.generation import GenerateCall, saved_images
from promptweight_ui.malloc_trim import trim
from promptweight_ui.request_values import check_text
from promptweight_ui.runs import Run, RunAbortedError
from promptweight_ui.validation import MAX_STEPS

if TYPE_CHECKING:
    from promptweight import Result
    from promptweight.generation import Progress
    from promptweight_ui.context import Context

POLL_INTERVAL = 0.05
"""Seconds between two looks whether a run has ended."""

MAX_PHRASES = 64
"""Phrases whose maps one call returns."""

Answer = TypeVar("Answer")


class Api:
    """The endpoints of an app.

    Args:
        context: the objects of the app.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def build(self) -> None:
        """Add all endpoints to the app that is being built."""
        for function in (self.generate, self.maps, self.compare, self.parse, self.info):
            add_endpoint(function)

    async def generate(
        self,
        caller: Caller,
        prompt: Annotated[str, "The prompt, such as: a (red cat:1.4) chases a mouse."],
        num_images_per_prompt: Annotated[int, "Number of images, with consecutive seeds."] = 1,
        *,
        settings: ImageSettings,
    ) -> GeneratedImages:
        """Generate images from a weighted prompt.

        Returns the images as PNG files that contain their settings, the seed of each, all settings, and
        warnings. Canceling the job ends the run.
        """
        number = num_images_per_prompt
        call = await run_in_threadpool(read_call, self._context, prompt, settings, number, record=False)
        images: list[FileData] = []

        def draw(run: Run, after_step: Callable[[Progress], bool]) -> GeneratedImages:
            result = self._draw(
                run, call, after_step, on_image=lambda each: images.append(self._save(each, caller))
            )
            return {
                "images": images,
                "seeds": list(result.seeds),
                "settings": dict(result.settings),
                "warnings": translated_warnings(result, caller),
            }

        return await self._run(caller, draw)

    async def maps(
        self,
        caller: Caller,
        prompt: Annotated[str, "The prompt."],
        phrases: Annotated[
            list[str] | None, f"Up to {MAX_PHRASES} words or phrases of the prompt; None for all words."
        ] = None,
        *,
        settings: ImageSettings,
    ) -> WordMaps:
        """Generate an image, and return the attention maps of words and phrases of its prompt.

        For each phrase it returns the weight, the share of the words' attention from 0 to 1, and the heat
        over the image as a PNG file. The file in "maps" has the raw maps of all words (safetensors: the
        float32 tensor "maps" of shape (words, height, width), and the words in the header).
        """
        chosen = () if phrases is None else tuple(check_list("phrases", phrases, MAX_PHRASES))
        for phrase in chosen:
            check_text("phrases", phrase)
        call = await run_in_threadpool(read_call, self._context, prompt, settings, require_words=chosen)

        def draw(run: Run, after_step: Callable[[Progress], bool]) -> WordMaps:
            result = self._draw(run, call, after_step)
            words = [word.text for word in result.words if not word.is_punctuation]
            return {
                "image": self._save(result, caller),
                "seed": result.seeds[0],
                "phrases": [
                    make_phrase_map(result, each, self._component)
                    for each in chosen or list(dict.fromkeys(words))[:MAX_PHRASES]
                ],
                "maps": save_raw_maps(result, self._component),
                "warnings": translated_warnings(result, caller),
            }

        return await self._run(caller, draw)

    async def compare(
        self,
        caller: Caller,
        prompt: Annotated[str, "The prompt."],
        phrase: Annotated[
            str | None, "A word or phrase of the prompt; None for the first with a weight, or the first."
        ] = None,
        kind: Annotated[
            Literal["weight", "weighting", "seed", "steps", "guidance", "sampler", "model"],
            "What varies: the weight of the phrase, or a setting.",
        ] = "weight",
        values: Annotated[
            list[float | str] | None,
            f"1 to {grid.MAX_VALUES} values; None for those of the Compare tab.",
        ] = None,
        *,
        settings: ImageSettings,
    ) -> Comparison:
        """Generate one image for each weight of a phrase, or each value of a setting, from one seed.

        For each value it returns the image and the phrase's share of the attention of all words, 0 to 1.
        """
        call = await run_in_threadpool(read_call, self._context, prompt, settings)
        planned, axis, word = await run_in_threadpool(self._plan, call, phrase, kind, values)

        def draw(run: Run, after_step: Callable[[Progress], bool]) -> Comparison:
            images: list[ComparedImage] = []
            for number, (_, column, cell) in enumerate(planned):

                def after_each(progress: Progress, number: int = number) -> bool:
                    return after_step(replace(progress, image_number=number + 1, image_count=len(planned)))

                result = self._draw(run, cell, after_each)
                assert result.maps is not None
                images.append(
                    {
                        "value": axis.values[column],
                        "image": self._save(result, caller),
                        "share": round(result.maps.share().word(word).mass, 4),
                        "warnings": translated_warnings(result, caller),
                    }
                )
            return {"phrase": word, "seed": int(call.options.seed or 0), "images": images}

        return await self._run(caller, draw)

    async def parse(
        self,
        caller: Caller,
        prompt: Annotated[str, "The prompt."],
        dialect: Annotated[str, "Its syntax: pw, a1111, comfy, compel or another one."] = "pw",
        model: Annotated[str | None, "A model that the app offers, for the number of tokens."] = None,
    ) -> dict[str, Any]:
        """Parse a prompt: its text, the weight of each part, and problems in it. No model runs.

        The data is that of `promptweight parse --json`, with problems in one language. "tokens" has the
        number of tokens for each text encoder of the model; it is None until the app has loaded it.
        """

        def read() -> dict[str, Any]:
            from promptweight.prompt import parse, to_data

            names = self._context.models.names
            chosen = names[0] if model is None else model
            validation.check_choice("model", chosen, names)
            parsed = parse(check_text("prompt", prompt), check_text("dialect", dialect)).at()
            data = to_data(parsed)
            for each in data["diagnostics"]:
                portuguese = each.pop("message_pt")
                each["message"] = portuguese if caller.language == "pt-br" else each["message"]
            return {**data, "tokens": count_tokens(self._context.models, chosen, parsed)}

        return await run_in_threadpool(read)

    async def info(
        self, caller: Caller, file: Annotated[FileData, "An image file, or .txt or .json of its settings."]
    ) -> dict[str, Any]:
        """Return the generation settings in an image of promptweight, AUTOMATIC1111, ComfyUI or another tool.

        The data is that of `promptweight info --json`; "tool" is None in a file without settings.
        """

        def read() -> dict[str, Any]:
            from promptweight.metadata import read_metadata

            path = _uploaded_path(file)
            try:
                found = read_metadata(path).to_dict()
            except PromptweightError as error:  # with the name of the file, not its place on the server
                raise PromptweightError(
                    caller.translate(error.args[0]).replace(str(path), path.name)
                ) from None
            found["warnings"] = [caller.translate(text) for text in found["warnings"]]
            if found["error"] is not None:
                found["error"] = caller.translate(found["error"])
            return make_encodable(found)

        return await run_in_threadpool(read)

    def _plan(
        self, call: GenerateCall, phrase: str | None, kind: str, values: list[float | str] | None
    ) -> tuple[list[tuple[int, int, GenerateCall]], grid.Axis, str]:
        """Return the cells of a comparison, their axis, and the phrase."""
        models, dialect = self._context.models, call.options.dialect
        words = grid.prompt_words(str(call.prompt), dialect)
        if phrase is None and not words:
            raise SettingError(message("compare-no-phrase"))
        word = words[0] if phrase is None else check_text("phrase", phrase)
        offered = grid.offered_names(models, call.model)
        validation.check_choice("kind", kind, tuple(grid.KINDS))
        if values is None:
            given = grid.NUMERIC_DEFAULTS.get(kind) or grid.default_names(kind, offered)[: grid.MAX_VALUES]
        else:
            given = [str(each) for each in check_list("values", values, grid.MAX_VALUES)]
        axis = grid.parse_axis(kind, given, offered, MAX_STEPS)
        return grid.plan_cells(call, word, axis, grid.NO_AXIS, models), axis, word

    def _draw(
        self, run: Run, call: GenerateCall, after_step: Callable[[Progress], bool], **more: Any
    ) -> Result:
        """Generate images in the thread of a run.

        Raises:
            RunAbortedError: the run was stopped.
        """
        from promptweight import generate

        self._context.outputs.check_room()
        with self._context.models.use(call.model) as pipe, run.interrupting(pipe):
            result = generate(pipe, call.prompt, options=call.options, callback=after_step, **more)
        if run.is_stopped:
            raise RunAbortedError
        return result

    async def _run(self, caller: Caller, draw: Callable[[Run, Callable[[Progress], bool]], Answer]) -> Answer:
        """Call `draw` as a run and return its answer; a client that cancels or leaves ends it.

        Raises:
            QueueFullError: too many runs are waiting.
            PromptweightError: the run was stopped.
            Exception: that of `draw`.
        """
        latest: list[Progress] = []
        run = Run(self._context.models.turns)
        runs = self._context.sessions.get(caller.request).calls

        def after_step(progress: Progress) -> bool:
            latest[:] = [progress]
            return run.after_step(progress)

        runs.add(run)
        try:
            run.start(lambda run: draw(run, after_step))
            while not run.is_done:
                await asyncio.sleep(POLL_INTERVAL)
                if latest:
                    step = latest.pop()
                    done = (step.image_number - 1) * step.steps + step.step
                    caller.progress((done, step.image_count * step.steps), unit="steps")
            if run.is_stopped:
                raise PromptweightError(message("run-stopped"))
            return run.outcome
        finally:
            run.stop()  # no effect on a run that has ended
            runs.discard(run)
            trim()

    def _save(self, result: Result, caller: Caller) -> FileData:
        """Save the one image of a result, and return its file."""
        (image,) = saved_images(self._context, self._component, result, caller.request)
        return FileData(path=image["path"], orig_name=image["name"])

    @property
    def _component(self) -> Any:
        """The component that knows the files: Gradio hands out and deletes only those."""
        return self._context.parts["picture"]


def _uploaded_path(file: object) -> Path:
    """Return the path of an uploaded file.

    Raises:
        SettingError: the value is not one.
    """
    value = file.get("path") if isinstance(file, dict) else None
    if isinstance(value, str):
        path = Path(value).resolve()
        if path.is_relative_to(Path(get_upload_folder()).resolve()) and path.is_file():
            return path
    raise SettingError(message("upload-missing", name="file", value=repr(value if value else file)[:60]))
