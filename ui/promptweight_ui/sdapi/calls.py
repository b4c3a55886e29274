"""Requests of AUTOMATIC1111's API as checked arguments of `promptweight.generate`."""

from __future__ import annotations

import base64
import binascii
import io
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptweight import validation
from promptweight.errors import SettingError
from promptweight.generation import GenerateOptions
from promptweight.messages import Message, message
from promptweight.metadata import find_sampler
from promptweight.weighting import Weighting
from promptweight_ui.generation import MAX_GUIDANCE, MAX_SEED
from promptweight_ui.request_values import check_size, check_text
from promptweight_ui.samplers import OWN_SAMPLER, join_sampler
from promptweight_ui.sdapi.fields import check_fields
from promptweight_ui.validation import MAX_CLIP_SKIP, MAX_IMAGES, MAX_STEPS

if TYPE_CHECKING:
    from PIL import Image

    from promptweight_ui.context import Context

DEFAULT_DIALECT = "a1111"
DEFAULT_STRENGTH = 0.75
MAX_PIXELS = 64_000_000
"""Largest picture that is decoded, in pixels."""

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""Formats of pictures, by Pillow's names; others are opened by programs that run code."""

CHECKPOINT, CLIP_LAYER = "sd_model_checkpoint", "CLIP_stop_at_last_layers"
"""Options of the server that a client may change."""

FIXED_OPTIONS: Mapping[str, tuple[Any, ...]] = {
    "samples_format": ("png",),
    "sd_vae": ("Automatic", "None", "", None),
    "forge_additional_modules": ([], None),
}
"""Other options, and the values with which they change nothing."""

_AUTOMATIC = ("", "automatic")
_STOCHASTIC_BY_ETA = ("DDIM", OWN_SAMPLER)
"""Samplers to which eta = 0 is usual; to the others it is 1."""


@dataclass(frozen=True)
class ApiCall:
    """A checked request.

    Attributes:
        task: "txt2img" or "img2img".
        model: one of the names that the server offers.
        prompt: the prompt.
        options: the options of `promptweight.generate`, without a picture.
        batch_size: the number of images that the tool would draw at once.
        size: width and height; None for those of the model.
        picture: the picture to begin from, of this size; None without one.
        strength: how much of the picture changes.
        sends_images: whether the answer has the images.
        saves_images: whether they are saved in the output folder.
    """

    task: str
    model: str
    prompt: str
    options: GenerateOptions
    batch_size: int
    size: tuple[int, int] | None
    picture: Image.Image | None
    strength: float | None
    sends_images: bool
    saves_images: bool


def check_options(context: Context, changes: object) -> dict[str, Any]:
    """Return changes of the server's options.

    Raises:
        SettingError: an option is unknown or has an invalid value.
    """
    if not isinstance(changes, Mapping):
        raise SettingError(message("sdapi-object", name="options"))
    checked: dict[str, Any] = {}
    for name, value in changes.items():
        if name == CHECKPOINT:
            validation.check_choice(name, value, context.models.names)
            checked[name] = value
        elif name == CLIP_LAYER:
            checked[name] = validation.check_integer(name, value, 1, MAX_CLIP_SKIP + 1)
        elif name in FIXED_OPTIONS:
            if value not in FIXED_OPTIONS[name]:
                valid = ", ".join("null" if each is None else repr(each) for each in FIXED_OPTIONS[name])
                raise SettingError(message("sdapi-field", name=name, valid=valid, value=repr(value)[:60]))
        else:
            raise SettingError(message("sdapi-option", known=f"{CHECKPOINT}, {CLIP_LAYER}", name=name))
    return checked


def read_call(context: Context, defaults: Mapping[str, Any], task: str, body: object) -> ApiCall:
    """Return a checked request.

    Args:
        context: the objects of the app.
        defaults: the server's options.
        task: "txt2img" or "img2img".
        body: the request.

    Raises:
        SettingError: a field is unknown, invalid, or cannot be followed.
    """
    if not isinstance(body, Mapping):
        raise SettingError(message("sdapi-object", name="the request"))
    fields = check_fields(body, has_picture=task == "img2img")
    overrides = check_options(context, fields.get("override_settings", {}))
    if "clip_skip" in fields:
        skip = _integer(fields, "clip_skip", 1, 1, MAX_CLIP_SKIP + 1)
        if overrides.setdefault(CLIP_LAYER, skip) != skip:
            valid = str(overrides[CLIP_LAYER])
            raise SettingError(message("sdapi-field", name="clip_skip", valid=valid, value=skip))
    settings = {**defaults, **overrides}
    model = settings[CHECKPOINT]
    sampler, schedule = _find_sampler(context, model, fields)
    _check_eta(fields.get("eta"), sampler)
    batch_size, n_iter = (_integer(fields, name, 1, 1, MAX_IMAGES) for name in ("batch_size", "n_iter"))
    number = validation.check_integer("batch_size × n_iter", batch_size * n_iter, 1, MAX_IMAGES)
    steps = _integer(fields, "steps", GenerateOptions.num_inference_steps, 1, MAX_STEPS)
    seed = _integer(fields, "seed", -1, -1, MAX_SEED)
    guidance = fields.get("cfg_scale")
    size = _read_size(context, model, fields)
    picture = strength = None
    if task == "img2img":
        strength = validation.check_number(
            "denoising_strength", fields.get("denoising_strength", DEFAULT_STRENGTH), 0, 1
        )
        if int(steps * strength) < 1:
            raise SettingError(message("sdapi-strength", lowest=1 / steps, steps=steps, value=strength))
        picture = _read_picture(fields.get("init_images"))
        size = size or check_size(context.models.facts(model), *picture.size)
        picture = _fit(picture, size, fields.get("resize_mode", 0))
    weighting = fields.get("weighting")
    options = GenerateOptions(
        negative_prompt=_text(fields, "negative_prompt"),
        weighting=None if weighting is None else Weighting.parse(_text(fields, "weighting")),
        dialect=fields.get("dialect", DEFAULT_DIALECT),
        num_inference_steps=steps,
        guidance_scale=(
            None if guidance is None else validation.check_number("cfg_scale", guidance, 0, MAX_GUIDANCE)
        ),
        scheduler=join_sampler(sampler, schedule),
        seed=secrets.randbelow(2**32) if seed < 0 else seed,
        num_images_per_prompt=number,
        clip_skip=settings[CLIP_LAYER] - 1 or None,
        record=False,
        lora_dir=context.lora_dir,
        embeddings_dir=context.embeddings_dir,
    )
    saves = _boolean(fields, "save_images", False) and not _boolean(fields, "do_not_save_samples", False)
    if saves and context.outputs.folder is None:
        raise SettingError(message("sdapi-save"))
    if saves:
        context.outputs.check_room()
    return ApiCall(
        task,
        model,
        _text(fields, "prompt"),
        options,
        batch_size,
        size,
        picture,
        strength,
        _boolean(fields, "send_images", True),
        saves,
    )


