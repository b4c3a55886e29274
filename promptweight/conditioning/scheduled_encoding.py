"""Encoding prompts that change during a run or are joined by AND: every text once, and when each is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from promptweight.conditioning.encoding import EncodedPrompts, Prompts, encode_prompts, paired_prompts
from promptweight.conditioning.prompt_embeds import ROLES, Role
from promptweight.conditioning.token_table import TokenTable
from promptweight.prompt import ALONE, Prompt, Script, script_of


@dataclass(frozen=True)
class ScheduledEncoding:
    """Encoded prompts that may change from step to step.

    `encoded` holds a row for every text of every prompt, one prompt after the other, all of one length.
    `scripts` tell for each prompt of the batch which texts it has, and when each is said; `firsts` the row of
    its first text.
    """

    encoded: EncodedPrompts
    scripts: Mapping[Role, tuple[Script, ...]]
    firsts: Mapping[Role, tuple[int, ...]]

    @classmethod
    def plain(cls, encoded: EncodedPrompts) -> ScheduledEncoding:
        """Prompts that were encoded as they are and stay so."""
        tables = {"positive": encoded.positive, "negative": encoded.negative}
        return cls(
            encoded,
            {role: tuple(Script((table.prompt,), (ALONE,)) for table in tables[role]) for role in ROLES},
            {role: tuple(range(len(tables[role]))) for role in ROLES},
        )

    @property
    def changes(self) -> bool:
        """Whether any prompt has more than one text."""
        return any(not script.is_plain for role in ROLES for script in self.scripts[role])

    @property
    def steps(self) -> int:
        """How many steps the changes were planned for; 1 where no prompt changes."""
        changing = [script for role in ROLES for script in self.scripts[role] if script.changes]
        return max((len(script.turns) for script in changing), default=1)

    @property
    def inputs(self) -> dict[str, Any]:
        """The keyword arguments of the pipeline's call: of every prompt the text that is said first."""
        if not self.changes:
            return dict(self.encoded.inputs)
        return {
            key: value[self._said_first("negative" if key.startswith("negative_") else "positive")]
            for key, value in self.encoded.inputs.items()
        }

    @property
    def tables(self) -> dict[Role, tuple[TokenTable, ...]]:
        """The token table of every prompt's text that is said first."""
        every = {"positive": self.encoded.positive, "negative": self.encoded.negative}
        return {role: tuple(every[role][row] for row in self._said_first(role)) for role in ROLES}

    def _said_first(self, role: Role) -> list[int]:
        pairs = zip(self.firsts[role], self.scripts[role], strict=True)
        return [first + script.at(0)[0][0] for first, script in pairs]


def encode_scheduled(
    pipe: Any,
    prompt: Prompts,
    negative_prompt: Prompts | None = "",
    *,
    num_inference_steps: int | None = None,
    dialect: str = "pw",
    **settings: Any,
) -> ScheduledEncoding:
    """Encode prompts, each with all the texts that it has in a run of `num_inference_steps` sampling steps.

    Without the number of steps, prompts that change keep the text of their first step, and a warning says so.
    All texts are evened out with empty chunks, so that the model is given one shape at every step. `settings`
    and errors are those of `encode_prompts`.
    """
    prompts, negatives = paired_prompts(prompt, negative_prompt, dialect)
    scripts: dict[Role, tuple[Script, ...]] = {
        "positive": tuple(script_of(each, num_inference_steps) for each in prompts),
        "negative": tuple(script_of(each, num_inference_steps) for each in negatives),
    }
    texts: dict[Role, list[Prompt]] = {}
    firsts: dict[Role, tuple[int, ...]] = {}
    for role in ROLES:
        texts[role], firsts[role] = laid_out(scripts[role])
    longest = max(map(len, texts.values()))
    for each in texts.values():
        each += [each[-1]] * (longest - len(each))
    negative_texts = None if negative_prompt is None else texts["negative"]
    encoded = encode_prompts(pipe, texts["positive"], negative_texts, **settings)
    return ScheduledEncoding(encoded, scripts, firsts)


def laid_out(scripts: Sequence[Script]) -> tuple[list[Prompt], tuple[int, ...]]:
    """All texts of some prompts one after the other, and where each prompt's first one is."""
    texts: list[Prompt] = []
    firsts = []
    for script in scripts:
        firsts.append(len(texts))
        texts += script.variants
    return texts, tuple(firsts)
