"""Trains a built-in model from nothing: `python -m promptweight.mini.training.train --out runs/mini`.

Tokenizer, autoencoder, text encoder and denoiser are learnt in that order; each stage resumes from its
checkpoint in the output folder, so the same command continues a run that was stopped. The finished pipeline
is written to `OUT/pipeline`; `--init FOLDER` starts from the networks of an earlier pipeline instead of from
nothing. `--model mini-dit --autoencoder FOLDER` trains the Stable Diffusion 3 model on the autoencoder of an
earlier pipeline; with `--init FOLDER --split-patches` it goes on with four times as many tokens of the image.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from random import Random

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from diffusers import AutoencoderKL
from torch import nn
from transformers import CLIPTokenizer

from promptweight.mini.captions import caption
from promptweight.mini.scenes import random_scene
from promptweight.mini.training import autoencoder, denoiser, mmdit, text_encoder, trainer, unet
from promptweight.mini.training.data import EncodedScenes, Shares, load_scenes
from promptweight.mini.training.recipes import RECIPES, Networks
from promptweight.mini.training.rollouts import Walks

AUTOENCODER = trainer.Schedule(steps=3200, batch_size=12, learning_rate=2e-3, sheet_every=500)
TEXT = trainer.Schedule(steps=600, batch_size=64, learning_rate=1e-3, warmup=50, sheet_every=300, muon=True)
DENOISER = trainer.Schedule(
    steps=6400, batch_size=32, learning_rate=2e-3, cooldown=0.6, ema=0.9995, sheet_every=1000, muon=True
)
CAPTIONS = 30_000  # that the tokenizer's merges are learnt from


def _start(options: argparse.Namespace) -> Networks:
    """Makes the networks, untrained or as an earlier pipeline left them."""
    recipe = RECIPES[options.model]
    if options.init is not None:
        parts = recipe.load(options.init)
        if options.split_patches:
            parts.denoiser = mmdit.split_patches(parts.denoiser)
        return parts
    if options.autoencoder is not None:
        vae = AutoencoderKL.from_pretrained(options.autoencoder, subfolder="vae", use_safetensors=True)
        tokenizer = CLIPTokenizer.from_pretrained(options.autoencoder, subfolder="tokenizer")
        return recipe.make(tokenizer, vae)
    rng = Random(f"{options.seed}/tokenizer")
    tokenizer = unet.train_tokenizer(caption(random_scene(rng), rng) for _ in range(CAPTIONS))
    return recipe.make(tokenizer, unet.autoencoder())


def _learn_autoencoder(parts: Networks, options: argparse.Namespace, device: torch.device) -> None:
    stage = autoencoder.stage(parts.vae)
    schedule = replace(AUTOENCODER, steps=options.autoencoder_steps)
    learnt = trainer.run(stage, schedule, options.out, options.seed, device)
    assert isinstance(learnt, autoencoder.ReconstructionLoss)
    parts.vae = learnt.vae
    autoencoder.standardize(parts.vae)


def _learn_text(
    parts: Networks, encoded: EncodedScenes, options: argparse.Namespace, device: torch.device
) -> None:
    stage = text_encoder.stage(encoded, parts.vae, parts.tokenizer, parts.text)
    schedule = replace(TEXT, steps=options.text_steps)
    learnt = trainer.run(stage, schedule, options.out, options.seed, device)
    assert isinstance(learnt, text_encoder.LayoutLoss)
    parts.text = learnt.rows.text.requires_grad_(True)


def _learn_denoiser(
    parts: Networks, encoded: EncodedScenes, options: argparse.Namespace, device: torch.device
) -> None:
    loss = RECIPES[options.model].loss(parts)
    loss.rows.text.requires_grad_(not options.freeze_text)
    if options.compile:
        loss.denoiser.compile()
    loss.grounding = options.grounding
    if options.walking_share:
        assert isinstance(loss, denoiser.FlowLoss)
        loss.walks = Walks(round(options.walking_share * DENOISER.batch_size), mmdit.SHIFT)
    shares = Shares(
        related=options.related_share,
        single=options.single_share,
        pairs=options.pair_share,
        white=options.white_share,
        unsaid=options.unsaid_share,
    )
    stage = denoiser.stage(loss, encoded, parts.vae, parts.tokenizer, shares)
    schedule = replace(DENOISER, steps=options.denoiser_steps, learning_rate=options.learning_rate)
    learnt = trainer.run(stage, schedule, options.out, options.seed, device)
    assert isinstance(learnt, denoiser.DenoisingLoss)
    parts.text, parts.denoiser = learnt.rows.text, learnt.denoiser


def _take_checkpoints(parts: Networks, options: argparse.Namespace) -> None:
    """Puts the averaged networks of the newest checkpoints in place."""
    modules: dict[str, nn.Module] = {"denoiser": RECIPES[options.model].loss(parts)}
    if (options.out / "autoencoder.pt").exists():
        modules["autoencoder"] = autoencoder.ReconstructionLoss(parts.vae)
    for name, module in modules.items():
        state = torch.load(options.out / f"{name}.pt", map_location="cpu", weights_only=True)
        module.load_state_dict(state["average"])
    if "autoencoder" in modules:
        autoencoder.standardize(parts.vae)


def _work(rank: int, options: argparse.Namespace) -> None:
    torch.set_num_threads(1)  # several one-thread processes beat one process of several threads here
    if options.processes > 1:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(options.port)}
        dist.init_process_group("gloo", rank=rank, world_size=options.processes)
    device = torch.device("cuda", rank) if torch.cuda.is_available() else torch.device("cpu")
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    parts = _start(options)
    if options.export:
        _take_checkpoints(parts, options)
    else:
        if options.autoencoder_steps > 0:
            _learn_autoencoder(parts, options, device)
        encoded = load_scenes(
            seed=options.seed,
            rank=rank,
            number=options.scenes // options.processes,
            vae=parts.vae.to(device).eval(),
            cache=options.out,
            device=device,
            pairs=None if options.placed_pairs is None else options.placed_pairs // options.processes,
        )
        if options.text_steps > 0:
            _learn_text(parts, encoded, options, device)
        _learn_denoiser(parts, encoded, options, device)
    if rank == 0:
        RECIPES[options.model].save(options.out / "pipeline", parts)
    if options.processes > 1:
        dist.destroy_process_group()


def main() -> None:
    """Reads the command line and starts the processes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=list(RECIPES), default="mini", help="which built-in model")
    parser.add_argument("--out", type=Path, default=Path("runs/mini"), help="checkpoints, sheets, pipeline")
    parser.add_argument("--init", type=Path, help="pipeline folder to start from instead of from nothing")
    parser.add_argument(
        "--autoencoder", type=Path, help="pipeline folder whose tokenizer and autoencoder are kept"
    )
    parser.add_argument(
        "--split-patches",
        action="store_true",
        help="of mini-dit: go on from --init with a denoiser that sees every latent by itself, not patches",
    )
    parser.add_argument("--autoencoder-steps", type=int, help="0 keeps the autoencoder as it is")
    parser.add_argument("--text-steps", type=int, default=TEXT.steps, help="of the text encoder alone")
    parser.add_argument("--denoiser-steps", type=int, default=DENOISER.steps)
    parser.add_argument("--learning-rate", type=float, default=DENOISER.learning_rate, help="of the denoiser")
    parser.add_argument(
        "--related-share", type=float, default=0.5, help="of a batch, drawn only from scenes with a relation"
    )
    parser.add_argument(
        "--single-share", type=float, default=0.0, help="of a batch, drawn only from scenes of one thing"
    )
    parser.add_argument(
        "--pair-share",
        type=float,
        default=0.0,
        help="of a batch, drawn only from scenes of two things without a relation",
    )
    parser.add_argument(
        "--white-share", type=float, default=0.0, help="of a batch, drawn only from scenes of one white thing"
    )
    parser.add_argument(
        "--unsaid-share",
        type=float,
        default=0.0,
        help="of the scenes of one thing, told with a second thing whose words are left out",
    )
    parser.add_argument(
        "--grounding",
        type=float,
        default=0.0,
        help="of mini-dit: weight of attention that lies beside what its words name, in the loss",
    )
    parser.add_argument(
        "--walking-share",
        type=float,
        default=0.0,
        help="of mini-dit: of a batch, at most, pictures that the denoiser itself is drawing",
    )
    parser.add_argument(
        "--placed-pairs",
        type=int,
        help="learn single things and pairs from all their places at once, with this many different pairs",
    )
    parser.add_argument(
        "--freeze-text",
        action="store_true",
        help="keep the text encoders as they are while the denoiser learns",
    )
    parser.add_argument(
        "--compile", action="store_true", help="compile the denoiser: a slow start, faster steps"
    )
    parser.add_argument(
        "--scenes", type=int, default=64_000, help="drawn once and seen again with new captions"
    )
    parser.add_argument("--processes", type=int, default=torch.cuda.device_count() or os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--port", type=int, default=29517, help="where the processes of this machine meet")
    parser.add_argument(
        "--export", action="store_true", help="write OUT/pipeline from the checkpoints, no training"
    )
    options = parser.parse_args()
    if options.split_patches and (options.model != "mini-dit" or options.init is None):
        parser.error("--split-patches needs --model mini-dit and the --init it splits the patches of")
    for name in ("grounding", "walking_share"):
        if getattr(options, name) and options.model != "mini-dit":
            parser.error(f"--{name.replace('_', '-')} is of --model mini-dit only")
    if options.export:
        options.processes = 1
    if options.autoencoder_steps is None:
        kept = options.init is not None or options.autoencoder is not None
        options.autoencoder_steps = 0 if kept else AUTOENCODER.steps
    if options.processes > 1:
        multiprocessing.spawn(_work, (options,), nprocs=options.processes)
    else:
        _work(0, options)


if __name__ == "__main__":
    main()