def in_api_terms(error: SettingError) -> SettingError:
    """Return an error of `generate` with the name and the number of the API, which counts layers from 1."""
    text = error.args[0]
    if not isinstance(text, Message) or text.code != "clip-skip-range":
        return error
    highest, given = (int(str(text.fields[name])) + 1 for name in ("highest", "clip_skip"))
    encoder = text.fields["encoder"]
    return SettingError(
        message("sdapi-clip-layer", name=CLIP_LAYER, highest=highest, encoder=encoder, value=given)
    )


def _find_sampler(context: Context, model: str, fields: Mapping[str, Any]) -> tuple[str, str]:
    """Return the sampler and the noise schedule of a request.

    Raises:
        SettingError: the model does not have them.
    """
    name = _text(fields, "sampler_name") or _text(fields, "sampler_index") or OWN_SAMPLER
    schedule = _text(fields, "scheduler")
    wanted = name if schedule.casefold() in _AUTOMATIC else f"{name} {schedule}"
    found = context.models.split_sampler(model, wanted)
    if found is None:
        known, warnings = find_sampler("AUTOMATIC1111", name, schedule)
        found = context.models.split_sampler(model, known) if known and not warnings else None
    if found is None:
        samplers = ", ".join(context.models.samplers(model))
        raise SettingError(message("sdapi-sampler", samplers=samplers, value=wanted[:80]))
    return found


def _check_eta(eta: object, sampler: str) -> None:
    """Check that eta has its usual value.

    Raises:
        SettingError: it has another.
    """
    usual = 0 if sampler in _STOCHASTIC_BY_ETA else 1
    if eta is not None and (isinstance(eta, bool) or eta != usual):
        raise SettingError(message("sdapi-field", name="eta", valid=f"null, {usual}", value=repr(eta)[:60]))


def _read_size(context: Context, model: str, fields: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return width and height; a missing one is the model's own, both missing are None."""
    given = {name: fields[name] for name in ("width", "height") if name in fields}
    if not given:
        return None
    facts = context.models.facts(model)
    return check_size(facts, given.get("width", facts.side), given.get("height", facts.side))


def _read_picture(pictures: object) -> Image.Image:
    """Decode the picture of img2img.

    Raises:
        SettingError: there is not exactly one picture, or it cannot be decoded.
    """
    from PIL import Image, ImageOps

    if not isinstance(pictures, list) or len(pictures) != 1 or not isinstance(pictures[0], str):
        raise SettingError(message("sdapi-pictures"))
    _, _, encoded = pictures[0].rpartition(",")  # after `data:image/png;base64`
    try:
        with Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)), formats=FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                large = message(
                    "sdapi-picture-large", most=MAX_PIXELS, width=opened.width, height=opened.height
                )
                raise SettingError(large)
            return ImageOps.exif_transpose(opened).convert("RGB")
    except SettingError:
        raise
    except (OSError, ValueError, SyntaxError, binascii.Error, Image.DecompressionBombError) as error:
        formats = ", ".join(FORMATS)
        raise SettingError(message("sdapi-picture", formats=formats)) from error


def _fit(picture: Image.Image, size: tuple[int, int], resize_mode: int) -> Image.Image:
    """Return a picture of a size: stretched (0), or scaled and cut at its edges (1)."""
    from PIL import Image, ImageOps

    if resize_mode == 1:
        return ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def _text(fields: Mapping[str, Any], name: str) -> str:
    return check_text(name, fields.get(name, ""))


def _integer(fields: Mapping[str, Any], name: str, default: int, lowest: int, highest: int) -> int:
    value = fields.get(name, default)
    if isinstance(value, bool):
        raise SettingError(message("integer-type", name=name, value=value))
    return validation.check_integer(name, value, lowest, highest)


def _boolean(fields: Mapping[str, Any], name: str, default: bool) -> bool:
    value = fields.get(name, default)
    if not isinstance(value, bool):
        raise SettingError(message("sdapi-boolean", name=name, value=repr(value)[:60]))
    return value
