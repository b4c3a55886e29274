"""Resources and settings that Civitai's generator writes into its images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptweight.messages import message
from promptweight.metadata.generation_info import GenerationInfo, InfoBuilder, read_number
from promptweight.metadata.json_objects import first_text, parse_object


def read_civitai_graph(graph: Mapping[str, Any]) -> GenerationInfo | None:
    """Read the settings beside a graph of ComfyUI; None without them."""
    record = parse_object(graph.get("extraMetadata"))
    if record is None or not isinstance(record.get("prompt"), str):
        return None
    settings = {name: value for name, value in record.items() if name not in ("prompt", "negativePrompt")}
    builder = InfoBuilder("Civitai", settings, "a1111")
    builder.follow("num_inference_steps", "steps")
    builder.follow("guidance_scale", "cfgScale")
    builder.follow("seed", "seed")
    builder.follow("width", "width")
    builder.follow("height", "height")
    builder.follow("clip_skip", "clipSkip", offset=-1)
    builder.follow_sampler(settings.get("sampler"), None, "sampler")
    builder.skip("workflowId", "workflow", "remixOfId", "baseModel", "resources")
    add_resources(builder, record.get("resources"))
    return builder.build(record["prompt"], first_text(record, ["negativePrompt"]))


def add_resources(builder: InfoBuilder, resources: object) -> None:
    """Warn about each LoRA and embedding of a list of resources, which names no files."""
    for resource in resources if isinstance(resources, list) else []:
        if not isinstance(resource, dict):
            continue
        identifier = first_text(resource, ["air", "urn"])
        kind = first_text(resource, ["type"]).casefold()
        for part in ("lora", "lycoris", "dora", "locon", "embedding"):
            if f":{part}:" in identifier:
                kind = part
        name = (
            first_text(resource, ["modelName", "name"]) or identifier or str(resource.get("modelVersionId"))
        )
        weight = read_number(resource.get("weight", resource.get("strength", 1.0)))
        if kind in ("lora", "lycoris", "dora", "locon") and weight != 0:
            builder.warn(message("lora-file-unknown", name=name, weight=1.0 if weight is None else weight))
        elif kind in ("embedding", "textualinversion"):
            builder.warn(message("embedding-file-unknown", name=name))
