"""Options of other tools' job files that batches know but do not follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_OFF = ("", "0", "0.0", "false", "none", "null", "[]", "{}")


@dataclass(frozen=True, slots=True)
class ForeignOption:
    """Option without a counterpart.

    Attributes:
        tool: the tool.
        meaning: its meaning there.
        neutral: values without effect, in lower case; None if no value changes an image.
    """

    tool: str
    meaning: str
    neutral: tuple[str, ...] | None = _OFF

    def has_effect(self, value: Any) -> bool:
        """Return True if the tool draws another image with this value, or without the option."""
        return self.neutral is not None and str(value).strip().lower() not in self.neutral


_A1111, _SD_SCRIPTS = "AUTOMATIC1111", "sd-scripts"
_DEFAULT_ON = (*_OFF, "1", "1.0")

FOREIGN_OPTIONS: Mapping[str, ForeignOption] = {
    # "Prompts from file or textbox", and the log file
    "sd_model": ForeignOption(_A1111, "the model, here --model", ("",)),
    "outpath_samples": ForeignOption(_A1111, "the output folder, here --output", ("",)),
    "outpath_grids": ForeignOption(_A1111, "the folder of contact sheets", None),
    "prompt_for_display": ForeignOption(_A1111, "another prompt in the metadata", ("",)),
    "subseed": ForeignOption(_A1111, "the seed of a variation", (*_OFF, "-1")),
    "subseed_strength": ForeignOption(_A1111, "the strength of a variation"),
    "seed_resize_from_h": ForeignOption(_A1111, "the height that the seed is made for", (*_OFF, "-1")),
    "seed_resize_from_w": ForeignOption(_A1111, "the width that the seed is made for", (*_OFF, "-1")),
    "sampler_index": ForeignOption(_A1111, "the number of the sampler, here its name --sampler", ("",)),
    "restore_faces": ForeignOption(_A1111, "face restoration"),
    "tiling": ForeignOption(_A1111, "tiling"),
    "do_not_save_samples": ForeignOption(_A1111, "not saving the images"),
    "do_not_save_grid": ForeignOption(_A1111, "not saving a contact sheet", None),
    "filename": ForeignOption(_A1111, "the file name of an image", None),
    # its API
    "enable_hr": ForeignOption(_A1111, "the second pass in higher resolution"),
    "denoising_strength": ForeignOption(_A1111, "the strength of the second pass", None),
    "hr_scale": ForeignOption(_A1111, "the scale of the second pass", None),
    "hr_upscaler": ForeignOption(_A1111, "the upscaler of the second pass", None),
    "hr_second_pass_steps": ForeignOption(_A1111, "the steps of the second pass", None),
    "eta": ForeignOption(_A1111, "the noise of the sampler"),
    "override_settings": ForeignOption(_A1111, "settings of the program"),
    "save_images": ForeignOption(_A1111, "saving the images", None),
    "send_images": ForeignOption(_A1111, "sending the images", None),
    # letters of prompt files
    "ow": ForeignOption(_SD_SCRIPTS, "the original width", ("",)),
    "oh": ForeignOption(_SD_SCRIPTS, "the original height", ("",)),
    "nw": ForeignOption(_SD_SCRIPTS, "the original width for the negative prompt", ("",)),
    "nh": ForeignOption(_SD_SCRIPTS, "the original height for the negative prompt", ("",)),
    "ct": ForeignOption(_SD_SCRIPTS, "the top of the crop"),
    "cl": ForeignOption(_SD_SCRIPTS, "the left of the crop"),
    "nl": ForeignOption(_SD_SCRIPTS, "the scale of the negative prompt", ("",)),
    "t": ForeignOption(_SD_SCRIPTS, "the strength of image to image", ("",)),
    "c": ForeignOption(_SD_SCRIPTS, "the prompt for CLIP guidance", ("",)),
    "am": ForeignOption(_SD_SCRIPTS, "the weights of the networks", ("", "1", "1.0")),
    "i": ForeignOption(_SD_SCRIPTS, "an image", ("",)),
    "cn": ForeignOption(_SD_SCRIPTS, "the image for a ControlNet", ("",)),
    "ctr": ForeignOption(_SD_SCRIPTS, "the part of the steps with guidance", _DEFAULT_ON),
    "rcfg": ForeignOption(_SD_SCRIPTS, "the renormalization of guidance"),
    "fs": ForeignOption(_SD_SCRIPTS, "the flow shift", ("",)),
    "f": ForeignOption(_SD_SCRIPTS, "the file name, or the number of frames", ("", "1")),
    **{name: ForeignOption(_SD_SCRIPTS, "deep shrink") for name in ("dsd1", "dst1", "dsd2", "dst2", "dsr")},
    **{
        name: ForeignOption(_SD_SCRIPTS, "gradual latents")
        for name in ("glt", "glr", "gle", "gls", "glsn", "glus")
    },
    # keys of JSON files
    "controlnet_image": ForeignOption(_SD_SCRIPTS, "the image for a ControlNet"),
    "cfg_trunc_ratio": ForeignOption(_SD_SCRIPTS, "the part of the steps with guidance", _DEFAULT_ON),
    "renorm_cfg": ForeignOption(_SD_SCRIPTS, "the renormalization of guidance"),
    "flow_shift": ForeignOption(_SD_SCRIPTS, "the flow shift", ("", "none", "null")),
    "discrete_flow_shift": ForeignOption(_SD_SCRIPTS, "the flow shift", ("", "none", "null")),
    "frame_count": ForeignOption(_SD_SCRIPTS, "the number of frames", ("", "1", "none", "null")),
    "enum": ForeignOption(_SD_SCRIPTS, "the number of the prompt", None),
}
"""Options by their names."""
