"""Training loop: equality of resumed and uninterrupted runs, averaged gradients, and the command."""

import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
import torch.distributed as dist
from diffusers import SD3Transformer2DModel
from torch import nn

from promptweight.conditioning import advice_in
from promptweight.mini import worlds
from promptweight.mini.training import autoencoder, data, mmdit, train
from promptweight.mini.training.rollouts import Walks
from promptweight.mini.training.text_encoder import PromptRows
from promptweight.mini.training.trainer import Batch, Schedule, Stage, run
from promptweight.mini.training.unet import LastRows, text_encoder, train_tokenizer
from promptweight.models.loading import load

SCHEDULE = Schedule(steps=8, batch_size=4, learning_rate=0.05, warmup=2, checkpoint_every=3, sheet_every=100)


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 1)

    def forward(self, batch: Batch) -> torch.Tensor:
        return (self.inner(batch["x"]).float() - batch["y"]).square().mean()


def draw_batch(rng: Random, size: int) -> Batch:
    x = torch.tensor([[rng.random() for _ in range(3)] for _ in range(size)])
    return {"x": x, "y": x.sum(1, keepdim=True)}


def make_stage() -> Stage:
    torch.manual_seed(0)
    return Stage("line", Line(), draw_batch, lambda module, path: path.write_text("sheet"))


@pytest.mark.parametrize("muon", [False, True])
def test_a_resumed_run_equals_an_unbroken_one(tmp_path: Path, muon: bool) -> None:
    schedule = replace(SCHEDULE, muon=muon)
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = run(make_stage(), schedule, tmp_path / "whole", 7, torch.device("cpu")).state_dict()

    broken = make_stage()
    seen = 0

    def stop_at_the_sixth(rng: Random, size: int) -> Batch:
        nonlocal seen
        seen += 1
        if seen == 6:
            raise KeyboardInterrupt
        return draw_batch(rng, size)

    with pytest.raises(KeyboardInterrupt):
        run(
            replace(broken, draw_batch=stop_at_the_sixth),
            schedule,
            tmp_path / "parts",
            7,
            torch.device("cpu"),
        )
    resumed = run(make_stage(), schedule, tmp_path / "parts", 7, torch.device("cpu")).state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert (tmp_path / "whole" / "line-stable.pt").exists()


def _train_in_process(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.set_num_threads(1)
    module = run(make_stage(), replace(SCHEDULE, steps=1, warmup=1), folder, 7, torch.device("cpu"))
    torch.save(module.state_dict(), folder / f"rank{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.launch
def test_two_processes_step_along_the_mean_of_their_gradients(tmp_path: Path) -> None:
    # run as a script: a spawned process cannot import a test module by name
    workers = [subprocess.Popen([sys.executable, __file__, str(rank), str(tmp_path)]) for rank in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2))
    module = make_stage().module
    for rank in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            loss = module(draw_batch(Random(f"7/line/0/{rank}"), 4)) / 2
        loss.backward()
    expected = {
        # AdamW's first step moves every weight by the learning rate against the sign of its gradient
        name: torch.sign(p.grad)
        for name, p in module.named_parameters()
    }
    start = make_stage().module.state_dict()
    for name, sign in expected.items():
        assert torch.equal(first[name], second[name])
        assert torch.equal(torch.sign(start[name] - first[name]), sign)


def test_the_padding_of_a_prompt_is_fed_as_the_empty_prompts() -> None:
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["um gato vermelho", "a red cat"])
    encoder = text_encoder(tokenizer)
    said_rows = PromptRows(LastRows(encoder), tokenizer)
    ids = tokenizer(["um gato vermelho", ""], padding="max_length", return_tensors="pt").input_ids
    dropped = 0
    with torch.no_grad():
        empty = encoder(said_rows.empty).last_hidden_state
        said = encoder(ids).last_hidden_state
        for seed in range(20):
            torch.manual_seed(seed)
            rows, _, loudness, is_said = said_rows(ids)
            words = 1 + len(tokenizer.tokenize("um gato vermelho"))
            assert torch.allclose(rows[0, words:], empty[0, words:], atol=1e-5)
            assert torch.allclose(rows[1], empty[0], atol=1e-5)
            kept = [torch.allclose(rows[0, i], said[0, i], atol=1e-5) for i in range(words)]
            silent = [torch.allclose(rows[0, i], empty[0, i], atol=1e-5) for i in range(words)]
            assert all(one or other for one, other in zip(kept, silent, strict=True))
            assert kept[0]
            assert kept == is_said[0, :words].tolist()
            assert not is_said[0, words:].any()
            assert loudness > 0
            dropped += kept.count(False)
    assert 0 < dropped < 20 * words / 2


