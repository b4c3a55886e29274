"""Actions on the shown picture: its seed for the form, and itself for the other tabs."""

from __future__ import annotations

from typing import Any

import gradio as gr

from promptweight_ui.context import LIGHT, Context
from promptweight_ui.tabs.regions import picture_on_canvas

ACTIONS = ("use_seed", "to_compare", "to_regions", "to_explore")


def build(context: Context, picture: Any) -> None:
    """Connect the buttons of a picture component; called once all tabs are built."""
    parts = context.parts
    outputs = {
        name: parts[name]
        for name in ("seed", "random", "tabs", "compare_word", "regions_canvas", "explore_number")
    }

    def act(event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        data = getattr(event, "_data", None)
        result = context.sessions.get(request).result
        if not isinstance(data, dict) or data.get("action") not in ACTIONS or result is None:
            return {parts["seed"]: gr.skip()}
        image, action, phrase = data.get("image"), data["action"], data.get("phrase")
        if type(image) is not int or not 0 <= image < len(result.images):
            return {parts["seed"]: gr.skip()}
        changes: dict[str, Any] = {"seed": result.seeds[image], "random": False}
        if action != "use_seed":
            changes["tabs"] = gr.update(selected=action.removeprefix("to_"))
        if action == "to_compare" and isinstance(phrase, str) and phrase:
            changes["compare_word"] = phrase[:500]
        elif action == "to_regions":
            changes["regions_canvas"] = picture_on_canvas(result.images[image])
        elif action == "to_explore":
            several = len(result.images) > 1
            changes["explore_number"] = gr.update(
                value=image + 1, maximum=len(result.images), visible=several
            )
        return {outputs[name]: value for name, value in changes.items()}

    picture.select(act, None, list(outputs.values()), api_visibility="private", **LIGHT)
