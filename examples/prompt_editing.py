"""Prompts that change while a picture is made, and prompts that are joined: what each does to one seed.

python examples/prompt_editing.py                     the built-in model
python examples/prompt_editing.py MODEL               a hub id, a folder or a .safetensors file

    [from:to:when]   another text after a share of the steps, or after so many
    [a|b]            one text and the other in turns
    a AND b          both texts shown to the model at every step, and what it makes of them added up
"""

from options import arguments

import promptweight
from promptweight.render import contact_sheet, enlarge, overlay

PROMPTS = {
    "um [gato:peixe:0.2] vermelho": ("gato", "peixe"),
    "um [gato:peixe:0.7] vermelho": ("gato", "peixe"),
    "um [gato|peixe] vermelho": ("gato", "peixe"),
    "um gato vermelho AND um fundo azul": ("gato vermelho", "fundo azul"),
    "um gato vermelho AND um fundo azul:0.3": ("gato vermelho", "fundo azul"),
}
CELL = 256


def main() -> None:
    """Make a picture for each prompt and puts it on a sheet, with the maps of two of its words."""
    options = arguments(__doc__).parse_args()

    pipe = promptweight.load(options.model)
    pictures, labels = [], []
    for prompt, phrases in PROMPTS.items():
        made = promptweight.generate(prompt, pipe, seed=options.seed, num_inference_steps=options.steps)
        pictures.append(enlarge(made.images[0], CELL))
        labels.append(prompt)
        for phrase in phrases:  # each word's map is the mean over the steps in which it was said
            pictures.append(overlay(made.images[0], made.maps.word(phrase), upscale=CELL))
            labels.append(phrase)
        print(*made.save(options.output), *made.warnings, sep="\n")
    path = options.output / "prompt-editing.png"
    contact_sheet(pictures, labels, columns=3, cell=CELL).save(path)
    print(path)


if __name__ == "__main__":
    main()
