"""Picture component: word chips above the image and heat maps over it, drawn without requests to the server.

Its value is one message of this module; `static/picture.js` shows it.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import gradio as gr

from promptweight_ui.components.map_payload import data_url, maps_payload
from promptweight_ui.i18n import encodable, message_in_all_languages, texts_with_prefix
from promptweight_ui.static_files import mount_script

if TYPE_CHECKING:
    from promptweight import Result
    from promptweight.attention import ShareResult
    from promptweight.prompt import Prompt
    from promptweight_ui.runs import RunProgress


def picture(name: str, box: str, queue: str = "") -> Any:
    """Make a picture component.

    Args:
        name: the id of the element.
        box: the id of the prompt box whose weights the chips change.
        queue: the id of the element in which Gradio writes the place in the queue.
    """
    return gr.HTML(
        value=None,
        html_template='<div class="pw-picture"></div>',
        js_on_load=mount_script("Picture", "props", "watch"),
        elem_id=name,
        box=box,
        queue=queue,
        texts=texts_with_prefix("picture_"),
        apply_default_css=False,
    )


def started_message() -> dict[str, Any]:
    """Return the message of a run that begins; the page keeps the last image until there is another."""
    return {"state": "running", "progress": None, "images": [], "maps": None}


def running_message(progress: RunProgress) -> dict[str, Any]:
    """Return the message of a run in progress."""
    image, maps = progress.preview or (None, None)
    size = [image.width, image.height] if image is not None else None
    return {
        "state": "running",
        "progress": {
            "image": progress.image_number,
            "images": progress.image_count,
            "step": progress.step,
            "steps": progress.steps,
            "left": progress.seconds_left,
        },
        "images": [] if image is None else [{"src": data_url(image), "size": size}],
        "maps": maps,
    }


def finished_message(component: Any, result: Result, seconds: float) -> dict[str, Any]:
    """Return the message of a result; its images become files that the server hands out.

    Args:
        component: the picture component, whose cache holds the files.
        result: the result.
        seconds: the duration of the run.
    """
    images = []
    for number, path in enumerate(save_to_cache(component, result)):
        image = result.images[number]
        images.append(
            {
                "path": path,
                "name": Path(path).name,
                "size": [image.width, image.height],
                "seed": str(result.seeds[number]),  # 63 bits are too many for a number of JavaScript
            }
        )
    maps = maps_payload(result.maps, len(images))
    for word, payload in zip(result.words, maps["words"], strict=False):
        payload["share"] = _target_share(result.prompt, word.start)
    return {
        "state": "stopped" if result.stopped_after is not None else "done",
        "prompt": encodable(result.prompt.text),
        "stopped_after": result.stopped_after,
        "steps": result.settings["num_inference_steps"],
        "seconds": round(seconds, 1),
        "warnings": warnings_payload(result),
        "seeds": [str(seed) for seed in result.seeds],
        "shares": [[share_payload(each) for each in of_image] for of_image in result.shares],
        "images": images,
        "maps": maps,
    }


def warnings_payload(result: Result) -> list[dict[str, str]]:
    """Return the warnings of a result by language, without those about target shares, shown as numbers."""
    summaries = {
        each.summary(number) for number, of_image in enumerate(result.shares, 1) for each in of_image
    }
    return [message_in_all_languages(text) for text in result.warnings if text not in summaries]


def share_payload(result: ShareResult) -> dict[str, Any]:
    """Return the target share of a phrase, the share that it got, and the weight for it."""
    numbers = {"target": result.target, "share": result.share, "weight": result.weight}
    rounded = {name: float(f"{value:.3g}") for name, value in numbers.items()}
    return {"phrase": encodable(result.phrase), **rounded}


def save_to_cache(component: Any, result: Result) -> list[str]:
    """Write the images with their settings into Gradio's cache and return the paths.

    Args:
        component: the component that shows the images; Gradio hands out and deletes only files that a
            component knows.
        result: the result.
    """
    from gradio.processing_utils import save_bytes_to_cache

    with TemporaryDirectory() as folder:
        paths = [
            save_bytes_to_cache(file.read_bytes(), file.name, component.GRADIO_CACHE)
            for file in result.save(folder)
        ]
    component.temp_files.update(paths)
    return paths


def _target_share(prompt: Prompt, position: int) -> float | None:
    """Return the target share of the word at a position of the clean text; None for none."""
    spans = (span for span in prompt.spans if span.clean_start <= position < span.clean_end)
    return next((span.options.share for span in spans), None)
