"""Warning about words of a prompt that a model was not trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptweight.errors import ModelError
from promptweight.messages import Message, message

if TYPE_CHECKING:
    from promptweight.prompt import Prompt
    from promptweight.protocols import Pipeline

MAX_EXAMPLES = 8
"""Known objects that the warning lists where no known word is near."""


def find_unknown_words(pipe: Pipeline, prompt: Prompt) -> list[Message]:
    """Return a warning that names the unknown words of a prompt; none for models without a word list.

    Only models whose folder defines a world (`promptweight.mini.World`) have a word list; those of others are
    unknown.

    Raises:
        ModelError: the word list of the model is damaged.
    """
    from promptweight.mini import example_words, unknown_words, world_of

    try:
        world = world_of(pipe)
    except ValueError as error:
        raise ModelError(message("world-invalid", reason=str(error))) from error
    if world is None:
        return []
    unknown = unknown_words(prompt.text, world)
    if not unknown:
        return []
    known = dict.fromkeys(
        word for each in unknown for language in each.suggestions for word in each.suggestions[language]
    )
    return [
        message(
            "unknown-words",
            words=", ".join(repr(each.word) for each in unknown),
            known=", ".join(known or example_words(world)[:MAX_EXAMPLES]),
        )
    ]
