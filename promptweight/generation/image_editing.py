"""Editing a picture through its prompt: the picture of a source prompt, and of an edited one in its layout.

    made = edit("um gato vermelho", "um gato azul", seed=1)
    made.sheet().save("before-and-after.png")

Prompt-to-prompt (Hertz et al., 2022): both pictures are made at once from the same noise, and for a share of
the steps the edited one attends as the source does. This module is light; torch and diffusers are imported
when `edit` is called.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from promptweight.errors import SettingError
from promptweight.generation.arguments import (
    check_arguments,
    collect_settings,
    find_unused_settings,
    open_pipeline,
)
from promptweight.generation.pipeline_run import Callback, GeneratedImage, run_pipeline
from promptweight.generation.result import Result
from promptweight.messages import message

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from PIL import Image

    from promptweight.models import Adapters
    from promptweight.prompt import Prompt


@dataclass(frozen=True)
class Edit:
    """What one call of `edit` made: two results, each with its picture, its words and its maps."""

    source: Result
    edited: Result

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the person should know, in full sentences."""
        return tuple(dict.fromkeys([*self.source.warnings, *self.edited.warnings]))

    def sheet(self) -> Image.Image:
        """The two pictures side by side, each with its prompt under it.

        Raises:
            SettingError: the run was stopped before there were pictures.
        """
        from promptweight.render import contact_sheet, enlarge

        pictures = [enlarge(image, 256) for result in self for image in result.images]
        if len(pictures) < 2:
            raise SettingError("the run was stopped before there were pictures to show")
        return contact_sheet(pictures, [result.prompt.text for result in self], columns=2)

    def save(
        self, directory: str | os.PathLike[str], *, metadata: Collection[str] | None = None
    ) -> list[Path]:
        """Write the source, the edited picture and, beside it as `….edit.png`, the sheet; returns the files.

        Files are named, numbered and written as by `Result.save`, which tells what `metadata` is.

        Raises:
            SettingError: there is no such metadata.
            OSError: the disk's own error; what was complete by then stays.
        """
        from promptweight.atomic_files import save_png
        from promptweight.metadata import METADATA_PARTS, build_png_info

        parts = METADATA_PARTS if metadata is None else metadata
        files = [each for result in self for each in result.save(directory, metadata=parts)]
        if len(files) < 2:
            return files
        path = files[-1].with_name(f"{files[-1].stem}.edit.png")
        save_png(self.sheet(), path, build_png_info(self.edited.record(), self.edited.parameters(), parts))
        return [*files, path]

    def __iter__(self) -> Iterator[Result]:
        """First the source, then the edited one."""
        return iter((self.source, self.edited))


