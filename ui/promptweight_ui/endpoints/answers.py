"""Answers of the endpoints: their types, and the files of attention maps."""

from __future__ import annotations

from io import BytesIO
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypedDict

from gradio import FileData
from gradio.processing_utils import save_bytes_to_cache

from promptweight_ui.i18n import encodable

if TYPE_CHECKING:
    from promptweight import Result
    from promptweight_ui.endpoints.registration import Caller


class GeneratedImages(TypedDict):
    """Answer of `generate`."""

    images: list[FileData]
    seeds: list[int]
    settings: dict[str, Any]
    warnings: list[str]


class PhraseMap(TypedDict):
    """Attention map of a phrase: its weight, its share of the words' attention, and its heat on the image."""

    phrase: str
    weight: float | None
    share: float
    overlay: FileData


class WordMaps(TypedDict):
    """Answer of `maps`."""

    image: FileData
    seed: int
    phrases: list[PhraseMap]
    maps: FileData
    warnings: list[str]


class ComparedImage(TypedDict):
    """Image of a comparison, with the phrase's share of the words' attention."""

    value: float | str
    image: FileData
    share: float
    warnings: list[str]


class Comparison(TypedDict):
    """Answer of `compare`."""

    phrase: str
    seed: int
    images: list[ComparedImage]


def translated_warnings(result: Result, caller: Caller) -> list[str]:
    """Return the warnings of a result in the language of the client."""
    return [caller.translate(text) for text in result.warnings]


def make_phrase_map(result: Result, phrase: str, component: Any) -> PhraseMap:
    """Return the map of a phrase, with its heat over the image as a file.

    Args:
        result: the result of one image.
        phrase: a word or phrase of its prompt.
        component: the component that knows the file: Gradio hands out and deletes only such.
    """
    from promptweight.generation import common_weight, slugify

    assert result.maps is not None
    heat = result.maps.overlay_word(phrase)
    stream = BytesIO()
    heat.overlay(result.images[0], label=phrase).save(stream, "PNG")
    return {
        "phrase": encodable(phrase),
        "weight": common_weight(heat),
        "share": round(result.maps.share().word(phrase).mass, 4),
        "overlay": _cache(f"{slugify(phrase) or 'word'}.png", stream.getvalue(), component),
    }


def save_raw_maps(result: Result, component: Any) -> FileData:
    """Return the raw maps of all words as a file; `component` as in `make_phrase_map`."""
    with TemporaryDirectory() as folder:
        path = next(each for each in result.save(folder, maps=True) if each.suffix == ".safetensors")
        return _cache(path.name, path.read_bytes(), component)


def _cache(name: str, content: bytes, component: Any) -> FileData:
    path = save_bytes_to_cache(content, name, component.GRADIO_CACHE)
    component.temp_files.add(path)
    return FileData(path=path, orig_name=name)


def make_encodable(value: Any) -> Any:
    """Return JSON data of a file without lone surrogates."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {encodable(str(name)): make_encodable(each) for name, each in value.items()}
    return [make_encodable(each) for each in value] if isinstance(value, (list, tuple)) else value
