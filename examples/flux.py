"""FLUX.1: weights in the attention of a model with a T5 text encoder, and a prompt that changes by step.

python examples/flux.py                a tiny random model (its images are noise)
python examples/flux.py black-forest-labs/FLUX.1-schnell

FLUX.1 has no classifier-free guidance, so AND takes the mean of its parts; [from:to:when] works as in every
other model.
"""

from options import arguments
from tiny_models import flux

import promptweight


def main() -> None:
    """Generate an image with weights in attention, and one from a prompt that changes halfway."""
    parser = arguments(__doc__, model=None, steps=None)
    parser.add_argument("--prompt", default="um (gato:1.5) vermelho e um rato")
    parser.add_argument("--words", nargs="*", default=["gato", "rato"])
    options = parser.parse_args()

    pipe = flux() if options.model is None else promptweight.load(options.model)
    steps = options.steps or 4
    changing = f"[{options.prompt}:uma casa:0.5]"
    for prompt, words in ((options.prompt, options.words), (changing, [*options.words, "casa"])):
        result = promptweight.generate(
            pipe,
            prompt,
            weighting="attention",
            seed=options.seed,
            num_inference_steps=steps,
            height=None if options.model else 64,
            width=None if options.model else 64,
            require_words=words,
        )
        print(*result.save(options.output, overlays=words), *result.warnings, sep="\n")


if __name__ == "__main__":
    main()
