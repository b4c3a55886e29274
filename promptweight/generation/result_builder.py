"""Assembly of a `Result` from the images of pipeline runs, their settings and their warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from promptweight.generation.options import GenerateOptions
from promptweight.generation.pipeline_run import GeneratedImage, join_maps
from promptweight.generation.result import Result
from promptweight.generation.settings_record import collect_settings, find_unused_settings
from promptweight.generation.vocabulary_warning import find_unknown_words

if TYPE_CHECKING:
    from promptweight.attention import ShareResult
    from promptweight.conditioning import Word
    from promptweight.messages import Message
    from promptweight.models import Adapters
    from promptweight.prompt import Prompt
    from promptweight.protocols import Pipeline


def build_result(
    pipe: Pipeline,
    images: Sequence[GeneratedImage],
    *,
    prompt: Prompt,
    negative_prompt: Prompt,
    words: tuple[Word, ...],
    seeds: Sequence[int],
    options: GenerateOptions,
    call: dict[str, Any],
    adapters: Adapters,
    warnings: Sequence[Message] = (),
    shares: Sequence[Sequence[ShareResult]] = (),
    first_number: int = 1,
    more_settings: Mapping[str, Any] | None = None,
) -> Result:
    """Return the result of one or more images of one prompt.

    Args:
        pipe: the pipeline that drew them.
        images: the images of the runs, in the order of their seeds.
        prompt: the parsed prompt.
        negative_prompt: the parsed negative prompt.
        words: the words of the prompt.
        seeds: seeds of `images`.
        options: the options of the call.
        call: keyword arguments of the pipeline.
        adapters: LoRAs and textual inversions of the prompts.
        warnings: warnings of the encoding and the session.
        shares: for each image, the results of its target shares.
        first_number: number of the first image in warnings.
        more_settings: further entries of the settings.
    """
    finished = [each for each in images if each.image is not None]
    last = images[-1]
    share_warnings = [
        share.summary(number) for number, of_image in enumerate(shares, first_number) for share in of_image
    ]
    all_warnings = [
        *adapters.warnings,
        *warnings,
        *share_warnings,
        *find_unused_settings(pipe, options, call, prompt, negative_prompt),
        *find_unknown_words(pipe, prompt),
        *(warning for each in images for warning in each.warnings),
    ]
    return Result(
        images=tuple(each.image for each in finished if each.image is not None),
        maps=join_maps([each.maps for each in images if each.maps is not None]),
        prompt=prompt,
        negative_prompt=negative_prompt,
        words=words,
        seeds=tuple(seeds[: len(finished)]),
        settings={
            **collect_settings(pipe, prompt, negative_prompt, options, adapters, call),
            **({"vae_tiling": True} if any(each.was_tiled for each in images) else {}),
            **(more_settings or {}),
        },
        warnings=tuple(dict.fromkeys(all_warnings)),
        shares=tuple(map(tuple, shares[: len(finished)])) if any(shares) else (),
        stopped_after=last.steps_done if last.image is not None and last.steps_done < last.steps else None,
    )
