"""Training command of the built-in models: `python -m promptweight.mini.training.train --out runs/mini`.

The command trains tokenizer, autoencoder, text encoder and denoiser from scratch, in that order. Each stage
resumes from its checkpoint in the output folder, so the same command continues an interrupted run. The
finished pipeline is written to `OUT/pipeline`. `--init FOLDER` starts from the networks of an earlier
pipeline instead of from scratch. `--model mini-dit --autoencoder FOLDER` trains the Stable Diffusion 3 model
on the autoencoder of an earlier pipeline; with `--init FOLDER --split-patches` it continues with four times
as many image tokens.
"""

from __future__ import annotations

import argparse
import copy
import os
from dataclasses import replace
from pathlib import Path
from random import Random

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import nn
from transformers import CLIPTokenizer

from promptweight.mini import worlds
from promptweight.mini.captions import LANGUAGES, caption
from promptweight.mini.sampling import sample_scene
from promptweight.mini.training import autoencoder, denoiser, enlargement, mmdit, text_encoder, trainer, unet
from promptweight.mini.training.data import EncodedScenes, Shares, load_scenes
from promptweight.mini.training.recipes import RECIPES, Networks
from promptweight.mini.training.rollouts import Walks
from promptweight.mini.vocabulary import known_words
from promptweight.mini.worlds import FIRST, WHOLE, WORLDS

AUTOENCODER = trainer.Schedule(steps=3200, batch_size=12, learning_rate=2e-3, sheet_every=500)
LATER_RATE = 5e-4  # peak learning rate of an autoencoder that is trained further for another world
TEXT = trainer.Schedule(steps=600, batch_size=64, learning_rate=1e-3, warmup=50, sheet_every=300, muon=True)
DENOISER = trainer.Schedule(
    steps=6400, batch_size=32, learning_rate=2e-3, cooldown=0.6, ema=0.9995, sheet_every=1000, muon=True
)
CAPTIONS = 20_000  # number of captions for the training of the tokenizer
WORD_REPEATS = 40  # additional occurrences of every word of the world, so that each becomes one token


def _start(options: argparse.Namespace) -> Networks:
    """Create untrained networks, or load those of an earlier pipeline."""
    recipe = RECIPES[options.model]
    if options.init is not None:
        parts = recipe.load(options.init)
        if options.split_patches:
            parts.denoiser = mmdit.split_patches(parts.denoiser)
        if options.autoencoder is not None:
            parts.vae = AutoencoderKL.from_pretrained(
                options.autoencoder, subfolder="vae", use_safetensors=True, torch_dtype=torch.float32
            )
        if options.world is not None:
            world = WORLDS[options.world]
            if world != replace(parts.world, size=world.size):
                recipe.put_tokenizer(parts, _train_tokenizer(options.seed))
            parts.world = world
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
    """Train a tokenizer on captions and words of the whole world, so that it suits every other world."""
    rng = Random(f"{seed}/tokenizer")
    captions = [caption(sample_scene(rng, WHOLE), rng) for _ in range(CAPTIONS)]
    words = sorted({word for language in LANGUAGES for word in known_words(WHOLE, language)})
    return unet.train_tokenizer([*captions, *(word for word in words for _ in range(WORD_REPEATS))])


def _autoencoder_stage(parts: Networks, options: argparse.Namespace) -> trainer.Stage:
    """Return the stage of the autoencoder, which is enlarged if the world's image size differs."""
    if parts.vae.config.sample_size != parts.world.size:
        smaller = parts.vae.eval().requires_grad_(False)
        parts.vae = enlargement.enlarge(smaller)
        return enlargement.stage(parts.vae, smaller)
    teacher = None
    if _changes_world(options):
        teacher = copy.deepcopy(parts.vae).eval().requires_grad_(False)
    return autoencoder.stage(parts.vae, parts.world, teacher)


def _learn_autoencoder(parts: Networks, options: argparse.Namespace, device: torch.device) -> None:
    stage = _autoencoder_stage(parts, options)
    for network in (parts.vae.encoder, parts.vae.quant_conv):
        network.requires_grad_(not options.freeze_encoder)
    schedule = replace(AUTOENCODER, steps=options.autoencoder_steps)
    if isinstance(stage.module, autoencoder.ReconstructionLoss) and _changes_world(options):
        schedule = replace(schedule, learning_rate=LATER_RATE)
    learnt = trainer.run(stage, schedule, options.out, options.seed, device)
    assert isinstance(learnt, autoencoder.ReconstructionLoss | enlargement.EnlargementLoss)
    parts.vae = learnt.vae
    _standardize(parts, options)


