"""Image editing through the prompt: an image, and one of the edited prompt in the same layout.

    result = edit("um gato vermelho", "um gato azul", seed=1)
    result.sheet().save("before-and-after.png")

Prompt-to-prompt (Hertz et al., 2022): both images are denoised at once from the same noise, and for a
fraction of the steps the edited one uses the attention of the source. torch and diffusers are imported when
`edit` is called.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from promptweight.errors import SettingError
from promptweight.generation.arguments import check_arguments, open_pipeline
from promptweight.generation.oom_fallback import OomFallback
from promptweight.generation.pipeline_run import Callback, progress_reporter, run_pipeline
from promptweight.generation.result import Result
from promptweight.generation.result_builder import build_result
from promptweight.messages import message

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from PIL import Image

    from promptweight.models import Adapters
    from promptweight.prompt import Prompt
    from promptweight.weighting import AttachMode, Pooled, Space


@dataclass(frozen=True)
class Edit:
    """Results of one call of `edit`.

    Attributes:
        source: the image of the source prompt.
        edited: the image of the edited prompt.
    """

    source: Result
    edited: Result

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings of both images, each once."""
        return tuple(dict.fromkeys([*self.source.warnings, *self.edited.warnings]))

    def sheet(self) -> Image.Image:
        """Return the two images side by side, each with its prompt under it.

        Raises:
            SettingError: the run was stopped before the images existed.
        """
        from promptweight.render import contact_sheet, enlarge

        images = [enlarge(image, 256) for result in self for image in result.images]
        if len(images) < 2:
            raise SettingError("the run was stopped before its images existed")
        return contact_sheet(images, [result.prompt.text for result in self], columns=2)

    def save(
        self, directory: str | os.PathLike[str], *, metadata: Collection[str] | None = None
    ) -> list[Path]:
        """Write the source, the edited image and their sheet (`….edit.png`), and return the paths.

        Files are named, numbered and written as by `Result.save`.

        Args:
            directory: the folder; it is created if it does not exist.
            metadata: as in `Result.save`.

        Raises:
            SettingError: a part of the metadata is not valid.
            OSError: a file cannot be written; complete files stay.
        """
        from promptweight.atomic_files import save_png
        from promptweight.metadata import METADATA_PARTS, build_png_info

        parts = METADATA_PARTS if metadata is None else metadata
        files = [each for result in self for each in result.save(directory, metadata=parts)]
        if len(files) < 2:
            return files
        path = files[-1].with_name(f"{files[-1].stem}.edit.png")
        save_png(self.sheet(), path, build_png_info(self.edited.record(), self.edited.infotext(), parts))
        return [*files, path]

    def __iter__(self) -> Iterator[Result]:
        """Iterate over the source and the edited result."""
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
    space: Space = "embedding",
    mode: AttachMode = "logit",
    clip_skip: int | None = None,
    pooled: Pooled = "clean",
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
    """Generate the image of a prompt, and that of an edited prompt with the attention of the first.

    The source image is that of `generate` with the same seed, up to the rounding of a larger batch. Recorded
    maps are of the attention after the edit. Where a word's attention comes from the source, a weight in the
    edited prompt acts on its value, not on its logit. Prompts may change during denoising; at every step the
    words of the two current texts are paired.

    Args:
        source_prompt: the prompt of the source image.
        edited_prompt: the prompt of the edited image.
        model: a pipeline of a supported family, or what `promptweight.load` takes.
        kind: `replace` swaps words, each taking the attention of the word at its position, whatever the
            number of their tokens; `refine` adds or removes words, and the words of both prompts keep the
            attention of the source.
        cross_replace_steps: first fraction of the steps in which words take the source's attention, 0 .. 1.
        self_replace_steps: first fraction of the steps in which the image takes the source's self-attention,
            0 .. 1; a larger one keeps more of the layout.
        negative_prompt: for both images; this and the following arguments as in `promptweight.generate`,
            except that LoRAs are those of the source prompt.
        method: as in `promptweight.generate`, like all arguments below.
        normalizer: likewise.
        space: likewise.
        mode: likewise.
        clip_skip: likewise.
        pooled: likewise.
        dialect: likewise.
        num_inference_steps: likewise.
        guidance_scale: likewise.
        seed: likewise.
        height: likewise.
        width: likewise.
        record: whether attention is recorded.
        lora_dir: likewise.
        embeddings_dir: likewise.
        callback: likewise.

    Raises:
        SettingError: a value is outside its range; with `replace`, a word has no counterpart; a prompt has
            AND.
        ModelError: the model cannot be loaded.
        AttachError: the attention of the model cannot be recorded.
    """
    from promptweight.models import silence_libraries

    with silence_libraries():
        from promptweight.attention import PromptToPrompt, attach
        from promptweight.models import apply_adapters, find_adapters

    prompt_to_prompt = PromptToPrompt(kind, cross_replace_steps, self_replace_steps)
    arguments = check_arguments(
        source_prompt,
        edited_prompt,
        negative_prompt,
        dialect=dialect,
        seed=seed,
        num_images=1,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        method=method,
        normalizer=normalizer,
        space=space,
        mode=mode,
        clip_skip=clip_skip,
        pooled=pooled,
    )
    source, edited, negative = arguments.prompts
    prompts, steps, weighting = (source, edited), arguments.num_inference_steps, arguments.weighting
    folders: dict[str, Any] = {
        "lora_dir": lora_dir,
        "embeddings_dir": embeddings_dir,
        "num_inference_steps": steps,
    }
    adapters = _merge_adapters(find_adapters(source, negative, **folders), find_adapters(edited, **folders))

    pipe = open_pipeline(model)
    call = arguments.pipeline_kwargs(pipe, height, width)
    with ExitStack() as stack:
        with silence_libraries():
            stack.enter_context(apply_adapters(pipe, adapters))
        session = stack.enter_context(
            attach(
                pipe,
                prompts,
                negative,
                edit=prompt_to_prompt,
                record=record,
                num_inference_steps=steps,
                **weighting,
            )
        )
        images = run_pipeline(
            pipe,
            session.inputs,
            call,
            arguments.seeds * 2,
            session=session,
            records=record,
            memory=OomFallback(pipe),
            on_step=progress_reporter(callback, session),
        )
        about = {**asdict(prompt_to_prompt), "source": source.source, "edited": edited.source}
        results = [
            build_result(
                pipe,
                (image,),
                prompt=prompt,
                negative_prompt=negative,
                words=session.words(prompt=index),
                seeds=arguments.seeds,
                weighting=weighting,
                call=call,
                adapters=adapters,
                warnings=session.warnings,
                more_settings={"edit": about},
            )
            for index, (image, prompt) in enumerate(zip(images, prompts, strict=True))
        ]
    return Edit(*results)


def _merge_adapters(source: Adapters, edited: Adapters) -> Adapters:
    """Return the adapters of two prompts; LoRAs of the source alone, because they act on the whole model."""
    warnings = [*source.warnings, *edited.warnings]
    if ignored := sorted(edited.loras.keys() - source.loras.keys()):
        warnings.append(message("edit-loras", names=", ".join(map(repr, ignored))))
    return replace(
        source,
        embeddings={**source.embeddings, **edited.embeddings},
        warnings=tuple(dict.fromkeys(warnings)),
    )
