"""Prompts that change by step, and prompts joined by AND, on one seed.

python examples/prompt_editing.py                     the built-in model
python examples/prompt_editing.py MODEL               a hub id, a folder or a .safetensors file

    [from:to:when]   another text after a fraction of the steps, or after a number of steps
    [a|b]            two texts in alternation
    a AND b          a prediction for each text at every step, combined into one
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
    """Generate an image for each prompt, and draw a contact sheet with the maps of two of its words."""
    options = arguments(__doc__).parse_args()

    pipe = promptweight.load(options.model)
    images, labels = [], []
    for prompt, phrases in PROMPTS.items():
        result = promptweight.generate(pipe, prompt, seed=options.seed, num_inference_steps=options.steps)
        images.append(enlarge(result.images[0], CELL))
        labels.append(prompt)
        for phrase in phrases:  # a word's map is the mean over the steps whose prompt contains it
            images.append(overlay(result.images[0], result.maps.word(phrase), upscale=CELL))
            labels.append(phrase)
        print(*result.save(options.output), *result.warnings, sep="\n")
    path = options.output / "prompt-editing.png"
    contact_sheet(images, labels, columns=3, cell=CELL).save(path)
    print(path)


if __name__ == "__main__":
    main()
