"""Comparison of the metadata readers with sd-parsers on one image of each kind.

    python -m tests.metadata.sd_parsers_comparison [FOLDER]

prints a table with the fields that each of the two has right. Images of a folder with a `meta.json`, as in
`test_shared_cases.py`, are compared too.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from promptweight.errors import PromptweightError
from promptweight.metadata import read_metadata
from promptweight.prompt import parse
from tests.metadata.graphs import graph, node
from tests.metadata.test_alpha_channel import hide
from tests.metadata.test_draw_things import packet

SETTINGS = "Steps: 20, Sampler: Euler a, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 64x64"
RIGHT = {"prompt": "a red fox", "negative": "blurry", "seed": 1, "steps": 20, "guidance": 7.0}
INFOTEXT = f"a red fox\nNegative prompt: blurry\n{SETTINGS}"
GRAPH = graph("a red fox", sampler={"seed": 1, "cfg": 7.0})
NOVELAI = {
    "prompt": "a red fox", "uc": "blurry", "seed": 1, "steps": 20, "scale": 7.0, "sampler": "k_euler",
    "noise_schedule": "karras", "width": 16, "height": 16,
}  # fmt: skip
INVOKEAI = {
    "app_version": "5.6.0", "positive_prompt": "a red fox", "negative_prompt": "blurry", "seed": 1,
    "steps": 20, "cfg_scale": 7.0, "scheduler": "euler", "width": 64, "height": 64, "model": {"name": "m"},
}  # fmt: skip
OLD_INVOKEAI = {
    "model": "stable diffusion", "app_id": "invoke-ai/InvokeAI", "app_version": "2.3.0",
    "image": {
        "prompt": [{"prompt": "a red fox [blurry]", "weight": 1.0}], "steps": 20, "cfg_scale": 7.0, "seed": 1,
        "sampler": "k_euler", "width": 64, "height": 64, "type": "txt2img",
    },
}  # fmt: skip
FOOOCUS = {
    "prompt": "a red fox", "negative_prompt": "blurry", "full_prompt": ["a red fox, sharp"],
    "full_negative_prompt": ["blurry"], "steps": 20, "guidance_scale": 7.0, "seed": "1", "sampler": "euler",
    "scheduler": "karras", "resolution": "(64, 64)", "styles": "[]", "version": "Fooocus v2.5.0",
    "metadata_scheme": "fooocus", "performance": "Speed", "base_model": "m",
    "base_model_hash": "0", "loras": [],
}  # fmt: skip
DRAW_THINGS = {
    "c": "a red fox", "uc": "blurry", "seed": 1, "steps": 20, "scale": 7.0, "sampler": "Euler a",
    "size": "64x64", "model": "m", "lora": [], "v2": {},
}  # fmt: skip
CONCATENATED = graph(["10", 0], sampler={"seed": 1, "cfg": 7.0}, **{
    "10": node("StringConcatenate", string_a="a red", string_b="fox", delimiter=" "),
})  # fmt: skip


def workflow_of(nodes: Mapping[str, Any]) -> str:
    """Return a workflow without its nodes, with the links of an API graph."""
    kinds = {"model": "MODEL", "clip": "CLIP", "vae": "VAE", "samples": "LATENT", "latent_image": "LATENT"}
    links = [
        [0, int(value[0]), value[1], int(name), 0, kinds.get(key, "CONDITIONING")]
        for name, each in nodes.items()
        for key, value in each["inputs"].items()
        if isinstance(value, list)
    ]
    return json.dumps({"nodes": [], "links": links})


TEXTS: Mapping[str, Mapping[str, str]] = {
    "A1111": {"parameters": INFOTEXT},
    "A1111, no settings": {"parameters": "(a red fox:1.1)"},
    "A1111, tags that look like settings": {
        "parameters": f"a red fox\nNegative prompt: (bad:1.2), (worst:1.4), (low:1.4)\n{SETTINGS}"
    },
    "A1111, template after the settings": {"parameters": f"{INFOTEXT}\nTemplate: a __color__ fox"},
    "Forge, distilled guidance": {
        "parameters": INFOTEXT.replace("CFG scale: 7", "CFG scale: 1, Distilled CFG Scale: 7")
    },
    "ComfyUI": {"prompt": json.dumps(GRAPH), "workflow": workflow_of(GRAPH)},
    "ComfyUI, API graph alone": {"prompt": json.dumps(GRAPH)},
    "ComfyUI, joined texts": {"prompt": json.dumps(CONCATENATED), "workflow": workflow_of(CONCATENATED)},
    "InvokeAI": {"invokeai_metadata": json.dumps(INVOKEAI)},
    "InvokeAI 2": {"sd-metadata": json.dumps(OLD_INVOKEAI)},
    "InvokeAI 2, Dream": {
        "Dream": '"a red fox [blurry]" -s 20 -S 1 -W 64 -H 64 -C 7.0 -A k_euler',
        "sd-metadata": json.dumps(OLD_INVOKEAI),
    },
    "NovelAI": {
        "Title": "AI generated image", "Description": "a red fox", "Software": "NovelAI", "Source": "x",
        "Comment": json.dumps(NOVELAI),
    },
    "Fooocus": {"parameters": json.dumps(FOOOCUS), "fooocus_scheme": "fooocus"},
    "Fooocus, A1111 scheme": {
        "parameters": f"{INFOTEXT}, Fooocus V2 Expansion: , Version: Fooocus v2.5.0",
        "fooocus_scheme": "a1111",
    },
    "SwarmUI": {
        "parameters": json.dumps({"sui_image_params": {
            "prompt": "a red fox", "negativeprompt": "blurry", "seed": 1, "steps": 20, "cfgscale": 7.0,
            "swarm_version": "0.9.6",
        }}),
    },
    "Easy Diffusion": {
        "prompt": "a red fox", "negative_prompt": "blurry", "seed": "1", "num_inference_steps": "20",
        "guidance_scale": "7.0", "sampler_name": "euler_a", "use_stable_diffusion_model": "m",
    },
    "Draw Things": {"XML:com.adobe.xmp": packet(DRAW_THINGS)},
}  # fmt: skip
"""The texts of a PNG of each kind."""

COMMENTS = {
    "EXIF, UTF-16": b"UNICODE\0" + INFOTEXT.encode("utf-16-be"),
    "EXIF, UTF-8 after UNICODE": b"UNICODE\0" + INFOTEXT.encode(),
    "EXIF, no character set": INFOTEXT.encode(),
}
"""UserComments of a JPEG."""

SPECIAL = {
    "A1111, no settings": {"prompt": "(a red fox:1.1)", "text": "a red fox"},
    "A1111, tags that look like settings": {**RIGHT, "negative": "(bad:1.2), (worst:1.4), (low:1.4)"},
}
"""Right values that differ from `RIGHT`."""


def write_images(folder: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Write an image of each kind; return their paths and right values."""
    images = {}
    for number, (name, texts) in enumerate(TEXTS.items()):
        info = PngInfo()
        for key, text in texts.items():
            (info.add_itxt if key.startswith("XML") else info.add_text)(key, text)
        path = folder / f"{number}.png"
        Image.new("RGB", (64, 64)).save(path, pnginfo=info)
        images[name] = path, SPECIAL.get(name, RIGHT)
    for number, (name, comment) in enumerate(COMMENTS.items()):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9286] = comment
        path = folder / f"{number}.jpg"
        Image.new("RGB", (16, 16)).save(path, exif=exif.tobytes())
        images[name] = path, RIGHT
    hidden = json.dumps(dict(TEXTS["NovelAI"]))
    hide(hidden, "stealth_pngcomp", size=(80, 80)).save(folder / "hidden.png")
    return {**images, "NovelAI, hidden in the pixels": (folder / "hidden.png", RIGHT)}


