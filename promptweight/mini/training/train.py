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

from promptweight.mini import worlds
from promptweight.mini.captions import LANGUAGES, caption
from promptweight.mini.sampling import sample_scene
from promptweight.mini.training import autoencoder, denoiser, mmdit, text_encoder, trainer, unet
from promptweight.mini.training.data import EncodedScenes, Shares, load_scenes
from promptweight.mini.training.recipes import RECIPES, Networks
from promptweight.mini.training.rollouts import Walks
from promptweight.mini.vocabulary import known_words
from promptweight.mini.worlds import FIRST, WHOLE, WORLDS

AUTOENCODER = trainer.Schedule(steps=3200, batch_size=12, learning_rate=2e-3, sheet_every=500)
TEXT = trainer.Schedule(steps=600, batch_size=64, learning_rate=1e-3, warmup=50, sheet_every=300, muon=True)
DENOISER = trainer.Schedule(
    steps=6400, batch_size=32, learning_rate=2e-3, cooldown=0.6, ema=0.9995, sheet_every=1000, muon=True
)
CAPTIONS = 20_000  # that the tokenizer's merges are learnt from
WORD_REPEATS = 40  # of every word of the world besides, so that each becomes one piece


def _start(options: argparse.Namespace) -> Networks:
    """Make the networks, untrained or as an earlier pipeline left them."""
    recipe = RECIPES[options.model]
    if options.init is not None:
        parts = recipe.load(options.init)
        if options.split_patches:
            parts.denoiser = mmdit.split_patches(parts.denoiser)
        if options.autoencoder is not None:
            parts.vae = AutoencoderKL.from_pretrained(
                options.autoencoder, subfolder="vae", use_safetensors=True, torch_dtype=torch.float32
            )
        if options.world is not None and WORLDS[options.world] != parts.world:
            recipe.put_tokenizer(parts, _train_tokenizer(options.seed))
            parts.world = WORLDS[options.world]
        return parts
    if options.autoencoder is not None:
        vae = AutoencoderKL.from_pretrained(options.autoencoder, subfolder="vae", use_safetensors=True)
        tokenizer = CLIPTokenizer.from_pretrained(options.autoencoder, subfolder="tokenizer")
        parts = recipe.make(tokenizer, vae)
        parts.world = WORLDS[options.world] if options.world else worlds.read(options.autoencoder) or FIRST
        return parts
    world = WORLDS[options.world or "whole"]
    parts = recipe.make(_train_tokenizer(options.seed), unet.autoencoder(world.size))
    parts.world = world
    return parts


def _train_tokenizer(seed: int) -> CLIPTokenizer:
    """Train a tokenizer on captions and words of the whole world, so that it fits every part of it."""
    rng = Random(f"{seed}/tokenizer")
    captions = [caption(sample_scene(rng, WHOLE), rng) for _ in range(CAPTIONS)]
    words = sorted({word for language in LANGUAGES for word in known_words(WHOLE, language)})
    return unet.train_tokenizer([*captions, *(word for word in words for _ in range(WORD_REPEATS))])


def _grow_autoencoder(parts: Networks) -> AutoencoderKL | None:
    """Put an untrained autoencoder in place where pictures have outgrown the present one, and return that."""
    if parts.vae.config.sample_size == parts.world.size:
        return None
    smaller = parts.vae.eval().requires_grad_(False)
    parts.vae = unet.autoencoder(parts.world.size)
    return smaller


def _learn_autoencoder(parts: Networks, options: argparse.Namespace, device: torch.device) -> None:
    teacher = _grow_autoencoder(parts)
    for network in (parts.vae.encoder, parts.vae.quant_conv):
        network.requires_grad_(not options.freeze_encoder)
    stage = autoencoder.stage(parts.vae, parts.world, teacher)
    schedule = replace(AUTOENCODER, steps=options.autoencoder_steps)
    learnt = trainer.run(stage, schedule, options.out, options.seed, device)
    assert isinstance(learnt, autoencoder.ReconstructionLoss)
    parts.vae = learnt.vae
    if teacher is None and not options.freeze_encoder:
        autoencoder.standardize(parts.vae, world=parts.world)


def _learn_text(
    parts: Networks, encoded: EncodedScenes, options: argparse.Namespace, device: torch.device
) -> None:
    stage = text_encoder.stage(encoded, parts.vae, parts.tokenizer, parts.text, parts.world)
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
    stage = denoiser.stage(loss, encoded, parts.vae, parts.tokenizer, shares, parts.world)
    schedule = replace(DENOISER, steps=options.denoiser_steps, learning_rate=options.learning_rate)
    learnt = trainer.run(stage, schedule, options.out, options.seed, device)
    assert isinstance(learnt, denoiser.DenoisingLoss)
    parts.text, parts.denoiser = learnt.rows.text, learnt.denoiser


def _take_checkpoints(parts: Networks, options: argparse.Namespace) -> None:
    """Put the averaged networks of the newest checkpoints in place."""
    modules: dict[str, nn.Module] = {"denoiser": RECIPES[options.model].loss(parts)}
    smaller = None
    if (options.out / "autoencoder.pt").exists():
        smaller = _grow_autoencoder(parts)
        modules["autoencoder"] = autoencoder.ReconstructionLoss(parts.vae)
    for name, module in modules.items():
        state = torch.load(options.out / f"{name}.pt", map_location="cpu", weights_only=True)
        module.load_state_dict(state["average"])
    if "autoencoder" in modules and smaller is None and not options.freeze_encoder:
        autoencoder.standardize(parts.vae, world=parts.world)


def _outgrown(options: argparse.Namespace) -> bool:
    """Whether the pictures to learn are larger than those of the pipeline to start from."""
    before = worlds.read(options.init) or FIRST
    return options.world is not None and WORLDS[options.world].size != before.size


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
            world=parts.world,
        )
        if options.text_steps > 0:
            _learn_text(parts, encoded, options, device)
        _learn_denoiser(parts, encoded, options, device)
    if rank == 0:
        RECIPES[options.model].save(options.out / "pipeline", parts)
    if options.processes > 1:
        dist.destroy_process_group()


def main() -> None:
    """Read the command line and starts the processes."""
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
    parser.add_argument(
        "--world",
        choices=list(WORLDS),
        help="which scenes to learn: those of --init unless another is named; the whole world from nothing",
    )
    parser.add_argument("--autoencoder-steps", type=int, help="0 keeps the autoencoder as it is")
    parser.add_argument(
        "--freeze-encoder",
        action="store_true",
        help="train the decoder alone, so that latents stay as the denoiser knows them",
    )
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
    if options.placed_pairs is not None and options.world not in (None, "first"):
        parser.error("--placed-pairs is of --world first only")
    if options.export:
        options.processes = 1
    if options.autoencoder_steps is None:
        kept = options.autoencoder is not None or (options.init is not None and not _outgrown(options))
        options.autoencoder_steps = 0 if kept else AUTOENCODER.steps
    if options.processes > 1:
        multiprocessing.spawn(_work, (options,), nprocs=options.processes)
    else:
        _work(0, options)


if __name__ == "__main__":
    main()