def test_unsaid_words_are_the_empty_prompts() -> None:
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["um gato vermelho", "a red cat"])
    said_rows = PromptRows(LastRows(text_encoder(tokenizer)), tokenizer)
    ids = tokenizer(["um gato vermelho"] * 2, padding="max_length", return_tensors="pt").input_ids
    unsaid = torch.zeros_like(ids, dtype=torch.bool)
    unsaid[0, 2] = True
    said = 0
    with torch.no_grad():
        empty, _ = said_rows.text(said_rows.empty)
        for seed in range(5):
            torch.manual_seed(seed)
            told = said_rows(ids, unsaid)
            assert torch.equal(told.rows[0, 2], empty[0, 2])
            assert not told.is_said[0, 2]
            said += bool(told.is_said[1, 2])
    assert said >= 3


def test_one_counted_row_of_zeros_stands_for_all_that_the_pipeline_gives() -> None:
    torch.manual_seed(0)
    transformer = mmdit.denoiser()
    for parameter in transformer.parameters():  # untrained blocks are the identity
        torch.nn.init.normal_(parameter, std=0.05)
    latents, pooled = torch.randn(2, 8, 16, 16), torch.randn(2, 64)
    rows, timesteps = torch.randn(2, 32, 128), torch.tensor([300.0, 900.0])

    def told(absent: int) -> torch.Tensor:
        zeros = torch.zeros(2, absent, 128)
        with torch.no_grad():
            return transformer(latents, torch.cat([rows, zeros], dim=1), pooled, timesteps).sample

    wanted = told(mmdit.ABSENT_T5_ROWS)
    uncounted = told(1)
    transformer.set_attn_processor(mmdit.CountedJointAttention())
    torch.testing.assert_close(told(1), wanted, atol=1e-5, rtol=1e-4)
    assert (uncounted - wanted).abs().max() > 0.01


