"""Reach of weights: how much of a phrase a weight changes in a model's prediction, and what is left at 0.

    for found in measure_reach("mini", "um (gato:0.5) vermelho").phrases:
        print(found.summary())

The numbers compare predictions ε of the denoiser at one noise level of one seed, for the positive prompt:

    reach      ‖ε − ε_w‖ / ‖ε − ε_unsaid‖      ε: the prompt without weights; ε_w: with this weight alone;
    residual   ‖ε_0 − ε_unsaid‖ / ‖ε − ε_unsaid‖      ε_unsaid: without the phrase; ε_0: with the weight 0

At reach 0 the weight does nothing; at 1 it changes the prediction by as much as deleting the phrase does. At
residual 0 the weight 0 equals deletion; at 1 the phrase is there as before, because other words hold it.

The residual r = ε_0 − ε_unsaid is divided among its carriers: each other word, the end and padding tokens,
the phrase's own tokens and the pooled vector. Let ε_c be the prediction with the weight 0 where the
embeddings of carrier c alone are replaced by those that it has in the prompt without the phrase. Its share is

    ⟨ε_0 − ε_c, r⟩ / ⟨r, r⟩

the part of the residual that goes with the replacement. Replacing all carriers gives ε_unsaid; the shares sum
to 1 as far as the model is linear in them, and a share may be negative or above 1.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from promptweight.errors import SettingError
from promptweight.generation.carriers import Carrier, replace_carriers
from promptweight.generation.image_generation import use_scheduler
from promptweight.generation.model_call import ModelCall, TextRow, capture_call
from promptweight.generation.options import GenerateOptions, check_prompt
from promptweight.generation.phrase_prompts import (
    Deletion,
    PhraseRange,
    delete_phrase,
    find_weighted,
    single_text,
    split_spans,
    weigh_only,
)
from promptweight.generation.pipeline_call import build_call, get_encoded_image, open_pipeline
from promptweight.generation.reach_report import PhraseReach, ReachReport
from promptweight.messages import message
from promptweight.prompt import ParseTree, Prompt, as_prompt
from promptweight.validation import check_number

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from promptweight.conditioning import EncodedPrompts, TokenTable
    from promptweight.models import LoraSet
    from promptweight.protocols import Pipeline

MAX_BATCH = 8
"""Number of texts in one call of the model."""
MIN_RESIDUAL = 1e-3
"""Smallest residual that is divided among carriers."""
FindCarriers = Callable[[int, Tensor, Tensor], "tuple[Carrier, ...]"]
UNUSED_OPTIONS = ("edit", "targets", "num_images_per_prompt", "record", "require_words")
"""Options without effect on the predictions for the positive prompt."""


def measure_reach(
    pipe: str | os.PathLike[str] | DiffusionPipeline,
    prompt: str | Prompt | ParseTree,
    *,
    phrases: Sequence[str] | None = None,
    at: float = 0.7,
    options: GenerateOptions | None = None,
    **keywords: Any,
) -> ReachReport:
    """Measure how much of each weighted phrase its weight reaches, and what is left of it at weight 0.

    The pipeline runs without the weights up to the measured step, and the model is called there once for each
    weight and each carrier. Other seeds and noise levels give other numbers of the same kind. Carriers are
    not measured where the pipeline encodes the text itself.

    Args:
        pipe: a pipeline, or what `promptweight.load` takes.
        prompt: the prompt. Of a prompt that changes, the text at the measured step; AND, `.and()` and
            `.blend()` are refused.
        phrases: words or phrases of the prompt; None or none for all with a weight.
        at: the noise level as a part of the run, 0 .. 1: 1 is its first step, 0 its last.
        options: the options; of them, `edit`, `targets`, `num_images_per_prompt`, `record` and
            `require_words` must have their default values. The seed is 0 where it is None.
        keywords: fields of `GenerateOptions` in place of those of `options`; all others are arguments of the
            pipeline.

    Raises:
        SettingError: a value is outside its range, no phrase has a weight, or texts are joined.
        WordNotFoundError: the prompt does not contain a phrase.
        ModelError: the model cannot be loaded.
        AttachError: weights cannot act in the attention of the model.
    """
    from promptweight.conditioning import look_up_family
    from promptweight.models import apply_adapters, find_adapters, make_scheduler, silence_libraries

    checked = GenerateOptions.from_keywords(options, keywords)
    text, step = choose_text(prompt, phrases, at, checked)
    parsed, steps = as_prompt(prompt, checked.dialect), checked.num_inference_steps
    folders = {"lora_dir": checked.lora_dir, "embeddings_dir": checked.embeddings_dir}
    negative = as_prompt(checked.negative_prompt, checked.dialect)
    adapters = find_adapters(parsed, negative, **folders, num_inference_steps=steps)
    opened = open_pipeline(pipe)
    family = look_up_family(opened)
    measurement = _Measurement if family is None or not family.outputs else _PipelineMeasurement
    scheduler = opened.scheduler
    if checked.scheduler is not None:
        scheduler = make_scheduler(checked.scheduler, scheduler)
    with ExitStack() as stack:
        with silence_libraries():
            loras = stack.enter_context(apply_adapters(opened, adapters))
        stack.enter_context(use_scheduler(opened, scheduler))
        run = _Run.of(opened, text, phrases, checked, negative, step, loras)
        found = measurement.begin(run).measure()
    seed = 0 if checked.seed is None else checked.seed
    return ReachReport(text.text, str(checked.weighting), seed, step + 1, steps, found)


def choose_text(
    prompt: str | Prompt | ParseTree, phrases: Sequence[str] | None, at: float, options: GenerateOptions
) -> tuple[Prompt, int]:
    """Return the text that `measure_reach` measures, and its step, from 0; it takes no model.

    Raises:
        SettingError: a value is outside its range, no phrase has a weight, or texts are joined.
    """
    usual = GenerateOptions()
    for name in UNUSED_OPTIONS:
        default, value = getattr(usual, name), getattr(options, name)
        if value != default:
            raise SettingError(message("reach-option", name=name, default=default, value=value))
    check_number("at", at, 0, 1)
    check_prompt("prompt", prompt)
    steps = options.num_inference_steps
    step = round((1 - at) * (steps - 1))
    text = single_text(as_prompt(prompt, options.dialect), step, steps)
    if not phrases and not find_weighted(text):
        raise SettingError(message("reach-no-phrase", prompt=text.source))
    return text, step


@dataclass(frozen=True)
class _Texts:
    """The texts of a measurement.

    Attributes:
        phrases: the phrases.
        deletions: the prompt without each of them.
        prompts: the prompt without weights; then for each phrase the prompt with its weight alone, with the
            weight 0, and without the phrase.
    """

    phrases: tuple[PhraseRange, ...]
    deletions: tuple[Deletion, ...]
    prompts: tuple[Prompt, ...]

    @classmethod
    def of(
        cls, text: Prompt, phrases: Sequence[str] | None, encode: Callable[[Prompt], EncodedPrompts]
    ) -> _Texts:
        """Return the texts of a prompt; `encode` is called to find phrases that have no weight."""
        ranges = find_weighted(text)
        if phrases:
            table = encode(weigh_only(text, None)).positive[0]
            ranges = tuple(_find_range(table, text, phrase) for phrase in phrases)
        split = split_spans(text, ranges)
        deletions = tuple(delete_phrase(split, each) for each in ranges)
        prompts = [weigh_only(split, None)]
        for each, deletion in zip(ranges, deletions, strict=True):
            prompts += [weigh_only(split, each), weigh_only(split, each, 0.0), deletion.prompt]
        return cls(ranges, deletions, tuple(prompts))


@dataclass(frozen=True)
class _Run:
    """The runs of a pipeline up to the measured step, each of one text."""

    pipe: Pipeline
    encode: Callable[..., EncodedPrompts]
    texts: _Texts
    options: GenerateOptions
    negative: Prompt
    step: int
    loras: LoraSet | None

    @classmethod
    def of(
        cls,
        pipe: Pipeline,
        text: Prompt,
        phrases: Sequence[str] | None,
        options: GenerateOptions,
        negative: Prompt,
        step: int,
        loras: LoraSet | None,
    ) -> _Run:
        """Find the phrases of a text."""
        from promptweight.conditioning import encode_prompts

        encode = partial(
            encode_prompts,
            pipe,
            weighting=options.weighting,
            clip_skip=options.clip_skip,
            image=get_encoded_image(pipe, options),
            in_session=True,
        )
        return cls(pipe, encode, _Texts.of(text, phrases, encode), options, negative, step, loras)

    def capture(self, encoded: EncodedPrompts, step: int) -> ModelCall:
        """Run the pipeline with an encoded text up to a step, and return the model's call there."""
        from promptweight.attention import attach

        seed = 0 if self.options.seed is None else self.options.seed
        with attach(self.pipe, encoded, record=False) as session:
            call = build_call(self.pipe, self.options)
            return capture_call(self.pipe, session, call, seed, step, self.loras)


