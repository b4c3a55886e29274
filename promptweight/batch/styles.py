"""Styles of AUTOMATIC1111: named texts of a file `styles.csv` that are merged into the prompts of jobs.

The file has the columns `name`, `prompt` and `negative_prompt`. A style with `{prompt}` surrounds the prompt;
any other is appended to it after a comma.

>>> merge_style("photo of {prompt}, 35mm", "um gato")
'photo of um gato, 35mm'
>>> merge_style("35mm", "um gato")
'um gato, 35mm'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.validation import did_you_mean

PLACEHOLDER = "{prompt}"
"""Text of a style that stands for the prompt."""


class Style(NamedTuple):
    """Style, with the texts for the prompt and the negative prompt."""

    prompt: str
    negative_prompt: str


@dataclass(frozen=True)
class StyleSheet:
    """Styles of one file.

    Attributes:
        file: the file.
        styles: the styles by name.
    """

    file: str
    styles: Mapping[str, Style]

    def apply(self, names: Sequence[str], prompt: str, negative_prompt: str) -> tuple[str, str]:
        """Return a prompt and a negative prompt with styles, one after the other.

        Args:
            names: names of styles; a text that is not a name may be several, separated by commas.
            prompt: the prompt.
            negative_prompt: the negative prompt.

        Raises:
            SettingError: there is no style of a name.
        """
        for text in names:
            for name in [text] if text in self.styles else text.split(","):
                style = self._find(name.strip())
                prompt = merge_style(style.prompt, prompt)
                negative_prompt = merge_style(style.negative_prompt, negative_prompt)
        return prompt, negative_prompt

    def _find(self, name: str) -> Style:
        if name not in self.styles:
            raise SettingError(
                message("style-unknown", file=self.file, name=name, hint=did_you_mean(name, self.styles))
            )
        return self.styles[name]


def merge_style(style: str, prompt: str) -> str:
    """Return a prompt with the text of a style."""
    if PLACEHOLDER in style:
        return style.replace(PLACEHOLDER, prompt)
    return ", ".join(part for part in (prompt.strip(), style.strip()) if part)
