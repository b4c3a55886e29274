"""A picture and its edits, each in the first one's layout; run it as it stands, no network needed."""

from pathlib import Path

import promptweight

pipe = promptweight.load("mini")
swapped = promptweight.edit("um gato vermelho e uma casa azul", "um gato verde e uma casa azul", pipe, seed=2)
added = promptweight.edit(
    "um gato e uma casa azul", "um gato preto e uma casa azul", pipe, kind="refine", seed=2
)
print(*swapped.save("out"), *added.save("out"), sep="\n")

# The same word's attention in both pictures, and that of the word that took another's place.
for result, word in ((swapped.source, "vermelho"), (swapped.edited, "verde")):
    result.maps.word(word).overlay(result.images[0], label=word).save(Path("out") / f"edit-{word}.png")
