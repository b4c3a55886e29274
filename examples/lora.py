"""LoRAs in the prompt, `<lora:name:weight>`, at several weights.

python examples/lora.py                              trains a small LoRA for the built-in model, then uses it
python examples/lora.py MODEL --lora PATH/aquarela.safetensors --prompt "um gato, aquarela"

A tag loads the file of that name for one image and unloads it afterward; its folder is `lora_dir`
(`--lora-dir` on the command line). Needs peft: `pip install "promptweight[lora]"`.
"""

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import torch
from options import arguments
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

import promptweight
from promptweight.mini import COLORS, KINDS, Scene, Thing, phrase, render
from promptweight.render import contact_sheet, enlarge

WEIGHTS = (0, 0.25, 0.5, 0.75, 1)
CELL = 192


def main() -> None:
    """Generate an image for each weight of the LoRA, and draw a contact sheet."""
    parser = arguments(__doc__)
    parser.add_argument("--lora", type=Path, help="a .safetensors file for the given model")
    parser.add_argument("--prompt", default="um peixe verde")
    parser.add_argument("--training-steps", type=int, default=60)
    options = parser.parse_args()

    pipe = promptweight.load(options.model)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.lora or train(pipe, options.output / "roxo.safetensors", options.training_steps)
    images = []
    for weight in WEIGHTS:
        result = promptweight.generate(
            pipe,
            f"{options.prompt} <lora:{path.stem}:{weight}>",
            lora_dir=path.parent,
            seed=options.seed,
            num_inference_steps=options.steps,
            record=False,
        )
        images.append(enlarge(result.images[0], CELL))
        print(result.settings["loras"], *result.warnings, sep="\n")
    labels = [f"<lora:{path.stem}:{weight}>" for weight in WEIGHTS]
    path = options.output / "lora.png"
    contact_sheet(images, labels, columns=len(WEIGHTS), cell=CELL, title=options.prompt).save(path)
    print(path)


def train(pipe: Any, path: Path, steps: int) -> Path:
    """Train a LoRA that makes every object purple, write its file, and return the path.

    Factors of rank 4 beside the attention matrices are trained, as usual with diffusers and peft; the model
    itself does not change.
    """
    unet, scheduler = pipe.unet, pipe.scheduler
    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    factors = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(factors, lr=2e-3)
    random, generator = Random(0), torch.Generator().manual_seed(0)
    for step in range(steps):
        things = [
            Thing(random.choice(KINDS), random.choice([*COLORS]), *random.choices((8, 16), k=2), 40)
            for _ in range(8)
        ]
        captions = [str(phrase(thing, "pt")) for thing in things]
        things = [replace(thing, color="purple") for thing in things]
        targets = torch.stack([torch.from_numpy(render(Scene((thing,)), 128)[0]) for thing in things])
        with torch.no_grad():
            encoded = pipe.vae.encode(targets.permute(0, 3, 1, 2) / 127.5 - 1).latent_dist.mode()
            latents = encoded * pipe.vae.config.scaling_factor
            texts = pipe.encode_prompt(captions, "cpu", 1, False)[0]
        noise = torch.randn(latents.shape, generator=generator)
        timesteps = torch.randint(
            400, 1000, (len(things),), generator=generator
        )  # the timesteps that decide colors
        prediction = unet(scheduler.add_noise(latents, noise, timesteps), timesteps, texts).sample
        loss = (prediction - scheduler.get_velocity(latents, noise, timesteps)).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 20 == 0 or step == steps - 1:
            print(f"training, step {step + 1} of {steps}")
    pipe.save_lora_weights(path.parent, get_peft_model_state_dict(unet), weight_name=path.name)
    pipe.unload_lora_weights()  # the prompt loads it from the file
    return path


if __name__ == "__main__":
    main()
