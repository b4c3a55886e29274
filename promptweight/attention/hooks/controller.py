"""Controller of a session: before every call of the model it sets what the layers' hooks apply and record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from promptweight.attention.batch_rows import BatchRow, match_rows
from promptweight.attention.control.attention_injection import AttentionInjection
from promptweight.attention.control.prompt_to_prompt import pair_rows
from promptweight.attention.control.rules import AttentionTerms
from promptweight.attention.hooks.install import Installation
from promptweight.attention.layers import get_argument, grid_size
from promptweight.attention.model_calls import ModelArguments
from promptweight.attention.recording.store import select_recorded_rows
from promptweight.attention.session_config import SessionConfig
from promptweight.attention.step_counter import StepCounter
from promptweight.errors import AttachError
from promptweight.messages import Message, message


class AttentionController:
    """Control of the layers of a model, call by call.

    Attributes:
        counter: the steps of the pipeline's runs.

    Args:
        pipe: the pipeline.
        config: the session's settings.
        installation: the hooks in the model.
        warn: receives warnings.
    """

    def __init__(
        self, pipe: Any, config: SessionConfig, installation: Installation, warn: Callable[[Message], None]
    ) -> None:
        self._pipe, self._config, self._installation, self._warn = pipe, config, installation, warn
        self.counter = StepCounter(pipe)
        self._matched: list[tuple[Tensor, tuple[BatchRow | None, ...]]] = []
        """The last text embeddings, and the batch rows that match them."""
        self._is_extra = False

    def before_call(
        self, _model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ModelArguments | None:
        """Set the state of the hooks for a call; return arguments that replace the call's own, or None."""
        self._installation.check_backend()
        config, layout = self._config, self._config.layout
        embeds = get_argument(args, kwargs, *layout.text_argument)
        if self.counter.detect_new_run():
            self._matched = []
            self._clear_recording()
            self._check_steps()
        images = len(get_argument(args, kwargs, *layout.latents_argument))
        _check_batch(len(embeds), images)
        rows = self._match_rows(embeds, images)
        # A call that skips layers is for skip-layer guidance: no step of its own, and not recorded.
        roles = {row.role for row in rows if row}
        self._is_extra = kwargs.get("skip_layers") is not None or self.counter.is_repeated(roles)
        step = self.counter.current if self._is_extra else self.counter.count(roles)
        size, device = layout.latent_size(args, kwargs), self._installation.device or embeds.device
        arguments: ModelArguments | None = None
        if config.composer.is_active:
            expanded = config.composer.expand_rows(
                rows, self.counter.planned_position(step, config.planned_steps)
            )
            arguments = config.composer.replace_arguments(
                args, kwargs, layout.text_argument, expanded, len(rows)
            )
            rows = tuple(each.row for each in expanded)
        recorded = None if self._is_extra else self._begin_recording(rows, size, step, device)
        variants = [config.variant_index(row) for row in rows]
        injection = self._make_injection(rows, step, device)
        share_bias = self._make_share_bias(rows, variants, device)
        for (stride, is_weighted), call in self._installation.calls.items():
            call.text_length = embeds.shape[1]
            call.terms = AttentionTerms()
            if is_weighted:
                call.terms = self._make_terms(variants, step, grid_size(*size, stride), device)
                if share_bias is not None:
                    call.terms = call.terms.with_bias(share_bias)
            call.recorded_rows, call.recorded_columns, call.slot_indices = recorded or (None, None, None)
            call.injection = injection
        return arguments

    def after_call(self, _model: Any, _args: tuple[Any, ...], output: Any) -> Any:
        """Return the output that replaces the call's own, or None."""
        composer = self._config.composer
        return composer.combine_output(output, is_extra=self._is_extra) if composer.is_active else None

    def restart(self) -> None:
        """Count from the first step again, and clear the recording."""
        self.counter.restart()
        self._clear_recording()

    def release(self) -> None:
        """Release the pipeline's tensors after the last call."""
        self._matched = []

    def _clear_recording(self) -> None:
        if self._config.store is not None:
            self._config.store.clear()
        if self._config.share_controller is not None:
            self._config.share_controller.restart()

    def _check_steps(self) -> None:
        """Warn if the new run has another number of steps than the prompts' schedules."""
        planned = self._config.planned_steps
        if planned > 1 and not self.counter.matches_plan(planned):
            self._warn(message("steps-differ", planned=planned, steps=self.counter.steps))

    def _match_rows(self, embeds: Tensor, images: int) -> tuple[BatchRow | None, ...]:
        # A pipeline passes the same tensors at every step, so the rows are compared only once.
        for known, rows in self._matched:
            if known is embeds and len(rows) == max(len(embeds), images):
                return rows
        # FLUX and modular pipelines lack this property: they call the model for each role separately
        guidance = getattr(self._pipe, "do_classifier_free_guidance", None)
        rows = match_rows(
            # FLUX's pipeline passes one row of text for several images
            embeds.expand(images, -1, -1) if len(embeds) == 1 else embeds,
            self._config.prompt_embeds,
            guidance=bool(guidance),
            perturbed=bool(getattr(self._pipe, "do_perturbed_attention_guidance", False)),
            is_second=guidance is None and any(torch.equal(known, embeds) for known, _ in self._matched),
        )
        self._matched = [(embeds, rows), *self._matched[:3]]
        if not any(rows):
            self._warn(message("foreign-embeddings"))
        return rows

    def _begin_recording(
        self, rows: tuple[BatchRow | None, ...], size: tuple[int, int], step: int, device: Any
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        store = self._config.store
        if store is None:
            return None
        slots = store.slots
        recorded = store.begin_call(rows, size, step, self.counter.steps, device)
        if store.slots is not slots and store.plan is not None:
            self._installation.assign_slots(store)
            for warning in store.plan.warnings:
                self._warn(warning)
        return recorded

    def _make_injection(
        self, rows: Sequence[BatchRow | None], step: int, device: Any
    ) -> AttentionInjection | None:
        if self._config.edits is None:
            return None
        if any(row and row.role == "positive" for row in rows) and not any(pair_rows(rows)):
            self._warn(message("edit-split-batch"))
        return self._config.edits.injection_at(rows, step, self.counter.steps, device)

    def _make_share_bias(
        self, rows: Sequence[BatchRow | None], variants: Sequence[int | None], device: Any
    ) -> Tensor | None:
        controller, store = self._config.share_controller, self._config.store
        if controller is None or store is None:
            return None
        variant_rows = [
            None if row is None or variant is None or row.role == "negative" else (variant, row.image)
            for row, variant in zip(rows, variants, strict=True)
        ]
        if not self._is_extra:
            recorded = select_recorded_rows(rows, store.record.roles)
            controller.begin_call([variant_rows[index] for index in recorded], device)
        return controller.bias(variant_rows, device)

    def _make_terms(
        self, variants: Sequence[int | None], step: int, size: tuple[int, int], device: Any
    ) -> AttentionTerms:
        steps = self.counter.steps
        return self._config.rules.terms_at(variants, min(step, steps - 1), steps, size, device)


def _check_batch(texts: int, images: int) -> None:
    """Raise `AttachError` for pipelines that repeat no embeddings for `num_images_per_prompt`."""
    if texts != images and texts > 1:
        raise AttachError(
            f"num_images_per_prompt must be 1 with this pipeline; got a call with {images} rows of latents "
            f"and {texts} of text. Give the prompt several times, as in attach(pipe, [prompt] * 2)"
        )
