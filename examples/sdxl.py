"""Stable Diffusion XL: weights in its two text encoders, and where each word went.

python examples/sdxl.py                a tiny random model: noise, but the whole way is gone
python examples/sdxl.py stabilityai/stable-diffusion-xl-base-1.0

The two text encoders lie side by side, so that a word has one place in the attention. Weights scale the
embeddings of both; the pooled vector stays that of the clean text.
"""

from options import arguments
from tiny_models import sdxl

import promptweight


def main() -> None:
    """Make a picture with weights in the embeddings, writes it, its maps and what was used."""
    parser = arguments(__doc__, model=None, steps=None)
    parser.add_argument("--prompt", default="um (gato:1.3) vermelho, um [rato], aquarela BREAK fundo azul")
    parser.add_argument("--words", nargs="*", default=["gato", "rato"])
    options = parser.parse_args()

    pipe = sdxl() if options.model is None else promptweight.load(options.model)
    steps = options.steps or (30 if options.model else 4)
    made = promptweight.generate(
        options.prompt,
        pipe,
        negative_prompt="borrado",
        seed=options.seed,
        num_inference_steps=steps,
        require_words=options.words,
    )
    print("methods:", made.settings["methods"])
    print(*made.save(options.output, overlays=options.words), *made.warnings, sep="\n")


if __name__ == "__main__":
    main()