def _compare(
    texts: _Texts,
    predictions: Sequence[Tensor],
    dtype: torch.dtype,
    find_carriers: FindCarriers | None = None,
) -> tuple[PhraseReach, ...]:
    """Return the reach of each phrase from the predictions for the texts, in float64.

    Args:
        texts: the texts.
        predictions: the prediction for each of `texts.prompts`.
        dtype: the type in which the model computed them.
        find_carriers: a function of the number of a phrase, its prediction with the weight 0 and that
            without the phrase.
    """
    plain, found = predictions[0], []
    rounding = 2 * torch.finfo(dtype).eps * plain.norm()
    for number, phrase in enumerate(texts.phrases):
        weighted, zero, unsaid = predictions[1 + 3 * number : 4 + 3 * number]
        whole = (plain - unsaid).norm()
        if whole <= rounding:
            found.append(PhraseReach(phrase.text, phrase.weight, None, None))
            continue
        carriers: tuple[Carrier, ...] = ()
        if find_carriers is not None and (zero - unsaid).norm() > max(rounding, MIN_RESIDUAL * whole):
            carriers = find_carriers(number, zero, unsaid)
        reach, residual = ((a - b).norm() / whole for a, b in ((plain, weighted), (zero, unsaid)))
        found.append(PhraseReach(phrase.text, phrase.weight, float(reach), float(residual), carriers))
    return tuple(found)


