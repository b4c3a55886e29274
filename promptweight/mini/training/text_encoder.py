"""Training stage two: pretraining of the text encoder on the layout of scenes, before the denoiser.

The order of "A to the left of B" is hard to learn through a denoiser: noised images already show positions of
objects, so the denoiser makes little use of the words. In this stage a small network, discarded afterwards,
predicts the coarse layout of the image from the text rows alone, and the text encoder learns relations in a
few hundred cheap steps.

Two measures keep the meaning of every word in its own row, so that weights and attention maps are meaningful:

- The end-of-text and padding rows of a prompt are trained to equal those of the empty prompt. A causal text
  encoder would otherwise collect the whole sentence in these rows, where it can be neither seen nor weighted.
- In some prompts rows of words are replaced by those of the empty prompt, rows of colors more often than
  others. The model thus learns that a word at weight 0 is absent, and the meaning of a noun cannot move
  entirely to the color after it.
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

THINNED_PROMPTS = 0.4  # share of prompts with word dropout
WORD_DROPOUT = 0.25  # probability that a word of such a prompt is dropped
COLOR_DROPOUT = 0.3  # additional probability for the colors of such a prompt
LAYOUT_SIZE = 4  # the predicted layout has 4 × 4 cells


class Spoken(NamedTuple):
    """Text conditioning of a denoiser for a batch of prompts."""

    rows: Tensor
    """(batch, positions, width)"""
    pooled: Tensor | None
    """The empty prompt's pooled vector (batch, width), so that only the rows carry the prompt; or None."""
    loudness: Tensor
    """Mean squared distance of padding rows and pooled vector from the empty prompt's, a part of the loss."""
    is_said: Tensor
    """Mask of the rows that are those of their words, not the empty prompt's (batch, positions), bool."""


class PromptRows(nn.Module):
    """Text encoder in training, with the padding rows of the empty prompt and with word dropout.

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
        """Encode token ids (batch, positions), and drop words at random.

        Args:
            ids: token ids (batch, positions).
            unsaid: mask of words that are always dropped (batch, positions; bool).
            whole: mask of prompts without random dropout (batch,; bool).
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
        dropped[:, 0] = False  # the start token is not a word
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
    """Predictor of the mean latent of each cell (batch, 8, 4, 4) from rows (batch, tokens, width)."""

    def __init__(self) -> None:
        super().__init__()
        self.cell_embedding = nn.Parameter(0.5 * torch.randn(LAYOUT_SIZE**2, TEXT_WIDTH))
        layer = nn.TransformerDecoderLayer(
            TEXT_WIDTH, 4, 2 * TEXT_WIDTH, dropout=0.0, batch_first=True, norm_first=True
        )
        self.decoder = nn.TransformerDecoder(layer, 2)
        self.out = nn.Linear(TEXT_WIDTH, LATENT_CHANNELS)

    def forward(self, rows: Tensor) -> Tensor:
        """Return the predicted layout."""
        cells = self.decoder(self.cell_embedding.expand(len(rows), -1, -1), rows)
        return self.out(cells).transpose(1, 2).unflatten(2, (LAYOUT_SIZE, LAYOUT_SIZE))


class LayoutLoss(nn.Module):
    """Squared error of the layout predicted from the text rows, plus the padding loss of `PromptRows`."""

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
    """Return a function that saves the predicted layouts of the sheet's prompts."""

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
    """Return the stage that trains a text encoder on layouts."""
    batches = draw_batch(encoded, tokenizer, world=world)
    sheet = draw_sheet(vae, tokenizer, sheet_prompts(world))
    return Stage("text", LayoutLoss(text, tokenizer), batches, sheet)
