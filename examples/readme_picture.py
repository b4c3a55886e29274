"""README image: attention maps, weights and edits on one seed.

python examples/readme_picture.py --output examples/pictures/readme.png
"""

from options import arguments

import promptweight
from promptweight.render import contact_sheet, enlarge, overlay

PROMPT = "um gato vermelho persegue um rato cinza"
PHRASES = ("gato vermelho", "persegue", "rato cinza")
WEIGHTED = {"… (rato cinza:0)": "um gato vermelho persegue um (rato cinza:0)"}
EDITED = {
    "edited: gato azul": "um gato azul persegue um rato cinza",
    "edited: estrela amarela": "um gato vermelho persegue uma estrela amarela",
    "edited: peixe laranja": "um peixe laranja persegue um rato cinza",
}
CELL = 256


def main() -> None:
    """Generate five images, and draw them with three overlays on one contact sheet."""
    options = arguments(__doc__, output="examples/pictures/readme.png", seed=2).parse_args()

    pipe = promptweight.load(options.model)
    settings = {"seed": options.seed, "num_inference_steps": options.steps}
    plain = promptweight.generate(pipe, PROMPT, **settings)
    images = [enlarge(plain.images[0], CELL)]
    labels = [PROMPT]
    for phrase in PHRASES:
        images.append(overlay(plain.images[0], plain.maps.word(phrase), upscale=CELL))
        labels.append(phrase)
    for label, prompt in WEIGHTED.items():
        weighted = promptweight.generate(pipe, prompt, **settings, weighting="attention", record=False)
        images.append(enlarge(weighted.images[0], CELL))
        labels.append(label)
    for label, prompt in EDITED.items():
        pair = promptweight.generate(pipe, PROMPT, edit=prompt, **settings)
        images.append(enlarge(pair.edited.images[0], CELL))
        labels.append(label)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(images, labels, columns=4, cell=CELL).save(options.output, optimize=True)
    print(options.output)


if __name__ == "__main__":
    main()
