"""Comparison of weightings: the same weights, on one seed.

python examples/compare_weightings.py                the built-in model
python examples/compare_weightings.py MODEL          a hub id, a folder or a .safetensors file
python examples/compare_weightings.py --weightings a1111 "attention layers=up_blocks" --weights 0.5 1 1.5

Each row is a weighting; `promptweight weightings` describes all of them. At weight 1 every row shows the same
image: a weight of 1 changes nothing.
"""

from options import arguments

import promptweight
from promptweight.render import contact_sheet, enlarge

WEIGHTINGS = ("presence", "a1111", "comfy", "compel", "perp", "attention", "attention-p2p", "clip-attention")
WEIGHTS = (0, 0.3, 0.4, 0.5, 0.7, 1, 1.4)
CELL = 160


def main() -> None:
    """Generate an image for each weighting and weight, and draw a contact sheet with a row per weighting."""
    parser = arguments(__doc__, seed=4)
    parser.add_argument("--prompt", default="um gato vermelho persegue um (rato cinza:WEIGHT)")
    parser.add_argument("--weightings", nargs="+", default=WEIGHTINGS)
    parser.add_argument("--weights", nargs="+", type=float, default=WEIGHTS)
    options = parser.parse_args()

    pipe = promptweight.load(options.model)
    images, labels, warnings = [], [], set()
    for weighting in options.weightings:
        for weight in options.weights:
            result = promptweight.generate(
                pipe,
                options.prompt.replace("WEIGHT", f"{weight:g}"),
                weighting=weighting,
                seed=options.seed,
                num_inference_steps=options.steps,
                record=False,
            )
            images.append(enlarge(result.images[0], CELL))
            labels.append(f"{weighting} ×{weight:g}")
            warnings.update(f"{weighting} ×{weight:g}: {warning}" for warning in result.warnings)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "compare-weightings.png"
    contact_sheet(images, labels, columns=len(options.weights), cell=CELL, title=options.prompt).save(path)
    print(*sorted(warnings), path, sep="\n")


if __name__ == "__main__":
    main()
