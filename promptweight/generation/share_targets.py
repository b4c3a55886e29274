"""Weights that give phrases a target share of the attention, solved for in one run of the model.

    solution = solve(pipe, "um gato e um rato", {"gato": 0.25}, seed=1)
    solution.weights                   # {"gato": 1.83}: one weight for the whole run
    solution.image                     # the image of that run

`promptweight.attention.control.share_solver` defines the share and the solver. `attach` and `generate` take
the same targets, and a prompt can hold them: `(gato:=25%)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptweight.generation.arguments import MAX_GUIDANCE, MAX_STEPS
from promptweight.validation import check_integer, check_number

if TYPE_CHECKING:
    from PIL import Image

    from promptweight.attention import ShareResult
    from promptweight.prompt import Prompt


@dataclass(frozen=True)
class Solution:
    """Result of `solve`.

    Attributes:
        results: for each phrase its weight and share at every step.
        image: the image of the run; None if the pipeline was stopped.
    """

    results: tuple[ShareResult, ...]
    image: Image.Image | None

    @property
    def weights(self) -> dict[str, float]:
        """One weight for each phrase: the geometric mean over the steps."""
        return {each.phrase: each.weight for each in self.results}

    @property
    def shares(self) -> dict[str, float]:
        """The share of each phrase: the mean over the steps."""
        return {each.phrase: each.share for each in self.results}


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
    """Solve for the weights in attention that give phrases their target shares.

    Args:
        pipe: a pipeline of a supported family.
        prompt: the prompt; the shares in it count too.
        targets: shares of the words' attention, above 0 and below 1, by phrase.
        balance: True for equal shares of all phrases, or the phrases that get equal shares.
        negative_prompt: the negative prompt.
        seed: seed of the CPU generator, 0 or more.
        num_inference_steps: 2 .. 1000; the first step solves for weights, the others run with them.
        guidance_scale: 0 .. 100; None for the model's default.
        settings: further arguments of `promptweight.attach`.

    Raises:
        SettingError: a value is outside its range, the targets contradict each other, or there are none.
        WordNotFoundError: a phrase is not in the prompt.
    """
    from promptweight.attention import attach
    from promptweight.errors import SettingError
    from promptweight.generation.oom_fallback import OomFallback
    from promptweight.generation.pipeline_run import run_pipeline
    from promptweight.models import get_default_guidance_scale

    steps = check_integer("num_inference_steps", num_inference_steps, 2, MAX_STEPS)
    guidance = get_default_guidance_scale(pipe) if guidance_scale is None else guidance_scale
    call = {
        "num_inference_steps": steps,
        "guidance_scale": check_number("guidance_scale", guidance, 0, MAX_GUIDANCE),
    }
    with attach(
        pipe, prompt, negative_prompt, targets=targets, balance=balance, **{"record": False} | settings
    ) as session:
        (generated,) = run_pipeline(
            pipe, session.inputs, call, (seed,), session=session, memory=OomFallback(pipe)
        )
        results = session.share_results
    if 0 not in results:
        raise SettingError(
            f"{str(prompt)!r} has no target share; pass targets, or balance two or more phrases"
        )
    return Solution(results[0], generated.image)
