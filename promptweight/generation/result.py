"""Result of `generate`: images, attention maps, settings, and how they are written to disk."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptweight.errors import SettingError
from promptweight.messages import Message

if TYPE_CHECKING:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    from promptweight.attention import ShareResult
    from promptweight.conditioning import Word
    from promptweight.maps import AttentionMaps, HeatMap
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

        Every file is written atomically, and no file is overwritten.

        Args:
            directory: the folder; it is created if it does not exist.
            overlays: words or phrases; for each, an image with its heat is written, and for several, one with
                all of them in a color each.
            contact_sheet: whether one contact sheet shows every word of the prompt.
            maps: whether the raw maps of all words are written as `….maps.safetensors`: a float32 tensor
                `maps` of shape (words, height, width), and the words as a JSON list in the header.
            metadata: the parts of the metadata in the PNGs, of `promptweight.metadata.METADATA_PARTS`: the
                infotext of AUTOMATIC1111 (`parameters`), the JSON record (`promptweight`), the mark of
                AI-generated images (`iptc`). None for all of them.

        Raises:
            SettingError: overlays, contact_sheet or maps need a recording that does not exist, or a part of
                the metadata is not valid.
            WordNotFoundError: a word of `overlays` is not in the prompt; no file is written.
            OSError: a file cannot be written; complete files stay.
        """
        from promptweight.metadata import METADATA_PARTS, check_parts

        parts = METADATA_PARTS if metadata is None else metadata
        check_parts(parts)
        if self.images and (overlays or contact_sheet or maps):
            for phrase in overlays:
                self._heat(phrase)
            self._require_maps()
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        files: list[Path] = []
        for index in range(len(self.images)):
            path = self._save_image(folder, index, parts)
            files += [path, *self._save_overlays(path, index, overlays, parts)]
            if contact_sheet:
                files.append(self._save_contact_sheet(path, index, parts))
            if maps:
                files.append(self._save_maps(path, index))
        return files

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the images and maps as JSON data."""
        return {
            "seeds": list(self.seeds),
            "words": [{"text": word.text, "weight": word.weight} for word in self.words],
            "settings": dict(self.settings),
            "warnings": list(self.warnings),
            "stopped_after": self.stopped_after,
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
                "Clip skip": None if settings["clip_skip"] is None else settings["clip_skip"] + 1,
                "Weighting": _weighting_text(settings),
                "Version": f"promptweight {settings['promptweight']}",
            },
        )

    def _require_maps(self) -> AttentionMaps:
        if self.maps is None:
            raise SettingError("maps need recorded attention; generate was called with record=False")
        return self.maps

    def _heat(self, phrase: str, index: int = 0, occurrence: int = 0) -> HeatMap:
        return self._require_maps().word(phrase, occurrence=occurrence, image=index)

    def _save_image(self, folder: Path, index: int, parts: Collection[str]) -> Path:
        from promptweight.metadata import build_png_info

        name = "-".join(part for part in (str(self.seeds[index]), slugify(self.prompt.text)) if part)
        texts = build_png_info(self.record(index), self.infotext(index), parts)
        paths = (folder / f"{number:05d}-{name}.png" for number in count(_next_number(folder)))
        return _save_at_first_free(paths, self.images[index], texts)

    def _save_overlays(
        self, path: Path, index: int, phrases: Sequence[str], parts: Collection[str]
    ) -> list[Path]:
        from promptweight.render import WORD_COLORS, overlay, overlay_words

        if not phrases:
            return []
        heats = [self._heat(phrase, index) for phrase in phrases]
        weights = [common_weight(heat) for heat in heats]
        words = [word for word in self.words if not word.is_punctuation]
        maps = [self._heat(word.text, index, word.occurrence) for word in words]
        scales = _color_scales([*heats, *maps])[: len(heats)]  # comparable with those of all words
        files = []
        for phrase, heat, weight, scale in zip(phrases, heats, weights, scales, strict=True):
            image = overlay(self.images[index], heat, label=phrase, weight=weight, scale=scale)
            suffix = slugify(phrase) or "word"
            files.append(self._save_derived(path, suffix, image, index, parts, overlay=phrase))
        if 1 < len(phrases) <= len(WORD_COLORS):
            image = overlay_words(self.images[index], heats, phrases, weights=weights, scales=scales)
            files.append(self._save_derived(path, "words", image, index, parts, overlay=list(phrases)))
        return files

    def _save_contact_sheet(self, path: Path, index: int, parts: Collection[str]) -> Path:
        from promptweight.render import contact_sheet, enlarge, format_weight, overlay

        base = self.images[index]
        words = [word for word in self.words if not word.is_punctuation]
        heats = [self._heat(word.text, index, word.occurrence) for word in words]
        scales = _color_scales(heats)
        overlays = [
            overlay(base, heat, upscale=256, scale=scale) for heat, scale in zip(heats, scales, strict=True)
        ]
        labels = [f"{word.text} {format_weight(word.weight)}".strip() for word in words]
        cells = [enlarge(base, 256), *overlays]
        image = contact_sheet(cells, ["", *labels], title=self.prompt.text, cell=256)
        return self._save_derived(path, "all-words", image, index, parts, overlay="all")

    def _save_maps(self, path: Path, index: int) -> Path:
        from promptweight.atomic_files import write_atomically
        from promptweight.maps import serialize_maps

        size = self.images[index].size
        content = serialize_maps(self._require_maps(), self.words, self.prompt.text, size, image=index)
        beside = path.with_name(f"{path.stem}.maps.safetensors")
        write_atomically(beside, lambda file: file.write(content))
        return beside

    def _save_derived(
        self,
        path: Path,
        suffix: str,
        image: Image.Image,
        index: int,
        parts: Collection[str],
        **more: Any,
    ) -> Path:
        """Save an image derived from another: its name, `suffix`, and a number if that name is taken."""
        from promptweight.metadata import build_png_info

        texts = build_png_info({**self.record(index), **more}, self.infotext(index), parts)
        suffixes = (f"{suffix}-{number}" if number > 1 else suffix for number in count(1))
        paths = (path.with_name(f"{path.stem}.{each}.png") for each in suffixes)
        return _save_at_first_free(paths, image, texts)


def _color_scales(heats: Sequence[HeatMap]) -> list[tuple[float, float]]:
    """Return a color scale for each map, comparable with each other."""
    from promptweight.render import comparable_scales

    return comparable_scales([(float(heat.tensor.min()), float(heat.tensor.max())) for heat in heats])


def _save_at_first_free(paths: Iterator[Path], image: Image.Image, texts: PngInfo) -> Path:
    """Save `image` under the first free path, even while another process takes names."""
    from promptweight.atomic_files import save_png

    while True:
        path = next(paths)
        try:
            save_png(image, path, texts)
        except FileExistsError:
            continue
        return path


def _weighting_text(settings: Mapping[str, Any]) -> str:
    """Return a short description of the weighting: the methods of the encoders, or the mode in attention."""
    if settings["space"] == "attention":
        return f"attention {settings['mode']}"
    methods: Mapping[str, str] = settings["methods"]
    if len(set(methods.values())) == 1:
        return next(iter(methods.values()))
    return ", ".join(f"{encoder} {method}" for encoder, method in methods.items())


def slugify(text: str, length: int = 40) -> str:
    """Return `text` as a part of a file name: lower case, words joined by hyphens, no accents.

    >>> slugify("Um (gato) e uma árvore!")
    'um-gato-e-uma-arvore'
    """
    plain = unicodedata.normalize("NFKD", text[:1000]).lower()
    words = re.findall(r"[^\W_]+", "".join(letter for letter in plain if not unicodedata.combining(letter)))
    whole = "-".join(words)
    start = whole[: length + 1].rpartition("-")[0] if len(whole) > length else whole
    # Letters of other scripts stay, but a file name has at most 255 bytes and a letter takes up to four.
    limited = (start or whole[:length]).encode("utf-8", "ignore")[: 3 * length].decode("utf-8", "ignore")
    return limited.strip("-")


def _next_number(folder: Path) -> int:
    numbers = (re.match(r"(\d{5,9})-", path.name) for path in folder.iterdir())
    return max((int(match[1]) for match in numbers if match), default=0) + 1


def common_weight(heat: HeatMap) -> float | None:
    """Return the weight of a phrase; None if its words have different weights."""
    weights = {word.weight for word in heat.words}
    return weights.pop() if len(weights) == 1 else None
