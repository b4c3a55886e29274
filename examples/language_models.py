"""Models that read the prompt with a language model: weights and maps, and an edit of a picture.

python examples/language_models.py     tiny random models (their images are noise)
python examples/language_models.py Tongyi-MAI/Z-Image-Turbo
python examples/language_models.py Qwen/Qwen-Image-Edit-2509 --image picture.png

Their pipelines encode the text themselves, with a template around it. Qwen-Image Edit encodes the text
together with the picture, which `generate` and `attach` therefore take.
"""

from pathlib import Path

from options import arguments
from PIL import Image
from tiny_language_models import flux2_klein, krea2, qwen_image, z_image

import promptweight

TINY = {"qwen-image": qwen_image, "z-image": z_image, "flux2-klein": flux2_klein, "krea-2": krea2}


def main() -> None:
    """Generate an image of each model with a weighted phrase, and write the map of the phrase."""
    parser = arguments(__doc__, model=None, steps=None)
    parser.add_argument("--prompt", default="um (gato vermelho:1.5) em uma casa")
    parser.add_argument("--phrase", default="gato vermelho", help="phrase of the map")
    parser.add_argument("--image", type=Path, help="picture to edit, for models that edit one")
    options = parser.parse_args()

    pictures = {} if options.image is None else {"image": Image.open(options.image).convert("RGB")}
    names = TINY if options.model is None else [options.model]
    for name in names:
        pipe = promptweight.load(name) if options.model else TINY[name]()
        result = promptweight.generate(
            pipe,
            options.prompt,
            seed=options.seed,
            num_inference_steps=options.steps or 8,
            height=None if options.model else 64,
            width=None if options.model else 64,
            require_words=[options.phrase],
            **pictures,
        )
        files = result.save(options.output, overlays=[options.phrase])
        print(f"{name}:", *files, *result.warnings, sep="\n")


if __name__ == "__main__":
    main()
