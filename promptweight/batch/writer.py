"""Files of a drawn image: first its sidecar files (overlays, masks, maps), then the image itself.

An image that exists therefore has all its sidecar files, at whatever moment a run was killed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptweight.atomic_files import write_atomically
from promptweight.batch.finished_images import is_finished_image
from promptweight.batch.output_folder import OutputFolder
from promptweight.batch.parsed_prompts import ParsedPrompts
from promptweight.batch.plan import PlannedImage
from promptweight.generation import common_weight, slugify
from promptweight.metadata import METADATA_PARTS, encode_image
from promptweight.prompt import make_timeline, split_words

if TYPE_CHECKING:
    from PIL import Image

    from promptweight.generation import Result
    from promptweight.maps import AttentionMaps
    from promptweight.prompt import Prompt


@dataclass(frozen=True)
class OutputOptions:
    """Files written for each image.

    Attributes:
        format: one of `promptweight.metadata.IMAGE_FORMATS`.
        metadata: the parts of `promptweight.metadata.METADATA_PARTS` in the files.
        overlays: phrases for which an overlay with their heat is written, if the prompt contains them.
        maps: whether the maps of all words are written.
        masks: whether masks are written: of the phrases of `overlays`, or of every word without overlays.
    """

    format: str = "png"
    metadata: tuple[str, ...] = METADATA_PARTS
    overlays: tuple[str, ...] = ()
    maps: bool = False
    masks: bool = False

    @property
    def needs_recording(self) -> bool:
        """True if attention must be recorded."""
        return bool(self.overlays or self.maps or self.masks)


def sidecar_suffixes(output_options: OutputOptions, prompt: Prompt, steps: int) -> tuple[str, ...]:
    """Return the suffixes of the sidecar files of an image.

    Args:
        output_options: the files written for each image.
        prompt: the prompt of the image.
        steps: number of denoising steps.
    """
    phrases = phrases_in_prompt(prompt, output_options.overlays, steps)
    overlays = [f".{name}.png" for name in _unique_names(phrases)]
    masks = [f".{name}.mask.png" for name in _unique_names(_masked_phrases(output_options, prompt, steps))]
    return (*overlays, *masks, *([".maps.safetensors"] if output_options.maps else []))


def is_finished(
    folder: OutputFolder, image: PlannedImage, output_options: OutputOptions, prompts: ParsedPrompts
) -> bool:
    """Return True if the complete image of a job and all its sidecar files are in a folder."""
    suffixes: tuple[str, ...] = ()
    if output_options.needs_recording:
        options = image.job.options
        prompt = prompts.get(image.job.prompt, options.dialect)
        suffixes = sidecar_suffixes(output_options, prompt, options.num_inference_steps)
    return is_finished_image(folder.image_path(image), image.job, prompts, suffixes)


def phrases_in_prompt(prompt: Prompt, phrases: Sequence[str], steps: int) -> list[str]:
    """Return the phrases that a prompt contains at any of its denoising steps."""
    from promptweight.prompt import find_phrase

    variants = make_timeline(prompt, steps).variants
    return [phrase for phrase in phrases if any(find_phrase(variant, phrase) for variant in variants)]


def save_image(
    result: Result, path: Path, output_options: OutputOptions
) -> tuple[list[Path], tuple[str, ...]]:
    """Write all files of an image.

    Args:
        result: the result of one image.
        path: the path of the image.
        output_options: the files to write.

    Returns:
        The paths, the image first, and all warnings.

    Raises:
        OSError: a file cannot be written; the image then does not exist.
    """
    files: list[Path] = []
    if result.maps is not None:
        files = _save_sidecars(result, result.maps, path, output_options)
    content, warnings = encode_image(
        result.images[0], output_options.format, result.record(), result.infotext(), output_options.metadata
    )
    write_atomically(path, lambda file: file.write(content), overwrite=True)
    _sync_folder(path.parent)
    return [path, *files], (*result.warnings, *warnings)


def _save_sidecars(
    result: Result, maps: AttentionMaps, path: Path, output_options: OutputOptions
) -> list[Path]:
    prompt, steps, files = result.prompt, result.settings["num_inference_steps"], []
    phrases = phrases_in_prompt(prompt, output_options.overlays, steps)
    for phrase, name in zip(phrases, _unique_names(phrases), strict=True):
        overlay = _draw_overlay(maps, phrase, result.images[0])
        overlay_path = path.with_name(f"{path.stem}.{name}.png")
        files.append(_write_png(overlay_path, overlay, result, output_options, overlay=phrase))
    masked = _masked_phrases(output_options, prompt, steps)
    for phrase, name in zip(masked, _unique_names(masked), strict=True):
        mask = _draw_mask(maps, phrase, result.images[0])
        mask_path = path.with_name(f"{path.stem}.{name}.mask.png")
        files.append(_write_png(mask_path, mask, result, output_options, mask=phrase))
    if output_options.maps:
        files.append(_save_maps(result, maps, path))
    return files


def _masked_phrases(output_options: OutputOptions, prompt: Prompt, steps: int) -> list[str]:
    if not output_options.masks:
        return []
    if output_options.overlays:
        return phrases_in_prompt(prompt, output_options.overlays, steps)
    words = (
        variant.text[word.start : word.end]
        for variant in make_timeline(prompt, steps).variants
        for word in split_words(variant.text, variant.breaks)
        if not word.is_punctuation
    )
    return list(dict.fromkeys(words))


def _draw_overlay(maps: AttentionMaps, phrase: str, image: Image.Image) -> Image.Image:
    """Return the image with the heat of a phrase; without heat for a word that was cut off."""
    import torch

    from promptweight.errors import WordNotFoundError
    from promptweight.render import overlay

    try:
        heat = maps.overlay_word(phrase)
    except WordNotFoundError:
        return overlay(image, torch.zeros(image.size[::-1]), label=phrase)
    return overlay(image, heat, label=phrase, weight=common_weight(heat))


def _draw_mask(maps: AttentionMaps, phrase: str, image: Image.Image) -> Image.Image:
    """Return a mask, white in the region of the phrase; all black for a word that was cut off."""
    import torch
    from PIL import Image

    from promptweight.errors import WordNotFoundError

    try:
        mask = maps.word(phrase).mask()
    except WordNotFoundError:
        return Image.new("L", image.size, 0)
    return Image.fromarray((mask.to(torch.uint8) * 255).numpy())


def _save_maps(result: Result, maps: AttentionMaps, path: Path) -> Path:
    from promptweight.maps import serialize_maps

    content = serialize_maps(maps, result.words, result.prompt.text, result.images[0].size)
    maps_path = path.with_name(f"{path.stem}.maps.safetensors")
    write_atomically(maps_path, lambda file: file.write(content), overwrite=True)
    return maps_path


def _write_png(
    path: Path, image: Image.Image, result: Result, output_options: OutputOptions, **more: Any
) -> Path:
    """Write a sidecar image with the record of its image and `more`."""
    record = {**result.record(), **more}
    content, _ = encode_image(image, "png", record, result.infotext(), output_options.metadata)
    write_atomically(path, lambda file: file.write(content), overwrite=True)
    return path


def _unique_names(phrases: Sequence[str]) -> list[str]:
    """Return a distinct part of a file name for each phrase."""
    names: list[str] = []
    for phrase in phrases:
        base = name = slugify(phrase) or "word"
        number = 1
        while name in names:
            number += 1
            name = f"{base}-{number}"
        names.append(name)
    return names


def _sync_folder(folder: Path) -> None:
    """Write the entries of a folder to the disk, so that a power failure does not remove a finished image."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems do not support it
        pass
    finally:
        os.close(descriptor)
