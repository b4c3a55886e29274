"""A picture, and where its words went: run it as it stands, no network needed."""

import promptweight

result = promptweight.generate("um (gato:1.4) vermelho persegue um rato cinza", seed=1)
for word in ("gato vermelho", "rato cinza"):
    result.maps.word(word).overlay(result.images[0], label=word).save(f"{word}.png")
print(*result.save("out", overlays=["gato", "rato"]), sep="\n")
