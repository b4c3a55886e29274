"""A picture and its edits, each in the first one's layout; run it as it stands, no network needed."""

from pathlib import Path

import promptweight

pipe = promptweight.load("mini")
swapped = promptweight.edit("um gato vermelho", "um gato azul", pipe, seed=1)
added = promptweight.edit("um gato e uma casa", "um gato preto e uma casa", pipe, kind="refine", seed=1)
print(*swapped.save("out"), *added.save("out"), sep="\n")

# The same word's attention in both pictures, and that of the word that took another's place.
for result, word in ((swapped.source, "vermelho"), (swapped.edited, "azul")):
    result.maps.word(word).overlay(result.images[0], label=word).save(Path("out") / f"edit-{word}.png")
