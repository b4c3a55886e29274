"""Stable Diffusion XL: weights in the embeddings of its two text encoders, and attention maps.

python examples/sdxl.py                a tiny random model (its images are noise)
python examples/sdxl.py stabilityai/stable-diffusion-xl-base-1.0

The embeddings of the two text encoders are concatenated, so a word has one set of tokens in the attention.
Weights scale the embeddings of both; the pooled embedding is that of the text without weights.
"""

from options import arguments
from tiny_models import sdxl

import promptweight


def main() -> None:
    """Generate an image with weights in the embeddings, and write it with its maps."""
    parser = arguments(__doc__, model=None, steps=None)
    parser.add_argument("--prompt", default="um (gato:1.3) vermelho, um [rato], aquarela BREAK fundo azul")
    parser.add_argument("--words", nargs="*", default=["gato", "rato"])
    options = parser.parse_args()

    pipe = sdxl() if options.model is None else promptweight.load(options.model)
    steps = options.steps or (30 if options.model else 4)
    result = promptweight.generate(
        pipe,
        options.prompt,
        negative_prompt="borrado",
        seed=options.seed,
        num_inference_steps=steps,
        require_words=options.words,
    )
    print("weighting:", result.settings["weighting_by_encoder"])
    print(*result.save(options.output, overlays=options.words), *result.warnings, sep="\n")


if __name__ == "__main__":
    main()
