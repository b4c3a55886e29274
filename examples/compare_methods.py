"""Comparison of weighting methods: the same weights, on one seed.

python examples/compare_methods.py                   the built-in model
python examples/compare_methods.py MODEL             a hub id, a folder or a .safetensors file
python examples/compare_methods.py --methods a1111 comfy logit --weights 0.5 1 1.5

Each row is a method; `promptweight methods` describes all of them. logit, p2p, value and clip act in
attention, the others on the text embeddings. At weight 1 every row shows the same image: a weight of 1
changes nothing.
"""

from options import arguments

import promptweight
from promptweight.render import contact_sheet, enlarge
from promptweight.weighting import ATTACH_MODES

METHODS = ("a1111", "scale", "comfy", "compel", "perp", "logit", "p2p", "clip")
WEIGHTS = (0, 0.3, 0.4, 0.5, 0.7, 1, 1.4)
CELL = 160


def main() -> None:
    """Generate an image for each method and weight, and draw a contact sheet with a row per method."""
    parser = arguments(__doc__, seed=4)
    parser.add_argument("--prompt", default="um gato vermelho persegue um (rato cinza:WEIGHT)")
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--weights", nargs="+", type=float, default=WEIGHTS)
    options = parser.parse_args()

    pipe = promptweight.load(options.model)
    images, labels, warnings = [], [], set()
    for method in options.methods:
        weighting = {"space": "attention", "mode": method} if method in ATTACH_MODES else {"method": method}
        for weight in options.weights:
            result = promptweight.generate(
                options.prompt.replace("WEIGHT", f"{weight:g}"),
                pipe,
                seed=options.seed,
                num_inference_steps=options.steps,
                record=False,
                **weighting,
            )
            images.append(enlarge(result.images[0], CELL))
            labels.append(f"{method} ×{weight:g}")
            warnings.update(f"{method} ×{weight:g}: {warning}" for warning in result.warnings)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "compare-methods.png"
    contact_sheet(images, labels, columns=len(options.weights), cell=CELL, title=options.prompt).save(path)
    print(*sorted(warnings), path, sep="\n")


if __name__ == "__main__":
    main()
