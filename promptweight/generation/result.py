"""Result of `generate`: images, attention maps, settings, and how they are written to disk."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptweight.errors import SettingError, WordNotFoundError
from promptweight.generation import result_files
from promptweight.generation.result_files import ImageData
from promptweight.messages import Message, message

if TYPE_CHECKING:
    from PIL import Image

    from promptweight.attention import ShareResult
    from promptweight.conditioning import Word
    from promptweight.maps import AttentionMaps
    from promptweight.prompt import Prompt


@dataclass(frozen=True)
class Result:
    """Images of one call of `generate`.

    Attributes:
        images: the images (RGB), one for each seed.
        maps: the attention maps of every word, or None without recording; `maps.word("gato", image=1)`
            belongs to the second image.
        prompt: the parsed prompt.
        negative_prompt: the parsed negative prompt.
        words: the words of the prompt with their weights.
        seeds: the seed of each image, which reproduces it independently of the others.
        settings: every setting by name; the files contain the same dictionary.
        warnings: warnings in full sentences.
        shares: for each image, the weights solved for phrases with target shares, as in `(gato:=25%)`; empty
            without target shares.
        stopped_after: number of steps of an unfinished last image, else None.
        edited: with an edit, the result of the edited prompt, whose images belong to `images`.
    """

    images: tuple[Image.Image, ...]
    maps: AttentionMaps | None
    prompt: Prompt
    negative_prompt: Prompt
    words: tuple[Word, ...]
    seeds: tuple[int, ...]
    settings: Mapping[str, Any]
    warnings: tuple[Message, ...] = ()
    shares: tuple[tuple[ShareResult, ...], ...] = ()
    stopped_after: int | None = None
    edited: Result | None = None

    def save(
        self,
        directory: str | os.PathLike[str],
        *,
        overlays: Sequence[str] = (),
        contact_sheet: bool = False,
        maps: bool = False,
        metadata: Collection[str] | None = None,
    ) -> list[Path]:
        """Write the images as `00001-<seed>-<prompt>.png` with ascending numbers, and return the paths.

        After each image its edited one is written, if there is one, and a sheet of both (`….edit.png`). Every
        file is written atomically, and no file is overwritten.

        Args:
            directory: the folder; it is created if it does not exist.
            overlays: words or phrases; for each, an image with its heat is written, and for several, one with
                all of them in a color each. With an edit, each image has the overlays of the phrases in its
                prompt. Phrases show the default view of the maps. Single words show the traced one, if
                it was recorded: with `record=Record(trace=True)`, or on a model that advises it.
            contact_sheet: whether one contact sheet shows every word of the prompt.
            maps: whether the raw maps of all words are written as `….maps.safetensors`: a float32 tensor
                `maps` of shape (words, height, width), and the words as a JSON list in the header.
            metadata: the parts of the metadata in the PNGs, of `promptweight.metadata.METADATA_PARTS`: the
                infotext of AUTOMATIC1111 (`parameters`), the JSON record (`promptweight`), the mark of
                AI-generated images (`iptc`). None for all of them.

        Raises:
            SettingError: overlays, contact_sheet or maps need a recording that does not exist, or a part of
                the metadata is not valid.
            WordNotFoundError: a word of `overlays` is in no prompt; no file is written.
            OSError: a file cannot be written; complete files stay.
        """
        from promptweight.metadata import METADATA_PARTS, check_parts

        parts = METADATA_PARTS if metadata is None else metadata
        check_parts(parts)
        results = (self,) if self.edited is None else (self, self.edited)
        phrases = _phrases_by_result(results, overlays)
        if self.images and (contact_sheet or maps):
            for result in results:
                result._data(0).require_maps()
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        files: list[Path] = []
        for index in range(len(self.images)):
            pair = [result._data(index) for result in results]
            for data, shown in zip(pair, phrases, strict=True):
                path = result_files.save_image(folder, data, parts)
                files += [path, *result_files.save_overlays(path, data, shown, parts)]
                if contact_sheet:
                    files.append(result_files.save_contact_sheet(path, data, parts))
                if maps:
                    files.append(result_files.save_maps(path, data))
            if len(pair) > 1:
                files.append(result_files.save_edit_sheet(path, pair[0], pair[1], parts))
        return files

    def edit_sheet(self, index: int = 0) -> Image.Image:
        """Return an image and its edited one side by side, each with its prompt under it.

        Raises:
            SettingError: there is no edited image.
        """
        if self.edited is None or not self.images:
            raise SettingError(message("edit-sheet-missing"))
        return result_files.draw_edit_sheet(self._data(index), self.edited._data(index))

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the images and maps as JSON data."""
        shares = [[asdict(each) for each in of_image] for of_image in self.shares]
        return {
            "seeds": list(self.seeds),
            "words": [{"text": word.text, "weight": word.weight} for word in self.words],
            "settings": dict(self.settings),
            "warnings": list(self.warnings),
            "stopped_after": self.stopped_after,
            **({"shares": shares} if shares else {}),
            **({} if self.edited is None else {"edited": self.edited.to_dict()}),
        }

    def record(self, index: int = 0) -> dict[str, Any]:
        """Return the JSON record of one image, which is enough to reproduce it."""
        record = {**self.settings, "seed": self.seeds[index]}
        if self.stopped_after is not None and index == len(self.images) - 1:
            record["stopped_after"] = self.stopped_after
        return record

    def infotext(self, index: int = 0) -> str:
        """Return the settings of one image in the format of AUTOMATIC1111."""
        from promptweight.metadata import format_infotext

        settings, image = self.settings, self.images[index]
        return format_infotext(
            self.prompt.source,
            self.negative_prompt.source,
            {
                "Steps": settings["num_inference_steps"],
                "Sampler": settings["sampler"] or settings["scheduler"],
                "CFG scale": settings["guidance_scale"],
                "Seed": self.seeds[index],
                "Size": f"{image.width}x{image.height}",
                "Model": settings["model"],
                "Model revision": settings["revision"],
                "Denoising strength": settings.get("pipeline_kwargs", {}).get("strength"),
                "Clip skip": None if settings["clip_skip"] is None else settings["clip_skip"] + 1,
                "Weighting": _weighting_text(settings),
                "Version": f"promptweight {settings['promptweight']}",
            },
        )

    def _data(self, index: int) -> ImageData:
        """Return all that the files of one image contain."""
        return ImageData(
            self.images[index],
            index,
            self.prompt,
            self.words,
            self.maps,
            self.record(index),
            self.infotext(index),
        )


def _phrases_by_result(results: Sequence[Result], phrases: Sequence[str]) -> list[list[str]]:
    """Return for each result the phrases that its prompt contains.

    Raises:
        SettingError: there are no maps.
        WordNotFoundError: a phrase is in no prompt.
    """
    found: list[list[str]] = [[] for _ in results]
    for phrase in phrases if results[0].images else ():
        missing: WordNotFoundError | None = None
        for result, present in zip(results, found, strict=True):
            try:
                result._data(0).heat(phrase)
            except WordNotFoundError as error:
                missing = missing or error
            else:
                present.append(phrase)
        if missing is not None and not any(phrase in present for present in found):
            raise missing
    return found


def _weighting_text(settings: Mapping[str, Any]) -> str:
    """Return a short description of the weighting; of the default one the methods of the encoders."""
    from promptweight.weighting import DEFAULT_NAME

    if settings["weighting"] != DEFAULT_NAME:
        return str(settings["weighting"])
    methods: Mapping[str, str] = settings["weighting_by_encoder"]
    if len(set(methods.values())) == 1:
        return next(iter(methods.values()))
    return ", ".join(f"{encoder} {method}" for encoder, method in methods.items())
