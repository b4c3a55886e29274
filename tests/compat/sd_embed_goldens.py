"""Golden numbers of sd_embed for `test_sd_embed.py`, made with the library itself.

    git clone https://github.com/xhinker/sd_embed
    python tests/compat/sd_embed_goldens.py sd_embed

writes `sd_embed.json`. The library has the ids of CLIP's own vocabulary in its code, reads an attribute that
transformers 5.6 removed, and imports lark for a parser that it does not use; the script replaces these.
Both tokenizers of SDXL and SD3 pad with the end of text here, as the library does for every model.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

FOLDER = Path(__file__).resolve().parent
sys.path += [str(FOLDER.parents[1]), str(FOLDER.parents[1] / "examples")]

LONG = "um (gato:1.5) cor mel um, " * 12
PAIRS = (
    ("um gato", "mel"),
    ("um (gato:1.5) (cor:0.5) ((mel:1.25):0.5)", "(x:0.5) cor"),
    (LONG, "mel"),
    ("mel", LONG),
)


def encode_all(library: Any, models: dict[str, Any]) -> dict[str, Any]:
    """Return the summaries of all cases, encoded with sd_embed or with `promptweight.compat`."""
    from tests.compat.compel_goldens import summarize

    found: dict[str, Any] = {}
    for number, (prompt, negative) in enumerate(PAIRS):
        for pads in (True, False):
            for clip_skip in (0, 1):
                case = f"{number} {pads} {clip_skip}"
                outputs = {
                    "sd15": library.get_weighted_text_embeddings_sd15(
                        models["sd"], prompt, negative, pad_last_block=pads, clip_skip=clip_skip
                    ),
                    "sdxl": library.get_weighted_text_embeddings_sdxl(
                        models["sdxl"], prompt, negative, pad_last_block=pads, clip_skip=clip_skip
                    ),
                    "sd3": library.get_weighted_text_embeddings_sd3(
                        models["sd3"], prompt, negative, pads, use_t5_encoder=False, clip_skip=clip_skip
                    ),
                }
                for name, tensors in outputs.items():
                    for place, tensor in enumerate(tensors):
                        if name == "sd3" and place < 2:  # the CLIP encoders' part; the T5's is zeros
                            assert not tensor[:, -1].any()
                            rows = len(outputs["sdxl"][0][0])
                            tensor = tensor[:, :rows, : models["clip_channels"]]
                        if place >= 2 and len(outputs["sdxl"][0][0]) > 77:
                            continue  # sd_embed has the pooled vector of the last chunk, not of the first
                        found[f"{name} {case} {place}"] = summarize(tensor)
        pooled = library.get_weighted_text_embeddings_flux1(models["flux"], prompt, device=models["device"])[
            1
        ]
        found[f"flux {number} pooled"] = summarize(pooled)
    return found


def make_models() -> dict[str, Any]:
    """Make the tiny pipelines."""
    import tiny_models
    import torch

    pad = {"tokenizer_2": tiny_models.clip_tokenizer()}
    return {
        "sd": tiny_models.sd(side=8),
        "sdxl": tiny_models.sdxl(side=8, **pad),
        "sd3": tiny_models.sd3(side=8, **pad),
        "flux": tiny_models.flux(),
        "clip_channels": tiny_models.CLIP_L + tiny_models.CLIP_G,
        "device": torch.device("cpu"),
    }


def load(folder: Path, bos: int, eos: int) -> ModuleType:
    """Import the library from a folder, with the ids of a tokenizer."""
    sys.modules["lark"] = SimpleNamespace(Lark=lambda *_, **__: None)  # type: ignore[assignment]
    sys.path.insert(0, str(folder / "src"))
    source = (folder / "src/sd_embed/embedding_funcs.py").read_text(encoding="utf-8")
    assert "49406,49407" in source
    library = ModuleType("embedding_funcs")
    exec(source.replace("49406,49407", f"{bos},{eos}"), library.__dict__)
    return library


def main(folder: str) -> None:
    """Write the numbers of the library in a folder."""
    import torch

    from tests.compat.compel_goldens import add_text_model

    models = make_models()
    add_text_model(models["sd"].text_encoder)
    tokenizer = models["sd"].tokenizer
    library = load(Path(folder), tokenizer.bos_token_id, tokenizer.eos_token_id)
    with torch.no_grad():
        numbers = json.dumps(encode_all(library, models), separators=(",", ":"))
    (FOLDER / "sd_embed.json").write_text(numbers.replace('},"', '},\n"') + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
