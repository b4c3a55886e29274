"""Warnings about fields of a weighting without effect on the prompts that are encoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from promptweight.conditioning.families import Family
from promptweight.conditioning.prompt_embeds import EncodingSettings
from promptweight.messages import Message, message
from promptweight.prompt import Prompt
from promptweight.weighting import CLIP_ATTENTION, DefaultWeighting, Weighting


def find_unused_fields(
    given: Weighting, prompts: Sequence[Prompt], family: Family, settings: EncodingSettings
) -> Iterator[Message]:
    """Yield a warning for each field of the weighting that cannot act on any word of the prompts.

    A session passes `layers` and `steps` to weights that are set during the run, so that it has no warning
    about them.

    Args:
        given: the weighting of the caller, without the model's calibration.
        prompts: the prompts and negative prompts.
        family: the family of the pipeline.
        settings: the settings of the encoding.
    """
    written = [prompt for prompt in prompts if prompt.text.strip()]
    if not written:
        return
    pools = any(_reaches_pooled(prompt, settings) for prompt in written)
    if given.pooled == "weighted" and not family.pooled:
        yield message("pooled-missing", family=family.name)
    elif given.pooled == "weighted" and not pools:
        yield message("pooled-unused", weighting=str(given))
    acts = any(_reaches_encoders(prompt, family, settings) for prompt in written)
    if given.normalizer != "none" and not acts and not (pools and family.pooled and given.pooled != "clean"):
        yield message("normalizer-unused", name=given.normalizer, weighting=str(given))
    if any(given.is_presence(prompt.dialect) for prompt in written):
        if given.gain is not None and not settings.in_session:
            yield message("gain-needs-session", gain=given.gain)
    elif given.dial or given.gain is not None:
        yield message("calibration-unused", weighting=str(given))
    if (given.layers or given.steps is not None) and not settings.in_session:
        yield message("attention-fields-unused", weighting=str(given))


def _reaches_encoders(prompt: Prompt, family: Family, settings: EncodingSettings) -> bool:
    """Return whether a weight of a prompt may act on the rows for the denoiser or inside their encoder."""
    used = _list_weightings(prompt, settings)
    kinds = [kind for section in family.sections for kind in section]
    if CLIP_ATTENTION in used and any(kind.is_clip for kind in kinds):
        return True
    methods = {settings.choose_method(kind, prompt.dialect).name for kind in kinds}
    return not used.isdisjoint(("embedding", "split")) and methods != {"none"}


def _reaches_pooled(prompt: Prompt, settings: EncodingSettings) -> bool:
    """Return whether a weight of a prompt may act on a pooled vector of the weighted text.

    The method `presence` weakens words in any pooled vector, and a session splits off its weights above 1.
    """
    return not _list_weightings(prompt, settings).isdisjoint(("embedding", CLIP_ATTENTION))


def _list_weightings(prompt: Prompt, settings: EncodingSettings) -> Set[DefaultWeighting]:
    """Return the default weighting of a prompt's words and those of their own options."""
    options = {span.options.weighting for span in prompt.spans}
    return {settings.word_default(prompt.dialect)} | {option for option in options if option is not None}
