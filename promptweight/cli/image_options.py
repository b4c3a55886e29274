"""Options that `promptweight generate` and `promptweight edit` share, as one record.

A command decorated with `with_image_options` gets an option for each field of `ImageOptions`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from promptweight.cli import options
from promptweight.cli.pictures import read_control, read_pictures
from promptweight.errors import SettingError
from promptweight.messages import message

if TYPE_CHECKING:
    from promptweight.generation import GenerateOptions, PromptEdit


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """Values of the options that `generate` and `edit` share; `to_generate_options` converts them."""

    output: options.Output = Path("out")
    model: options.Model = "mini"
    negative: Annotated[str, typer.Option(help="Negative prompt.")] = ""
    negative_guidance: options.NegativeGuidance = "cfg"
    weighting: options.Weighting = "default"
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD=SHARE",
            help="Share of the attention for a word or phrase, such as gato=25%; repeatable.",
        ),
    ] = None
    dialect: options.Dialect = "pw"
    clip_skip: options.ClipSkip = None
    steps: options.Steps = 25
    guidance: options.Guidance = None
    scheduler: options.Scheduler = None
    seed: options.Seed = None
    n: Annotated[int, typer.Option("-n", "--n", help="Number of images, with consecutive seeds.")] = 1
    width: options.Pixels = None
    height: options.Pixels = None
    image: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Picture to begin from, cut to --width and --height where both are given."
        ),
    ] = None
    mask: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Picture that is white where that of --image changes."),
    ] = None
    control: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Picture whose form the image follows: edges, depth or what else the ControlNet knows.",
        ),
    ] = None
    controlnet: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="ControlNet for --control: a folder or a hub id, for the same model."
        ),
    ] = None
    strength: Annotated[
        float | None,
        typer.Option(
            help="How much of the picture of --image changes, 0 to 1; by default the pipeline's own."
        ),
    ] = None
    argument: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Further argument of the diffusers pipeline, such as true_cfg_scale=4; repeatable.",
        ),
    ] = None
    overlay: options.Overlay = None
    contact_sheet: Annotated[
        bool, typer.Option("--contact-sheet", help="Also save a sheet with the heat maps of all words.")
    ] = False
    save_maps: options.SaveMaps = False
    metadata: options.MetadataParts = options.ALL_METADATA
    device: options.Device = "auto"
    dtype: options.Dtype = "auto"
    offload: options.Offload = None
    lora_dir: options.LoraDir = None
    embeddings_dir: options.EmbeddingsDir = None
    from_file: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="FILE", help="Image file whose settings are used; other options replace them."
        ),
    ] = None
    as_json: options.AsJson = False
    quiet: options.Quiet = False

    def to_generate_options(self, edit: PromptEdit | None = None) -> GenerateOptions:
        """Return the options of `promptweight.generate`.

        Raises:
            SettingError: a value is not valid.
        """
        from promptweight.generation import GenerateOptions

        return GenerateOptions(
            negative_prompt=self.negative,
            negative_guidance=self.negative_guidance,
            weighting=self.weighting,
            dialect=self.dialect,
            clip_skip=self.clip_skip,
            num_inference_steps=self.steps,
            guidance_scale=self.guidance,
            scheduler=self.scheduler,
            seed=self.seed,
            num_images_per_prompt=self.n,
            height=self.height if self.image is None and self.control is None else None,
            width=self.width if self.image is None and self.control is None else None,
            targets=parse_targets(self.target or ()),
            edit=edit,
            lora_dir=self.lora_dir,
            embeddings_dir=self.embeddings_dir,
            require_words=self.overlay or (),
            pipeline_kwargs=parse_arguments(self.argument or ())
            | read_pictures(self.image, self.mask, self.strength)
            | read_control(self.control, self.controlnet),
        )


def with_image_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of `ImageOptions`, in place of its argument `images`."""
    hints = get_type_hints(ImageOptions, include_extras=True)
    signature = inspect.signature(command, eval_str=True)
    shared = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(ImageOptions)
    ]
    own = [parameter for name, parameter in signature.parameters.items() if name != "images"]

    @wraps(command)
    def run(**values: Any) -> None:
        images = ImageOptions(**{each.name: values.pop(each.name) for each in shared})
        command(**values, images=images)

    run.__signature__ = signature.replace(parameters=[*own, *shared])  # type: ignore[attr-defined]
    return run


def parse_targets(texts: Sequence[str]) -> dict[str, float]:
    """Return shares by phrase of texts such as `gato=25%` or `gato=0.25`.

    >>> parse_targets(["gato=25%", "um rato=0.5"])
    {'gato': 0.25, 'um rato': 0.5}

    Raises:
        SettingError: a text is not of this form, or a phrase has two shares.
    """
    targets: dict[str, float] = {}
    for text in texts:
        phrase, equals, value = text.rpartition("=")
        number, is_percentage = value.strip().removesuffix("%"), value.strip().endswith("%")
        try:
            share = float(number) / (100 if is_percentage else 1)
        except ValueError:
            share = 0.0
        if not (equals and phrase.strip() and 0 < share < 1):
            raise SettingError(message("cli-target", text=text))
        if phrase.strip() in targets:
            raise SettingError(message("cli-target-twice", phrase=phrase.strip()))
        targets[phrase.strip()] = share
    return targets


def parse_arguments(texts: Sequence[str]) -> dict[str, Any]:
    """Return keyword arguments of texts such as `true_cfg_scale=4`; values are JSON, or else text.

    >>> parse_arguments(["true_cfg_scale=4", "prompt_2=um gato"])
    {'true_cfg_scale': 4, 'prompt_2': 'um gato'}

    Raises:
        SettingError: a text is not of this form.
    """
    arguments: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier() or name in arguments:
            raise SettingError(message("cli-argument", text=text))
        try:
            arguments[name] = json.loads(value)
        except (ValueError, RecursionError):
            arguments[name] = value
    return arguments
