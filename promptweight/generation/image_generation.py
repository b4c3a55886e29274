"""Image generation: `generate` makes images and attention maps from one prompt.

    result = generate("um (gato:1.4) vermelho", "mini", seed=1)
    result.save("out", overlays=["gato"])

The app, the command line and scripts all call it. torch and diffusers are imported when it is called.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from promptweight.generation.arguments import check_arguments, open_pipeline
from promptweight.generation.oom_fallback import OomFallback
from promptweight.generation.pipeline_run import (
    Callback,
    GeneratedImage,
    Progress,
    progress_reporter,
    run_pipeline,
)
from promptweight.generation.result import Result
from promptweight.generation.result_builder import build_result

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from promptweight.attention import Record, ShareResult
    from promptweight.prompt import Prompt
    from promptweight.weighting import AttachMode, Pooled, Space

__all__ = ["Callback", "Progress", "generate"]


def generate(
    prompt: str | Prompt,
    model: str | os.PathLike[str] | DiffusionPipeline = "mini",
    *,
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
    num_images_per_prompt: int = 1,
    height: int | None = None,
    width: int | None = None,
    targets: Mapping[str, float] | None = None,
    balance: bool | Sequence[str] = False,
    record: bool | Record = True,
    lora_dir: str | os.PathLike[str] | None = None,
    embeddings_dir: str | os.PathLike[str] | None = None,
    require_words: Sequence[str] = (),
    callback: Callback | None = None,
    on_image: Callable[[Result], object] | None = None,
) -> Result:
    """Generate images of `prompt` and record the attention of each of its words.

    Images are drawn one by one, each with a seed of its own (`seed`, `seed + 1`, …) for a generator on the
    CPU, so an image has the same bits whatever other images are drawn with it. If memory is short when an
    image is decoded, it is decoded in tiles, with a warning.

    Args:
        prompt: the prompt, in `dialect`, or a parsed one. `[from:to:when]` and `[a|b]` change it during
            denoising, at the same steps as in AUTOMATIC1111; the model predicts each part of an AND prompt by
            itself, and the predictions are composed by their weights.
        model: a pipeline, or what `promptweight.load` takes.
        negative_prompt: the negative prompt.
        method: how weights act on the embeddings, a name in `promptweight.weighting.METHODS`; None for the
            default of each text encoder.
        normalizer: how the weights are normalized before `method` uses them, a name in
            `promptweight.weighting.NORMALIZERS`; None leaves them unchanged.
        space: `embedding`, or `attention` for weights in the model's attention.
        mode: how weights act in attention: on the logits (`logit`), on the probabilities without
            renormalization (`p2p`), on the values (`value`), or on the self-attention inside the CLIP text
            encoders (`clip`), where every token attends to a word by its weight and a T5 gets no weights.
        clip_skip: number of last layers of the CLIP text encoders to skip, 0 or more.
        pooled: text of the pooled vector, where the model has one: `clean` or `weighted`.
        dialect: syntax of prompts that are passed as text.
        num_inference_steps: 1 .. 1000.
        guidance_scale: 0 .. 100; None for the model's default.
        seed: 0 .. 2⁶³ - the number of images; None for a random one.
        num_images_per_prompt: 1 .. 1000.
        height: height in pixels, a multiple of the size of the model's latents and patches (mostly 8); None
            for the model's default. The same for `width`.
        width: width in pixels.
        targets: shares of the words' attention, above 0 and below 1, by phrase: at every step weights in
            attention are solved for that give each phrase its share, as `(gato:=25%)` in the prompt does.
        balance: True for equal shares of all phrases of the prompt, solved for likewise, so that none is left
            out; or the phrases that get equal shares.
        record: whether attention is recorded, or what of it; False gives no maps.
        lora_dir: folder of the LoRAs that `<lora:name:weight>` in the prompt names; they are removed from the
            model at the end.
        embeddings_dir: folder of the textual inversions that the prompts name, likewise.
        require_words: words or phrases that the prompt must contain, checked before the model runs.
        callback: called after each step with a `Progress`; when it returns False, the run stops and the
            result holds the finished images and the current, unfinished one.
        on_image: called with each finished image as a result of its own, before the next image begins.

    Returns:
        The images with their maps, settings and warnings.

    Raises:
        SettingError: a value is outside its range.
        WordNotFoundError: a word of `require_words` is not in the prompt; lists its words.
        ModelError: the model cannot be loaded.
        AttachError: the attention of the model cannot be recorded.
    """
    from promptweight.models import silence_libraries

    with silence_libraries():
        from promptweight.attention import attach
        from promptweight.models import apply_adapters, find_adapters

    arguments = check_arguments(
        prompt,
        negative_prompt,
        dialect=dialect,
        seed=seed,
        num_images=num_images_per_prompt,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        method=method,
        normalizer=normalizer,
        space=space,
        mode=mode,
        clip_skip=clip_skip,
        pooled=pooled,
    )
    parsed, negative = arguments.prompts
    steps, seeds = arguments.num_inference_steps, arguments.seeds
    adapters = find_adapters(
        parsed, negative, lora_dir=lora_dir, embeddings_dir=embeddings_dir, num_inference_steps=steps
    )

    pipe = open_pipeline(model)
    call = arguments.pipeline_kwargs(pipe, height, width)
    weighting = dict(arguments.weighting)
    if targets:
        weighting["targets"] = dict(targets)
    if balance is not False:
        weighting["balance"] = balance if balance is True else list(balance)
    memory = OomFallback(pipe)
    images: list[GeneratedImage] = []
    shares: list[tuple[ShareResult, ...]] = []

    def result_from(first: int) -> Result:
        """Return the result of the images from index `first` on."""
        return build_result(
            pipe,
            images[first:],
            prompt=parsed,
            negative_prompt=negative,
            words=session.words(),
            seeds=seeds[first:],
            weighting=weighting,
            call=call,
            adapters=adapters,
            warnings=session.warnings,
            shares=shares[first:],
            first_number=first + 1,
        )

    with ExitStack() as stack:
        with silence_libraries():
            stack.enter_context(apply_adapters(pipe, adapters))
        session = stack.enter_context(
            attach(pipe, parsed, negative, record=record, num_inference_steps=steps, **weighting)
        )
        for phrase in require_words:
            session.find(phrase)
        for index, image_seed in enumerate(seeds):
            images += run_pipeline(
                pipe,
                session.inputs,
                call,
                (image_seed,),
                session=session,
                records=bool(record),
                memory=memory,
                number=index + 1,
                on_step=progress_reporter(callback, session, index + 1, len(seeds)),
            )
            shares.append(session.share_results.get(0, ()))
            if on_image is not None and images[-1].image is not None:
                on_image(result_from(index))
            if images[-1].was_stopped:
                break
        return result_from(0)
