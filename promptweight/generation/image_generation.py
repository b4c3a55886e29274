"""The one way from a prompt to pictures and maps; the app, the command line and scripts all call it.

    result = generate("um (gato:1.4) vermelho", "mini", seed=1)
    result.save("out", overlays=["gato"])

This module itself is light; torch and diffusers are imported when `generate` is called.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal

from promptweight.generation.arguments import (
    check_arguments,
    collect_settings,
    find_unused_settings,
    open_pipeline,
)
from promptweight.generation.pipeline_run import Callback, GeneratedImage, Progress, join_maps, run_pipeline
from promptweight.generation.result import Result

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from promptweight.attention import Record, ShareResult
    from promptweight.prompt import Prompt

__all__ = ["Callback", "Progress", "generate"]


def generate(
    prompt: str | Prompt,
    model: str | os.PathLike[str] | DiffusionPipeline = "mini",
    *,
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
    on_picture: Callable[[Result], object] | None = None,
) -> Result:
    """Make pictures of `prompt` and records where each of its words went.

    Pictures are made one by one, each from a seed of its own (`seed`, `seed + 1`, …) drawn on the CPU, so a
    picture is the same to the last bit whatever others are made with it.

    Args:
        prompt: the prompt, in `dialect`, or already parsed. `[from:to:when]` and `[a|b]` change it while a
            picture is made, at the steps at which AUTOMATIC1111 does; parts that AND joins are each shown to
            the model, and their predictions composed by their weights.
        model: a pipeline, or what `promptweight.load` takes.
        negative_prompt: what should not be in the picture.
        method: how weights act on the embeddings, a name in `promptweight.weighting.METHODS`; None is the
            usual one of each text encoder.
        normalizer: how the weights are evened out before `method` uses them, a name in
            `promptweight.weighting.NORMALIZERS`; None leaves them as they are.
        space: `embedding`, or `attention` to let the weights act in the model's attention instead.
        mode: how weights act in attention: on the logits (`logit`), on the probabilities without
            renormalising them (`p2p`), or on the values (`value`); or inside the CLIP text encoders (`clip`),
            where every token heeds a word by its weight, and a T5 is left alone.
        clip_skip: how many of the last layers of the CLIP text encoders are left out, 0 or more.
        pooled: whether the pooled text vector, where the model has one, is of the `clean` text or `weighted`.
        dialect: how prompts given as text are read.
        num_inference_steps: 1 .. 1000.
        guidance_scale: 0 .. 100; None is the model's own default.
        seed: 0 .. 2⁶³ − 1, less the number of pictures; None draws one.
        num_images_per_prompt: 1 .. 1000.
        height: in pixels, a multiple of what the model's autoencoder and patches ask for (mostly 8); None
            is the model's own size. The same for `width`.
        targets: shares of the words' attention, above 0 and below 1, by phrase: at every step weights in
            attention are found that give each phrase its share, as `(gato:=25%)` in the prompt does.
        balance: True for weights, found likewise, that give the phrases of the prompt equal shares among each
            other, so that none is forgotten; or the phrases that are to have them.
        record: whether attention is recorded, or what of it; without it there are no maps.
        lora_dir: the folder of the LoRAs that `<lora:name:weight>` in the prompt names; they are taken off
            the model again at the end.
        embeddings_dir: the folder of the textual inversions that the prompts name, likewise.
        require_words: words or phrases that the prompt must hold, checked before the model runs.
        callback: called after each step with a `Progress`; when it returns False the run stops and the
            result holds what is there: the finished pictures, and the present one as far as it got.
        on_picture: called with each picture as soon as it is there, as a result of its own, so that it can be
            saved before the next is begun.

    Raises:
        SettingError: a value outside its range.
        WordNotFoundError: a word of `require_words` is not in the prompt; lists those that are.
        ModelError: the model cannot be loaded.
        AttachError: the model's attention cannot be read.
    """
    from promptweight.models import silence_libraries

    with silence_libraries():
        from promptweight.attention import attach
        from promptweight.models import apply_adapters, find_adapters

    asked = check_arguments(
        prompt,
        negative_prompt,
        dialect=dialect,
        seed=seed,
        pictures=num_images_per_prompt,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        method=method,
        normalizer=normalizer,
        space=space,
        mode=mode,
        clip_skip=clip_skip,
        pooled=pooled,
    )
    read, negative = asked.prompts
    steps, seeds = asked.num_inference_steps, asked.seeds
    chosen = find_adapters(
        read, negative, lora_dir=lora_dir, embeddings_dir=embeddings_dir, num_inference_steps=steps
    )

    pipe = open_pipeline(model)
    call = asked.call(pipe, height, width)
    weighting = dict(asked.weighting)
    if targets:
        weighting["targets"] = dict(targets)
    if balance is not False:
        weighting["balance"] = balance if balance is True else list(balance)
    made: list[GeneratedImage] = []
    found: list[tuple[ShareResult, ...]] = []

    def result(first: int) -> Result:
        """Return what has been made from the picture with index `first` on."""
        told = [
            each.told(number)
            for number, of_picture in enumerate(found[first:], first + 1)
            for each in of_picture
        ]
        warnings = [*chosen.warnings, *session.warnings, *told, *find_unused_settings(call, weighting, negative)]
        pictures, last = made[first:], made[-1]
        images = tuple(picture.image for picture in pictures if picture.image is not None)
        return Result(
            images=images,
            maps=join_maps([picture.maps for picture in pictures if picture.maps is not None]),
            prompt=read,
            negative_prompt=negative,
            words=session.words(),
            seeds=seeds[first : first + len(images)],
            settings=collect_settings(pipe, read, negative, weighting, chosen, call),
            warnings=tuple(
                dict.fromkeys([*warnings, *(note for each in pictures for note in each.warnings)])
            ),
            found=tuple(found[first : first + len(images)]) if any(found) else (),
            stopped_after=last.steps_done
            if last.image is not None and last.steps_done < last.steps
            else None,
        )

    with ExitStack() as stack:
        with silence_libraries():
            stack.enter_context(apply_adapters(pipe, chosen))
        session = stack.enter_context(
            attach(pipe, read, negative, record=record, num_inference_steps=steps, **weighting)
        )
        for phrase in require_words:
            session.find(phrase)
        for index, picture_seed in enumerate(seeds):
            place = (index + 1, len(seeds))
            made += run_pipeline(pipe, session, call, picture_seed, place, record, callback)
            found.append(session.found.get(0, ()))
            if on_picture is not None and made[-1].image is not None:
                on_picture(result(index))
            if made[-1].was_stopped:
                break
        return result(0)
