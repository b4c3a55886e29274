"""FLUX.1: weights in the attention of a model that reads T5, and a prompt that changes on the way.

python examples/flux.py                a tiny random model: noise, but the whole way is gone
python examples/flux.py black-forest-labs/FLUX.1-schnell

There is no negative prompt and no guidance by one, so AND takes the mean of its parts; [from:to:when] is as
everywhere.
"""

from options import arguments
from tiny_models import flux

import promptweight


def main() -> None:
    """Make a picture with weights in attention, and one whose prompt changes half-way."""
    parser = arguments(__doc__, model=None, steps=None)
    parser.add_argument("--prompt", default="um (gato:1.5) vermelho e um rato")
    parser.add_argument("--words", nargs="*", default=["gato", "rato"])
    options = parser.parse_args()

    pipe = flux() if options.model is None else promptweight.load(options.model)
    steps = options.steps or 4
    changing = f"[{options.prompt}:uma casa:0.5]"
    for prompt, words in ((options.prompt, options.words), (changing, [*options.words, "casa"])):
        made = promptweight.generate(
            prompt,
            pipe,
            space="attention",
            seed=options.seed,
            num_inference_steps=steps,
            height=None if options.model else 64,
            width=None if options.model else 64,
            require_words=words,
        )
        print(*made.save(options.output, overlays=words), *made.warnings, sep="\n")


if __name__ == "__main__":
    main()
