"""One call of a denoiser, captured from a run of its pipeline, and repeated with other text embeddings.

Every argument but the text stays as the pipeline passed it, so the predictions differ by the text alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from promptweight.errors import SettingError
from promptweight.generation.pipeline_call import make_step_arguments
from promptweight.messages import message

if TYPE_CHECKING:
    from promptweight.attention import AttentionSession
    from promptweight.conditioning import EncodedPrompts, TokenTable
    from promptweight.models import LoraSet
    from promptweight.protocols import Pipeline


TIMES = ("timestep", "t")
"""Names of the argument of denoisers for the step's time."""


class _Stopped(Exception):  # noqa: N818 - control flow, not an error
    """Exit from a pipeline that has no interrupt flag of its own."""


@dataclass(frozen=True)
class TextRow:
    """The text of one row of the model's batch.

    Attributes:
        embeds: its embeddings, (tokens, dim).
        pooled: its pooled vector, (dim); None for models without one.
        tables: its token table for each section of the embeddings with a text encoder; the weights in them
            act where they act in attention.
    """

    embeds: Tensor
    pooled: Tensor | None
    tables: tuple[TokenTable, ...]


@dataclass(frozen=True)
class ModelCall:
    """A call of the denoiser with the row of the positive prompt alone.

    Attributes:
        pipe: the pipeline.
        args: the positional arguments of the call.
        kwargs: its named arguments.
        rows: the number of rows of its batch.
        row: the row of the positive prompt.
        number: its number among the calls of the run for this prompt, from 0.
    """

    pipe: Pipeline
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    rows: int
    row: int
    number: int

    @torch.no_grad()
    def predict_at(self, state: ModelCall, encoded: EncodedPrompts) -> Tensor:
        """Return the prediction of the positive prompt with the latents and the time of another call.

        All other arguments stay those of this call, as its pipeline made them of its text.

        Args:
            state: the other call, of the same pipeline and size.
            encoded: the encoding of this call's text.
        """
        from promptweight.attention import attach, read_layout

        layout = read_layout(self.pipe)
        parameters = [
            name for name in inspect.signature(type(layout.model).forward).parameters if name != "self"
        ]
        own, other = (dict(zip(parameters, each.args, strict=False)) | each.kwargs for each in (self, state))
        moved = {name: other[name] for name in (layout.kind.latents[1], *TIMES) if name in other}
        with attach(self.pipe, encoded, record=False) as session:
            session.controller.counter.skip_to(state.number)
            output = layout.entry_point(**own | moved)
        predictions = output[0] if isinstance(output, tuple) else output.sample
        prediction: Tensor = predictions[self.row]
        latents = other[layout.kind.latents[1]][0]
        # a model that also predicts variances has them in further channels
        return prediction[: len(latents)] if prediction.shape[1:] == latents.shape[1:] else prediction

    @property
    def dtype(self) -> torch.dtype:
        """The type of the model's predictions."""
        dtype: torch.dtype = self.pipe.dtype
        return dtype

    @torch.no_grad()
    def predict(self, encoded: EncodedPrompts, texts: Sequence[TextRow]) -> Tensor:
        """Return the prediction of the model for each text, in one call, (texts, …).

        Args:
            encoded: the encoding from which the texts are, for its sections and its weighting.
            texts: the texts.
        """
        from promptweight.attention import attach, read_layout, repeat_rows

        layout = read_layout(self.pipe)
        position, name = layout.kind.text
        index = torch.full((len(texts),), self.row)
        args = [repeat_rows(value, index, self.rows) for value in self.args]
        kwargs = repeat_rows(self.kwargs, index, self.rows)
        own = args[position] if len(args) > position else kwargs[name]
        embeds = torch.stack([text.embeds for text in texts]).to(own)
        if len(args) > position:
            args[position] = embeds
        else:
            kwargs[name] = embeds
        pooled = [text.pooled for text in texts if text.pooled is not None]
        if pooled and "pooled_projections" in kwargs:
            kwargs["pooled_projections"] = torch.stack(pooled).to(kwargs["pooled_projections"])
        elif pooled and (added := kwargs.get("added_cond_kwargs")):
            kwargs["added_cond_kwargs"] = {**added, "text_embeds": torch.stack(pooled).to(own)}
        with attach(self.pipe, _encoding_of(encoded, texts), record=False) as session:
            session.controller.counter.skip_to(self.number)
            output = layout.entry_point(*args, **kwargs)
        prediction: Tensor = output[0] if isinstance(output, tuple) else output.sample
        return prediction


def capture_call(
    pipe: Pipeline,
    session: AttentionSession,
    call: Mapping[str, Any],
    seed: int,
    step: int,
    loras: LoraSet | None = None,
) -> ModelCall:
    """Run the pipeline of an entered session up to a step, and return the model's call in it.

    Args:
        pipe: the pipeline.
        session: a session with one prompt.
        call: the keyword arguments of the pipeline but its text inputs.
        seed: the seed of the noise.
        step: the step, from 0.
        loras: the LoRAs of the pipeline, whose weights may change by step; they keep those of the step.

    Raises:
        SettingError: perturbed-attention guidance is on.
    """
    from promptweight.attention import add_call_hooks, read_layout

    layout = read_layout(pipe)
    position, name = layout.kind.text
    own = session.inputs["prompt_embeds"][0]
    captured: ModelCall | None = None
    calls = 0

    def before(_model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        nonlocal captured, calls
        embeds = args[position] if len(args) > position else kwargs[name]
        matches = [row for row, each in enumerate(embeds) if _is_text(each, own.to(each))]
        if matches:
            first, argument = layout.kind.latents
            rows = len(args[first] if len(args) > first else kwargs[argument])
            captured = ModelCall(pipe, args, kwargs, rows, min(matches[-1], rows - 1), calls)
            calls += 1

    def on_step_end(pipe: Pipeline, index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if index >= step:
            if not hasattr(pipe, "_interrupt"):
                raise _Stopped
            pipe._interrupt = True
        elif loras is not None:
            loras.set_step(index + 1, getattr(pipe, "num_timesteps", index + 2))
        return tensors

    remove = add_call_hooks(layout.entry_point, before, lambda *_: None)
    try:
        pipe(
            **session.inputs,
            **call,
            generator=torch.Generator("cpu").manual_seed(seed),
            output_type="latent",
            **make_step_arguments(pipe, on_step_end),
        )
    except _Stopped:
        pass
    finally:
        remove()
    if getattr(pipe, "do_perturbed_attention_guidance", False):
        raise SettingError(message("reach-perturbed"))
    assert captured is not None
    return captured


def _is_text(embeds: Tensor, own: Tensor) -> bool:
    """Return whether embeddings (tokens, …) are those of a text, or these and padding of zeros."""
    length = min(len(embeds), len(own))
    return torch.equal(embeds[:length], own[:length]) and not any(
        bool(each[length:].any()) for each in (embeds, own)
    )


def _encoding_of(encoded: EncodedPrompts, texts: Sequence[TextRow]) -> EncodedPrompts:
    """Return an encoding of these texts, without negative prompts."""
    inputs = {"prompt_embeds": torch.stack([text.embeds for text in texts])}
    sections = [section for section in encoded.sections if section.encoders]
    return replace(
        encoded,
        inputs=inputs,
        sections=tuple(
            replace(section, positive=tuple(text.tables[number] for text in texts), negative=())
            for number, section in enumerate(sections)
        ),
        warnings=(),
    )
