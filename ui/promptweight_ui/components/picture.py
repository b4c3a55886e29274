"""Picture component: image with heat maps over it and chips of words, drawn without requests to the server.

Its value is one message of this module; `static/picture.js` shows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from promptweight_ui.components.map_payload import data_url, maps_payload
from promptweight_ui.i18n import encodable, message_in_all_languages, texts_with_prefix
from promptweight_ui.static_files import mount_script

if TYPE_CHECKING:
    from promptweight import Result
    from promptweight.attention import ShareResult
    from promptweight.prompt import Prompt
    from promptweight_ui.runs import RunStatus


SLOW_SECONDS = 8
"""Seconds of a step after which the page tells how long it has taken."""


def picture(name: str, box: str) -> Any:
    """Make a picture component.

    Args:
        name: the id of the element.
        box: the id of the prompt box whose weights the chips change.
    """
    return gr.HTML(
        value=None,
        html_template='<div class="pw-picture"></div>',
        js_on_load=mount_script("Picture", "props", "watch", "trigger"),
        elem_id=name,
        box=box,
        texts=texts_with_prefix("picture_"),
        apply_default_css=False,
    )


def running_message(status: RunStatus, finished: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """Return the message of a run in progress.

    Args:
        status: the status of the run.
        finished: its finished images, as `image_payload` returns them.
    """
    progress = status.progress
    image, maps = (progress and progress.preview) or (None, None)
    live = [] if image is None else [{"src": data_url(image), "size": [image.width, image.height]}]
    return {
        "state": "running",
        "queue": status.queue and {"place": status.queue[0], "length": status.queue[1]},
        "progress": progress
        and {
            "image": progress.image_number,
            "images": progress.image_count,
            "step": progress.step,
            "steps": progress.steps,
            "left": progress.seconds_left,
        },
        "slow": round(status.idle) if status.idle >= SLOW_SECONDS else None,
        "finished": list(finished),
        "live": live,
        "maps": maps,
    }


def has_files(message: Mapping[str, Any]) -> bool:
    """Return whether the images of a message still exist; Gradio deletes old ones."""
    return all(Path(image["path"]).exists() for image in message["images"])


def empty_message() -> dict[str, Any]:
    """Return the message of a run that was stopped before its first image."""
    return {"state": "stopped", "images": [], "maps": None}


def image_payload(result: Result, number: int, path: str) -> dict[str, Any]:
    """Return one image of a result for the page.

    Args:
        result: the result.
        number: the index of the image.
        path: its file, in the cache of the component that shows it.
    """
    image = result.images[number]
    is_last = number == len(result.images) - 1
    return {
        "path": path,
        "name": Path(path).name,
        "size": [image.width, image.height],
        "seed": str(result.seeds[number]),  # 63 bits are too many for a number of JavaScript
        "stopped_after": result.stopped_after if is_last else None,
    }


def finished_message(result: Result, images: Sequence[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """Return the message of a result.

    Args:
        result: the result.
        images: its images, as `image_payload` returns them.
        seconds: the duration of the run.
    """
    maps = maps_payload(result.maps, len(images))
    for word, payload in zip(result.words, maps["words"], strict=False):
        payload["share"] = _target_share(result.prompt, word.start)
    return {
        "state": "stopped" if result.stopped_after is not None else "done",
        "prompt": encodable(result.prompt.text),
        "steps": result.settings["num_inference_steps"],
        "seconds": round(seconds, 1),
        "warnings": warnings_payload(result),
        "seeds": [str(seed) for seed in result.seeds],
        "shares": [[share_payload(each) for each in of_image] for of_image in result.shares],
        "images": list(images),
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


def _target_share(prompt: Prompt, position: int) -> float | None:
    """Return the target share of the word at a position of the clean text; None for none."""
    spans = (span for span in prompt.spans if span.clean_start <= position < span.clean_end)
    return next((span.options.share for span in spans), None)
