"""The same weights by several methods, on one seed: which changes the picture, and how gently?

python examples/compare_methods.py                   the built-in model
python examples/compare_methods.py MODEL             a hub id, a folder or a .safetensors file
python examples/compare_methods.py --methods a1111 comfy logit --weights 0.5 1 1.5

Each row is a method; `promptweight methods` explains them all. logit, p2p, value and clip act inside
attention, the others on the text embeddings. At weight 1 every row shows the same picture: no method touches
a prompt without weights.
"""

from options import arguments

import promptweight
from promptweight.attention import ATTACH_MODES
from promptweight.render import contact_sheet, enlarge

METHODS = ("a1111", "scale", "comfy", "compel", "perp", "logit", "p2p", "clip")
WEIGHTS = (0, 0.3, 0.4, 0.5, 0.7, 1, 1.4)
CELL = 160


def main() -> None:
    """Make a picture for each method and weight and puts them on a sheet, a row for each method."""
    parser = arguments(__doc__, seed=4)
    parser.add_argument("--prompt", default="um gato vermelho persegue um (rato cinza:WEIGHT)")
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--weights", nargs="+", type=float, default=WEIGHTS)
    options = parser.parse_args()

    pipe = promptweight.load(options.model)
    pictures, labels, warnings = [], [], set()
    for method in options.methods:
        how = {"space": "attention", "mode": method} if method in ATTACH_MODES else {"method": method}
        for weight in options.weights:
            made = promptweight.generate(
                options.prompt.replace("WEIGHT", f"{weight:g}"),
                pipe,
                seed=options.seed,
                num_inference_steps=options.steps,
                record=False,
                **how,
            )
            pictures.append(enlarge(made.images[0], CELL))
            labels.append(f"{method} ×{weight:g}")
            warnings.update(f"{method} ×{weight:g}: {warning}" for warning in made.warnings)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "compare-methods.png"
    contact_sheet(pictures, labels, columns=len(options.weights), cell=CELL, title=options.prompt).save(path)
    print(*sorted(warnings), path, sep="\n")


if __name__ == "__main__":
    main()