def read_own(path: Path) -> dict[str, Any]:
    """Return the values that promptweight reads."""
    try:
        info = read_metadata(path).generation_info()
    except PromptweightError:
        info = None
    if info is None:
        return {}
    options = info.options
    return {
        "prompt": info.prompt, "negative": info.negative_prompt, "seed": options.get("seed"),
        "steps": options.get("num_inference_steps"), "guidance": options.get("guidance_scale"),
        "text": parse(info.prompt, info.dialect).at().text,
    }  # fmt: skip


def read_sd_parsers(path: Path) -> list[dict[str, Any]]:
    """Return the values that sd-parsers reads: with the full prompts, and with those of the samplers."""
    from sd_parsers import Eagerness, ParserManager

    info = ParserManager(eagerness=Eagerness.EAGER).parse(path)
    if info is None:
        return [{}]
    numbers = {**info.metadata, **(info.samplers[0].parameters if info.samplers else {})}
    read = {
        "seed": _number(numbers.get("seed")),
        "steps": _number(numbers.get("steps")),
        "guidance": _number(numbers.get("cfg_scale")),
    }
    of_samplers = [
        ", ".join(each.value for each in prompts) for prompts in (info.prompts, info.negative_prompts)
    ]
    return [
        {**read, "prompt": prompt, "text": prompt, "negative": negative}
        for prompt, negative in ((info.full_prompt, info.full_negative_prompt), of_samplers)
    ]


def _number(value: Any) -> float | None:
    if value is None:
        return None
    return int(value) if str(value).isdecimal() else float(value)


def wrong_fields(found: Mapping[str, Any], right: Mapping[str, Any]) -> list[str]:
    """Return the fields whose value is not the right one."""
    return [name for name, value in right.items() if found.get(name) != value]


def compare(images: Mapping[str, tuple[Path, Mapping[str, Any]]]) -> list[tuple[str, list[str], list[str]]]:
    """Return each kind with the fields that promptweight and sd-parsers have wrong."""
    return [
        (
            name,
            wrong_fields(read_own(path), right),
            min((wrong_fields(found, right) for found in read_sd_parsers(path)), key=len),
        )
        for name, (path, right) in images.items()
    ]


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as temporary:
        images = write_images(Path(temporary))
        for argument in sys.argv[1:]:
            folder = Path(argument)
            fields = {"prompt", "negative", "seed", "steps", "guidance"}
            for name, right in json.loads((folder.parents[1] / "meta.json").read_text()).items():
                kept = {key: value for key, value in right.items() if key in fields}
                if kept:
                    images[name] = folder / name, kept
        print("| image | promptweight | sd-parsers 0.6 |\n|---|---|---|")
        for name, own, other in compare(images):
            columns = ["right" if not wrong else f"wrong: {', '.join(wrong)}" for wrong in (own, other)]
            print(f"| {name} | {' | '.join(columns)} |")


if __name__ == "__main__":
    main()
