"""Fields of AUTOMATIC1111's requests: those that act here, and values with which others have no effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.validation import did_you_mean

_FOLLOWED = {
    "prompt", "negative_prompt", "seed", "sampler_name", "sampler_index", "scheduler", "batch_size", "n_iter",
    "steps", "cfg_scale", "width", "height", "override_settings", "send_images", "save_images",
    "do_not_save_samples", "denoising_strength", "eta",
    "clip_skip",  # of SD.Next
    "weighting", "dialect",  # of promptweight
}  # fmt: skip
_FOLLOWED_WITH_A_PICTURE = {"init_images", "resize_mode"}

_WITHOUT_EFFECT_ALONE = {
    "subseed",  # acts with subseed_strength
    "do_not_save_grid",  # grids are not drawn
    "s_tmax", "s_tmin",  # with s_churn
    "hr_scale", "hr_upscaler", "hr_second_pass_steps", "hr_resize_x", "hr_resize_y", "hr_checkpoint_name",
    "hr_sampler_name", "hr_scheduler", "hr_prompt", "hr_negative_prompt", "hr_cfg", "firstphase_width",
    "firstphase_height", "hr_additional_modules",  # with enable_hr
    "refiner_switch_at",  # with refiner_checkpoint
    "mask_blur", "mask_blur_x", "mask_blur_y", "mask_round", "inpainting_fill", "inpaint_full_res",
    "inpaint_full_res_padding", "inpainting_mask_invert",  # with mask
    "image_cfg_scale",  # with models that edit by instructions, which take no denoising_strength
}  # fmt: skip
"""Fields that act in the tool only together with another one, which is refused."""

_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "enable_hr": (False,),
    "subseed_strength": (0,),
    "seed_resize_from_h": (-1, 0),
    "seed_resize_from_w": (-1, 0),
    "restore_faces": (False,),
    "tiling": (False,),
    "styles": ([],),
    "s_min_uncond": (0,),
    "s_churn": (0,),
    "s_noise": (1,),
    "override_settings_restore_afterwards": (True,),
    "refiner_checkpoint": ("",),
    "disable_extra_networks": (False,),
    "firstpass_image": (),
    "comments": ({},),
    "script_name": ("",),
    "script_args": ([],),
    "alwayson_scripts": ({},),
    "force_task_id": (),
    "infotext": ("",),
}
_NEUTRAL_WITH_A_PICTURE: Mapping[str, tuple[Any, ...]] = {
    "mask": (),
    "latent_mask": (),
    "initial_noise_multiplier": (1,),
    "include_init_images": (False,),
    "resize_mode": (0, 1),
}
"""Values of fields with which the tool does nothing that is not done here; null is one of each."""


def check_fields(body: Mapping[str, Any], *, has_picture: bool) -> dict[str, Any]:
    """Return the fields of a request that act, without those that are null.

    Args:
        body: the request.
        has_picture: whether it is one of img2img.

    Raises:
        SettingError: a field is unknown, or has a value that cannot be followed.
    """
    neutral = {**_NEUTRAL, **(_NEUTRAL_WITH_A_PICTURE if has_picture else {})}
    followed = _FOLLOWED | (_FOLLOWED_WITH_A_PICTURE if has_picture else set())
    known = followed | neutral.keys() | _WITHOUT_EFFECT_ALONE
    given = {name: value for name, value in body.items() if value is not None}
    for name, value in given.items():
        if name not in known:
            raise SettingError(message("sdapi-field-unknown", name=name, hint=did_you_mean(name, known)))
        if name == "alwayson_scripts" and _are_off(value):
            continue
        if name in neutral and value not in neutral[name]:
            valid = ", ".join(["null", *map(_as_json, neutral[name])])
            raise SettingError(message("sdapi-field", name=name, valid=valid, value=_shorten(value)))
    return {name: value for name, value in given.items() if name in followed}


def _are_off(scripts: Any) -> bool:
    """Return whether no script has an argument that is on, as clients send for extensions that they know."""
    if not isinstance(scripts, Mapping):
        return False
    return all(
        isinstance(script, Mapping)
        and script.keys() <= {"args"}
        and isinstance(arguments := script.get("args", []), list)
        and not any(arguments)
        for script in scripts.values()
    )


def _as_json(value: Any) -> str:
    names = {True: "true", False: "false"}
    return names[value] if isinstance(value, bool) else repr(value).replace("'", '"')


def _shorten(value: Any, longest: int = 60) -> str:
    text = _as_json(value)
    return text if len(text) <= longest else f"{text[:longest]}…"
