"""Controller of a session: before every call of the model it sets what the layers' hooks apply and record."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from promptweight.attention.batch_rows import BatchRow, match_rows
from promptweight.attention.call_arguments import get_argument, set_argument
from promptweight.attention.control.attention_injection import AttentionInjection
from promptweight.attention.control.negative_prompts import NegativeVariant
from promptweight.attention.control.prompt_to_prompt import pair_rows
from promptweight.attention.hooks.crop_observer import CropObserver
from promptweight.attention.hooks.install import Installation
from promptweight.attention.layers import grid_size
from promptweight.attention.model_calls import ModelArguments
from promptweight.attention.recording.store import select_recorded_rows
from promptweight.attention.session_config import SessionConfig
from promptweight.attention.step_counter import StepCounter
from promptweight.conditioning import Role, read_lora_scale, stack_texts
from promptweight.errors import AttachError, SettingError
from promptweight.messages import Message, message

if TYPE_CHECKING:
    from promptweight.protocols import Pipeline


class AttentionController:
    """Control of the layers of a model, call by call.

    Attributes:
        counter: the steps of the pipeline's runs.
        crop: the crops of the runs.

    Args:
        pipe: the pipeline.
        config: the session's settings.
        installation: the hooks in the model.
        warn: receives warnings.
    """

    def __init__(
        self,
        pipe: Pipeline,
        config: SessionConfig,
        installation: Installation,
        warn: Callable[[Message], None],
    ) -> None:
        self._pipe, self._config, self._installation, self._warn = pipe, config, installation, warn
        self.counter = StepCounter(pipe)
        self.crop = CropObserver(pipe)
        self._matched: list[tuple[Tensor, tuple[BatchRow | None, ...]]] = []
        """The last text embeddings, and the batch rows that match them."""
        self._stacked: list[tuple[list[Tensor], Tensor]] = []
        """The last text embeddings in a list, and the tensors made of them."""
        self._is_extra = False
        self._roles_run: set[Role] = set()
        """The roles of which the model was called with a prompt."""

    def before_call(
        self, _model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ModelArguments | None:
        """Set the state of the hooks for a call; return arguments that replace the call's own, or None."""
        self._installation.update()
        config, layout = self._config, self._config.layout
        embeds = self._read_text(args, kwargs)
        if self.counter.detect_new_run():
            self._matched = []
            self.crop.begin_run()
            self._clear_recording()
            self._check_steps()
            self._check_lora_scale(read_lora_scale(kwargs))
        latents = get_argument(args, kwargs, *layout.kind.latents)
        frames = layout.count_frames(args, kwargs)
        frames_per_row = 1 if layout.kind.frames == "rows" else frames
        images = len(latents) * frames // frames_per_row
        _check_batch(len(embeds), images)
        rows = self._match_rows(embeds, latents, images)
        # A call that skips layers is for skip-layer guidance: no step of its own, and not recorded.
        roles = {row.role for row in rows if row}
        self._roles_run |= roles
        self._is_extra = kwargs.get("skip_layers") is not None or self.counter.is_repeated(roles)
        step = self.counter.current if self._is_extra else self.counter.count(roles)
        size, device = layout.latent_size(args, kwargs), self._installation.device or embeds.device
        arguments = self._repeat_timesteps(args, kwargs, len(latents))
        args, kwargs = arguments or (args, kwargs)
        if config.composer.is_active:
            expanded = config.composer.expand_rows(
                rows, self.counter.planned_position(step, config.planned_steps)
            )
            if layout.kind.frames == "rows" and len(expanded) > len(rows):
                raise SettingError(message("and-video", model=type(layout.model).__name__))
            arguments = config.composer.replace_arguments(
                args, kwargs, layout.kind, embeds, expanded, len(rows)
            )
            rows = tuple(each.row for each in expanded)
            embeds = self._read_text(*arguments)
        negatives = self._find_negatives(rows, step)
        if config.negative_prompts is not None and any(negatives):
            arguments = config.negative_prompts.extend_arguments(
                *(arguments or (args, kwargs)), layout, negatives
            )
        recorded = None if self._is_extra else self._begin_recording(rows, size, step, device, frames_per_row)
        variants = [config.variant_index(row) for row in rows]
        injection = self._make_injection(rows, step, device)
        share_bias = self._make_share_bias(rows, variants, device)
        self._installation.update_calls()
        steps, negative_prompts = self.counter.steps, config.negative_prompts
        length = self._count_joined_tokens(embeds, *(arguments or (args, kwargs)))
        for (stride, selections), call in self._installation.calls.items():
            grid = grid_size(*size, stride) if stride else (0, 0)
            place = (min(step, steps - 1), steps, grid, device, selections)
            call.text_length, call.frames = length, frames_per_row
            call.cells = math.prod(grid) * frames_per_row
            call.terms = config.rules.terms_at(variants, *place, length).repeat_frames(frames_per_row)
            if share_bias is not None and config.rules.default.layers in selections:
                call.terms = call.terms.with_bias(share_bias[..., :length])
            call.recorded_rows, call.recorded_columns, call.slot_indices = recorded or (None, None, None)
            call.injection = injection if stride else None
            call.negative = None
            if negative_prompts is not None and any(negatives):
                call.negative = negative_prompts.make_terms(config.rules, negatives, *place)
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
        """Release the pipeline's tensors after the last call; warn if the negative prompt was not in one."""
        self._matched, self._stacked = [], []
        if self._roles_run == {"positive"} and self._has_idle_negatives():
            self._warn(message("negative-not-run"))
        self._roles_run = set()
        if self._config.negative_prompts is not None:
            self._config.negative_prompts.release()

    def _has_idle_negatives(self) -> bool:
        """Return True if a negative prompt has text and can act only in calls of its own."""
        variants = [each for of_prompt in self._config.variants["negative"] for each in of_prompt]
        has_text = any(placed.table.prompt.text.strip() for variant in variants for placed in variant)
        return has_text and self._config.negative_prompts is None

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

    def _check_lora_scale(self, scale: float) -> None:
        """Warn if the run scales LoRAs otherwise than the encoding of its text did."""
        encoded = self._config.text_lora_scale
        if encoded is not None and encoded != scale:
            self._warn(message("lora-scale-differs", encoded=encoded, scale=scale))

    def _read_text(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """Return the text embeddings of a call, (batch, tokens, dim).

        Of the same texts in a list, it is the same tensor at every step.
        """
        given = get_argument(args, kwargs, *self._config.layout.kind.text)
        if isinstance(given, Tensor):
            return given
        for known, stacked in self._stacked:
            if len(known) == len(given) and all(map(operator.is_, known, given)):
                return stacked
        stacked = stack_texts(given)
        self._stacked = [(list(given), stacked), *self._stacked[:3]]
        return stacked

    def _repeat_timesteps(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], rows: int
    ) -> ModelArguments | None:
        """Return the arguments with a timestep for each row; None where they have it, or one for all.

        PRX's pipeline passes one for each role, which fits no call with several images.
        """
        place = self._config.layout.kind.timesteps
        given = None if place is None else get_argument(args, kwargs, *place)
        if place is None or given is None or len(given) in (1, rows):
            return None
        return set_argument(args, kwargs, *place, given[:1].expand(rows))

    def _count_joined_tokens(self, embeds: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        """Return the number of text positions in the layers that join text and image.

        Raises:
            AttachError: the texts of a call are trimmed to different lengths.
        """
        kind = self._config.layout.kind
        if kind.text_mask is None or not kind.trims_text:
            return embeds.shape[1]
        mask = get_argument(args, kwargs, *kind.text_mask)
        lengths = [int(length) for length in set(mask.sum(1).tolist())]
        if len(lengths) > 1:
            raise AttachError(message("text-lengths", lengths=sorted(lengths)))
        return lengths[0]

    def _match_rows(self, embeds: Tensor, latents: Any, images: int) -> tuple[BatchRow | None, ...]:
        # A pipeline passes the same tensors at every step, so the rows are compared only once.
        for known, rows in self._matched:
            if known is embeds and len(rows) == max(len(embeds), images):
                return rows
        row_order = self._config.layout.kind.row_order
        # Pipelines have the latents of a call twice where it has both roles; others call the model for each
        perturbed = bool(getattr(self._pipe, "do_perturbed_attention_guidance", False))
        guidance = getattr(self._pipe, "do_classifier_free_guidance", None)
        is_known_role = guidance is False or perturbed
        if not is_known_role:
            guidance = _is_stacked(latents) or len(row_order) > 2
        rows = match_rows(
            # FLUX's pipeline passes one row of text for several images
            embeds.expand(images, *embeds.shape[1:]) if len(embeds) == 1 else embeds,
            self._config.prompt_embeds,
            guidance=bool(guidance),
            perturbed=perturbed,
            is_second=not is_known_role and any(torch.equal(known, embeds) for known, _ in self._matched),
            row_order=row_order,
        )
        self._matched = [(embeds, rows), *self._matched[:3]]
        if not self._config.composer.is_active:
            self._config.composer.count_tokens(rows, embeds)
        if not any(rows):
            self._warn(message("foreign-embeddings"))
        return rows

    def _begin_recording(
        self, rows: tuple[BatchRow | None, ...], size: tuple[int, int], step: int, device: Any, frames: int
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        store = self._config.store
        if store is None:
            return None
        slots = store.slots
        recorded = store.begin_call(rows, size, step, self.counter.steps, device, frames)
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

    def _find_negatives(
        self, rows: Sequence[BatchRow | None], step: int
    ) -> tuple[NegativeVariant | None, ...]:
        """Return the negative prompt that acts in the attention of each batch row; None for none."""
        negative_prompts = self._config.negative_prompts
        if negative_prompts is None:
            return ()
        is_joint = any(layer.order != "cross" for layer, _ in self._config.layout.layers.values())
        if is_joint and any(row and row.is_perturbed for row in rows):
            raise SettingError(message("negative-guidance-perturbed", guidance=negative_prompts.guidance))
        position = self.counter.planned_position(step, self._config.planned_steps)
        return negative_prompts.find_variants(rows, position)


def _is_stacked(latents: Any) -> bool:
    """Return True for latents of a batch, a tensor or a list, whose second half equals the first."""
    half = len(latents) // 2
    if not half or len(latents) % 2:
        return False
    return all(map(torch.equal, latents[:half], latents[half:]))


def _check_batch(texts: int, images: int) -> None:
    """Raise `AttachError` for pipelines that repeat no embeddings for `num_images_per_prompt`."""
    if texts != images and texts > 1:
        raise AttachError(message("images-per-prompt", images=images, texts=texts))