def edit(
    source_prompt: str | Prompt,
    edited_prompt: str | Prompt,
    model: str | os.PathLike[str] | DiffusionPipeline = "mini",
    *,
    kind: Literal["replace", "refine"] = "replace",
    cross_replace_steps: float = 0.8,
    self_replace_steps: float = 0.4,
    negative_prompt: str | Prompt = "",
    method: str | None = None,
    normalizer: str | None = None,
    space: Literal["embedding", "attention"] = "embedding",
    mode: Literal["logit", "p2p", "value", "clip"] = "logit",
    clip_skip: int | None = None,
    pooled: Literal["clean", "weighted"] = "clean",
    dialect: str = "pw",
    num_inference_steps: int = 25,
    guidance_scale: float | None = None,
    seed: int | None = None,
    height: int | None = None,
    width: int | None = None,
    record: bool = True,
    lora_dir: str | os.PathLike[str] | None = None,
    embeddings_dir: str | os.PathLike[str] | None = None,
    callback: Callback | None = None,
) -> Edit:
    """Make the picture of a prompt, and that of an edited prompt with the first one's attention.

    The source picture is that of `generate` with the same seed, but for the rounding of a larger batch: the
    edit does nothing to it. Recorded maps are of the attention that acted. Where a word's attention is taken
    from the source, a weight in the edited prompt acts on its value, not on its logit. Prompts may change
    while the pictures are made; at every step the words of the two texts said then are paired.

    Args:
        source_prompt: the prompt of the first picture.
        edited_prompt: the prompt of the second.
        model: a pipeline, or what `promptweight.load` takes: every family that can be attached to.
        kind: `replace` swaps words for others, each taking the attention of the one in whose place it stands,
            whatever the number of their tokens; `refine` adds words or leaves some out, and those that are in
            both prompts keep the source's attention.
        cross_replace_steps: for which first share of the steps words take the source's attention, 0 .. 1.
        self_replace_steps: for which first share the image attends to itself as the source does, 0 .. 1;
            more keeps more of the layout.
        negative_prompt: for both pictures; this and all the others as in `promptweight.generate`, except that
            LoRAs are those of the source prompt.

    Raises:
        SettingError: a value outside its range; with `replace`, a word that stands in no other's place; AND
            in one of the two prompts.
        ModelError: the model cannot be loaded.
        AttachError: the model's attention cannot be read.
    """
    from promptweight.models import silence_libraries

    with silence_libraries():
        from promptweight.attention import PromptToPrompt, attach
        from promptweight.models import apply_adapters, find_adapters

    how = PromptToPrompt(kind, cross_replace_steps, self_replace_steps)
    asked = check_arguments(
        source_prompt,
        edited_prompt,
        negative_prompt,
        dialect=dialect,
        seed=seed,
        pictures=1,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        method=method,
        normalizer=normalizer,
        space=space,
        mode=mode,
        clip_skip=clip_skip,
        pooled=pooled,
    )
    source, edited, negative = asked.prompts
    steps, (only_seed,) = asked.num_inference_steps, asked.seeds
    where: dict[str, Any] = {
        "lora_dir": lora_dir,
        "embeddings_dir": embeddings_dir,
        "num_inference_steps": steps,
    }
    chosen = _both(find_adapters(source, negative, **where), find_adapters(edited, **where))

    pipe = open_pipeline(model)
    call, weighting = asked.call(pipe, height, width), asked.weighting
    with ExitStack() as stack:
        with silence_libraries():
            stack.enter_context(apply_adapters(pipe, chosen))
        prompts = (source, edited)
        session = attach(
            pipe, prompts, negative, edit=how, record=record, num_inference_steps=steps, **weighting
        )
        stack.enter_context(session)
        pictures = run_pipeline(pipe, session, call, only_seed, (1, 1), record, callback)
        said = [*chosen.warnings, *session.warnings, *find_unused_settings(call, weighting, negative)]
    about = {"edit": {**asdict(how), "source": source.source, "edited": edited.source}}
    return Edit(
        *(
            _result(
                picture,
                prompt,
                negative,
                words=session.words(prompt=number),
                seeds=asked.seeds,
                settings={**collect_settings(pipe, prompt, negative, weighting, chosen, call), **about},
                warnings=tuple(dict.fromkeys([*said, *picture.warnings])),
            )
            for number, (picture, prompt) in enumerate(zip(pictures, prompts, strict=True))
        )
    )


def _result(picture: GeneratedImage, prompt: Prompt, negative_prompt: Prompt, **more: Any) -> Result:
    """Return one picture as a result of its own, without any where the run was stopped before there was."""
    result = Result((), picture.maps, prompt, negative_prompt, **more)
    if picture.image is None:
        return replace(result, seeds=())
    is_unfinished = picture.steps_done < picture.steps
    return replace(
        result, images=(picture.image,), stopped_after=picture.steps_done if is_unfinished else None
    )


def _both(source: Adapters, edited: Adapters) -> Adapters:
    """Return what two prompts name together; the LoRAs of the source alone, which act on the whole model."""
    warnings = [*source.warnings, *edited.warnings]
    if edited.loras.keys() - source.loras.keys():
        names = ", ".join(map(repr, sorted(edited.loras.keys() - source.loras.keys())))
        warnings.append(
            message(
                "edit-loras",
                names=names,
            )
        )
    return replace(
        source,
        embeddings={**source.embeddings, **edited.embeddings},
        warnings=tuple(dict.fromkeys(warnings)),
    )
