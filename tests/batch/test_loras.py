"""LoRAs in job files, with weights by step: against diffusers' own LoRAs, set after each step."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from promptweight.batch import parse_rows, plan_batch
from promptweight.metadata import read_metadata
from promptweight.models import load

STEPS = 4
LINES = (
    "um gato<lora:x:1@0,0@0.5> --seed 7",
    "um rato<lora:x:1> --seed 7",
    "um rato<lora:x:1@0,0@0.5> --seed 7-8",
    "um gato --seed 7",
    "um gato<lora:x:0.3:0@0,1@2> --seed 7",
)
# The weight in the text encoder, and that in the UNet at each of the four steps.
WEIGHTS = {
    "1@0,0@0.5": (1, (1, 1 / 3, 0, 0)),
    "1": (1, (1, 1, 1, 1)),
    "0.3:0@0,1@2": (0.3, (0, 0.5, 1, 1)),
}


@pytest.fixture(scope="module")
def lora_dir(tmp_path_factory, tiny_pipe):
    folder = tmp_path_factory.mktemp("loras")
    generator = torch.Generator().manual_seed(3)
    tensors = {}
    for attribute, endings in (
        ("unet", ("attn2.to_k", "attn1.to_q")),
        ("text_encoder", ("self_attn.q_proj",)),
    ):
        for name, layer in getattr(tiny_pipe, attribute).named_modules():
            if name.endswith(endings):
                rows, columns = layer.weight.shape
                tensors[f"{attribute}.{name}.lora_A.weight"] = torch.randn(2, columns, generator=generator)
                tensors[f"{attribute}.{name}.lora_B.weight"] = torch.randn(rows, 2, generator=generator)
    save_file(tensors, folder / "x.safetensors")
    return folder


@pytest.fixture(scope="module")
def draw(model_folder, lora_dir):
    """Function that draws a prompt with diffusers alone, with the weights of a tag."""
    pipe = load(model_folder, device="cpu")
    pipe.load_lora_weights(str(lora_dir / "x.safetensors"), adapter_name="x")

    @cache
    def draw(prompt, tag, seed):
        text_encoder, weights = WEIGHTS.get(tag, (0, (0,) * STEPS))

        def set_weight(step):
            pipe.set_adapters("x", {"unet": weights[min(step, STEPS - 1)], "text_encoder": text_encoder})

        def on_step_end(_pipe, step, _timestep, tensors):
            set_weight(step + 1)
            return tensors

        set_weight(0)
        image = pipe(
            prompt, num_inference_steps=STEPS, generator=torch.Generator().manual_seed(seed),
            guidance_scale=3.0, output_type="np", callback_on_step_end=on_step_end,
        ).images[0]  # fmt: skip
        return (image * 255).round()

    return draw


def write_lines(path):
    path.with_suffix(".txt").write_text("\n".join(LINES))
    return path.with_suffix(".txt")


def write_json(path):
    jobs = [line.rpartition(" --seed ") for line in LINES]
    rows = [{"prompt": prompt, "seed": int(seed) if seed.isdecimal() else seed} for prompt, _, seed in jobs]
    path.with_suffix(".json").write_text(json.dumps(rows))
    return path.with_suffix(".json")


def write_csv(path):
    rows = [line.rpartition(" --seed ") for line in LINES]
    table = "".join(f'"{prompt}",{seed}\n' for prompt, _, seed in rows)
    path.with_suffix(".csv").write_text(f"prompt,seed\n{table}")
    return path.with_suffix(".csv")


@pytest.mark.parametrize("write_jobs", [write_lines, write_json, write_csv])
def test_job_file_with_loras_by_step_draws_the_images_of_diffusers(
    write_jobs, tmp_path, model_folder, lora_dir, run_in, draw
):
    rows, problems = parse_rows(write_jobs(tmp_path / "jobs"))
    assert problems == []
    settings = {"num_inference_steps": STEPS, "guidance_scale": 3.0}
    rows = [replace(row, values={**row.values, **settings}) for row in rows]
    plan = plan_batch(rows, model=str(model_folder), lora_dir=str(lora_dir))
    outcome, lines = run_in(plan, batch_size=2)
    assert (outcome.ok, outcome.failed) == (6, 0), lines
    images = {}
    for planned in plan.images:
        with Image.open(tmp_path / "out" / f"{planned.stem}.png") as image:
            drawn = np.array(image.convert("RGB")).astype(int)
        prompt, _, tag = planned.job.prompt.partition("<lora:x:")
        images[planned.job.prompt, planned.job.seed] = drawn
        assert abs(drawn - draw(prompt, tag.rstrip(">"), planned.job.seed)).max() <= 1
    constant, falling = (images[f"um rato<lora:x:{tag}>", 7] for tag in ("1", "1@0,0@0.5"))
    assert abs(constant - falling).max() > 1


def test_record_of_the_image_has_the_weights_by_step(tmp_path, model_folder, lora_dir, run_in):
    (tmp_path / "jobs.txt").write_text(LINES[0])
    rows, _ = parse_rows(tmp_path / "jobs.txt")
    plan = plan_batch(rows, model=str(model_folder), lora_dir=str(lora_dir))
    outcome, lines = run_in(plan)
    assert outcome.ok == 1, lines
    metadata = read_metadata(tmp_path / "out" / f"{plan.images[0].stem}.png")
    assert metadata.record["loras"] == {"x": "1@0,0@0.5"}
