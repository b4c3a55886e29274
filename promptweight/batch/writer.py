"""What is written of a finished picture: first what stands beside it, then the picture itself.

So a picture that is there has everything beside it, wherever a run was killed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptweight.atomic_files import write_atomically
from promptweight.generation import common_weight, slugify
from promptweight.maps import raw_maps
from promptweight.metadata import METADATA_PARTS, encode_image
from promptweight.prompt import script_of, split_words

if TYPE_CHECKING:
    from PIL import Image

    from promptweight.batch.output_folder import OutputFolder
    from promptweight.batch.plan import PlannedImage
    from promptweight.batch.renderer import RenderedImage
    from promptweight.maps import AttentionMaps
    from promptweight.prompt import Prompt


@dataclass(frozen=True)
class OutputOptions:
    """What is saved.

    Attributes:
        format: one of `promptweight.metadata.FORMATS`.
        metadata: which of `promptweight.metadata.PARTS` the files carry.
        overlays: phrases of which a picture with their heat is written, where a prompt holds them.
        maps: whether the maps of all words are written.
        masks: whether masks are written: of the phrases of `overlays`, or of every word where there are none.
    """

    format: str = "png"
    metadata: tuple[str, ...] = METADATA_PARTS
    overlays: tuple[str, ...] = ()
    maps: bool = False
    masks: bool = False

    @property
    def records(self) -> bool:
        """Whether attention has to be recorded."""
        return bool(self.overlays or self.maps or self.masks)


def sidecar_suffixes(saving: OutputOptions, prompt: Prompt, steps: int) -> tuple[str, ...]:
    """Return the endings of the names of the files beside a picture of `prompt` in so many steps."""
    phrases = phrases_in_prompt(prompt, saving.overlays, steps)
    overlays = [f".{name}.png" for name in _names(phrases)]
    masks = [f".{name}.mask.png" for name in _names(_masked(saving, prompt, steps))]
    return (*overlays, *masks, *([".maps.safetensors"] if saving.maps else []))


def is_finished(folder: OutputFolder, picture: PlannedImage, saving: OutputOptions) -> bool:
    """Whether a picture and all that is to stand beside it are in a folder."""
    from promptweight.prompt import parse

    beside: tuple[str, ...] = ()
    if saving.records:
        prompt = parse(picture.job.prompt, picture.job.dialect)
        beside = sidecar_suffixes(saving, prompt, picture.job.num_inference_steps)
    return folder.is_finished(picture, beside)


def phrases_in_prompt(prompt: Prompt, phrases: Sequence[str], steps: int) -> list[str]:
    """Return those of some phrases that a prompt says at any of so many steps."""
    from promptweight.prompt import places

    said = script_of(prompt, steps).variants
    return [phrase for phrase in phrases if any(places(text, phrase) for text in said)]


def save_image(drawn: RenderedImage, path: Path, saving: OutputOptions) -> tuple[list[Path], tuple[str, ...]]:
    """Write everything of a picture; returns the files, the picture first, and all warnings.

    Raises:
        OSError: the disk's own error; the picture is then not there.
    """
    files: list[Path] = []
    if drawn.maps is not None:
        files = _save_beside(drawn, drawn.maps, path, saving)
    content, warnings = encode_image(
        drawn.image, saving.format, drawn.record, drawn.parameters, saving.metadata
    )
    write_atomically(path, lambda file: file.write(content), overwrite=True)
    _keep_name(path.parent)
    return [path, *files], (*drawn.warnings, *warnings)


def _save_beside(drawn: RenderedImage, maps: AttentionMaps, path: Path, saving: OutputOptions) -> list[Path]:
    prompt, steps, files = drawn.prompt, drawn.record["num_inference_steps"], []
    phrases = phrases_in_prompt(prompt, saving.overlays, steps)
    for phrase, name in zip(phrases, _names(phrases), strict=True):
        shown = _overlay(maps, phrase, drawn)
        record = {**drawn.record, "overlay": phrase}
        files.append(_write_png(path.with_name(f"{path.stem}.{name}.png"), shown, record, drawn, saving))
    masked = _masked(saving, prompt, steps)
    for phrase, name in zip(masked, _names(masked), strict=True):
        mask = _mask(maps, phrase, drawn)
        record = {**drawn.record, "mask": phrase}
        files.append(_write_png(path.with_name(f"{path.stem}.{name}.mask.png"), mask, record, drawn, saving))
    if saving.maps:
        files.append(_save_maps(drawn, maps, path))
    return files


def _masked(saving: OutputOptions, prompt: Prompt, steps: int) -> list[str]:
    if not saving.masks:
        return []
    if saving.overlays:
        return phrases_in_prompt(prompt, saving.overlays, steps)
    words = (
        said.text[word.start : word.end]
        for said in script_of(prompt, steps).variants
        for word in split_words(said.text, said.breaks)
        if not word.is_punctuation
    )
    return list(dict.fromkeys(words))


def _overlay(maps: AttentionMaps, phrase: str, drawn: RenderedImage) -> Image.Image:
    """Return the picture under the heat of a phrase; under none for a word that was cut off."""
    import torch

    from promptweight.errors import WordNotFoundError
    from promptweight.render import overlay

    try:
        heat = maps.word(phrase, image=drawn.number)
    except WordNotFoundError:
        return overlay(drawn.image, torch.zeros(drawn.image.size[::-1]), label=phrase)
    return overlay(drawn.image, heat, label=phrase, weight=common_weight(heat))


def _mask(maps: AttentionMaps, phrase: str, drawn: RenderedImage) -> Image.Image:
    """Return white where the phrase is, black elsewhere; all black for a word that was cut off."""
    import torch
    from PIL import Image

    from promptweight.errors import WordNotFoundError

    try:
        mask = maps.word(phrase, image=drawn.number).mask()
    except WordNotFoundError:
        return Image.new("L", drawn.image.size, 0)
    return Image.fromarray((mask.to(torch.uint8) * 255).numpy())


def _save_maps(drawn: RenderedImage, maps: AttentionMaps, path: Path) -> Path:
    content = raw_maps(maps, drawn.words, drawn.prompt.text, drawn.image.size, image=drawn.number)
    beside = path.with_name(f"{path.stem}.maps.safetensors")
    write_atomically(beside, lambda file: file.write(content), overwrite=True)
    return beside


def _write_png(path: Path, image: Image.Image, record: dict[str, Any], drawn: RenderedImage, saving: OutputOptions) -> Path:
    content, _ = encode_image(image, "png", record, drawn.parameters, saving.metadata)
    write_atomically(path, lambda file: file.write(content), overwrite=True)
    return path


def _names(phrases: Sequence[str]) -> list[str]:
    """Return a part of a file name for each phrase, each another."""
    names: list[str] = []
    for phrase in phrases:
        base = name = slugify(phrase) or "word"
        number = 1
        while name in names:
            number += 1
            name = f"{base}-{number}"
        names.append(name)
    return names


def _keep_name(folder: Path) -> None:
    """Bring the names of a folder to the disk, so that a power cut does not take a finished picture back."""
    if os.name != "posix":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError:  # some network file systems cannot
        pass
    finally:
        os.close(opened)
