"""Options of image generation: one record that Python calls, the command line, batch jobs and the app fill.

The module imports neither torch nor diffusers.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from promptweight.attention import NegativeGuidance
from promptweight.conditioning import MAX_CLIP_SKIP
from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.validation import check_choice, check_integer, check_number
from promptweight.weighting import Weighting

if TYPE_CHECKING:
    from promptweight.attention import Record
    from promptweight.prompt import Prompt

MAX_PROMPT_LENGTH = 1_000_000
"""Largest number of characters of a prompt."""
MAX_SEED = 2**63 - 1
"""Largest seed of a torch generator."""
MAX_IMAGES = 1000
"""Largest number of images of one call."""
MAX_STEPS = 1000
"""Largest number of denoising steps."""
MAX_GUIDANCE = 100
"""Largest guidance scale."""
MAX_SIDE = 16_384
"""Largest height and width in pixels."""


@dataclass(frozen=True)
class PromptEdit:
    """Edit of an image through its prompt, by prompt-to-prompt (Hertz et al., 2022).

    Both images are denoised at once from the same noise, and for a fraction of the steps the edited one uses
    the attention of the source. Where a word's attention comes from the source, a weight in the edited prompt
    acts on its value, not on its logit.

    Args:
        prompt: the edited prompt.
        kind: `replace` swaps words, each taking the attention of the word at its position, whatever the
            number of their tokens; `refine` adds or removes words, and the words of both prompts keep the
            attention of the source.
        cross_replace_steps: first fraction of the steps in which words take the source's attention, 0 .. 1.
        self_replace_steps: first fraction of the steps in which the image takes the source's self-attention,
            0 .. 1; a larger one keeps more of the layout.

    Raises:
        SettingError: a value is outside its range.
    """

    prompt: str | Prompt
    kind: Literal["replace", "refine"] = "replace"
    cross_replace_steps: float = 0.8
    self_replace_steps: float = 0.4

    def __post_init__(self) -> None:
        check_prompt("edit", self.prompt)
        check_choice("kind", self.kind, ("replace", "refine"))
        for name in ("cross_replace_steps", "self_replace_steps"):
            check_number(name, getattr(self, name), 0, 1)


@dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    """Everything but the model and the prompt that determines the images of `promptweight.generate`.

    Args:
        negative_prompt: the negative prompt.
        negative_guidance: the way in which the negative prompt acts, as `NegativeGuidance.of` takes it; None
            for classifier-free guidance. `nag` and `vsf` act at any guidance scale.
        weighting: how weights act, as `Weighting.of` takes it; None for the default of the dialect.
        dialect: syntax of prompts that are passed as text.
        clip_skip: number of last layers of the CLIP text encoders to skip, 0 or more.
        num_inference_steps: 1 .. 1000.
        guidance_scale: 0 .. 100; None for the model's default.
        scheduler: a sampler or scheduler as `promptweight.load` takes it, for this call; None for that of the
            pipeline.
        seed: 0 .. 2⁶³ - the number of images; None for a random one.
        num_images_per_prompt: 1 .. 1000.
        height: height in pixels, a multiple of the size of the model's latents and patches (mostly 8); None
            for the model's default. The same for `width`.
        width: width in pixels.
        targets: shares of the words' attention, above 0 and below 1, by phrase: at every step weights in
            attention are solved for that give each phrase its share, as `(gato:=25%)` in the prompt does.
        edit: the edited prompt, or the settings of the edit as well: for each image, another one of that
            prompt is drawn in its layout (`Result.edited`).
        record: whether attention is recorded, or what of it; False gives no maps.
        lora_dir: folder of the LoRAs that `<lora:name:weight>` in the prompt names; they are removed from the
            model at the end.
        embeddings_dir: folder of the textual inversions that the prompts name, likewise.
        require_words: words or phrases that the prompt or the edited one must contain, checked before the
            model runs.
        pipeline_kwargs: further keyword arguments for the call of the pipeline, such as `true_cfg_scale`, or
            `image`, `mask_image` and `control_image` of pipelines that change or follow a picture.

    Raises:
        SettingError: a value is outside its range.
    """

    negative_prompt: str | Prompt = ""
    negative_guidance: NegativeGuidance | str | None = None
    weighting: Weighting | str | None = None
    dialect: str = "pw"
    clip_skip: int | None = None
    num_inference_steps: int = 25
    guidance_scale: float | None = None
    scheduler: str | None = None
    seed: int | None = None
    num_images_per_prompt: int = 1
    height: int | None = None
    width: int | None = None
    targets: Mapping[str, float] = field(default_factory=dict)
    edit: PromptEdit | str | Prompt | None = None
    record: bool | Record = True
    lora_dir: str | os.PathLike[str] | None = None
    embeddings_dir: str | os.PathLike[str] | None = None
    require_words: Sequence[str] = ()
    pipeline_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from promptweight.prompt import DIALECTS

        check_prompt("negative_prompt", self.negative_prompt)
        object.__setattr__(self, "negative_guidance", NegativeGuidance.of(self.negative_guidance))
        object.__setattr__(self, "weighting", Weighting.of(self.weighting))
        check_choice("dialect", self.dialect, DIALECTS)
        if self.clip_skip is not None:
            check_integer("clip_skip", self.clip_skip, 0, MAX_CLIP_SKIP)
        check_integer("num_inference_steps", self.num_inference_steps, 1, MAX_STEPS)
        if self.guidance_scale is not None:
            check_number("guidance_scale", self.guidance_scale, 0, MAX_GUIDANCE)
        number = check_integer("num_images_per_prompt", self.num_images_per_prompt, 1, MAX_IMAGES)
        if self.seed is not None:
            check_integer("seed", self.seed, 0, MAX_SEED - number + 1)
        for name in ("height", "width"):
            if (side := getattr(self, name)) is not None:
                check_integer(name, side, 1, MAX_SIDE)
        if self.edit is not None and not isinstance(self.edit, PromptEdit):
            object.__setattr__(self, "edit", PromptEdit(self.edit))
        if self.edit is not None and self.targets:
            raise SettingError(message("edit-targets"))

    @classmethod
    def from_keywords(cls, base: GenerateOptions | None, keywords: Mapping[str, Any]) -> GenerateOptions:
        """Return `base` with some fields replaced; keywords that are not fields go to the pipeline.

        Raises:
            SettingError: a value is outside its range.
        """
        base = base or cls()
        known = {each.name for each in fields(cls)}
        changes = {name: value for name, value in keywords.items() if name in known}
        others = {name: value for name, value in keywords.items() if name not in known}
        if others:
            earlier = changes.get("pipeline_kwargs", base.pipeline_kwargs)
            changes["pipeline_kwargs"] = {**earlier, **others}
        return replace(base, **changes) if changes else base

    def choose_seeds(self) -> tuple[int, ...]:
        """Return consecutive seeds, one for each image; the first is random if `seed` is None."""
        number = self.num_images_per_prompt
        first = secrets.randbelow(2**32 - number) if self.seed is None else self.seed
        return tuple(range(first, first + number))


def check_prompt(name: str, prompt: object) -> None:
    """Check the type and length of a prompt.

    Raises:
        SettingError: the prompt is neither text nor parsed, or is longer than `MAX_PROMPT_LENGTH`.
    """
    source = prompt if isinstance(prompt, str) else getattr(prompt, "source", None)
    if not isinstance(source, str):
        raise SettingError(message("prompt-type", name=name, kind=type(prompt).__name__))
    if len(source) > MAX_PROMPT_LENGTH:
        raise SettingError(message("prompt-too-long", length=len(source), most=MAX_PROMPT_LENGTH))
