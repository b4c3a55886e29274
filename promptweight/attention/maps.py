"""What the words looked at: recorded attention as lazy views, from probabilities to pictures.

    maps = session.maps
    maps.word("gato vermelho").tensor          # (height, width) of the picture, raw probability
    maps.share().word("gato", image=1)         # share of all words at every pixel, second picture
    maps.layers("16x16", "up_blocks").word("gato")

Nothing is normalised when it is recorded. A view chooses layers, steps and heads. A map is the probability
summed over the phrase's tokens, mean over them: layers of one grid are averaged there, then the grids, after
bilinear, antialiased resizing to the picture. Grids weigh the same, however many layers they have, or SDXL's
60 layers at the coarser grid would drown its 10 at the finer one.

Of a prompt that changes while the picture is made, or whose parts AND joins, a word's map is the mean over
the steps and parts in which it is said.

Layers whose grid is coarser than a quarter of the latents' sides are left out unless asked for: a cell there
covers 64 × 64 pixels of a picture made by an f8 autoencoder, and blurs whatever finer layers found.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from promptweight.attention.heatmap import HeatMap
from promptweight.attention.lanes import Role
from promptweight.attention.recording import Recording
from promptweight.attention.rows import TextRow
from promptweight.attention.store import Kind
from promptweight.attention.tables import Voice
from promptweight.attention.voices import find, words_of
from promptweight.errors import SettingError

if TYPE_CHECKING:
    from promptweight.conditioning.tokens import Word

COARSEST_STRIDE = 4
"""Layers with more latents than this along a side of a cell are in a view only when asked for."""


@dataclass(frozen=True)
class AttentionMaps:
    """A view of a recording: which layers, steps and heads count, and in which unit.

    Views are cheap and immutable; `layers`, `steps`, `heads`, `probability`, `share`, `lift` give new ones.
    """

    recording: Recording
    chosen: tuple[int, ...]
    """Indices of the slots that count, among those of words."""
    step_range: tuple[int, int | None] = (0, None)
    head_indices: tuple[int, ...] | None = None
    unit: Literal["probability", "share", "lift"] = "probability"
    kind: Literal["words", "refined"] = "words"
    """Whether words' maps are as recorded, or averaged by the image's attention to itself."""
    _grids: dict[tuple[Kind, Role, int, int], list[tuple[Tensor, float]]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def of(cls, recording: Recording) -> AttentionMaps:
        """The view that a recording is first seen by."""
        strides = {i: slot.stride for i, slot in enumerate(recording.slots) if slot.kind == "words"}
        limit = max(min(strides.values()), COARSEST_STRIDE)
        return cls(recording, tuple(i for i, stride in strides.items() if stride <= limit))

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of the first picture's prompt."""
        return self.words_of()

    def words_of(self, *, image: int = 0, lane: Role = "positive") -> tuple[Word, ...]:
        """The words of a picture's prompt or negative prompt; of one with several texts those of all."""
        return words_of(self._voices(lane, image))

    def texts(self, *, image: int = 0, lane: Role = "positive") -> tuple[str, ...]:
        """What a picture's prompt says: more than one text where it changes or AND joins parts."""
        return tuple(voice[0].table.prompt.text for voice in self._voices(lane, image))

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
        found = find(self._voices(lane, image, source), phrase, occurrence)
        tensor = self._on_picture(lane, image, self._columns(lane, image, found.rows))
        return HeatMap(tensor, " ".join(word.text for word in found.words), found.words)

    def beginning(self, image: int = 0, lane: Role = "positive") -> HeatMap:
        """The map of the beginning-of-text tokens, where most of a CLIP prompt's attention rests."""
        rows = {
            number: {row for placed in voice for row in placed.rows("bos")}
            for number, voice in enumerate(self._voices(lane, image))
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
            for number in range(len(self._voices(lane, image)))
        }
        return HeatMap(1 - self._on_picture(lane, image, columns), "<rest>", ())

    def layers(self, *names: str) -> AttentionMaps:
        """Only layers whose name holds one of `names` or whose grid is one, as in "16x16"; all without names.

        Raises:
            SettingError: no layer does; the message lists names and grids.
        """
        slots = self.recording.slots
        chosen = tuple(
            index
            for index, slot in enumerate(slots)
            if slot.kind == "words"
            and (
                not names
                or slot.grid in names
                or any(name in layer for name in names for layer in slot.layers)
            )
        )
        if not chosen:
            words = [slot for slot in slots if slot.kind == "words"]
            known = ", ".join(f"{layer} ({slot.grid})" for slot in words for layer in slot.layers)
            raise SettingError(f"no layer is called {' or '.join(map(repr, names))}; layers: {known}")
        return self._view(chosen=chosen)

    def steps(self, first: int = 0, end: int | None = None) -> AttentionMaps:
        """Only the steps from `first` up to, not including, `end`; negative numbers count from the last.

        Raises:
            SettingError: the steps were added together, or the range holds none.
        """
        recorded = self.recording.slots[0].sums.shape[0]
        if recorded == 1:
            raise SettingError('the steps were added together; record them apart with Record(steps="keep")')
        if not range(recorded)[first:end]:
            raise SettingError(f"steps {first} to {end} hold none of the {recorded} recorded")
        return self._view(step_range=(first, end))

    def heads(self, *indices: int) -> AttentionMaps:
        """Only these heads of every layer; all when none is given.

        Raises:
            SettingError: the heads were averaged, or a layer has not as many.
        """
        fewest = min(self.recording.slots[index].sums.shape[3] for index in self.chosen)
        if self.kind == "refined" and indices:
            raise SettingError("refined maps are means over the heads; choose heads without refined()")
        if fewest == 1 and indices:
            raise SettingError('the heads were averaged; record them apart with Record(heads="keep")')
        if any(not 0 <= index < fewest for index in indices):
            raise SettingError(f"heads {indices}; the layers of this view have heads 0 to {fewest - 1}")
        return self._view(head_indices=indices or None)

    def probability(self) -> AttentionMaps:
        """In probabilities: how much of a pixel's attention a word gets, 0 to 1. Every view begins so."""
        return self._view(unit="probability")

    def share(self) -> AttentionMaps:
        """In shares: how much a word gets of the attention that all words get at a pixel, 0 to 1.

        Beginning, end and padding, which often hold most of the attention, do not count.
        """
        return self._view(unit="share")

    def lift(self) -> AttentionMaps:
        """In multiples of the mean over the picture: 2 where a phrase gets twice what it gets on average.

        Probabilities in joint attention are small, since the image's own positions share them; lifts compare
        from model to model.
        """
        return self._view(unit="lift")

    def refined(self) -> AttentionMaps:
        """With every map averaged, pixel by pixel, over what the pixel attends to in the picture itself.

        At every step and layer the words' probabilities M (mean over the heads) become A·M, A being the mean
        over the heads of the self-attention right before in a UNet, of the image's part of joint attention
        elsewhere. Pixels of one thing attend to each other, so maps fill the thing and keep to its edges.
        Probabilities still sum to 1.

        Raises:
            SettingError: it was not recorded.
        """
        if not any(slot.kind == "refined" for slot in self.recording.slots):
            raise SettingError("refined maps were not recorded; record them with Record(refine=True)")
        return self._view(kind="refined", head_indices=None)

    def patch(self, index: int = 0, image: int = 0, lane: Role = "positive") -> HeatMap:
        """What a patch of the picture attends to in the picture: place `index` of `Record.patches`.

        Raises:
            SettingError: it was not recorded, or has no value in the unit of this view.
        """
        x, y = self._place(index)
        if self.unit == "share":
            raise SettingError("a patch's attention to the picture is no share of words; ask probability()")
        columns = {voice: [index] for voice in range(len(self._voices(lane, image)))}
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
        tables = self._voices(lane, image, source)[text]
        grids = [grid[index] for grid, _ in self._columns_by_grid(lane, image, "rows", text)]
        if not grids:
            raise SettingError(f"the text {known[text]!r} is not said in the steps of this view")
        if self.unit == "share":
            words = [row for placed in self._voices(lane, image)[text] for row in placed.rows("text")]
            grids = [grid / grid[words].sum().clamp_min(1e-12) for grid in grids]
        return TextRow(place, tables, torch.stack(grids).mean(0))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the whole recording, whatever this view shows of it, to a .safetensors file."""
        from promptweight.attention.files import save_recording

        save_recording(self.recording, path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> AttentionMaps:
        """Maps that `save` wrote.

        Raises:
            SettingError: the file holds something else.
            OSError: it cannot be read.
        """
        from promptweight.attention.files import load_recording

        return cls.of(load_recording(path))

    def _repr_html_(self) -> str:
        """In notebooks: the first picture's words, and the map of the word under the pointer."""
        from promptweight.attention.hover import hover_html

        return hover_html(self)

    def _view(self, **changes: Any) -> AttentionMaps:
        return replace(self, _grids={}, **changes)

    def _place(self, index: int) -> tuple[float, float]:
        places = self.recording.patches
        if not 0 <= index < len(places):
            raise SettingError(
                f"patch {index} was not recorded; there are {len(places)}, named by Record(patches=[(x, y)])"
            )
        return places[index]

    def _voices(self, lane: Role, image: int, source: str | None = None) -> tuple[Voice, ...]:
        if (lane, image) not in self.recording.tables:
            known = ", ".join(f"{role} image {number}" for role, number in self.recording.tables)
            raise SettingError(f"{lane} image {image} was not recorded; recorded: {known}")
        voices = self.recording.voices((lane, image))
        if source is None:
            return voices
        chosen = tuple(tuple(placed for placed in voice if source in placed.encoders) for voice in voices)
        if not all(chosen):
            known = ", ".join(name for placed in voices[0] for name in placed.encoders)
            raise SettingError(f"no text encoder is called {source!r}; there are: {known}")
        return chosen

    def _columns(self, lane: Role, image: int, rows: Mapping[int, Collection[int]]) -> dict[int, list[int]]:
        """The columns of rows of the text embeddings, by the number of the text."""
        columns = {voice: self.recording.columns((lane, image), voice) for voice in rows}
        return {voice: [columns[voice][row] for row in sorted(of_voice)] for voice, of_voice in rows.items()}

    def _on_picture(
        self, lane: Role, image: int, columns: Mapping[int, Sequence[int]], kind: Kind | None = None
    ) -> Tensor:
        """The sum of these columns of some texts, mean over grids, in the picture's size: (height, width).

        Texts count by how often they were said. Zeros where none of them was in what this view shows.
        """
        kind = kind or self.kind
        by_grid: dict[tuple[int, ...], list[tuple[Tensor, float]]] = {}
        for voice, of_voice in columns.items():
            for grid, count in self._columns_by_grid(lane, image, kind, voice):
                summed = grid[..., list(of_voice)].sum(-1)
                by_grid.setdefault(tuple(summed.shape), []).append((summed, count))
        if not by_grid:
            voices = range(len(self._voices(lane, image)))
            if not any(self._columns_by_grid(lane, image, kind, voice) for voice in voices):
                raise SettingError("the layers of this view did not run in these steps")
            return torch.zeros(self.recording.size)
        resized = [
            F.interpolate(
                weighted_mean(maps)[None, None], self.recording.size, mode="bilinear", antialias=True
            )[0, 0]
            for maps in by_grid.values()
        ]
        heat = torch.stack(resized).mean(0)
        return heat / heat.mean().clamp_min(1e-12) if self.unit == "lift" else heat

    def _columns_by_grid(self, lane: Role, image: int, kind: Kind, voice: int) -> list[tuple[Tensor, float]]:
        """For every grid of this view the mean over its layers while a text is said, and how often it is.

        The means are (height, width, columns) on the CPU; for "rows" they are (patches, columns), the columns
        being all rows of the text embeddings.
        """
        if (kind, lane, image, voice) in self._grids:
            return self._grids[kind, lane, image, voice]
        role = self.recording.roles.index(lane)
        place = image * self.recording.most_voices + voice
        by_grid: dict[tuple[int, int], list[tuple[Tensor, float]]] = {}
        layers = {layer for index in self.chosen for layer in self.recording.slots[index].layers}
        for slot in self.recording.slots:
            if slot.kind != kind or not layers.intersection(slot.layers):
                continue
            sums = slot.sums[slice(*self.step_range), role, place].sum(0)  # (heads, pixels, columns)
            count = slot.counts[slice(*self.step_range), role, place].sum()
            if self.head_indices is not None:
                sums = sums[list(self.head_indices)]
            if count > 0:
                mean = (sums.mean(0) / count).cpu()
                if kind != "rows":
                    mean = mean.unflatten(0, (slot.height, slot.width))
                by_grid.setdefault((slot.height, slot.width), []).append((mean, float(count)))
        grids = [
            (torch.stack([mean for mean, _ in of_grid]).mean(0), sum(count for _, count in of_grid))
            for of_grid in by_grid.values()
        ]
        if self.unit == "share" and kind not in ("patches", "rows"):
            columns = self.recording.columns((lane, image), voice)
            tables = self.recording.voices((lane, image))[voice]
            words = [columns[row] for placed in tables for row in placed.rows("text")]
            grids = [
                (grid / grid[..., words].sum(-1, keepdim=True).clamp_min(1e-12), count)
                for grid, count in grids
            ]
        self._grids[kind, lane, image, voice] = grids
        return grids


def weighted_mean(maps: Sequence[tuple[Tensor, float]]) -> Tensor:
    """The mean of maps by their weights; a map by itself, as it is."""
    if len(maps) == 1:
        return maps[0][0]
    total = sum(weight for _, weight in maps)
    return torch.stack([each * (weight / total) for each, weight in maps]).sum(0)
