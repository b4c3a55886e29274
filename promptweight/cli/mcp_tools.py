"""Tools of the Model Context Protocol: images, comparisons and parsed prompts for a language model.

Every tool returns its data as JSON, and images as PNG. Arguments are checked before the model is loaded; the
error that a tool returns names the value and what is valid. One call at a time uses the model.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, ImageContent, TextContent

from promptweight._version import __version__
from promptweight.errors import PromptweightError
from promptweight.prompt import convert as convert_prompt
from promptweight.prompt import parse as parse_prompt
from promptweight.prompt import reweight, to_data
from promptweight.validation import check_integer

if TYPE_CHECKING:
    from PIL import Image

    from promptweight.protocols import Pipeline

MAX_IMAGES = 4
MAX_WEIGHTS = 8
"""Largest number of images of one call, and of weights of a comparison."""

INSTRUCTIONS = """Images from weighted prompts, with the attention map of every word.
(phrase:1.4) gives a phrase more weight, (phrase:0.5) less, (phrase:0) removes it. Put color and noun into the
same phrase. `compare` shows what a weight does; `explain` measures how much of a phrase it reaches."""


class PromptTools:
    """The tools for one model.

    Args:
        model: an argument of `promptweight.load`.
        output: the folder in which finished images are saved; None for none.
        load_options: further arguments of `promptweight.load`.
    """

    def __init__(self, model: str = "mini", output: Path | None = None, **load_options: Any) -> None:
        self._model, self._output, self._load_options = model, output, load_options
        self._pipe: Pipeline | None = None
        self._lock = Lock()

    def make_server(self) -> MCPServer:
        """Return a server with all tools."""
        server = MCPServer("promptweight", version=__version__, instructions=INSTRUCTIONS)
        for tool in (self.generate, self.compare, self.explain, self.parse, self.convert):
            server.add_tool(tool)
        return server

    async def generate(
        self,
        prompt: str,
        negative_prompt: str = "",
        weighting: str | None = None,
        dialect: str = "pw",
        overlays: list[str] | None = None,
        seed: int | None = None,
        num_images: int = 1,
        num_inference_steps: int = 25,
        guidance_scale: float | None = None,
        width: int | None = None,
        height: int | None = None,
    ) -> CallToolResult:
        """Generate images from a weighted prompt.

        Args:
            prompt: the prompt, such as "a (red cat:1.4) chases a mouse".
            negative_prompt: what the images should not show.
            weighting: how weights act, such as "presence", "attention", "comfy"; None for the default.
            dialect: syntax of the prompt: pw, a1111, comfy, compel or another one of promptweight.
            overlays: words or phrases of the prompt whose attention maps are returned, over the image.
            seed: seed of the first image; None for a random one.
            num_images: 1 to 4.
            num_inference_steps: number of denoising steps.
            guidance_scale: None for the model's default.
            width: in pixels; None for the model's default.
            height: likewise.
        """

        def run() -> CallToolResult:
            from promptweight.generation import GenerateOptions
            from promptweight.generation import generate as generate_images

            check_integer("num_images", num_images, 1, MAX_IMAGES)
            options = GenerateOptions(
                negative_prompt=negative_prompt,
                weighting=weighting,
                dialect=dialect,
                seed=seed,
                num_images_per_prompt=num_images,
                num_inference_steps=num_inference_steps,
                guidance_scale=guidance_scale,
                width=width,
                height=height,
                record=bool(overlays),
                require_words=tuple(overlays or ()),
            )
            result = generate_images(self._load(), prompt, options=options)
            images: list[Image.Image] = []
            for index, image in enumerate(result.images):
                images.append(image)
                for word in overlays or ():
                    assert result.maps is not None
                    images.append(result.maps.overlay_word(word, image=index).overlay(image, label=word))
            files = [] if self._output is None else [str(path) for path in result.save(self._output)]
            data = {"seeds": list(result.seeds), "warnings": list(result.warnings), "files": files}
            return _answer({**data, "settings": result.to_dict()["settings"]}, images)

        return await self._run(run)

    async def compare(
        self,
        prompt: str,
        phrase: str,
        weights: list[float] | None = None,
        weighting: str | None = None,
        dialect: str = "pw",
        seed: int = 0,
        num_inference_steps: int = 25,
    ) -> CallToolResult:
        """Show what the weight of a phrase does: one image for each weight, from the same seed, side by side.

        Args:
            prompt: the prompt.
            phrase: a word or phrase of the prompt.
            weights: 1 to 8 weights; 0, 0.5, 1, 1.5 and 2 by default.
            weighting: how weights act; None for the default.
            dialect: syntax of the prompt.
            seed: seed of all images.
            num_inference_steps: number of denoising steps.

        Returns:
            The images, and for each weight the phrase's share of the attention of all words, 0 to 1.
        """

        def run() -> CallToolResult:
            from promptweight.generation import GenerateOptions, generate_iter
            from promptweight.render import contact_sheet

            chosen = [0.0, 0.5, 1.0, 1.5, 2.0] if weights is None else weights
            check_integer("the number of weights", len(chosen), 1, MAX_WEIGHTS)
            parsed = parse_prompt(prompt, dialect).at()
            options = GenerateOptions(
                weighting=weighting, dialect=dialect, seed=seed, num_inference_steps=num_inference_steps
            )
            prompts = [reweight(parsed, phrase, weight) for weight in chosen]
            images: list[Image.Image] = []
            rows: list[dict[str, Any]] = []
            for weight, result in zip(
                chosen, generate_iter(self._load(), prompts, options=options), strict=True
            ):
                assert result.maps is not None
                share = result.maps.share().word(phrase).mass
                row = {"weight": weight, "prompt": result.prompt.source, "share": round(share, 4)}
                rows.append({**row, "warnings": list(result.warnings)})
                images += result.images
            labels = [f"{phrase}: {weight:g}" for weight in chosen]
            return _answer({"seed": seed, "weights": rows}, [contact_sheet(images, labels, len(images))])

        return await self._run(run)

    async def explain(
        self,
        prompt: str,
        phrases: list[str] | None = None,
        weighting: str | None = None,
        dialect: str = "pw",
        seed: int = 0,
    ) -> CallToolResult:
        """Measure how much of a phrase its weight reaches on this model, and what holds the rest at weight 0.

        Args:
            prompt: the prompt.
            phrases: words or phrases of the prompt; None for all with a weight.
            weighting: how weights act; None for the default.
            dialect: syntax of the prompt.
            seed: seed of the noise.
        """

        def run() -> CallToolResult:
            from promptweight.generation import GenerateOptions, measure_reach

            options = GenerateOptions(weighting=weighting, dialect=dialect, seed=seed)
            report = measure_reach(self._load(), prompt, phrases=phrases, options=options)
            found = [{**asdict(each), "sentence": each.summary()} for each in report.phrases]
            return _answer({"phrases": found})

        return await self._run(run)

    async def parse(self, prompt: str, dialect: str = "pw") -> CallToolResult:
        """List the words of a prompt with their weights, and problems in it. Needs no model.

        Args:
            prompt: the prompt.
            dialect: syntax of the prompt.
        """
        return await self._run(lambda: _answer(to_data(parse_prompt(prompt, dialect).at())))

    async def convert(self, prompt: str, source: str, target: str) -> CallToolResult:
        """Rewrite a prompt in the dialect of another tool, and list what is lost. Needs no model.

        Args:
            prompt: the prompt.
            source: its dialect, such as "a1111".
            target: the dialect of the result, such as "comfy".
        """

        def run() -> CallToolResult:
            conversion = convert_prompt(prompt, source, target)
            losses = [str(loss.message) for loss in conversion.losses]
            return _answer({"prompt": conversion.text, "losses": losses})

        return await self._run(run)

    def _load(self) -> Pipeline:
        if self._pipe is None:
            from promptweight.models import load

            self._pipe = load(self._model, **self._load_options)
        return self._pipe

    async def _run(self, work: Callable[[], CallToolResult]) -> CallToolResult:
        """Call `work` in a thread, one at a time, so that the server answers meanwhile."""

        def alone() -> CallToolResult:
            with self._lock:
                return work()

        try:
            return await anyio.to_thread.run_sync(alone)
        except PromptweightError as error:
            raise ToolError(str(error)) from error


def _answer(data: dict[str, Any], images: Sequence[Image.Image] = ()) -> CallToolResult:
    text = TextContent(type="text", text=json.dumps(data, ensure_ascii=False, default=str))
    return CallToolResult(content=[*(_encode(image) for image in images), text])


def _encode(image: Image.Image) -> ImageContent:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return ImageContent(
        type="image", data=base64.b64encode(stream.getvalue()).decode("ascii"), mime_type="image/png"
    )
