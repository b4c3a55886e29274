"""Check of a batch's prompts while it is planned, and the preview of its plan."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from promptweight.batch import (
    JOB_OPTIONS,
    OutputFolder,
    OutputOptions,
    ParsedPrompts,
    PlannedImage,
    Problem,
    Shard,
    is_finished_image,
    phrases_in_prompt,
    sidecar_suffixes,
)
from promptweight.cli import console
from promptweight.cli.prompt_report import make_visible
from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.models import ModelIdentity, TokenCount, count_tokens, load_tokenizers
from promptweight.prompt import Prompt

_MAX_COUNTED = 1000
"""Number of prompts whose token counts are kept for their other images."""
_IMAGES_PER_UPDATE = 100


class PromptCheck:
    """Check of prompts against the phrases of overlays and the tokenizers of the model.

    Args:
        model: the identity of the model.
        output_options: the files written for each image.
        counts_tokens: whether tokens are counted, if the tokenizers are on this machine.
    """

    def __init__(
        self, model: ModelIdentity, output_options: OutputOptions, *, counts_tokens: bool = True
    ) -> None:
        self._overlays = output_options.overlays
        folder = model.folder if counts_tokens else None
        self._tokenizers = [] if folder is None else load_tokenizers(folder)
        self._counts: dict[tuple[str, str], list[TokenCount]] = {}
        self._present: set[str] = set()
        self._problems: dict[Problem, None] = {}
        self._images = 0

    def add(self, image: PlannedImage, prompt: Prompt) -> list[TokenCount]:
        """Check the prompt of an image, and return its token counts."""
        self._images += 1
        steps = image.job.options.num_inference_steps
        present = phrases_in_prompt(prompt, self._overlays, steps) if self._overlays else []
        self._present |= set(present)
        for phrase in self._overlays:
            if phrase not in present:
                self._warn(image, f"the prompt does not contain {phrase!r}; it gets no overlay")
        key = prompt.source, prompt.dialect
        if key not in self._counts:
            if len(self._counts) >= _MAX_COUNTED:
                self._counts.clear()
            self._counts[key] = count_tokens(self._tokenizers, prompt)
        for count in self._counts[key]:
            if count.truncated_text:
                self._warn(image, f"{count.tokenizer} cuts off {count.truncated_text!r}")
        return self._counts[key]

    def finish(self) -> list[Problem]:
        """Return the warnings.

        Raises:
            SettingError: no prompt contains a phrase of an overlay.
        """
        for phrase in self._overlays:
            if self._images and phrase not in self._present:
                raise SettingError(message("cli-overlay-phrase", phrase=phrase))
        return list(self._problems)

    def _warn(self, image: PlannedImage, text: str) -> None:
        self._problems[image.row.problem("prompt", text, is_warning=True)] = None


class PlanPreview:
    """Preview of the images of a run; no file or folder is written.

    Args:
        output: the output folder.
        output_options: the files written for each image.
        shard: the part of the plan for this process.
        overwrite: whether finished images are drawn again.

    Attributes:
        images: number of images of the shard.
        to_draw: number of images that the run would draw.
    """

    def __init__(self, output: Path, output_options: OutputOptions, shard: Shard, *, overwrite: bool) -> None:
        self.images = self.to_draw = 0
        self._output, self._output_options = output, output_options
        self._shard, self._overwrite = shard, overwrite
        self._prompts = ParsedPrompts()
        folder = OutputFolder(output, format=output_options.format)
        self._existing = folder.list_images() if output.is_dir() else {}

    def describe(
        self, image: PlannedImage, prompt: Prompt, counts: list[TokenCount]
    ) -> dict[str, Any] | None:
        """Return a dictionary about an image; None if another shard draws it."""
        if not self._shard.has(image.index - 1):
            return None
        job, name = image.job, f"{image.stem}.{self._output_options.format}"
        path = self._existing.get(image.id, self._output / name)
        is_finished = not self._overwrite and self._is_finished(path, image, prompt)
        self.images += 1
        self.to_draw += not is_finished
        fields = {
            option.field: getattr(job.options, option.field)
            for option in JOB_OPTIONS
            if hasattr(job.options, option.field)
        }
        return {
            "id": image.id,
            "status": "finished" if is_finished else "to draw",
            "file": path.name,
            "line": image.row.line,
            "prompt": job.prompt,
            "seed": job.seed,
            **fields,
            "weighting": str(job.options.weighting),
            "negative_guidance": str(job.options.negative_guidance),
            "sweep": list(image.labels),
            "tokens": [count._asdict() for count in counts],
        }

    def _is_finished(self, path: Path, image: PlannedImage, prompt: Prompt) -> bool:
        if not path.is_file():
            return False
        self._prompts.add(prompt)
        steps = image.job.options.num_inference_steps
        suffixes = sidecar_suffixes(self._output_options, prompt, steps)
        return is_finished_image(path, image.job, self._prompts, suffixes)


def print_planned(line: dict[str, Any], *, as_json: bool) -> None:
    """Print a line about a planned image."""
    if as_json:
        print_json_line(line, sys.stdout)
        return
    sides = line["width"], line["height"]
    size = "x".join(str(side or "default") for side in sides) if any(sides) else "default size"
    tokens = "+".join(str(count["tokens"]) for count in line["tokens"]) or "?"
    sweep = f"  [{' · '.join(line['sweep'])}]" if line["sweep"] else ""
    text = (
        f"{line['status']:<8}  {line['file']}  {size:>12}  {line['num_inference_steps']:>3} steps  "
        f"{tokens:>3} tokens  {line['prompt']}{sweep}"
    )
    console.print_lines([make_visible(text)])


def print_json_line(line: dict[str, Any], file: TextIO) -> None:
    """Print a dictionary as one line of JSON and flush it for programs that read along."""
    console.print_json(line, file, indent=None)
    file.flush()


@contextmanager
def show_planning(*, quiet: bool) -> Iterator[Callable[[PlannedImage], None]]:
    """Show the number of planned images on a terminal inside the block."""
    screen = console.make_console()
    if quiet or not screen.is_terminal:
        yield lambda _: None
        return
    with screen.status("planning images") as status:

        def update(image: PlannedImage) -> None:
            if image.index % _IMAGES_PER_UPDATE == 0:
                status.update(f"planning images: {image.index}")

        yield update
