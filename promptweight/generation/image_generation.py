"""Image generation: `generate` makes images and attention maps from one prompt, `generate_iter` from many.

    result = generate("mini", "um (gato:1.4) vermelho", seed=1)
    result.save("out", overlays=["gato"])

The app, the command line and scripts all call them. torch and diffusers are imported when they are called.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from promptweight.errors import SettingError, WordNotFoundError
from promptweight.generation.oom_fallback import OomFallback
from promptweight.generation.options import MAX_SEED, GenerateOptions, PromptEdit, check_prompt
from promptweight.generation.pipeline_call import build_call, count_steps, get_encoded_image, open_pipeline
from promptweight.generation.pipeline_run import Callback, GeneratedImage, progress_reporter, run_pipeline
from promptweight.generation.result import Result
from promptweight.generation.result_builder import build_result
from promptweight.messages import message
from promptweight.prompt import ParseTree, Prompt, as_prompt
from promptweight.validation import check_integer

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from promptweight.attention import AttentionSession, ShareResult
    from promptweight.conditioning import ScheduledEncoding
    from promptweight.models import Adapters, LoraSet


def generate(
    pipe: str | os.PathLike[str] | DiffusionPipeline,
    prompt: str | Prompt | ParseTree,
    *,
    options: GenerateOptions | None = None,
    callback: Callback | None = None,
    on_image: Callable[[Result], object] | None = None,
    **keywords: Any,
) -> Result:
    """Generate images of `prompt` and record the attention of each of its words.

    Images are drawn one by one, each with a seed of its own (`seed`, `seed + 1`, …) for a generator on the
    CPU, so an image has the same bits whatever other images are drawn with it. If memory is short when an
    image is decoded, it is decoded in tiles, with a warning.

    Args:
        pipe: a pipeline, or what `promptweight.load` takes.
        prompt: the prompt, in the dialect of the options, or a parsed one. `[from:to:when]` and `[a|b]`
            change it during denoising; the model predicts each part of an AND prompt by itself, and the
            predictions are composed by their weights.
        options: the options; None for the defaults.
        callback: called after each step with a `Progress`; when it returns False, the run stops and the
            result holds the finished images and the current, unfinished one.
        on_image: called with each finished image as a result of its own, before the next image begins.
        keywords: fields of `GenerateOptions` in place of those of `options`, such as `seed=1`,
            `negative_prompt="blurry"`, `weighting="attention"`, `targets={"cat": 0.25}` or `edit="a dog"`;
            all others, such as `true_cfg_scale=4` or `image=picture`, are arguments of the pipeline.

    Returns:
        The images with their maps, settings and warnings.

    Raises:
        SettingError: a value is outside its range, or the pipeline has no such argument; with an edit, a word
            has no counterpart, or a prompt has AND.
        WordNotFoundError: a word of `require_words` is not in the prompt; lists its words.
        ModelError: the model cannot be loaded.
        AttachError: the attention of the model cannot be recorded.
    """
    run = _Run.prepare(pipe, prompt, GenerateOptions.from_keywords(options, keywords))
    seeds = run.options.choose_seeds()
    images: list[tuple[GeneratedImage, ...]] = []
    shares: list[tuple[ShareResult, ...]] = []
    with run.attach() as session:
        for index, seed in enumerate(seeds):
            on_step = progress_reporter(callback, session, index + 1, len(seeds))
            images.append(run.draw(session, seed, index + 1, on_step))
            shares.append(session.share_results.get(0, ()))
            is_finished = images[-1][0].image is not None
            if on_image is not None and is_finished:
                on_image(run.result(session, images[index:], seeds[index:], shares[index:], index + 1))
            if images[-1][0].was_stopped:
                break
        return run.result(session, images, seeds, shares)


def generate_iter(
    pipe: str | os.PathLike[str] | DiffusionPipeline,
    prompt: str | Prompt | ParseTree | Iterable[str | Prompt | ParseTree],
    *,
    seeds: Iterable[int] | None = None,
    options: GenerateOptions | None = None,
    **keywords: Any,
) -> Iterator[Result]:
    """Generate one image for each prompt and seed, and yield each as a result of its own.

        for result in generate_iter(pipe, "a (red:1.4) cat", seeds=range(100)):
            result.save("out")

    A prompt is parsed and encoded once for all its seeds. Between two results the pipeline is unchanged, so
    that it may be used for something else.

    Args:
        pipe: as in `generate`.
        prompt: a prompt, or prompts.
        seeds: the seeds of each prompt; None for that of the options.
        options: as in `generate`.
        keywords: as in `generate`; `seed` and `num_images_per_prompt` give the seeds if `seeds` is None.

    Raises:
        SettingError, WordNotFoundError, ModelError, AttachError: as `generate` raises them.
    """
    checked = GenerateOptions.from_keywords(options, keywords)
    opened = open_pipeline(pipe)
    prompts: Iterable[Any] = [prompt]
    if isinstance(prompt, Iterable) and not isinstance(prompt, (str, Prompt, ParseTree)):
        prompts = prompt
    if not (seeds is None or isinstance(seeds, Iterable)):
        raise SettingError(message("seeds-type", kind=type(seeds).__name__))
    known_seeds = None if seeds is None else [check_integer("seeds", seed, 0, MAX_SEED) for seed in seeds]
    for each in prompts:
        run = _Run.prepare(opened, each, checked)
        for seed in checked.choose_seeds() if known_seeds is None else known_seeds:
            with run.attach() as session:
                images = run.draw(session, seed)
                result = run.result(session, [images], (seed,), [session.share_results.get(0, ())])
            yield result


@dataclass
class _Run:
    """Generation of one prompt, or of a prompt and an edited one, with one pipeline."""

    pipe: Any
    prompts: tuple[Prompt, ...]
    negative_prompt: Prompt
    options: GenerateOptions
    adapters: Adapters
    call: dict[str, Any]
    memory: OomFallback
    scheduler: Any
    _encoded: ScheduledEncoding | None = field(default=None, repr=False)
    _loras: LoraSet | None = field(default=None, repr=False)

    @classmethod
    def prepare(cls, pipe: Any, prompt: str | Prompt | ParseTree, options: GenerateOptions) -> _Run:
        """Parse the prompts, find the files of their adapters, and open the pipeline, in this order."""
        from promptweight.models import find_adapters, make_scheduler

        check_prompt("prompt", prompt)
        edit = options.edit
        texts: tuple[Any, ...] = (prompt, edit.prompt) if isinstance(edit, PromptEdit) else (prompt,)
        prompts = tuple(as_prompt(each, options.dialect) for each in texts)
        negative = as_prompt(options.negative_prompt, options.dialect)
        adapters = [
            find_adapters(
                each,
                *([negative] if each is prompts[0] else []),
                lora_dir=options.lora_dir,
                embeddings_dir=options.embeddings_dir,
                num_inference_steps=options.num_inference_steps,
            )
            for each in prompts
        ]
        opened = open_pipeline(pipe)
        scheduler = opened.scheduler
        if options.scheduler is not None:
            scheduler = make_scheduler(options.scheduler, scheduler)
        return cls(
            opened,
            prompts,
            negative,
            options,
            adapters[0] if len(adapters) == 1 else _merge_adapters(*adapters),
            build_call(opened, options),
            OomFallback(opened),
            scheduler,
        )

    @contextmanager
    def attach(self) -> Iterator[AttentionSession]:
        """Give the pipeline its adapters and its scheduler, and enter a session."""
        from promptweight.attention import PromptToPrompt, attach
        from promptweight.conditioning import encode_scheduled, read_lora_scale
        from promptweight.models import apply_adapters, silence_libraries

        options, edit = self.options, self.options.edit
        with ExitStack() as stack:
            with silence_libraries():
                self._loras = stack.enter_context(apply_adapters(self.pipe, self.adapters))
            stack.enter_context(use_scheduler(self.pipe, self.scheduler))
            if self._encoded is None:
                self._encoded = encode_scheduled(
                    self.pipe,
                    self.prompts,
                    self.negative_prompt,
                    num_inference_steps=count_steps(self.pipe, self.call),
                    weighting=options.weighting,
                    clip_skip=options.clip_skip,
                    lora_scale=read_lora_scale(options.pipeline_kwargs),
                    image=get_encoded_image(self.pipe, options),
                    in_session=True,
                )
            session = stack.enter_context(
                attach(
                    self.pipe,
                    self._encoded,
                    targets=options.targets,
                    record=options.record,
                    negative_guidance=options.negative_guidance,
                    edit=PromptToPrompt(edit.kind, edit.cross_replace_steps, edit.self_replace_steps)
                    if isinstance(edit, PromptEdit)
                    else None,
                )
            )
            _check_words(session, options.require_words, len(self.prompts))
            yield session

    def draw(
        self,
        session: AttentionSession,
        seed: int,
        number: int = 1,
        on_step: Callable[[int, int, Any], bool] | None = None,
    ) -> tuple[GeneratedImage, ...]:
        """Draw the image of a seed, and with an edit the edited one."""
        return run_pipeline(
            self.pipe,
            session.inputs,
            self.call,
            (seed,) * len(self.prompts),
            session=session,
            records=bool(self.options.record),
            memory=self.memory,
            number=number,
            on_step=on_step,
            loras=self._loras,
        )

    def result(
        self,
        session: AttentionSession,
        images: list[tuple[GeneratedImage, ...]],
        seeds: tuple[int, ...],
        shares: list[tuple[ShareResult, ...]],
        first_number: int = 1,
    ) -> Result:
        """Return the result of images, each with its edited one."""
        edit, more_settings = self.options.edit, {}
        if isinstance(edit, PromptEdit):
            about = {name: value for name, value in asdict(edit).items() if name != "prompt"}
            source, edited = (each.source for each in self.prompts)
            more_settings = {"edit": {**about, "source": source, "edited": edited}}
        results = [
            build_result(
                self.pipe,
                [each[index] for each in images],
                prompt=prompt,
                negative_prompt=self.negative_prompt,
                words=session.words(prompt=index),
                seeds=seeds,
                options=self.options,
                call=self.call,
                adapters=self.adapters,
                warnings=[*(self._loras.warnings if self._loras else ()), *session.warnings],
                shares=shares if index == 0 else (),
                first_number=first_number,
                more_settings=more_settings,
            )
            for index, prompt in enumerate(self.prompts)
        ]
        return replace(results[0], edited=results[1]) if len(results) > 1 else results[0]


@contextmanager
def use_scheduler(pipe: Any, scheduler: Any) -> Iterator[None]:
    """Give the pipeline a scheduler, and its own one back at the end."""
    own = pipe.scheduler
    pipe.scheduler = scheduler
    try:
        yield
    finally:
        pipe.scheduler = own


def _check_words(session: AttentionSession, phrases: Sequence[str], prompts: int) -> None:
    """Check that the prompt, or the edited one, contains each phrase."""
    for phrase in phrases:
        for index in reversed(range(prompts)):
            try:
                session.find(phrase, prompt=index)
                break
            except WordNotFoundError:
                if index == 0:
                    raise


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
