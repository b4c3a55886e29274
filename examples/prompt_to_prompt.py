"""Prompt-to-prompt editing: an image and its edits in the same layout (Hertz et al., 2022).

python examples/prompt_to_prompt.py                  the built-in model
python examples/prompt_to_prompt.py MODEL            a hub id, a folder or a .safetensors file

The edited image uses the attention of the first image for the words that stay, and for those that another
word replaces.
"""

from options import arguments

import promptweight


def main() -> None:
    """Swap a word, add a word, and write the maps of a word and of its replacement."""
    options = arguments(__doc__, seed=2).parse_args()
    pipe = promptweight.load(options.model)
    settings = {"seed": options.seed, "num_inference_steps": options.steps}
    swapped = promptweight.generate(
        pipe, "um gato vermelho e uma casa azul", edit="um gato verde e uma casa azul", **settings
    )
    refined = promptweight.PromptEdit("um gato preto e uma casa azul", kind="refine")
    added = promptweight.generate(pipe, "um gato e uma casa azul", edit=refined, **settings)
    print(*swapped.save(options.output), *added.save(options.output), sep="\n")

    for result, word in ((swapped, "vermelho"), (swapped.edited, "verde")):
        path = options.output / f"edit-{word}.png"
        result.maps.word(word).overlay(result.images[0], label=word).save(path)
        print(path)


if __name__ == "__main__":
    main()
