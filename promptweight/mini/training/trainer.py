"""Training loop of all stages: data-parallel, deterministic by seed, resumable at any checkpoint.

Every batch depends only on (seed, stage, step, rank), so a resumed run trains on exactly the same batches as
an uninterrupted one. The learning rate warms up, stays constant, and falls to zero over the last part. The
state just before it falls is saved as `<stage>-stable.pt`, from which a longer run can continue.
"""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from promptweight.mini.training.muon import Muon

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Schedule:
    """Hyperparameters of a stage: steps, batch size per process, peak learning rate, EMA decay."""

    steps: int
    batch_size: int
    learning_rate: float
    warmup: int = 200
    cooldown: float = 0.3
    ema: float = 0.999
    checkpoint_every: int = 250
    sheet_every: int = 1000
    muon: bool = False

    def rate(self, step: int) -> float:
        """Return the learning rate at a step."""
        falling = max(1, int(self.steps * self.cooldown))
        return self.learning_rate * min(
            1.0, (step + 1) / self.warmup, max(0.0, (self.steps - step) / falling)
        )

    @property
    def last_stable(self) -> int:
        """Step at which the learning rate begins to fall."""
        return self.steps - max(1, int(self.steps * self.cooldown))


@dataclass(frozen=True)
class Stage:
    """One stage of training: a module whose forward returns the loss, its batches and its sample sheet."""

    name: str
    module: nn.Module
    draw_batch: Callable[[Random, int], Batch]
    draw_sheet: Callable[[nn.Module, Path], None]


def _average_gradients(parameters: Iterable[nn.Parameter], processes: int) -> None:
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    flat /= processes
    offset = 0
    for gradient in gradients:
        gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
        offset += gradient.numel()


def _optimizers(module: nn.Module, schedule: Schedule) -> list[torch.optim.Optimizer]:
    """Return AdamW for all parameters, or Muon for the hidden matrices and AdamW for the rest."""
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    hidden = [
        p
        for name, p in named
        if schedule.muon
        and p.ndim > 1
        and "embedding" not in name
        and "conv_in" not in name
        and "conv_out" not in name
        and "pos_embed" not in name
        and "proj_out" not in name
    ]
    kept = {id(p) for p in hidden}
    rest = [p for _, p in named if id(p) not in kept]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, schedule.learning_rate, betas=(0.9, 0.99), weight_decay=0.01)
    ]
    if hidden:
        optimizers.append(Muon(hidden, schedule.learning_rate))
    return optimizers


def _save(path: Path, state: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def _is_bfloat16_fast(device: torch.device) -> bool:
    """Return whether bfloat16 is faster than float32; without support by the CPU it is many times slower."""
    if device.type != "cpu":
        return True
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def run(stage: Stage, schedule: Schedule, folder: Path, seed: int, device: torch.device) -> nn.Module:
    """Train a stage, from its checkpoint in `folder` if there is one, and return the EMA module.

    If `torch.distributed` is initialized, every process trains on its own batch and the gradients are
    averaged.
    """
    rank, processes = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    module = stage.module.to(device).train()
    average = copy.deepcopy(module).eval().requires_grad_(False)
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizers = _optimizers(module, schedule)
    checkpoint = folder / f"{stage.name}.pt"
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        module.load_state_dict(state["module"])
        average.load_state_dict(state["average"])
        for optimizer, kept in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        first = state["step"]

    def state_at(step: int) -> dict[str, Any]:
        return {
            "step": step,
            "module": module.state_dict(),
            "average": average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        }

    running, started = 0.0, time.monotonic()
    for step in range(first, schedule.steps):
        batch = stage.draw_batch(Random(f"{seed}/{stage.name}/{step}/{rank}"), schedule.batch_size)
        batch = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
        torch.manual_seed(hash((seed, step, rank)) & 0x7FFFFFFF)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(step)
        with torch.autocast(device.type, torch.bfloat16, enabled=_is_bfloat16_fast(device)):
            loss = module(batch)
        module.zero_grad(set_to_none=True)
        loss.backward()
        if processes > 1:
            _average_gradients(parameters, processes)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in optimizers:
            optimizer.step()
        with torch.no_grad():
            decay = min(schedule.ema, (step + 1) / (step + 10))
            torch._foreach_lerp_(list(average.parameters()), list(module.parameters()), 1 - decay)
        running += (loss.item() - running) / min(100, step - first + 1)
        if rank == 0:
            done = step + 1
            if done % 50 == 0:
                seconds = (time.monotonic() - started) / (done - first)
                line = {"stage": stage.name, "step": done, "of": schedule.steps, "loss": round(running, 5)}
                line |= {"seconds_per_step": round(seconds, 3), "rate": round(schedule.rate(step), 6)}
                print(json.dumps(line), flush=True)
            if done % schedule.checkpoint_every == 0 or done == schedule.steps:
                _save(checkpoint, state_at(done))
            if done == schedule.last_stable:
                _save(folder / f"{stage.name}-stable.pt", state_at(done))
            if done % schedule.sheet_every == 0 or done == schedule.steps:
                stage.draw_sheet(average, folder / f"{stage.name}-{done:06d}.png")
    return average
