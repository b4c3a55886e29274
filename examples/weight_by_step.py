"""Weights that act in a part of the steps: when does a model decide that there is a mouse?

python examples/weight_by_step.py                    the built-in model
python examples/weight_by_step.py MODEL              a hub id, a folder or a .safetensors file

    (rato cinza:0{steps=0-0.4})          weight 0 in the first 40 % of the steps, then 1
    (rato cinza:0{to=1})                 from 0 at the first step to 1 at the last, in a straight line
    (rato cinza:0{steps=0-0.4, to=1})    the same line within the first 40 % of the steps

Only attention knows of steps, hence `space="attention"`; `{mode=logit, steps=…}` says it for one word alone.
In a loop of your own, between two steps: `session.set_weight("rato cinza", 0.5)`.
"""

from options import arguments

import promptweight
from promptweight.render import contact_sheet, enlarge

PROMPT, PHRASE = "um gato vermelho persegue um rato cinza", "rato cinza"
WEIGHTS = {
    "0 until 10 %": "0{steps=0-0.1}",
    "0 until 20 %": "0{steps=0-0.2}",
    "0 until 40 %": "0{steps=0-0.4}",
    "0, rising to 1": "0{to=1}",
    "0 from 10 % on": "0{steps=0.1-1}",
    "0 from 20 % on": "0{steps=0.2-1}",
    "0 from 40 % on": "0{steps=0.4-1}",
    "1, falling to 0": "1{to=0}",
}
CELL = 256


def main() -> None:
    """Make a picture for each weight, all from one seed, and puts them on a sheet."""
    options = arguments(__doc__, seed=2).parse_args()
    pipe = promptweight.load(options.model)
    pictures = []
    for weight in WEIGHTS.values():
        prompt = PROMPT.replace(PHRASE, f"({PHRASE}:{weight})")
        made = promptweight.generate(
            prompt,
            pipe,
            space="attention",
            seed=options.seed,
            num_inference_steps=options.steps,
            record=False,
        )
        pictures.append(enlarge(made.images[0], CELL))
        print(prompt, *made.warnings, sep="\n")
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "weight-by-step.png"
    contact_sheet(pictures, list(WEIGHTS), columns=4, cell=CELL, title=f"{PROMPT}: the weight of {PHRASE}").save(path)
    print(path)


if __name__ == "__main__":
    main()
