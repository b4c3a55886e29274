"""What `generate` returns: the pictures, where every word went, and how to write both to disk."""

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
    """What one call of `generate` made.

    Attributes:
        images: the pictures (RGB), one for each seed.
        maps: the attention of every word, or None where nothing was recorded; `maps.word("gato", image=1)`
            is about the second picture.
        prompt: the prompt as it was understood.
        negative_prompt: the negative prompt as it was understood.
        words: the words of the prompt and their weights.
        seeds: the seed of each picture; with it alone the picture can be made again, whatever the others.
        settings: every setting by name, as it was used; the same dictionary is written into the files.
        warnings: what the person should know, in full sentences.
        found: for each picture the weights that were found for phrases with target shares, as in
            `(gato:=25%)`; empty where no share was asked for.
        stopped_after: None, or the number of steps after which the last picture was stopped, unfinished.
    """

    images: tuple[Image.Image, ...]
    maps: AttentionMaps | None
    prompt: Prompt
    negative_prompt: Prompt
    words: tuple[Word, ...]
    seeds: tuple[int, ...]
    settings: Mapping[str, Any]
    warnings: tuple[Message, ...] = ()
    found: tuple[tuple[ShareResult, ...], ...] = ()
    stopped_after: int | None = None

    def save(
        self,
        directory: str | os.PathLike[str],
        *,
        overlays: Sequence[str] = (),
        sheet: bool = False,
        maps: bool = False,
        metadata: Collection[str] | None = None,
    ) -> list[Path]:
        """Write the pictures as `00001-<seed>-<prompt>.png`, numbered on; returns the files.

        Every file is written whole or not at all, and none is ever overwritten.

        Args:
            directory: where to; it is made if need be.
            overlays: words or phrases: for each, one more picture with its heat, and for several, one with
                all of them in a color each.
            sheet: also put every word of the prompt on one contact sheet.
            maps: also write the raw maps of all words as `….maps.safetensors`: one float32 tensor `maps` of
                the shape (words, height, width), the words as a JSON list in the header.
            metadata: what the PNGs say about their making, of `promptweight.metadata.PARTS`: AUTOMATIC1111's
                text (`parameters`), our own JSON (`promptweight`), the mark of AI-made pictures (`iptc`).
                None is all of them.

        Raises:
            SettingError: overlays, sheet or maps are wanted of a run without recording; or there is no such
                metadata.
            WordNotFoundError: a word of `overlays` is not in the prompt; nothing is written then.
            OSError: the disk's own error; what was complete by then stays.
        """
        from promptweight.metadata import METADATA_PARTS, check_parts

        parts = METADATA_PARTS if metadata is None else metadata
        check_parts(parts)
        if self.images and (overlays or sheet or maps):
            for phrase in overlays:
                self._heat(phrase)
            self._recorded()
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        files: list[Path] = []
        for image in range(len(self.images)):
            picture = self._save_picture(folder, image, parts)
            files += [picture, *self._save_overlays(picture, image, overlays, parts)]
            if sheet:
                files.append(self._save_sheet(picture, image, parts))
            if maps:
                files.append(self._save_maps(picture, image))
        return files

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the pictures and maps as plain data, for JSON."""
        return {
            "seeds": list(self.seeds),
            "words": [{"text": word.text, "weight": word.weight} for word in self.words],
            "settings": dict(self.settings),
            "warnings": list(self.warnings),
            "stopped_after": self.stopped_after,
        }

    def record(self, image: int = 0) -> dict[str, Any]:
        """Return what is written as JSON into the file of one picture: enough to make it again."""
        record = {**self.settings, "seed": self.seeds[image]}
        if self.stopped_after is not None and image == len(self.images) - 1:
            record["stopped_after"] = self.stopped_after
        return record

    def parameters(self, image: int = 0) -> str:
        """Return the settings of one picture as AUTOMATIC1111 writes them."""
        from promptweight.metadata import format_infotext

        settings, picture = self.settings, self.images[image]
        return format_infotext(
            self.prompt.source,
            self.negative_prompt.source,
            {
                "Steps": settings["num_inference_steps"],
                "Sampler": settings["sampler"] or settings["scheduler"],
                "CFG scale": settings["guidance_scale"],
                "Seed": self.seeds[image],
                "Size": f"{picture.width}x{picture.height}",
                "Model": settings["model"],
                "Model revision": settings["revision"],
                "Clip skip": None if settings["clip_skip"] is None else settings["clip_skip"] + 1,
                "Weighting": _weighting_text(settings),
                "Version": f"promptweight {settings['promptweight']}",
            },
        )

    def _recorded(self) -> AttentionMaps:
        if self.maps is None:
            raise SettingError("maps need recorded attention, and generate was called with record=False")
        return self.maps

    def _heat(self, phrase: str, image: int = 0, occurrence: int = 0) -> HeatMap:
        return self._recorded().word(phrase, occurrence=occurrence, image=image)

    def _save_picture(self, folder: Path, image: int, parts: Collection[str]) -> Path:
        from promptweight.metadata import build_png_info

        name = "-".join(part for part in (str(self.seeds[image]), slugify(self.prompt.text)) if part)
        texts = build_png_info(self.record(image), self.parameters(image), parts)
        paths = (folder / f"{number:05d}-{name}.png" for number in count(_next_number(folder)))
        return _save_at_first_free(paths, self.images[image], texts)

    def _save_overlays(
        self, picture: Path, image: int, phrases: Sequence[str], parts: Collection[str]
    ) -> list[Path]:
        from promptweight.render import WORD_COLORS, overlay, overlay_words

        found = [self._heat(phrase, image) for phrase in phrases]
        weights = [common_weight(heat) for heat in found]
        files = []
        for phrase, heat, weight in zip(phrases, found, weights, strict=True):
            shown = overlay(self.images[image], heat, label=phrase, weight=weight)
            name = slugify(phrase) or "word"
            files.append(self._save_beside(picture, name, shown, image, parts, overlay=phrase))
        if 1 < len(phrases) <= len(WORD_COLORS):
            shown = overlay_words(self.images[image], found, phrases, weights=weights)
            files.append(self._save_beside(picture, "words", shown, image, parts, overlay=list(phrases)))
        return files

    def _save_sheet(self, picture: Path, image: int, parts: Collection[str]) -> Path:
        from promptweight.render import contact_sheet, enlarge, format_weight, overlay

        base = self.images[image]
        words = [word for word in self.words if not word.is_punctuation]
        heats = [self._heat(word.text, image, word.occurrence).tensor for word in words]
        scales = _comparable_scales([(float(heat.min()), float(heat.max())) for heat in heats])
        pictures = [
            overlay(base, heat, upscale=256, scale=scale) for heat, scale in zip(heats, scales, strict=True)
        ]
        labels = [f"{word.text} {format_weight(word.weight)}".strip() for word in words]
        shown = contact_sheet([enlarge(base, 256), *pictures], ["", *labels], title=self.prompt.text, cell=256)
        return self._save_beside(picture, "all-words", shown, image, parts, overlay="all")

    def _save_maps(self, picture: Path, image: int) -> Path:
        from promptweight.atomic_files import write_atomically
        from promptweight.maps import raw_maps

        size = self.images[image].size
        content = raw_maps(self._recorded(), self.words, self.prompt.text, size, image=image)
        path = picture.with_name(f"{picture.stem}.maps.safetensors")
        write_atomically(path, lambda file: file.write(content))
        return path

    def _save_beside(
        self,
        picture: Path,
        ending: str,
        shown: Image.Image,
        image: int,
        parts: Collection[str],
        **more: Any,
    ) -> Path:
        """Save a picture about a picture: its name, `ending`, and a number where that name is taken."""
        from promptweight.metadata import build_png_info

        texts = build_png_info({**self.record(image), **more}, self.parameters(image), parts)
        endings = (f"{ending}-{number}" if number > 1 else ending for number in count(1))
        paths = (picture.with_name(f"{picture.stem}.{each}.png") for each in endings)
        return _save_at_first_free(paths, shown, texts)


def _save_at_first_free(paths: Iterator[Path], image: Image.Image, texts: PngInfo) -> Path:
    """Save `image` under the first of `paths` that is free, even where another process takes names too."""
    from promptweight.atomic_files import save_png

    while True:
        path = next(paths)
        try:
            save_png(image, path, texts)
        except FileExistsError:
            continue
        return path


def _weighting_text(settings: Mapping[str, Any]) -> str:
    """Return in a few words how the weights acted: the methods of the encoders, or the mode in attention."""
    if settings["space"] == "attention":
        return f"attention {settings['mode']}"
    methods: Mapping[str, str] = settings["methods"]
    if len(set(methods.values())) == 1:
        return next(iter(methods.values()))
    return ", ".join(f"{encoder} {method}" for encoder, method in methods.items())


def slugify(text: str, length: int = 40) -> str:
    """Return `text` as a part of a file name: lower case, words joined by hyphens, accents left out.

    >>> slug("Um (gato) e uma árvore!")
    'um-gato-e-uma-arvore'
    """
    plain = unicodedata.normalize("NFKD", text[:1000]).lower()
    words = re.findall(r"[^\W_]+", "".join(letter for letter in plain if not unicodedata.combining(letter)))
    whole = "-".join(words)
    start = whole[: length + 1].rpartition("-")[0] if len(whole) > length else whole
    # Letters of other scripts stay, but a file name has 255 bytes, and each of them takes up to four.
    limited = (start or whole[:length]).encode("utf-8", "ignore")[: 3 * length].decode("utf-8", "ignore")
    return limited.strip("-")


def _comparable_scales(ranges: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return a color scale for each of several maps, given their lowest and highest values.

    Each has its own, but one that varies less than half as much as the liveliest is not blown up to look
    alike: "um" would seem as telling as "gato".

    >>> _comparable_scales([(0.0, 1.0), (0.25, 0.5), (0.0, 0.75)])
    [(0.0, 1.0), (0.25, 0.75), (0.0, 0.75)]
    """
    widest = max((high - low for low, high in ranges), default=0.0)
    return [(low, max(high, low + widest / 2)) for low, high in ranges]


def _next_number(folder: Path) -> int:
    numbers = (re.match(r"(\d{5,9})-", path.name) for path in folder.iterdir())
    return max((int(match[1]) for match in numbers if match), default=0) + 1


def common_weight(heat: HeatMap) -> float | None:
    """Return the weight of a phrase where all its words have the same."""
    weights = {word.weight for word in heat.words}
    return weights.pop() if len(weights) == 1 else None
