"""What the words looked at: recorded attention as lazy views, from probabilities to pictures.

    maps = session.maps
    maps.word("gato vermelho").tensor          # (height, width) of the picture, raw probability
    maps.share().word("gato", image=1)         # share of all words at every pixel, second picture
    maps.layers("16x16", "up_blocks").word("gato")

Of a prompt that changes while the picture is made, or whose parts AND joins, a word's map is the mean over
the steps and parts in which it is said.
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
from promptweight.maps.prompt_words import find, words_of
from promptweight.maps.views import View

if TYPE_CHECKING:
    from promptweight.conditioning import Word


@dataclass(frozen=True)
class AttentionMaps(View):
    """A view of a recording, and the maps of words, of places and of what is left that it gives."""

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of the first picture's prompt."""
        return self.words_of()

    def words_of(self, *, image: int = 0, lane: Role = "positive") -> tuple[Word, ...]:
        """The words of a picture's prompt or negative prompt; of one with several texts those of all."""
        return words_of(self._variants(lane, image))

    def texts(self, *, image: int = 0, lane: Role = "positive") -> tuple[str, ...]:
        """What a picture's prompt says: more than one text where it changes or AND joins parts."""
        return tuple(variant[0].table.prompt.text for variant in self._variants(lane, image))

    def word(
        self,
        phrase: str,
        occurrence: int = 0,
        image: int = 0,
        lane: Role = "positive",
        source: str | None = None,
    ) -> HeatMap:
        """The map of a word or of consecutive words: the sum over their tokens.

        Args:
            phrase: the words, in any case.
            occurrence: which of several equal phrases.
            image: which picture of the run.
            lane: the prompt or the negative prompt.
            source: a text encoder ("clip", "t5"), when only its tokens are to count; all when None.

        Raises:
            WordNotFoundError: the prompt does not hold the phrase; the message lists its words.
            SettingError: the image, the lane or the source was not recorded.
        """
        found = find(self._variants(lane, image, source), phrase, occurrence)
        tensor = self._on_picture(lane, image, self._columns(lane, image, found.rows))
        return HeatMap(tensor, " ".join(word.text for word in found.words), found.words)

    def beginning(self, image: int = 0, lane: Role = "positive") -> HeatMap:
        """The map of the beginning-of-text tokens, where most of a CLIP prompt's attention rests."""
        rows = {
            number: {row for placed in variant for row in placed.rows("bos")}
            for number, variant in enumerate(self._variants(lane, image))
        }
        heat = self._on_picture(lane, image, self._columns(lane, image, rows))
        return HeatMap(heat, "<beginning>", ())

    def rest(self, image: int = 0, lane: Role = "positive") -> HeatMap:
        """The map of what words and beginnings leave of 1: the end-of-text and padding tokens together.

        In joint attention the image itself, which attends to itself there, is part of it.
        """
        if self.unit != "probability":
            raise SettingError(
                f"the rest has a probability, but no {self.unit}; ask probability() for its map"
            )
        columns = {
            number: list(self.recording.columns((lane, image), number).values())
            for number in range(len(self._variants(lane, image)))
        }
        return HeatMap(1 - self._on_picture(lane, image, columns), "<rest>", ())

    def patch(self, index: int = 0, image: int = 0, lane: Role = "positive") -> HeatMap:
        """What a patch of the picture attends to in the picture: place `index` of `Record.patches`.

        Raises:
            SettingError: it was not recorded, or has no value in the unit of this view.
        """
        x, y = self._place(index)
        if self.unit == "share":
            raise SettingError("a patch's attention to the picture is no share of words; ask probability()")
        columns = {variant: [index] for variant in range(len(self._variants(lane, image)))}
        return HeatMap(self._on_picture(lane, image, columns, "patches"), f"<patch {x:g}, {y:g}>", ())

    def row(
        self,
        index: int = 0,
        image: int = 0,
        lane: Role = "positive",
        source: str | None = None,
        text: int = 0,
    ) -> TextRow:
        """What a patch of the picture attends to in the text, padding and all: place `index` of
        `Record.patches`.

        Args:
            index: which of the places.
            image: which picture of the run.
            lane: the prompt or the negative prompt.
            source: a text encoder ("clip", "t5"), when only its tokens are to count; all when None.
            text: which of the texts of a prompt that changes or that AND joins, as `texts` lists them.

        Raises:
            SettingError: it was not recorded, or has no value in the unit of this view.
        """
        place = self._place(index)
        if self.unit == "lift":
            raise SettingError("a row has a probability and a share, but no lift; ask probability()")
        known = self.texts(image=image, lane=lane)
        if not 0 <= text < len(known):
            raise SettingError(f"text {text} of a prompt with {len(known)}; the first is 0")
        tables = self._variants(lane, image, source)[text]
        grids = [grid[index] for grid, _ in self._columns_by_grid(lane, image, "rows", text)]
        if not grids:
            raise SettingError(f"the text {known[text]!r} is not said in the steps of this view")
        if self.unit == "share":
            words = [row for placed in self._variants(lane, image)[text] for row in placed.rows("text")]
            grids = [grid / grid[words].sum().clamp_min(1e-12) for grid in grids]
        return TextRow(place, tables, torch.stack(grids).mean(0))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the whole recording, whatever this view shows of it, to a .safetensors file."""
        from promptweight.maps.files import save_recording

        save_recording(self.recording, path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> AttentionMaps:
        """Map that `save` wrote.

        Raises:
            SettingError: the file holds something else.
            OSError: it cannot be read.
        """
        from promptweight.maps.files import load_recording

        return cls.of(load_recording(path))

    def _repr_html_(self) -> str:
        """In notebooks: the first picture's words, and the map of the word under the pointer."""
        from promptweight.render import render_hover_html

        return render_hover_html(self)

    def _place(self, index: int) -> tuple[float, float]:
        places = self.recording.patches
        if not 0 <= index < len(places):
            raise SettingError(
                f"patch {index} was not recorded; there are {len(places)}, named by Record(patches=[(x, y)])"
            )
        return places[index]

    def _columns(self, lane: Role, image: int, rows: Mapping[int, Collection[int]]) -> dict[int, list[int]]:
        """The columns of rows of the text embeddings, by the number of the text."""
        columns = {variant: self.recording.columns((lane, image), variant) for variant in rows}
        return {variant: [columns[variant][row] for row in sorted(of_variant)] for variant, of_variant in rows.items()}


def raw_maps(
    maps: AttentionMaps | None, words: Sequence[Word], prompt: str, size: tuple[int, int], *, image: int = 0
) -> bytes:
    """Return a file with one float32 tensor `maps` of the shape (words, height, width).

    The header holds `words`, a JSON list of their texts, weights and places in the prompt, and `prompt`, the
    clean text as a JSON string.

    Args:
        maps: the attention of the run; None where there are no words.
        words: the words of the prompt.
        prompt: its clean text.
        size: width and height of the picture.
        image: the picture's number in the run.
    """
    import torch
    from safetensors.torch import save

    tensor = torch.zeros(0, size[1], size[0])
    if words and maps is not None:
        heats = [maps.word(word.text, occurrence=word.occurrence, image=image) for word in words]
        tensor = torch.stack([heat.tensor for heat in heats]).cpu().contiguous()
    about = [{"text": word.text, "weight": word.weight, "start": word.start} for word in words]
    return save({"maps": tensor}, {"words": json.dumps(about), "prompt": json.dumps(prompt)})
