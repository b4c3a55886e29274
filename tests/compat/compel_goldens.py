"""Golden numbers of compel for `test_compel.py`, made with the library itself.

    pip install --no-deps compel==2.5.1
    python tests/compat/compel_goldens.py

writes `compel.json`: for each case the embeddings of the tiny models of `examples/tiny_models.py`, at eight
rows and four channels, and the mean of all.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
sys.path.append(str(FOLDER.parents[1] / "examples"))

LONG = "um gato. " + "cor mel, " * 30 + "(gato)1.3"
PROMPTS = (
    "um gato",
    "um (gato)1.5 cor mel",
    "um (gato)1.5 cor-- mel",
    "(um gato)0.3 mel, cor++",
    '("um gato", "cor mel+").and(1, 0.4)',
    '("um gato", "cor (mel)0.6").blend(0.7, 0.3)',
    "",
    LONG,
)
TYPES = (
    "LAST_HIDDEN_STATES_NORMALIZED",
    "PENULTIMATE_HIDDEN_STATES_NORMALIZED",
    "PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED",
)
SPLITS = ("BRUTAL", "WORDS", "PHRASES", "SENTENCES")


def summarize(embeds: Any) -> dict[str, Any]:
    """Return shape, mean, and some numbers of a tensor, float64 rounded to six digits."""
    values = embeds.double().reshape(-1, embeds.shape[-1])
    rows = sorted({round(step * (len(values) - 1) / 7) for step in range(8)})
    return {
        "shape": list(embeds.shape),
        "mean": round(float(values.mean()), 6),
        "values": [[round(value, 6) for value in values[row, :4].tolist()] for row in rows],
    }


def encode_all(library: Any, sd: Any, sdxl: Any, flux: Any) -> dict[str, Any]:
    """Return the summaries of all cases, encoded with compel or with `promptweight.compat`."""
    types, splits = library.ReturnedEmbeddingsType, library.SplitLongTextMode
    found: dict[str, Any] = {}
    for name in TYPES:
        for truncate in (True, False):
            compel = library.Compel(
                sd.tokenizer,
                sd.text_encoder,
                truncate_long_prompts=truncate,
                returned_embeddings_type=types[name],
            )
            for number, prompt in enumerate(PROMPTS):
                found[f"sd {name} {truncate} {number}"] = summarize(compel(prompt))
    for name in SPLITS:
        compel = library.Compel(
            sd.tokenizer, sd.text_encoder, truncate_long_prompts=False, split_long_text_mode=splits[name]
        )
        found[f"split {name}"] = summarize(compel(LONG))
    compel = library.Compel(
        [sdxl.tokenizer, sdxl.tokenizer_2],
        [sdxl.text_encoder, sdxl.text_encoder_2],
        returned_embeddings_type=types.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED,
        requires_pooled=[False, True],
        truncate_long_prompts=False,
    )
    found["lists"] = summarize(compel(["um (gato)1.4 cor--"])[0])
    found["lists pooled"] = summarize(compel("um gato")[1])
    labelled = {
        "CompelForSD": library.CompelForSD(sd)(["um (gato)1.4", LONG], "mel--"),
        "CompelForSDXL": library.CompelForSDXL(sdxl)(["um gato", "mel"], ["cor", LONG], "mel", "gato"),
        "CompelForFlux": library.CompelForFlux(flux)("um (gato)1.4", "cor", "mel", "x"),
    }
    for name, conditioning in labelled.items():
        for part in ("embeds", "pooled_embeds", "negative_embeds", "negative_pooled_embeds"):
            if (tensor := getattr(conditioning, part)) is not None:
                found[f"{name} {part}"] = summarize(tensor)
    return found


def make_models() -> tuple[Any, Any, Any]:
    """Make the tiny pipelines of Stable Diffusion, SDXL and FLUX."""
    import tiny_models

    return tiny_models.sd(side=8), tiny_models.sdxl(side=8), tiny_models.flux()


def add_text_model(model: Any) -> None:
    """Give a CLIPTextModel of transformers 5.6 or later the attribute that compel reads."""
    if not hasattr(model, "text_model"):
        object.__setattr__(model, "text_model", model)


def main() -> None:
    """Write the numbers of the installed compel."""
    import compel

    sd, sdxl, flux = make_models()
    add_text_model(sd.text_encoder)
    numbers = json.dumps(encode_all(compel, sd, sdxl, flux), indent=None, separators=(",", ":"))
    (FOLDER / "compel.json").write_text(numbers.replace('},"', '},\n"') + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
