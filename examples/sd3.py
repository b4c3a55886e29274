"""Stable Diffusion 3.5: weights in joint attention, and attention maps by text encoder.

python examples/sd3.py                a tiny random model (its images are noise)
python examples/sd3.py stabilityai/stable-diffusion-3.5-medium

Weights on T5 embeddings have little effect, so these act in the joint attention. A word has tokens of the
CLIP encoders and of T5 there; its map is their sum, or that of one encoder.
"""

from options import arguments
from tiny_models import sd3

import promptweight


def main() -> None:
    """Generate an image with weights in attention, and the maps of its words for each text encoder."""
    parser = arguments(__doc__, model=None, steps=None)
    parser.add_argument("--prompt", default="um (gato:1.5) vermelho persegue um (rato:0.7)")
    parser.add_argument("--words", nargs="*", default=["gato", "rato"])
    options = parser.parse_args()

    pipe = sd3() if options.model is None else promptweight.load(options.model)
    steps = options.steps or (28 if options.model else 4)
    result = promptweight.generate(
        pipe,
        options.prompt,
        weighting="attention",
        seed=options.seed,
        num_inference_steps=steps,
        require_words=options.words,
    )
    print(*result.save(options.output, overlays=options.words), *result.warnings, sep="\n")
    for phrase in options.words:
        for source in ("clip_l", "t5"):
            heat = result.maps.lift().word(phrase, source=source)  # multiples of the mean
            path = options.output / f"{phrase}-{source}.png"
            heat.overlay(result.images[0], label=f"{phrase} ({source})").save(path)
            print(path)


if __name__ == "__main__":
    main()
