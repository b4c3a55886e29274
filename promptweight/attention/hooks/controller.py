"""What every call of a model asks of its layers: whose rows they get, what is weighed, what is recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from promptweight.attention.batch_rows import BatchRow, match_rows
from promptweight.attention.control.prompt_to_prompt import pair_rows
from promptweight.attention.control.rules import AttentionTerms
from promptweight.attention.hooks.install import Installation
from promptweight.attention.layers import get_argument, grid_size
from promptweight.attention.model_calls import CallArguments
from promptweight.attention.recording.store import select_recorded_rows
from promptweight.attention.session_config import SessionConfig
from promptweight.attention.step_counter import StepCounter
from promptweight.errors import AttachError
from promptweight.messages import Message, message


class AttentionController:
    """Tells the layers of a model, call by call, what a session asks of them.

    Attributes:
        run: which step of which run the model is at.

    Args:
        pipe: the pipeline.
        prepared: what the session asks of its model.
        installation: the recorders that are told.
        warn: told, in a sentence, what a person should know.
    """

    def __init__(
        self, pipe: Any, prepared: SessionConfig, installation: Installation, warn: Callable[[Message], None]
    ) -> None:
        self._pipe, self._prepared, self._installation, self._warn = pipe, prepared, installation, warn
        self.run = StepCounter(pipe)
        self._seen: list[tuple[Tensor, tuple[BatchRow | None, ...]]] = []
        self._is_extra = False

    def before_call(self, _model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CallArguments | None:
        """Tell the layers what the call that now begins asks of them; the arguments that it is to have."""
        self._installation.check_backend()
        prepared, layout = self._prepared, self._prepared.layout
        embeds = get_argument(args, kwargs, *layout.text)
        if self.run.has_begun():
            self._seen = []
            self._forget_recorded()
            self._check_steps()
        pictures = len(get_argument(args, kwargs, *layout.latents))
        _check_repeated(len(embeds), pictures)
        lanes = self._lanes(embeds, pictures)
        # A call that leaves layers out is for skip-layer guidance: no step of its own, and not recorded.
        roles = {lane.role for lane in lanes if lane}
        self._is_extra = kwargs.get("skip_layers") is not None or self.run.is_repeated(roles)
        step = self.run.current if self._is_extra else self.run.count(roles)
        size, device = layout.size(args, kwargs), self._installation.device or embeds.device
        given: CallArguments | None = None
        if prepared.composer.acts:
            voiced = prepared.composer.voiced(lanes, self.run.position(step, prepared.planned))
            given = prepared.composer.before(args, kwargs, layout.text, voiced, len(lanes))
            lanes = tuple(each.lane for each in voiced)
        recorded = None if self._is_extra else self._record_call(lanes, size, step, device)
        texts = [prepared.text_of(lane) for lane in lanes]
        exchange = None
        if prepared.edits is not None:
            exchange = prepared.edits.exchange(lanes, step, self.run.steps, device)
            if any(lane and lane.role == "positive" for lane in lanes) and not any(pair_rows(lanes)):
                self._warn(message("edit-split-batch"))
        kept = None
        if prepared.keeper is not None and prepared.store is not None:
            by_text = [
                None if lane is None or text is None else replace(lane, prompt=text)
                for lane, text in zip(lanes, texts, strict=True)
            ]
            if not self._is_extra:
                rows = select_recorded_rows(by_text, prepared.store.record.lanes)
                prepared.keeper.begin(list(rows.values()), device)
            kept = prepared.keeper.bias(by_text, device)
        for (stride, acts), call in self._installation.calls.items():
            call.text_length = embeds.shape[1]
            call.terms = self._terms(texts, step, size, stride, device) if acts else AttentionTerms()
            if kept is not None and acts:
                call.terms = call.terms.with_bias(kept)
            call.rows, call.columns, call.places = recorded or (None, None, None)
            call.exchange = exchange
        return given

    def after_call(self, _model: Any, _args: tuple[Any, ...], output: Any) -> Any:
        """What the pipeline gets of the call's output; None for the output itself."""
        composer = self._prepared.composer
        return composer.after(output, is_extra=self._is_extra) if composer.acts else None

    def restart(self) -> None:
        """Count from the first step again, and forget what was recorded."""
        self.run.restart()
        self._forget_recorded()

    def rest(self) -> None:
        """Let go of the pipeline's tensors; no more calls come."""
        self._seen = []

    def _forget_recorded(self) -> None:
        if self._prepared.store is not None:
            self._prepared.store.clear()
        if self._prepared.keeper is not None:
            self._prepared.keeper.restart()

    def _check_steps(self) -> None:
        """Warn where the run that has begun has other steps than the prompts' changes were planned for."""
        planned = self._prepared.planned
        if planned > 1 and not self.run.is_of(planned):
            self._warn(
                message(
                    "steps-differ",
                    planned=planned,
                    steps=self.run.steps,
                )
            )

    def _terms(
        self, texts: list[int | None], step: int, size: tuple[int, int], stride: int, device: Any
    ) -> AttentionTerms:
        steps = self.run.steps
        return self._prepared.rules.terms(
            texts, min(step, steps - 1), steps, grid_size(*size, stride), device
        )

    def _lanes(self, embeds: Tensor, pictures: int) -> tuple[BatchRow | None, ...]:
        # A pipeline passes the same tensors at every step, so the rows are compared once, not step by step.
        for known, lanes in self._seen:
            if known is embeds and len(lanes) == max(len(embeds), pictures):
                return lanes
        # FLUX's pipelines and modular ones have no such property: they call the model for each role by itself
        guidance = getattr(self._pipe, "do_classifier_free_guidance", None)
        lanes = match_rows(
            # FLUX's pipeline gives one row of text to several pictures
            embeds.expand(pictures, -1, -1) if len(embeds) == 1 else embeds,
            self._prepared.registered,
            guidance=bool(guidance),
            perturbed=bool(getattr(self._pipe, "do_perturbed_attention_guidance", False)),
            is_second=guidance is None and any(torch.equal(known, embeds) for known, _ in self._seen),
        )
        self._seen = [(embeds, lanes), *self._seen[:3]]
        if not any(lanes):
            self._warn(message("foreign-embeddings"))
        return lanes

    def _record_call(
        self, lanes: tuple[BatchRow | None, ...], size: tuple[int, int], step: int, device: Any
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        store = self._prepared.store
        if store is None:
            return None
        slots = store.slots
        recorded = store.prepare(lanes, size, step, self.run.steps, device)
        if store.slots is not slots and store.plan is not None:
            self._installation.hand_out_slots(store)
            for warning in store.plan.warnings:
                self._warn(warning)
        return recorded


def _check_repeated(texts: int, pictures: int) -> None:
    """Refuse the calls of pipelines that repeat no embeddings for `num_images_per_prompt`."""
    if texts != pictures and texts > 1:
        raise AttachError(
            f"the pipeline called its model with {pictures} rows of latents and {texts} of text: it does not "
            "repeat embeddings for num_images_per_prompt; leave that at 1 and give the prompt several times, "
            "as in attach(pipe, [prompt] * 2)"
        )
