"""Generation settings of an image of any tool, by the tool's names and by those of `GenerateOptions`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from promptweight.messages import Message, message
from promptweight.metadata.sampler_names import find_sampler

_MAX_NAMES = 20
"""Number of names in one warning."""
MAX_SEED = 2**64 - 1
"""Largest seed of ComfyUI and of a torch generator."""


@dataclass(frozen=True)
class LoraUse:
    """A LoRA of an image.

    Attributes:
        name: the name of its file, without folders and suffix.
        weight: its weight in the denoiser.
        text_encoder_weight: its weight in the text encoders.
    """

    name: str
    weight: float = 1.0
    text_encoder_weight: float = 1.0


@dataclass(frozen=True)
class GenerationInfo:
    """The generation settings of an image, from any tool.

    Attributes:
        tool: the name of the tool.
        prompt: the prompt.
        negative_prompt: the negative prompt, empty where there is none.
        settings: the other settings by the tool's names (for ComfyUI, those of its nodes).
        dialect: the syntax of both prompts, one of `promptweight.prompt.DIALECTS`.
        options: the settings that promptweight can follow, by the names of `GenerateOptions`.
        loras: the LoRAs that are not named in the prompt itself.
        warnings: a message for everything that has an effect and is not in `options`.
        error: the reason why the prompt is not known; None where it is.
    """

    tool: str
    prompt: str
    negative_prompt: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    dialect: str = "pw"
    options: Mapping[str, Any] = field(default_factory=dict)
    loras: tuple[LoraUse, ...] = ()
    warnings: tuple[Message, ...] = ()
    error: Message | None = None


class InfoBuilder:
    """Collector of the settings of an image while its metadata is read.

    Each setting is either followed (`follow`), without effect (`skip`), or named in one warning at the end.
    """

    def __init__(self, tool: str, settings: Mapping[str, Any], dialect: str) -> None:
        self.tool, self.settings, self.dialect = tool, dict(settings), dialect
        self.options: dict[str, Any] = {}
        self.loras: list[LoraUse] = []
        self.warnings: list[Message] = []
        self._done: set[str] = set()
        self._ignored: list[str] = []

    def follow(self, option: str, *names: str, offset: int = 0) -> None:
        """Set an option from the first of these settings that the image has.

        Args:
            option: the name of a number in `GenerateOptions`.
            names: names of settings, in any case.
            offset: number to add.
        """
        wanted = {name.casefold() for name in names}
        for name, value in self.settings.items():
            if str(name).casefold() in wanted and str(name) not in self._done and option not in self.options:
                self._done.add(str(name))
                number = read_option(option, value, offset)
                if number is None:
                    self.ignore(str(name))
                else:
                    self.options[option] = number

    def set(self, option: str, value: object, name: str) -> None:
        """Set an option from a value; `name` is that of the setting to report if the value is not valid."""
        number = read_option(option, value)
        if number is not None:
            self.options[option] = number
        elif value is not None:
            self.ignore(name)

    def follow_size(self, name: str) -> None:
        """Set width and height from a setting such as `512x768` or `(512, 768)`."""
        value = self.settings.get(name)
        if value is None:
            return
        self._done.add(name)
        width, _, height = str(value).strip("()[] ").replace(",", "x").replace("×", "x").partition("x")
        sides = {"width": read_option("width", width), "height": read_option("height", height)}
        if None in sides.values():
            self.ignore(name)
        else:
            self.options |= sides

    def follow_sampler(self, sampler: object, schedule: object = None, *names: str) -> None:
        """Set the scheduler from the tool's names of a sampler and of a noise schedule."""
        self.skip(*names)
        if sampler is None:
            return
        found, warnings = find_sampler(
            self.tool, str(sampler), None if schedule is None else str(schedule), self.options
        )
        if found is not None:
            self.options["scheduler"] = found
        self.warnings += warnings

    def skip(self, *names: str) -> None:
        """Mark settings as followed, or as without an effect on the image."""
        wanted = {name.casefold() for name in names}
        self._done |= {str(name) for name in self.settings if str(name).casefold() in wanted}

    def skip_defaults(self, **values: object) -> None:
        """Mark settings as without effect where they have the value at which they do nothing."""
        for name, value in values.items():
            if name in self.settings and self.settings[name] == value:
                self._done.add(name)

    def ignore(self, name: str) -> None:
        """Name a setting in the warning about settings that are not followed."""
        if name not in self._ignored:
            self._ignored.append(name)

    def warn(self, *warnings: Message) -> None:
        """Add warnings, each once."""
        self.warnings += [each for each in warnings if each not in self.warnings]

    def add_lora(self, name: object, weight: object = 1.0, text_encoder_weight: object = None) -> None:
        """Add a LoRA; weights of 0 have no effect, and a weight that is not a number is reported."""
        if not isinstance(name, str) or not (stem := file_stem(name)) or stem.casefold() == "none":
            return
        unet = read_number(weight)
        encoder = unet if text_encoder_weight is None else read_number(text_encoder_weight)
        if unet is None or encoder is None:
            self.warn(message("lora-weight-unknown", name=stem, tool=self.tool))
        elif unet or encoder:
            self.loras.append(LoraUse(stem, unet, encoder))

    def build(
        self, prompt: str | None, negative_prompt: str = "", error: Message | None = None
    ) -> GenerationInfo:
        """Return the settings; those that nothing has followed or skipped are named in a warning.

        Args:
            prompt: the prompt; None where the file does not have one, which is an error.
            negative_prompt: the negative prompt.
            error: the reason why the prompt is not known.
        """
        if prompt is None:
            prompt, error = "", error or message("settings-missing", tool=self.tool)
        left = [
            str(name)
            for name, value in self.settings.items()
            if str(name) not in self._done and value not in (None, "", False, [], {})
        ]
        ignored = list(dict.fromkeys([*self._ignored, *left]))
        if ignored:
            names = ", ".join(ignored[:_MAX_NAMES]) + (", …" if len(ignored) > _MAX_NAMES else "")
            self.warn(message("settings-not-followed", tool=self.tool, names=names))
        return GenerationInfo(
            self.tool, prompt, negative_prompt, self.settings, self.dialect, self.options,
            tuple(self.loras), tuple(self.warnings), error,
        )  # fmt: skip


def read_option(option: str, value: object, offset: int = 0) -> int | float | None:
    """Return a value of `GenerateOptions`; None where it is not a number, or none of this option."""
    number = read_number(value)
    if option == "guidance_scale":
        return number if number is not None and number >= 0 else None
    whole = read_integer(value)
    if whole is None:
        return None
    low, high = {"clip_skip": (0, 100), "seed": (0, MAX_SEED)}.get(option, (1, 10**6))
    return whole + offset if low <= whole + offset <= high else None


def read_number(value: object) -> float | None:
    """Return a finite number, also from text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def read_integer(value: object) -> int | None:
    """Return a whole number, exactly and also from text; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.strip().lstrip("+-").isdecimal() and len(value) < 40:
        return int(value)
    number = read_number(value)
    return int(number) if number is not None and number.is_integer() and abs(number) < 2**53 else None


def file_stem(path: str) -> str:
    """Return the name of a model file without its folders, of any system, and without its suffix.

    >>> file_stem("style/add_detail.v1.safetensors"), file_stem("a/b_v1.0")
    ('add_detail.v1', 'b_v1.0')
    """
    name = path.replace("\\", "/").rpartition("/")[2].strip()
    for suffix in (".safetensors", ".ckpt", ".pt", ".pth", ".bin"):
        if name.casefold().endswith(suffix):
            return name[: -len(suffix)]
    return name
