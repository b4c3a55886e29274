"""The picture on the page: word chips above it, the heat of every word over it, without asking the server.

The value is one message (`payload`); what shows it is `static/heat.js` and `static/picture.js`.
"""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache

from promptweight_ui.components.map_payload import data_url, maps_of
from promptweight_ui.i18n import prefixed, told_in_all

if TYPE_CHECKING:
    from promptweight import Result
    from promptweight.attention import ShareResult
    from promptweight.prompt import Prompt
    from promptweight_ui.runs import News


def picture(name: str, box: str, queue: str = "") -> Any:
    """Make a picture.

    Args:
        name: the element's id on the page.
        box: the id of the prompt box into which the chips write weights.
        queue: the id of the element in which Gradio tells the place in the queue.
    """
    from promptweight.render import WORD_COLORS, colormap_table

    return gr.HTML(
        value=None,
        html_template='<div class="pw-picture"></div>',
        js_on_load="promptweight.generation.pipeline_run.mount(element, props, watch)",
        elem_id=name,
        box=box,
        queue=queue,
        texts=prefixed("picture_"),
        colors=b64encode(colormap_table("inferno").tobytes()).decode("ascii"),
        word_colors=[list(color) for color in WORD_COLORS],
        apply_default_css=False,
    )


def live(news: News) -> dict[str, Any]:
    """Return the message about a run that is going on."""
    image, maps = news.look or (None, None)
    size = [image.width, image.height] if image is not None else None
    return {
        "state": "running",
        "progress": {
            "picture": news.picture,
            "pictures": news.pictures,
            "step": news.step,
            "steps": news.steps,
            "left": news.seconds_left,
        },
        "images": [] if image is None else [{"src": data_url(image), "size": size}],
        "maps": maps,
    }


def started() -> dict[str, Any]:
    """Return the message that a run is about to begin; what was shown before stays until there is more."""
    return {"state": "running", "progress": None, "images": [], "maps": None}


def finished(component: Any, result: Result, seconds: float) -> dict[str, Any]:
    """Return the message about a result; its pictures become files that the server hands out.

    Args:
        component: the picture's component, whose cache the files go to.
        result: what was made.
        seconds: how long it took.
    """
    images = []
    for number, path in enumerate(_files(component, result)):
        image = result.images[number]
        images.append(
            {
                "path": path,
                "name": Path(path).name,
                "size": [image.width, image.height],
                "seed": str(result.seeds[number]),  # 63 bits are more than a number in JavaScript holds
            }
        )
    maps = maps_of(result.maps, len(images))
    for word, told in zip(result.words, maps["words"], strict=False):
        told["share"] = _share(result.prompt, word.start)
    return {
        "state": "stopped" if result.stopped_after is not None else "done",
        "prompt": _sayable(result.prompt.text),
        "stopped_after": result.stopped_after,
        "steps": result.settings["num_inference_steps"],
        "seconds": round(seconds, 1),
        "warnings": remarks_of(result),
        "seeds": [str(seed) for seed in result.seeds],
        "found": [[found_told(each) for each in of_picture] for of_picture in result.found],
        "images": images,
        "maps": maps,
    }


def remarks_of(result: Result) -> list[dict[str, str]]:
    """Return what the library remarks, by language; what it found for target shares is told as numbers."""
    found = {each.told(number) for number, of_picture in enumerate(result.found, 1) for each in of_picture}
    return [told_in_all(text) for text in result.warnings if text not in found]


def found_told(found: ShareResult) -> dict[str, Any]:
    """Return what was found for a phrase with a target share."""
    numbers = {"target": found.target, "share": found.share, "weight": found.weight}
    told = {name: float(f"{value:.3g}") for name, value in numbers.items()}
    return {"phrase": _sayable(found.phrase), **told}


def _share(prompt: Prompt, place: int) -> float | None:
    """Return the target share of what is at that place of the clean text; None where it has none."""
    spans = (span for span in prompt.spans if span.clean_start <= place < span.clean_end)
    return next((span.options.share for span in spans), None)


def _sayable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _files(component: Any, result: Result) -> list[str]:
    """Write the pictures with their settings inside into Gradio's cache; returns the files."""
    from tempfile import TemporaryDirectory

    paths = []
    with TemporaryDirectory() as folder:
        for file in result.save(folder):
            path = save_bytes_to_cache(file.read_bytes(), file.name, component.GRADIO_CACHE)
            component.temp_files.add(path)  # only files that are known here are handed out and cleaned up
            paths.append(path)
    return paths
