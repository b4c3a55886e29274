"""The weight that gives a word a wanted share of the picture, found in one run of the model.

    found = solve(pipe, "um gato e um rato", {"gato": 0.25}, seed=1)
    found.weights                      # {"gato": 1.83}: one weight for the whole run
    found.image                        # the picture made while they were looked for

What a share is, and how its weight is found, is told in `promptweight.attention.control.share_solver`. `attach` and
`generate` take the same targets, and a prompt says them itself: `(gato:=25%)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptweight import validation

if TYPE_CHECKING:
    from PIL import Image

    from promptweight.attention import ShareResult
    from promptweight.prompt import Prompt


@dataclass(frozen=True)
class Solution:
    """What `solve` found."""

    found: tuple[ShareResult, ...]
    """For each phrase its weight and share at every step."""
    image: Image.Image | None
    """The picture of that run; None where the pipeline was stopped."""

    @property
    def weights(self) -> dict[str, float]:
        """One weight for each phrase: the geometric mean of those of the steps."""
        return {each.phrase: each.weight for each in self.found}

    @property
    def shares(self) -> dict[str, float]:
        """The share that each phrase got: the mean of those of the steps."""
        return {each.phrase: each.share for each in self.found}


def solve(
    pipe: Any,
    prompt: str | Prompt,
    targets: Mapping[str, float] | None = None,
    *,
    balance: bool | Sequence[str] = False,
    negative_prompt: str | Prompt = "",
    seed: int = 0,
    num_inference_steps: int = 25,
    guidance_scale: float | None = None,
    **settings: Any,
) -> Solution:
    """Find the weights in attention that give phrases their shares.

    Args:
        pipe: a pipeline of a supported family.
        prompt: the prompt; the shares that it asks for itself count too.
        targets: shares of the words' attention, above 0 and below 1, by phrase.
        balance: True for equal shares of all phrases, or the phrases that are to get them.
        negative_prompt: what should not be in the picture.
        seed: of the CPU generator, 0 or more.
        num_inference_steps: 2 .. 1000; the first finds weights, the others run with them.
        guidance_scale: 0 .. 100; None is the model's own default.
        settings: further settings of `promptweight.attach`.

    Raises:
        SettingError: a value outside its range, targets that cannot be had together, or none at all.
        WordNotFoundError: the prompt does not hold a phrase.
    """
    from promptweight.attention import attach
    from promptweight.errors import SettingError
    from promptweight.generation.pipeline_run import run_pipeline
    from promptweight.models import default_guidance_scale

    steps = validation.check_integer("num_inference_steps", num_inference_steps, 2, 1000)
    guidance = default_guidance_scale(pipe) if guidance_scale is None else guidance_scale
    call = {
        "num_inference_steps": steps,
        "guidance_scale": validation.check_number("guidance_scale", guidance, 0, 100),
    }
    with attach(
        pipe, prompt, negative_prompt, targets=targets, balance=balance, **{"record": False} | settings
    ) as session:
        (picture,) = run_pipeline(pipe, session, call, seed, (1, 1), False, None)
        found = session.found
    if 0 not in found:
        raise SettingError(f"{str(prompt)!r} asks for no share; give targets, or balance two phrases or more")
    return Solution(found[0], picture.image)