@dataclass(frozen=True)
class _PipelineMeasurement:
    """The predictions for each text, where the pipeline encodes the texts itself.

    The texts have different lengths, masks and positions, so each has a call of its own, with the latents of
    the prompt without weights at the measured step.
    """

    texts: _Texts
    predictions: tuple[Tensor, ...]
    dtype: torch.dtype

    @classmethod
    def begin(cls, run: _Run) -> _PipelineMeasurement:
        """Encode the texts, run the pipeline up to the step, and predict there."""
        state: ModelCall | None = None
        predictions = []
        for prompt in run.texts.prompts:
            encoded = run.encode(prompt, run.negative)
            captured = run.capture(encoded, run.step if state is None else 0)
            state = state or captured
            predictions.append(captured.predict_at(state, encoded).double().cpu())
        assert state is not None
        return cls(run.texts, tuple(predictions), state.dtype)

    def measure(self) -> tuple[PhraseReach, ...]:
        """Return the reach of each phrase."""
        return _compare(self.texts, self.predictions, self.dtype)


@dataclass(frozen=True)
class _Measurement:
    """The captured call of the model, and the encoded texts of each phrase."""

    call: ModelCall
    encoded: EncodedPrompts
    texts: _Texts

    @classmethod
    def begin(cls, run: _Run) -> _Measurement:
        """Encode the texts, and run the pipeline up to the step."""
        call = run.capture(run.encode(run.texts.prompts[0], run.negative), run.step)
        return cls(call, run.encode(run.texts.prompts), run.texts)

    def measure(self) -> tuple[PhraseReach, ...]:
        """Return the reach of each phrase."""
        predictions = self._predict([self._text(number) for number in range(len(self.texts.prompts))])
        return _compare(self.texts, predictions, self.call.dtype, self._measure_carriers)

    def _measure_carriers(self, number: int, zero: Tensor, unsaid: Tensor) -> tuple[Carrier, ...]:
        """Return the carriers of the residual of a phrase."""
        texts = self._text(2 + 3 * number), self._text(3 + 3 * number)
        replaced = list(replace_carriers(self.encoded.sections, *texts, self.texts.deletions[number]))
        residual = zero - unsaid
        predictions = self._predict([text for _, text in replaced])
        carriers = [
            replace(carrier, share=float(((zero - each) * residual).sum() / residual.square().sum()))
            for (carrier, _), each in zip(replaced, predictions, strict=True)
        ]
        return tuple(sorted(carriers, key=lambda carrier: -carrier.share))

    def _text(self, number: int) -> TextRow:
        """Return one of the encoded texts."""
        pooled = self.encoded.inputs.get("pooled_prompt_embeds")
        tables = tuple(section.positive[number] for section in self.encoded.sections if section.encoders)
        embeds = self.encoded.inputs["prompt_embeds"][number]
        return TextRow(embeds, None if pooled is None else pooled[number], tables)

    def _predict(self, texts: Sequence[TextRow]) -> list[Tensor]:
        """Return the model's predictions, in float64 on the CPU."""
        found: list[Tensor] = []
        for first in range(0, len(texts), MAX_BATCH):
            found += self.call.predict(self.encoded, texts[first : first + MAX_BATCH]).double().cpu()
        return found


def _find_range(table: TokenTable, prompt: Prompt, phrase: str) -> PhraseRange:
    """Return the first occurrence of a phrase.

    Raises:
        WordNotFoundError: there is none.
    """
    words = table.find(phrase)
    start, end = words[0].start, words[-1].end
    weights = {span.weight for span in prompt.spans if span.clean_start < end and span.clean_end > start}
    return PhraseRange(prompt.text[start:end], start, end, weights.pop() if len(weights) == 1 else None)