def _standardize(parts: Networks, options: argparse.Namespace) -> None:
    """Standardize the latents, unless a denoiser knows them as they are."""
    if not options.freeze_encoder and not _changes_world(options):
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
    if device.type == "cpu" and isinstance(loss.denoiser, UNet2DConditionModel):
        # On CPUs the backward pass of PyTorch's fused attention is slower than that of its parts.
        loss.denoiser.set_attn_processor(AttnProcessor())
    if options.compile:
        loss.denoiser.compile()
    if isinstance(loss, denoiser.FlowLoss):
        loss.grounding = options.grounding
        if options.walking_share:
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
    """Load the averaged networks of the newest checkpoints."""
    modules: dict[str, nn.Module] = {"denoiser": RECIPES[options.model].loss(parts)}
    if (options.out / "autoencoder.pt").exists():
        modules["autoencoder"] = _autoencoder_stage(parts, options).module
    for name, module in modules.items():
        state = torch.load(options.out / f"{name}.pt", map_location="cpu", weights_only=True)
        module.load_state_dict(state["average"])
    if "autoencoder" in modules:
        _standardize(parts, options)


def _changes_world(options: argparse.Namespace) -> bool:
    """Return whether `--world` differs from the world of the pipeline `--init`."""
    if options.init is None or options.world is None:
        return False
    return WORLDS[options.world] != (worlds.read(options.init) or FIRST)


def _work(rank: int, options: argparse.Namespace) -> None:
    torch.set_num_threads(1)  # several single-threaded processes are faster than several threads
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
    """Parse the command line and start the processes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=list(RECIPES), default="mini", help="built-in model")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/mini"), help="folder for checkpoints, sheets, pipeline"
    )
    parser.add_argument("--init", type=Path, help="pipeline folder to start from, instead of from scratch")
    parser.add_argument(
        "--autoencoder",
        type=Path,
        help="pipeline folder of the autoencoder and, without --init, of the tokenizer",
    )
    parser.add_argument(
        "--split-patches",
        action="store_true",
        help="mini-dit only: continue from --init with a denoiser of patch size 1",
    )
    parser.add_argument(
        "--world",
        choices=list(WORLDS),
        help="world of the scenes; default: that of --init or --autoencoder, or the whole world from scratch",
    )
    parser.add_argument("--autoencoder-steps", type=int, help="0 keeps the autoencoder unchanged")
    parser.add_argument(
        "--freeze-encoder",
        action="store_true",
        help="train only the decoder of the autoencoder, so that the denoiser's latents stay the same",
    )
    parser.add_argument("--text-steps", type=int, default=TEXT.steps, help="steps of the text encoder alone")
    parser.add_argument("--denoiser-steps", type=int, default=DENOISER.steps)
    parser.add_argument(
        "--learning-rate",
        type=float,
        default=DENOISER.learning_rate,
        help="peak learning rate of the denoiser",
    )
    parser.add_argument(
        "--related-share",
        type=float,
        default=0.5,
        help="share of a batch drawn only from scenes with a relation",
    )
    parser.add_argument(
        "--single-share",
        type=float,
        default=0.0,
        help="share of a batch drawn only from scenes of one object",
    )
    parser.add_argument(
        "--pair-share",
        type=float,
        default=0.0,
        help="share of a batch drawn only from scenes of two objects without a relation",
    )
    parser.add_argument(
        "--white-share",
        type=float,
        default=0.0,
        help="share of a batch drawn only from scenes of one white object",
    )
    parser.add_argument(
        "--unsaid-share",
        type=float,
        default=0.0,
        help="share of the scenes of one object with a caption that names a second object, its words dropped",
    )
    parser.add_argument(
        "--grounding",
        type=float,
        default=0.0,
        help="mini-dit only: weight of the attention loss, which pulls maps of words to object masks",
    )
    parser.add_argument(
        "--walking-share",
        type=float,
        default=0.0,
        help="mini-dit only: maximum share of a batch for rollouts, latents sampled by the denoiser itself",
    )
    parser.add_argument(
        "--placed-pairs",
        type=int,
        help="number of pairs; trains single objects and pairs on the mean of all their placements",
    )
    parser.add_argument(
        "--freeze-text",
        action="store_true",
        help="keep the text encoders unchanged while the denoiser is trained",
    )
    parser.add_argument(
        "--compile", action="store_true", help="compile the denoiser: slower start, faster steps"
    )
    parser.add_argument(
        "--scenes",
        type=int,
        default=64_000,
        help="number of scenes, rendered once and reused with new captions",
    )
    parser.add_argument("--processes", type=int, default=torch.cuda.device_count() or os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--port", type=int, default=29517, help="port that connects the processes")
    parser.add_argument(
        "--export", action="store_true", help="write OUT/pipeline from the checkpoints without training"
    )
    options = parser.parse_args()
    if options.split_patches and (options.model != "mini-dit" or options.init is None):
        parser.error("--split-patches requires --model mini-dit and --init")
    for name in ("grounding", "walking_share"):
        if getattr(options, name) and options.model != "mini-dit":
            parser.error(f"--{name.replace('_', '-')} requires --model mini-dit")
    if options.placed_pairs is not None and options.world not in (None, "first"):
        parser.error("--placed-pairs requires --world first")
    if options.export:
        options.processes = 1
    if options.autoencoder_steps is None:
        kept = options.autoencoder is not None or (options.init is not None and not _changes_world(options))
        options.autoencoder_steps = 0 if kept else AUTOENCODER.steps
    if options.processes > 1:
        multiprocessing.spawn(_work, (options,), nprocs=options.processes)
    else:
        _work(0, options)


if __name__ == "__main__":
    main()
