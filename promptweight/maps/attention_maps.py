"""Lazy views over recorded attention maps: the maps of words, of image patches and of the remaining tokens.

    maps = session.maps
    maps.word("gato vermelho").tensor          # (height, width) of the image, raw probability
    maps.share().word("gato", image=1)         # share of all words at every pixel, second image
    maps.layers("16x16", "up_blocks").word("gato")
    maps.traced().word("gato")                 # with what other tokens hold of "gato"

For a prompt with several texts (prompt editing, AND) the map of a word is the mean over the steps and parts
whose text contains it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

import torch

from promptweight.conditioning import Role
from promptweight.errors import SettingError
from promptweight.maps.heatmap import HeatMap, TextRow
from promptweight.maps.prompt_words import find_phrase, list_words
from promptweight.maps.views import View
from promptweight.messages import message

if TYPE_CHECKING:
    from promptweight.conditioning import Word


@dataclass(frozen=True)
class AttentionMaps(View):
    """A view of a recording with the maps of words, patches and remaining tokens."""

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of the first image's prompt."""
        return self.list_words()

    def list_words(self, *, image: int = 0, role: Role = "positive") -> tuple[Word, ...]:
        """Return the words of an image's prompt or negative prompt, with those of all its texts."""
        return list_words(self._variants(role, image))

    def texts(self, *, image: int = 0, role: Role = "positive") -> tuple[str, ...]:
        """Return the texts of an image's prompt: several with prompt editing or AND."""
        return tuple(variant[0].table.prompt.text for variant in self._variants(role, image))

    def word(
        self,
        phrase: str,
        occurrence: int = 0,
        image: int = 0,
        role: Role = "positive",
        source: str | None = None,
    ) -> HeatMap:
        """Return the map of a word or of consecutive words: the sum over their tokens.

        Args:
            phrase: the words, in any case.
            occurrence: index among several equal phrases.
            image: index of the image in the run.
            role: "positive" for the prompt, "negative" for the negative prompt.
            source: a text encoder ("clip", "t5") to restrict the tokens to; None for all.

        Raises:
            WordNotFoundError: the prompt does not contain the phrase; the error lists its words.
            SettingError: the image, the role or the source was not recorded.
        """
        match = find_phrase(self._variants(role, image, source), phrase, occurrence)
        tensor = self._map_columns(role, image, self._columns(role, image, match.rows))
        return HeatMap(tensor, " ".join(word.text for word in match.words), match.words)

    def overlay_word(self, phrase: str, occurrence: int = 0, image: int = 0) -> HeatMap:
        """Return the map of a phrase as overlays show it: traced for a single word, if that was recorded.

        Arguments and errors are those of `word`.
        """
        is_single = len(phrase.split()) == 1
        maps = self.traced() if is_single and self.recording.has_traces else self
        return maps.word(phrase, occurrence, image)

    def beginning(self, image: int = 0, role: Role = "positive") -> HeatMap:
        """Return the map of the beginning-of-text tokens, which have most of a CLIP prompt's attention."""
        rows = {
            index: {row for placed in variant for row in placed.rows("bos")}
            for index, variant in enumerate(self._variants(role, image))
        }
        heat = self._map_columns(role, image, self._columns(role, image, rows))
        return HeatMap(heat, "<beginning>", ())

    def rest(self, image: int = 0, role: Role = "positive") -> HeatMap:
        """Return the map of the end-of-text and padding tokens: 1 minus words and beginnings.

        In joint attention the image's attention to itself is included.

        Raises:
            SettingError: the unit of this view is not the probability.
        """
        if self.unit != "probability":
            raise SettingError(message("maps-unit-rest", unit=self.unit))
        columns = self._columns(
            role,
            image,
            {
                index: {row for placed in variant for row in placed.rows("bos", "text")}
                for index, variant in enumerate(self._variants(role, image))
            },
        )
        return HeatMap(1 - self._map_columns(role, image, columns), "<rest>", ())

    def patch(self, index: int = 0, image: int = 0, role: Role = "positive") -> HeatMap:
        """Return the attention of an image patch over the image: patch `index` of `Record.patches`.

        Raises:
            SettingError: the patch was not recorded, or the unit of this view is the share.
        """
        x, y = self._patch_position(index)
        if self.unit == "share":
            raise SettingError(message("maps-unit-patch"))
        columns = {variant: [index] for variant in range(len(self._variants(role, image)))}
        return HeatMap(self._map_columns(role, image, columns, "patches"), f"<patch {x:g}, {y:g}>", ())

    def row(
        self,
        index: int = 0,
        image: int = 0,
        role: Role = "positive",
        source: str | None = None,
        text: int = 0,
    ) -> TextRow:
        """Return the attention of an image patch over the whole text: patch `index` of `Record.patches`.

        Args:
            index: index of the patch.
            image: index of the image in the run.
            role: "positive" for the prompt, "negative" for the negative prompt.
            source: a text encoder ("clip", "t5") to restrict the tokens to; None for all.
            text: index of the text in `texts`.

        Raises:
            SettingError: the row was not recorded, or the unit of this view is the lift.
        """
        position = self._patch_position(index)
        if self.unit == "lift":
            raise SettingError(message("maps-unit-row"))
        texts = self.texts(image=image, role=role)
        if not 0 <= text < len(texts):
            raise SettingError(message("maps-text", highest=len(texts) - 1, text=text))
        tables = self._variants(role, image, source)[text]
        grids = [grid[index] for grid, _ in self._columns_by_grid(role, image, "rows", text)]
        if not grids:
            raise SettingError(message("maps-text-steps", text=texts[text]))
        if self.unit == "share":
            words = [row for placed in self._variants(role, image)[text] for row in placed.rows("text")]
            grids = [grid / grid[words].sum().clamp_min(1e-12) for grid in grids]
        return TextRow(position, tables, torch.stack(grids).mean(0))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the whole recording, independent of this view's selection, to a .safetensors file."""
        from promptweight.maps.files import save_recording

        save_recording(self.recording, path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> AttentionMaps:
        """Load the maps that `save` wrote.

        Raises:
            FileFormatError: the file has no attention maps.
            OSError: the file cannot be read.
        """
        from promptweight.maps.files import load_recording

        return cls.from_recording(load_recording(path))

    def _repr_html_(self) -> str:
        """Return HTML for notebooks: the words of the first image, and the map of the word pointed at."""
        from promptweight.render import render_hover_html

        heats = [self.word(word.text, word.occurrence) for word in self.words if not word.is_punctuation]
        return render_hover_html([(heat.text, heat.tensor) for heat in heats])

    def _patch_position(self, index: int) -> tuple[float, float]:
        patches = self.recording.patches
        if not 0 <= index < len(patches):
            raise SettingError(message("maps-patch", index=index, number=len(patches)))
        return patches[index]

    def _columns(self, role: Role, image: int, rows: Mapping[int, Collection[int]]) -> dict[int, list[int]]:
        """Return the recorded columns of rows of the text embeddings, by the index of the text."""
        columns = {index: self.recording.columns((role, image), index) for index in rows}
        return {index: [columns[index][row] for row in sorted(of_text)] for index, of_text in rows.items()}


def serialize_maps(
    maps: AttentionMaps | None, words: Sequence[Word], prompt: str, size: tuple[int, int], *, image: int = 0
) -> bytes:
    """Return a safetensors file with one float32 tensor `maps` of the shape (words, height, width).

    The header holds `words`, a JSON list of their texts, weights and positions in the prompt, and `prompt`,
    the clean text as a JSON string.

    Args:
        maps: the attention of the run; None if there are no words.
        words: the words of the prompt.
        prompt: its clean text.
        size: width and height of the image.
        image: index of the image in the run.
    """
    from safetensors.torch import save

    tensor = torch.zeros(0, size[1], size[0], dtype=torch.float32)
    if words and maps is not None:
        heats = [maps.word(word.text, occurrence=word.occurrence, image=image) for word in words]
        tensor = torch.stack([heat.tensor for heat in heats]).cpu().contiguous()
    header = [{"text": word.text, "weight": word.weight, "start": word.start} for word in words]
    return save({"maps": tensor}, {"words": json.dumps(header), "prompt": json.dumps(prompt)})
