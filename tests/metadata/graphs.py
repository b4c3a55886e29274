"""Graphs of ComfyUI in its API format, as "Save (API Format)" gives them."""

from typing import Any


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    """Return a node of a class with its inputs."""
    return {"class_type": kind, "inputs": inputs}


def graph(
    positive: Any, negative: Any = "blurry", sampler: dict[str, Any] | None = None, **nodes: Any
) -> dict[str, Any]:
    """Return ComfyUI's own default workflow with other prompts.

    Args:
        positive: the text of the positive prompt, or a link to it.
        negative: the text of the negative prompt, or a link to it.
        sampler: inputs of the sampler that differ.
        nodes: more nodes by name.
    """
    inputs: dict[str, Any] = {
        "seed": 5, "steps": 20, "cfg": 8.0, "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 1.0,
        "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0],
    }  # fmt: skip
    return {
        "3": node("KSampler", **{**inputs, **(sampler or {})}),
        "4": node("CheckpointLoaderSimple", ckpt_name="m.safetensors"),
        "5": node("EmptyLatentImage", width=512, height=768, batch_size=1),
        "6": node("CLIPTextEncode", text=positive, clip=["4", 1]),
        "7": node("CLIPTextEncode", text=negative, clip=["4", 1]),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", images=["8", 0], filename_prefix="ComfyUI"),
        **nodes,
    }
