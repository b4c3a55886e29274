"""Stable Diffusion 3.5: weights that T5 follows too, and where each word went, by text encoder.

python examples/sd3.py                a tiny random model: noise, but the whole way is gone
python examples/sd3.py stabilityai/stable-diffusion-3.5-medium

Embeddings of a T5 do not follow weights well, so the weights act in the joint attention instead. A word has
two places there, one written by the CLIP encoders and one by T5; its map is their sum, or of one alone.
"""

from options import arguments
from tiny_models import sd3

import promptweight


def main() -> None:
    """Make a picture with weights in attention, and the maps of its words for each text encoder."""
    parser = arguments(__doc__, model=None, steps=None)
    parser.add_argument("--prompt", default="um (gato:1.5) vermelho persegue um (rato:0.7)")
    parser.add_argument("--words", nargs="*", default=["gato", "rato"])
    options = parser.parse_args()

    pipe = sd3() if options.model is None else promptweight.load(options.model)
    steps = options.steps or (28 if options.model else 4)
    made = promptweight.generate(
        options.prompt,
        pipe,
        space="attention",
        seed=options.seed,
        num_inference_steps=steps,
        require_words=options.words,
    )
    print(*made.save(options.output, overlays=options.words), *made.warnings, sep="\n")
    for phrase in options.words:
        for source in ("clip_l", "t5"):
            heat = made.maps.lift().word(phrase, source=source)  # in multiples of its mean: see HeatMap
            path = options.output / f"{phrase}-{source}.png"
            heat.overlay(made.images[0], label=f"{phrase} ({source})").save(path)
            print(path)


if __name__ == "__main__":
    main()
