"""Files of a generated image: names, and the images and tensors derived from it.

Every file is written atomically under the first free name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptweight.errors import SettingError
from promptweight.messages import message

if TYPE_CHECKING:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    from promptweight.conditioning import Word
    from promptweight.maps import AttentionMaps, HeatMap
    from promptweight.prompt import Prompt

_JOINERS = "\u200c\u200d"
"""Characters inside words that do not print."""


@dataclass(frozen=True)
class ImageData:
    """One image of a run and all that its files contain.

    Attributes:
        image: the image.
        index: its index in the run.
        prompt: its prompt.
        words: the words of the prompt.
        maps: the attention maps of the run; None without recording.
        record: the JSON record.
        infotext: the settings in the format of AUTOMATIC1111.
    """

    image: Image.Image
    index: int
    prompt: Prompt
    words: tuple[Word, ...]
    maps: AttentionMaps | None
    record: Mapping[str, Any]
    infotext: str

    def require_maps(self) -> AttentionMaps:
        """Return the maps.

        Raises:
            SettingError: there are none.
        """
        if self.maps is None:
            raise SettingError(message("maps-not-recorded"))
        return self.maps

    def heat(self, phrase: str, occurrence: int = 0) -> HeatMap:
        """Return the map of a phrase as overlays show it.

        Raises:
            SettingError: there are no maps.
            WordNotFoundError: the phrase is not in the prompt.
        """
        return self.require_maps().overlay_word(phrase, occurrence, self.index)

    def word_heats(self) -> list[HeatMap]:
        """Return the map of each word."""
        return [self.heat(word.text, word.occurrence) for word in self.shown_words]

    @property
    def shown_words(self) -> list[Word]:
        """The words, without punctuation."""
        return [word for word in self.words if not word.is_punctuation]


def save_image(folder: Path, data: ImageData, parts: Collection[str]) -> Path:
    """Write an image as `00001-<seed>-<prompt>.png`, and return its path."""
    from promptweight.metadata import build_png_info

    name = "-".join(part for part in (str(data.record["seed"]), slugify(data.prompt.text)) if part)
    paths = (folder / f"{number:05d}-{name}.png" for number in count(_next_number(folder)))
    return _save_at_first_free(paths, data.image, build_png_info(data.record, data.infotext, parts))


def save_overlays(path: Path, data: ImageData, phrases: Sequence[str], parts: Collection[str]) -> list[Path]:
    """Write an image with the heat of each phrase, and for several phrases one with all of them."""
    from promptweight.render import WORD_COLORS, overlay, overlay_words

    if not phrases:
        return []
    heats = [data.heat(phrase) for phrase in phrases]
    weights = [common_weight(heat) for heat in heats]
    scales = _color_scales([*heats, *data.word_heats()])[: len(heats)]  # comparable with those of all words
    files = []
    for phrase, heat, weight, scale in zip(phrases, heats, weights, scales, strict=True):
        image = overlay(data.image, heat, label=phrase, weight=weight, scale=scale)
        files.append(_save_derived(path, slugify(phrase) or "word", image, data, parts, overlay=phrase))
    if 1 < len(phrases) <= len(WORD_COLORS):
        image = overlay_words(data.image, heats, phrases, weights=weights, scales=scales)
        files.append(_save_derived(path, "words", image, data, parts, overlay=list(phrases)))
    return files


def save_contact_sheet(path: Path, data: ImageData, parts: Collection[str]) -> Path:
    """Write a contact sheet with the heat of every word, and return its path."""
    from promptweight.render import contact_sheet, enlarge, format_weight, overlay

    heats = data.word_heats()
    overlays = [
        overlay(data.image, heat, upscale=256, scale=scale)
        for heat, scale in zip(heats, _color_scales(heats), strict=True)
    ]
    labels = [f"{word.text} {format_weight(word.weight)}".strip() for word in data.shown_words]
    cells = [enlarge(data.image, 256), *overlays]
    image = contact_sheet(cells, ["", *labels], title=data.prompt.text, cell=256)
    return _save_derived(path, "all-words", image, data, parts, overlay="all")


def save_maps(path: Path, data: ImageData) -> Path:
    """Write the raw maps of all words as `….maps.safetensors`, and return its path."""
    from promptweight.atomic_files import write_atomically
    from promptweight.maps import serialize_maps

    content = serialize_maps(
        data.require_maps(), data.words, data.prompt.text, data.image.size, image=data.index
    )
    beside = path.with_name(f"{path.stem}.maps.safetensors")
    write_atomically(beside, lambda file: file.write(content))
    return beside


def save_edit_sheet(path: Path, source: ImageData, edited: ImageData, parts: Collection[str]) -> Path:
    """Write the sheet of an image and the edited one as `….edit.png`, and return its path."""
    return _save_derived(path, "edit", draw_edit_sheet(source, edited), edited, parts)


def draw_edit_sheet(source: ImageData, edited: ImageData) -> Image.Image:
    """Return an image and the edited one side by side, each with its prompt under it."""
    from promptweight.render import contact_sheet, enlarge

    images = [enlarge(each.image, 256) for each in (source, edited)]
    return contact_sheet(images, [source.prompt.text, edited.prompt.text], columns=2)


def slugify(text: str, length: int = 40) -> str:
    """Return `text` as a part of a file name: lower case, words joined by hyphens, Latin without accents.

    In all other scripts marks are parts of letters, as in が or й, and stay.

    >>> slugify("Um (gato) e uma árvore!"), slugify("ガラスの城、夜")
    ('um-gato-e-uma-arvore', 'ガラスの城-夜')
    """
    letters: list[str] = []  # with the marks that belong to each; a hyphen between words
    for letter in unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text[:1000]).lower()):
        if letter.isalnum():
            base = unicodedata.normalize("NFD", letter)[0]
            letters.append(base if _is_latin(base) else letter)
        elif unicodedata.category(letter) in ("Mn", "Mc"):
            if letters and not _is_latin(letters[-1][0]) and not _is_variation_selector(letter):
                letters[-1] += letter
        elif letter not in _JOINERS and letters and letters[-1] != "-":
            letters.append("-")
    limited = _limit(letters, length)
    if limited < len(letters):
        # Whole words, unless the first is longer.
        hyphens = [index for index, letter in enumerate(letters[: limited + 1]) if letter == "-"]
        limited = hyphens[-1] if hyphens else limited
    return "".join(letters[:limited]).strip("-")


def _limit(letters: Sequence[str], length: int) -> int:
    """Return how many letters, with their marks, have at most `length` characters and 5/2 as many bytes.

    A file name has at most 255 bytes, and that of a heat map has two such parts.
    """
    characters = size = 0
    for index, letter in enumerate(letters):
        characters, size = characters + len(letter), size + len(letter.encode("utf-8", "ignore"))
        if characters > length or 2 * size > 5 * length:
            return index
    return len(letters)


def _is_latin(letter: str) -> bool:
    """Return True for letters that stay readable without accents, for digits and for the hyphen."""
    return letter.isascii() or unicodedata.name(letter, "").startswith("LATIN ")


def _is_variation_selector(letter: str) -> bool:
    return "\ufe00" <= letter <= "\ufe0f" or "\U000e0100" <= letter <= "\U000e01ef"


def common_weight(heat: HeatMap) -> float | None:
    """Return the weight of a phrase; None if its words have different weights."""
    weights = {word.weight for word in heat.words}
    return weights.pop() if len(weights) == 1 else None


def _save_derived(
    path: Path, suffix: str, image: Image.Image, data: ImageData, parts: Collection[str], **more: Any
) -> Path:
    """Save an image derived from another: its name, `suffix`, and a number if that name is taken."""
    from promptweight.metadata import build_png_info

    texts = build_png_info({**data.record, **more}, data.infotext, parts)
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


def _next_number(folder: Path) -> int:
    numbers = (re.match(r"(\d{5,9})-", path.name) for path in folder.iterdir())
    return max((int(match[1]) for match in numbers if match), default=0) + 1
