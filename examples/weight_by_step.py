"""Weights in a range of the denoising steps.

python examples/weight_by_step.py                    the built-in model
python examples/weight_by_step.py MODEL              a hub id, a folder or a .safetensors file

    (rato cinza:0{steps=0-0.4})              weight 0 in the first 40 % of the steps, then 1
    (rato cinza:1{steps=0:0 1:1})            linear from 0 at the first step to 1 at the last
    (rato cinza:1{steps=0:0 0.4:1})          linear from 0 to 1 in the first 40 % of the steps
    (rato cinza:1{steps=0:1.5 0.5:1 1:0})    1.5 at the first step, 1 in the middle, 0 at the last

A word with a range or a curve acts in attention; with `weighting="attention"` all words do.
In your own sampling loop, between two steps: `session.set_weight("rato cinza", 0.5)`.
"""

from options import arguments

import promptweight
from promptweight.render import contact_sheet, enlarge

PROMPT, PHRASE = "um gato vermelho persegue um rato cinza", "rato cinza"
WEIGHTS = {
    "0 until 10 %": "0{steps=0-0.1}",
    "0 until 20 %": "0{steps=0-0.2}",
    "0 until 40 %": "0{steps=0-0.4}",
    "0, rising to 1": "1{steps=0:0 1:1}",
    "0 from 10 % on": "0{steps=0.1-1}",
    "0 from 20 % on": "0{steps=0.2-1}",
    "0 from 40 % on": "0{steps=0.4-1}",
    "1, falling to 0": "1{steps=0:1 1:0}",
}
CELL = 256


def main() -> None:
    """Generate an image for each weight, all from one seed, and draw a contact sheet."""
    options = arguments(__doc__, seed=2).parse_args()
    pipe = promptweight.load(options.model)
    images = []
    for weight in WEIGHTS.values():
        prompt = PROMPT.replace(PHRASE, f"({PHRASE}:{weight})")
        result = promptweight.generate(
            pipe,
            prompt,
            weighting="attention",
            seed=options.seed,
            num_inference_steps=options.steps,
            record=False,
        )
        images.append(enlarge(result.images[0], CELL))
        print(prompt, *result.warnings, sep="\n")
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "weight-by-step.png"
    contact_sheet(
        images, list(WEIGHTS), columns=4, cell=CELL, title=f"{PROMPT}: the weight of {PHRASE}"
    ).save(path)
    print(path)


if __name__ == "__main__":
    main()