def test_split_patches_tell_the_mean_of_what_their_patch_told() -> None:
    torch.manual_seed(0)
    coarse = mmdit.denoiser()
    for parameter in coarse.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    fine = mmdit.split_patches(coarse)
    assert (fine.config.patch_size, coarse.config.patch_size) == (1, 2)
    patches = torch.randn(2, 8, 8, 8)
    latents = patches.repeat_interleave(2, -1).repeat_interleave(2, -2)
    rows, pooled, timesteps = torch.randn(2, 5, 128), torch.randn(2, 64), torch.tensor([300.0, 900.0])
    for transformer in (fine, coarse):  # no positions; four of each text token, as of each patch
        transformer.pos_embed.pos_embed.zero_()
    with torch.no_grad():
        wanted = torch.nn.functional.avg_pool2d(coarse(latents, rows, pooled, timesteps).sample, 2)
        told = fine(latents, rows.repeat(1, 4, 1), pooled, timesteps).sample
    assert wanted.std() > 0.01
    spread = wanted.repeat_interleave(2, -1).repeat_interleave(2, -2)
    torch.testing.assert_close(told, spread, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("size", [16, 24, 32])
def test_split_patches_stand_around_the_middle_of_their_patch(size: int) -> None:
    coarse = mmdit.denoiser()

    def turns(transformer: SD3Transformer2DModel) -> torch.Tensor:
        """Return sines and cosines of a position as unit vectors (down, across, frequency of the axis)."""
        side = size // transformer.config.patch_size
        kept = transformer.pos_embed.cropped_pos_embed(size, size)[0].view(side, side, 2, 2, 32)
        return torch.complex(kept[..., 1, :], kept[..., 0, :])

    fine = turns(mmdit.split_patches(coarse)).view(size // 2, 2, size // 2, 2, 2, 32)
    middle = fine.sum((1, 3))
    torch.testing.assert_close(middle / middle.abs(), turns(coarse), atol=1e-5, rtol=0)
    assert (fine[:, 0] - fine[:, 1]).abs().amax() > 0.1


@pytest.mark.slow
def test_the_command_trains_from_nothing_and_goes_on_from_a_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def command(*options: object) -> None:
        fixed = ("--text-steps", 1, "--denoiser-steps", 1, "--scenes", 8, "--processes", 1)
        monkeypatch.setattr(sys, "argv", ["train", *map(str, (*fixed, *options))])
        train.main()

    small = replace(worlds.FIRST, size=64)  # the whole world has 128 pixels, which enlarges the autoencoder
    monkeypatch.setitem(worlds.WORLDS, "first", small)
    monkeypatch.setattr(train, "CAPTIONS", 300)
    monkeypatch.setattr(train, "AUTOENCODER", replace(train.AUTOENCODER, batch_size=2))
    monkeypatch.setattr(train, "DENOISER", replace(train.DENOISER, batch_size=2))
    monkeypatch.setattr(train, "TEXT", replace(train.TEXT, batch_size=2))
    monkeypatch.setattr(data, "SHEET_PROMPTS", ("um gato vermelho",))
    monkeypatch.setattr(data, "WORLD_PROMPTS", ("um gato vermelho",))
    monkeypatch.setattr(autoencoder, "standardize", partial(autoencoder.standardize, scenes=8))
    threads = torch.get_num_threads()
    command("--out", tmp_path / "first", "--autoencoder-steps", 2, "--world", "first")
    command("--out", tmp_path / "second", "--init", tmp_path / "first" / "pipeline")
    command("--out", tmp_path / "first", "--export", "--world", "first")
    torch.set_num_threads(threads)

    first, second = (load(tmp_path / name / "pipeline") for name in ("first", "second"))
    assert first("a red cat", num_inference_steps=1).images[0].size == (64, 64)
    same = [torch.equal(a, b) for a, b in zip(first.vae.parameters(), second.vae.parameters(), strict=True)]
    changed = [
        not torch.equal(a, b) for a, b in zip(first.unet.parameters(), second.unet.parameters(), strict=True)
    ]
    assert all(same)
    assert any(changed)
    assert worlds.read(tmp_path / "second" / "pipeline") == small
    grown = ("--init", tmp_path / "first" / "pipeline", "--world", "whole", "--autoencoder-steps", 1)
    command("--out", tmp_path / "grown", *grown)
    command("--out", tmp_path / "grown", *grown, "--export")
    torch.set_num_threads(threads)
    assert worlds.read(tmp_path / "grown" / "pipeline") == worlds.WHOLE
    larger = load(tmp_path / "grown" / "pipeline")
    assert larger("a red cat", num_inference_steps=1).images[0].size == (128, 128)
    sharper = ("--init", tmp_path / "grown" / "pipeline", "--autoencoder-steps", 1, "--freeze-encoder")
    command("--out", tmp_path / "sharper", *sharper)
    torch.set_num_threads(threads)
    before, after = larger.vae.state_dict(), load(tmp_path / "sharper" / "pipeline").vae.state_dict()
    parts = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert parts == {"decoder", "post_quant_conv"}
    assert (tmp_path / "first" / "text-000001.png").exists()
    assert (tmp_path / "first" / "denoiser-000001.png").exists()

    command(
        "--model", "mini-dit", "--autoencoder", tmp_path / "first" / "pipeline", "--out", tmp_path / "dit"
    )
    torch.set_num_threads(threads)
    joint = load(tmp_path / "dit" / "pipeline")
    assert joint("a red cat", num_inference_steps=1).images[0].size == (64, 64)

    grounded = (
        "--model",
        "mini-dit",
        "--init",
        tmp_path / "dit" / "pipeline",
        "--out",
        tmp_path / "grounded",
    )
    command(*grounded, "--single-share", 1, "--unsaid-share", 0.9, "--grounding", 0.1)
    torch.set_num_threads(threads)
    assert advice_in(tmp_path / "grounded" / "pipeline").attention_layers == tuple(
        f"transformer_blocks.{block}." for block in mmdit.MAP_BLOCKS
    )
    configs = [path.read_text() for path in (tmp_path / "grounded" / "pipeline").rglob("*.json")]
    assert not [text for text in configs if str(tmp_path) in text]
    for option in ("--grounding", "--walking-share"):
        with pytest.raises(SystemExit):
            command("--out", tmp_path / "none", option, 0.1)

    monkeypatch.setattr(data, "KINDS", ("cat",))
    monkeypatch.setattr(data, "COLORS", ("red",))
    going_on = ("--model", "mini-dit", "--init", tmp_path / "dit" / "pipeline", "--out", tmp_path / "on")
    kept = ("--text-steps", 0, "--freeze-text")
    walking = []
    join = Walks.join

    def joined(walks: Walks, *states: Any) -> Any:
        batch, *rest = join(walks, *states)
        walking.append(int(batch["walking"].sum()))
        return batch, *rest

    monkeypatch.setattr(Walks, "join", joined)
    walk = ("--single-share", 1, "--walking-share", 0.5, "--denoiser-steps", 6)
    command(*going_on, *kept, "--placed-pairs", 2, *walk)
    torch.set_num_threads(threads)
    assert max(walking) > 0
    longer = load(tmp_path / "on" / "pipeline")
    assert longer("a red cat", num_inference_steps=1).images[0].size == (64, 64)
    before, after = joint.transformer.state_dict(), longer.transformer.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    for part in ("text_encoder", "text_encoder_2"):
        pairs = zip(getattr(joint, part).parameters(), getattr(longer, part).parameters(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
    assert (tmp_path / "on" / "placements-0-0-2.pt").exists()

    command(*going_on[:-1], tmp_path / "split", *kept, "--split-patches")
    torch.set_num_threads(threads)
    split = load(tmp_path / "split" / "pipeline")
    assert (joint.transformer.config.patch_size, split.transformer.config.patch_size) == (2, 1)
    assert split("a red cat", num_inference_steps=1).images[0].size == (64, 64)
    with pytest.raises(SystemExit):
        command("--out", tmp_path / "none", "--split-patches")
    assert not (tmp_path / "none").exists()


if __name__ == "__main__":
    _train_in_process(int(sys.argv[1]), Path(sys.argv[2]))
