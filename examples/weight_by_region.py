"""Weights in a region of the image: words removed from one half, or confined to a painted shape.

python examples/weight_by_region.py                  the built-in model
python examples/weight_by_region.py MODEL            a hub id, a folder or a .safetensors file

Weight 0 in a region removes the word from the region's attention; elsewhere the word acts as usual. In the
prompt a region is a name (left, right, top, bottom, center) or a box (left top right bottom, in fractions of
the image); in Python it may be any mask. A word with a region acts in attention; with `weighting="attention"`
all words do.
"""

import torch
from options import arguments
from PIL import Image, ImageDraw

import promptweight
from promptweight.render import contact_sheet, enlarge, overlay

FIRST, SECOND = "gato vermelho", "peixe azul"
PROMPTS = {
    "no region": f"um {FIRST} e um {SECOND}",
    "cat left, fish right": f"um ({FIRST}:0{{region=right}}) e um ({SECOND}:0{{region=left}})",
    "fish left, cat right": f"um ({FIRST}:0{{region=left}}) e um ({SECOND}:0{{region=right}})",
}
CELL = 256


def main() -> None:
    """Generate three images from prompts and one with a painted mask, each with a map of one phrase."""
    options = arguments(__doc__, seed=3).parse_args()
    pipe = promptweight.load(options.model)
    results = {}
    for label, prompt in PROMPTS.items():
        result = promptweight.generate(
            pipe, prompt, seed=options.seed, num_inference_steps=options.steps, weighting="attention"
        )
        results[label] = result.images[0], result.maps
        print(prompt, *result.warnings, sep="\n")

    # A mask is an image (white where the weight acts), an array or a tensor. Here all but a disc is white.
    mask = Image.new("L", (64, 64), "white")
    ImageDraw.Draw(mask).ellipse((2, 2, 38, 38), fill="black")
    with promptweight.attach(pipe, PROMPTS["no region"], weighting="attention") as session:
        session.set_weight(FIRST, 0, region=mask)
        generator = torch.Generator("cpu").manual_seed(options.seed)
        image = pipe(**session.inputs, num_inference_steps=options.steps, generator=generator).images[0]
    results["cat inside a painted disc"] = image, session.maps

    images = [enlarge(image, CELL) for image, _ in results.values()]
    images += [overlay(image, maps.word(FIRST), upscale=CELL) for image, maps in results.values()]
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "weight-by-region.png"
    labels = [*results, *[f"attention of {FIRST}"] * len(results)]
    contact_sheet(images, labels, columns=len(results), cell=CELL, title=PROMPTS["no region"]).save(path)
    print(path)


if __name__ == "__main__":
    main()
