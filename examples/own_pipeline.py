"""Your own diffusers pipeline: weights in its attention, and attention maps.

python examples/own_pipeline.py                                        the built-in model
python examples/own_pipeline.py stable-diffusion-v1-5/stable-diffusion-v1-5
"""

import torch
from diffusers import DiffusionPipeline
from options import arguments

import promptweight


def main() -> None:
    """Generate one image with the pipeline's own call, and a map for each of three phrases."""
    parser = arguments(__doc__, model=None)
    parser.add_argument("--prompt", default="um (gato:1.4) vermelho persegue um rato cinza")
    parser.add_argument("--words", nargs="*", default=["gato vermelho", "persegue", "rato cinza"])
    options = parser.parse_args()

    if options.model is None:
        pipe = promptweight.load("mini")
    else:
        pipe = DiffusionPipeline.from_pretrained(options.model).to(
            "cuda" if torch.cuda.is_available() else "cpu"
        )
    with promptweight.attach(pipe, options.prompt, "borrado", weighting="attention") as session:
        generator = torch.Generator("cpu").manual_seed(options.seed)
        inputs = session.inputs  # the text embeddings
        image = pipe(**inputs, num_inference_steps=options.steps, generator=generator).images[0]

    options.output.mkdir(parents=True, exist_ok=True)
    image.save(options.output / "own.png")
    for phrase in options.words:
        heat = session.maps.word(phrase)
        heat.overlay(image, label=phrase).save(options.output / f"own-{phrase.replace(' ', '-')}.png")
        print(f"{phrase}: mean probability {heat.mass:.4f}")
    print(*session.warnings, sep="\n")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
