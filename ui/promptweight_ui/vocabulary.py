"""Words of a built-in model, for the page: those that it knows, and those of a prompt that it does not."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptweight.mini import World
    from promptweight.prompt import Prompt

MAX_WORDS = 400
"""Words of a prompt that are checked."""

LEXICON_LANGUAGES = {"en": "en", "pt-br": "pt"}
"""Languages of the model's words by the languages of the page."""


def known_words(world: World | None) -> dict[str, dict[str, list[str]]]:
    """Return the objects, colors and degrees of a model by language; none for models without a list.

    The degrees are the words of sizes and numbers.
    """
    if world is None:
        return {}
    from promptweight.mini import ADJECTIVES, NOUNS
    from promptweight.mini.lexicon import NUMBER_WORDS, SIZE_WORDS

    nouns = [NOUNS[kind] for kind in world.things]
    adjectives = [ADJECTIVES[color] for color in world.colors]
    degrees = [SIZE_WORDS[size] for size in world.sizes]
    degrees += [NUMBER_WORDS[number][0] for number in world.numbers]
    return {
        "en": {
            "things": [english[0] for _, _, english in nouns],
            "colors": [english for _, _, english, *_ in adjectives],
            "degrees": [english for _, _, english in degrees],
        },
        "pt-br": {
            "things": [portuguese[0] for _, portuguese, _ in nouns],
            "colors": [masculine for masculine, *_ in adjectives],
            "degrees": [masculine for masculine, _, _ in degrees],
        },
    }


def unknown_words(world: World | None, prompt: Prompt, language: str) -> list[dict[str, Any]]:
    """Return the words of a prompt that a model was not trained on, each once, with the nearest known words.

    Args:
        world: the words of the model; None for a model without a list.
        prompt: the prompt.
        language: the language of the page.
    """
    if world is None:
        return []
    from promptweight.prompt import fold, split_words

    found: dict[str, dict[str, Any]] = {}
    for span in split_words(prompt.text, prompt.breaks)[:MAX_WORDS]:
        word = prompt.text[span.start : span.end]
        if span.is_punctuation or fold(word) in found:
            continue
        suggestions = _suggestions(word, world)
        if suggestions is not None:
            found[fold(word)] = {
                "text": word,
                "start": prompt.to_source(span.start),
                "end": prompt.to_source(span.end - 1) + 1,
                "near": list(dict(suggestions)[LEXICON_LANGUAGES[language]]),
            }
    return list(found.values())


@lru_cache(maxsize=4096)
def _suggestions(word: str, world: World) -> tuple[tuple[str, tuple[str, ...]], ...] | None:
    """Return the nearest known words by language; None for a word that the model knows."""
    from promptweight.mini import unknown_words as find_unknown

    unknown = find_unknown(word, world)
    return tuple(unknown[0].suggestions.items()) if unknown else None
