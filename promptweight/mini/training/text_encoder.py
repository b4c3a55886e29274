"""Stage two: the text encoder learns to say what stands where, before anything is drawn from its words.

The order of "A to the left of B" is hard to learn through a denoiser: noise shows it where things are, so
it hardly asks the words. Here a small reader, thrown away afterwards, has to tell the picture's coarse layout
from the words' rows alone, and the encoder learns relations in a few hundred cheap steps.

Two things make every word carry its own meaning, so that weights and attention maps mean something:

- The end-of-text and padding rows of a prompt are taught to equal those of the empty prompt. A causal text
  encoder would otherwise gather the whole sentence there, where nobody can see or weight it.
- In some prompts words' rows are replaced by the empty prompt's, colors' more often than others': a word at
  weight 0 means "not said", and a noun cannot leave all that it means to the color after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import CLIPTokenizer

from promptweight.mini.lexicon import ADJECTIVES, plural
from promptweight.mini.training.data import EncodedScenes, draw_batch, save_sheet, sheet_prompts
from promptweight.mini.training.trainer import Batch, Stage
from promptweight.mini.training.unet import LATENT_CHANNELS, LATENT_SIZE, TEXT_WIDTH
from promptweight.mini.worlds import FIRST, World

THINNED_PROMPTS = 0.4  # share of prompts of which words are left out
WORD_DROPOUT = 0.25  # of the words of such a prompt
COLOR_DROPOUT = 0.3  # of the colors of such a prompt, beside that
LAYOUT_SIZE = 4  # the reader tells a picture of 4 × 4 cells


class Spoken(NamedTuple):
    """What a denoiser is told of a batch of prompts."""

    rows: Tensor
    """(batch, positions, width)"""
    pooled: Tensor | None
    """(batch, width) where the model has a pooled vector: the empty prompt's, so that only words speak."""
    loudness: Tensor
    """How far padding and pooled vector are from the empty prompt's, to be added to the loss."""
    is_said: Tensor
    """Which rows are their words' own, not the empty prompt's (batch, positions), bool."""


class PromptRows(nn.Module):
    """The text encoder as training sees it: silent padding, and some words left unsaid.

    `text` maps token ids (batch, tokens) to rows (batch, tokens, width) and a pooled vector or None.
    """

    empty: Tensor
    colors: Tensor

    def __init__(self, text: nn.Module, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.text = text
        self.end = tokenizer.eos_token_id
        empty = tokenizer("", padding="max_length", return_tensors="pt").input_ids
        self.register_buffer("empty", empty, persistent=False)
        adjectives = {word for forms in ADJECTIVES.values() for word in forms}
        adjectives |= {plural(word, "pt") for forms in ADJECTIVES.values() for word in forms[:2]}
        pieces = sorted({piece for word in sorted(adjectives) for piece in tokenizer(word).input_ids[1:-1]})
        self.register_buffer("colors", torch.tensor(pieces), persistent=False)

    def forward(self, ids: Tensor, unsaid: Tensor | None = None, whole: Tensor | None = None) -> Spoken:
        """Encode token ids (batch, positions), but for words that are `unsaid` (batch, positions; bool).

        Of prompts that are `whole` (batch,; bool) no word is dropped at random.
        """
        positions = self.empty.shape[1]
        longest = int((ids != self.end).sum(1).max()) + 4
        length = positions if torch.rand(()) < 0.05 else min(positions, longest)
        said, pooled = self.text(ids[:, :length])  # (batch, length, width)
        empty, silent = self.text(self.empty)  # (1, positions, width)
        is_word = (ids != self.end)[:, :length, None]
        silence = empty[:, :length].detach().expand_as(said)
        loudness = F.mse_loss(torch.where(is_word, silence, said), silence)
        thinned = torch.rand(len(ids), 1, 1, device=ids.device) < THINNED_PROMPTS
        is_color = torch.isin(ids, self.colors)[:, :length, None]
        share = WORD_DROPOUT + COLOR_DROPOUT * is_color
        dropped = thinned & (torch.rand(share.shape, device=ids.device) < share)
        dropped[:, 0] = False  # the beginning of the text is never a word
        if whole is not None:
            dropped &= ~whole[:, None, None]
        if unsaid is not None:
            dropped |= unsaid[:, :length, None]
        is_said = is_word & ~dropped
        rows = torch.where(is_said, said, empty[:, :length])
        rows = torch.cat([rows, empty[:, length:].expand(len(ids), -1, -1)], dim=1)
        is_said = F.pad(is_said[..., 0], (0, positions - length))
        if pooled is None:
            return Spoken(rows, None, loudness, is_said)
        silent = silent.expand_as(pooled)
        return Spoken(rows, silent, loudness + F.mse_loss(pooled, silent.detach()), is_said)


class LayoutReader(nn.Module):
    """Reads rows (batch, tokens, width) and tells the mean latent (batch, 8, 4, 4) of each cell."""

    def __init__(self) -> None:
        super().__init__()
        self.cell_embedding = nn.Parameter(0.5 * torch.randn(LAYOUT_SIZE**2, TEXT_WIDTH))
        layer = nn.TransformerDecoderLayer(
            TEXT_WIDTH, 4, 2 * TEXT_WIDTH, dropout=0.0, batch_first=True, norm_first=True
        )
        self.decoder = nn.TransformerDecoder(layer, 2)
        self.out = nn.Linear(TEXT_WIDTH, LATENT_CHANNELS)

    def forward(self, rows: Tensor) -> Tensor:
        """Return the layout."""
        cells = self.decoder(self.cell_embedding.expand(len(rows), -1, -1), rows)
        return self.out(cells).transpose(1, 2).unflatten(2, (LAYOUT_SIZE, LAYOUT_SIZE))


class LayoutLoss(nn.Module):
    """Squared error of the layout that the rows tell, plus what keeps the padding silent."""

    def __init__(self, text: nn.Module, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.rows = PromptRows(text, tokenizer)
        self.reader = LayoutReader()

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of latents and captions."""
        spoken = self.rows(batch["ids"])
        layout = F.adaptive_avg_pool2d(batch["latents"], LAYOUT_SIZE)
        return F.mse_loss(self.reader(spoken.rows).float(), layout) + spoken.loudness


def draw_sheet(
    vae: AutoencoderKL, tokenizer: CLIPTokenizer, prompts: Sequence[str]
) -> Callable[[nn.Module, Path], None]:
    """Return the function that shows the layouts told for the prompts of the sheet."""

    @torch.no_grad()
    def draw(module: nn.Module, path: Path) -> None:
        assert isinstance(module, LayoutLoss)
        ids = tokenizer(list(prompts), padding="max_length", return_tensors="pt").input_ids
        rows, _ = module.rows.text(ids.to(module.rows.empty.device))
        layouts = module.reader(rows).repeat_interleave(LATENT_SIZE // LAYOUT_SIZE, 2)
        save_sheet(vae, layouts.repeat_interleave(LATENT_SIZE // LAYOUT_SIZE, 3), path)

    return draw


def stage(
    encoded: EncodedScenes,
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    text: nn.Module,
    world: World = FIRST,
) -> Stage:
    """Return the stage."""
    batches = draw_batch(encoded, tokenizer, world=world)
    sheet = draw_sheet(vae, tokenizer, sheet_prompts(world))
    return Stage("text", LayoutLoss(text, tokenizer), batches, sheet)
