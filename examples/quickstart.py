"""An image with attention maps of its words: `python examples/quickstart.py [MODEL]`."""

import sys

import promptweight

model = sys.argv[1] if len(sys.argv) > 1 else "mini"  # a hub id, a folder or a .safetensors file
result = promptweight.generate(model, "um (gato:1.4) vermelho persegue um rato cinza", seed=3)
for word in ("gato vermelho", "rato cinza"):
    result.maps.word(word).overlay(result.images[0], label=word).save(f"{word}.png")
print(*result.save("out", overlays=["gato", "rato"]), sep="\n")
