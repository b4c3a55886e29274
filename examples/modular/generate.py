"""A modular diffusers pipeline with the blocks of this folder: an image, and the map of a word.

python examples/modular/generate.py                                                  a tiny random model
python examples/modular/generate.py stabilityai/stable-diffusion-xl-base-1.0
"""

import argparse
import sys
from pathlib import Path

import torch
from diffusers import ModularPipelineBlocks

FOLDER = Path(__file__).resolve().parent
sys.path.append(str(FOLDER.parent))


def main() -> None:
    """Generate an image of a weighted prompt."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", help="an SDXL model: a folder or an id of the hub")
    parser.add_argument("--prompt", default="um (gato:1.4) vermelho")
    parser.add_argument("--word", default="gato")
    parser.add_argument("--weighting", default="attention")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("out"))
    options = parser.parse_args()

    # the blocks are in a file of this folder, which diffusers runs
    blocks = ModularPipelineBlocks.from_pretrained(str(FOLDER), trust_remote_code=True)
    if options.model is None:
        import tiny_models

        pipe = blocks.init_pipeline()
        parts = tiny_models.sdxl().components
        needed = {
            name: part for name, part in parts.items() if part is not None and name in pipe.component_names
        }
        pipe.update_components(**needed)
    else:
        pipe = blocks.init_pipeline(options.model)
        pipe.load_components(torch_dtype=torch.float16 if torch.cuda.is_available() else torch.float32)
        pipe.to("cuda" if torch.cuda.is_available() else "cpu")
    state = pipe(
        prompt=options.prompt,
        weighting=options.weighting,
        num_inference_steps=options.steps,
        generator=torch.Generator("cpu").manual_seed(options.seed),
    )

    image = state.get("images")[0]
    session = state.get("attention_session")
    options.output.mkdir(parents=True, exist_ok=True)
    image.save(options.output / "modular.png")
    session.maps.word(options.word).overlay(image, label=options.word).save(
        options.output / f"modular-{options.word}.png"
    )
    print(*session.warnings, sep="\n")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
