"""Answers of AUTOMATIC1111's API: images as base64 with their infotext, and the settings as JSON text."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from promptweight import __version__

if TYPE_CHECKING:
    from promptweight import Result
    from promptweight_ui.context import Context
    from promptweight_ui.sdapi.calls import ApiCall


def make_answer(
    context: Context, call: ApiCall, result: Result | None, body: Mapping[str, Any], timestamp: str
) -> dict[str, Any]:
    """Return the answer to a request, and save the images if it says so.

    Args:
        context: the objects of the app.
        call: the request.
        result: the images; None if none was begun.
        body: the request as it was sent.
        timestamp: the time at which it began, as `_make_info` has it.

    Raises:
        OSError: an image cannot be saved.
    """
    images = [] if result is None else _encode(context, call, result)
    parameters = dict(body) | ({"init_images": None} if "init_images" in body else {})
    return {
        "images": images if call.sends_images else [],
        "parameters": parameters,
        "info": json.dumps(_make_info(call, result, timestamp), ensure_ascii=False),
    }


def _encode(context: Context, call: ApiCall, result: Result) -> list[str]:
    """Return the PNG files of a result, each with its infotext and its JSON record, in base64."""
    if call.saves_images and result.stopped_after is None:
        assert context.outputs.folder is not None
        return [_read(path) for path in result.save(context.outputs.folder)]
    with TemporaryDirectory() as folder:
        return [_read(path) for path in result.save(folder)]


def _read(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")


def _make_info(call: ApiCall, result: Result | None, timestamp: str) -> dict[str, Any]:
    """Return what the tool tells about images: lists have a value for each."""
    number = 0 if result is None else len(result.images)
    seeds = list(result.seeds[:number]) if result is not None else []
    size = result.images[0].size if result is not None and number else call.size or (0, 0)
    first = call.options.seed if not seeds else seeds[0]
    options = call.options
    settings: Mapping[str, Any] = {} if result is None else result.settings
    return {
        "prompt": call.prompt,
        "all_prompts": [call.prompt] * number,
        "negative_prompt": options.negative_prompt,
        "all_negative_prompts": [options.negative_prompt] * number,
        "seed": first,
        "all_seeds": seeds,
        "subseed": first,
        "all_subseeds": seeds,
        "subseed_strength": 0,
        "width": size[0],
        "height": size[1],
        "sampler_name": settings.get("sampler") or settings.get("scheduler") or options.scheduler,
        "cfg_scale": settings.get("guidance_scale", options.guidance_scale),
        "steps": options.num_inference_steps,
        "batch_size": call.batch_size,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": call.model,
        "sd_model_hash": None,
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": call.strength,
        "extra_generation_params": {},
        "index_of_first_image": 0,
        "infotexts": [] if result is None else [result.infotext(index) for index in range(number)],
        "styles": [],
        "job_timestamp": timestamp,
        "clip_skip": 1 if options.clip_skip is None else options.clip_skip + 1,
        "is_using_inpainting_conditioning": False,
        "version": f"promptweight {__version__}",
        "warnings": [] if result is None else list(result.warnings),
    }
