"""Places of text and image in a model of an unknown class, in a trial step of one size and one prompt.

In the call of a first step, single rows of the text and single positions of the latents are changed, while
no attention moves anything (`observation`). A key that changes with a row of the text is this row's; a query
that changes with a position of the latents is that of the image there. Layers in which this does not give
one range for the text and one raster for the image are not supported.

The result is tested with the hooks of a session: without the keys of a row, a change of that row must not
change the model's output. Where it does, the text reaches the image in another way, too.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from promptweight.attention.call_arguments import Argument, ImageShapes, RasterPositions
from promptweight.attention.layers import DenoiserKind, Layer
from promptweight.attention.probing.call_values import (
    are_equal,
    change_values,
    first_tensor,
    list_rows,
    list_used_rows,
    match_role,
)
from promptweight.attention.probing.first_step import MAX_CALLS, ModelCall, record_first_step
from promptweight.attention.probing.layer_places import LayerPlaces, find_peak, list_forms, place_image
from promptweight.attention.probing.observation import list_idle_layers, observe, run_without_keys
from promptweight.conditioning import ROLES, Role, encode_prompts, stack_texts
from promptweight.errors import AttachError
from promptweight.messages import message

SCALES = (1, 2, 4, 8, 16)
"""Multiples of the size of a trial, of which the first is used that the pipeline draws."""
PICTURES = ("image", "mask_image", "control_image", "control_mask")


@dataclass(frozen=True)
class Setup:
    """Texts and size of a trial step."""

    prompt: str
    negative_prompt: str
    height: int
    """In latents, as `width`."""
    width: int


@dataclass(frozen=True)
class Findings:
    """Result of a trial step."""

    layers: tuple[tuple[Layer, ...], ...]
    """For each layer the forms that fit this trial."""
    text: Argument
    latents: Argument
    size_reader: tuple[Any, ...]
    """Class and arguments of the reader of the latents' size; empty for latents (…, height, width)."""
    text_mask: Argument | None
    has_mask: bool
    """True if the pipeline's call uses a mask of the text."""
    omits_full_mask: bool
    text_lengths: Argument | None
    trims_text: bool
    row_order: tuple[Role, ...]
    reaches_past: bool
    """True if the text reaches the image also past these layers."""
    idle_layers: tuple[str, ...]
    """The attention layers that do not run in the step."""
    is_idle: bool
    """True if the model's output does not depend on the text, as before a training."""


class Trial:
    """Trial step of a pipeline, and the places of text and image in it.

    Args:
        pipe: the pipeline.
        entry_point: its denoising model as the pipeline calls it.
        model: the same without the wrapper of `torch.compile`.
        setup: texts and size.
    """

    def __init__(self, pipe: Any, entry_point: Any, model: Any, setup: Setup) -> None:
        self.pipe, self.entry_point, self.model, self.setup = pipe, entry_point, model, setup
        self.name = type(pipe).__name__
        self.pixels = int(getattr(pipe, "vae_scale_factor", 8))

    def run(self) -> Findings:
        """Run the step, and find text and image in all layers.

        Raises:
            AttachError: the run failed, or a layer has not one range of text and one raster of the image.
        """
        accepted = inspect.signature(type(self.pipe).__call__).parameters
        own = {"prompt": self.setup.prompt, "negative_prompt": self.setup.negative_prompt}
        given = {name: own[name] for name in own if name in accepted}
        negative = given.get("negative_prompt", "")
        encoded = encode_prompts(self.pipe, self.setup.prompt, negative, in_session=True)
        calls = self._record(accepted, encoded.inputs, given)
        texts = {role: _stack(encoded.inputs, role) for role in ROLES}
        self.call, self.text, self.roles = self._find_text(calls, texts)
        self.row = self.roles.index("positive")
        self.latents = self._find_latents()
        mask_name = next(
            (name for name in encoded.inputs if name.endswith("_mask") and "negative" not in name), ""
        )
        mask = encoded.inputs.get(mask_name)
        text = texts["positive"]
        used = list_used_rows(mask, self._text_rows if text is None else min(self._text_rows, len(text)))
        if not any(token.kind == "text" for token in encoded.positive[0].tokens) or not used:
            raise AttachError(message("probe-mask", pipeline=self.name))
        found = self._find_layers(sorted({used[0], used[len(used) // 2], used[-1]}))
        size, size_reader, side = self._read_size()
        trims, layers = self._describe(found, len(used), size, side)
        reaches_past, is_idle = self._test_hidden(found, used[len(used) // 2])
        text_mask, omits_full_mask = None, False
        if mask is not None:
            text_mask, omits_full_mask = self._find_mask(mask[0], is_full=len(used) == self._text_rows)
        return Findings(
            layers,
            self.text,
            self.latents,
            size_reader,
            text_mask,
            self.uses_mask,
            omits_full_mask,
            self._find_lengths(len(used)),
            trims,
            self._get_row_order(),
            reaches_past,
            tuple(list_idle_layers(self.model, self.call)),
            is_idle,
        )

    def _record(
        self, accepted: Collection[str], inputs: Mapping[str, Any], texts: Mapping[str, str]
    ) -> list[ModelCall]:
        """Return the calls of the model in the first step of a run of the smallest image that it draws.

        Raises:
            AttachError: the run fails, or the same texts give other calls than their embeddings. Some
                pipelines have zeros in place of negative embeddings, as without a negative prompt.
        """
        calls, settings = self._find_settings(accepted, inputs)
        if not 0 < len(calls) <= MAX_CALLS:
            raise AttachError(message("probe-calls", pipeline=self.name, calls=len(calls)))
        for given in (texts, {"prompt": texts["prompt"]}):
            try:
                of_texts = record_first_step(self.pipe, self.entry_point, settings | dict(given))
            except Exception as error:  # of the pipeline, of any kind
                raise AttachError(message("probe-run", pipeline=self.name, error=error)) from error
            if are_equal(_list_values(calls), _list_values(of_texts)):
                self.uses_mask = self._depends_on_mask(settings, inputs, calls)
                return calls
        raise AttachError(message("probe-encoding", pipeline=self.name))

    def _depends_on_mask(
        self, settings: Mapping[str, Any], inputs: Mapping[str, Any], calls: Sequence[ModelCall]
    ) -> bool:
        """Return whether the calls are others with other masks of the texts."""
        masks = {
            name: value.clone()
            for name, value in inputs.items()
            if name.endswith("_mask") and isinstance(value, Tensor)
        }
        for mask in masks.values():
            mask[:, 0] = 1 - mask[:, 0].to(torch.int)
        try:
            others = record_first_step(self.pipe, self.entry_point, {**settings, **inputs, **masks})
        except Exception:  # of a mask that the pipeline does not accept
            return True
        return not are_equal(_list_values(calls), _list_values(others))

    def _find_settings(
        self, accepted: Collection[str], inputs: Mapping[str, Any]
    ) -> tuple[list[ModelCall], dict[str, Any]]:
        """Return the calls of the first step, and the arguments beside the texts with which it runs."""
        errors: list[Exception] = []
        failures: list[str] = []
        for scale in SCALES:
            self.size = (scale * self.setup.height, scale * self.setup.width)
            settings = {
                "height": self.pixels * self.size[0],
                "width": self.pixels * self.size[1],
                "num_inference_steps": 2,
                "output_type": "latent",
                "use_resolution_binning": False,
            }
            settings = {name: value for name, value in settings.items() if name in accepted}
            pictures = self._make_pictures(accepted)
            for given in [settings, settings | pictures] if pictures else [settings]:
                try:
                    return record_first_step(self.pipe, self.entry_point, given | dict(inputs)), given
                except AttachError:
                    raise
                except Exception as error:  # of the pipeline, of any kind
                    errors.append(error)
            if str(errors[-1]) in failures:  # an error for the size has other numbers
                break
            failures.append(str(errors[-1]))
        raise AttachError(message("probe-run", pipeline=self.name, error=errors[-1])) from errors[-1]

    def _make_pictures(self, accepted: Collection[str]) -> dict[str, Any]:
        """Return a picture for each argument of the pipeline that may be one that it needs."""
        height, width = (self.pixels * each for each in self.size)
        picture = Image.new("RGB", (width, height), "gray")
        return {name: picture for name in PICTURES if name in accepted}

    def _find_text(
        self, calls: Sequence[ModelCall], texts: Mapping[Role, Tensor | None]
    ) -> tuple[ModelCall, Argument, tuple[Role | None, ...]]:
        """Return the call with the prompt, the argument with the text, and the role of each of its rows.

        The role is None for rows of another text, such as zeros in place of an empty one.
        """
        for call in calls:
            for argument, value in call.list_arguments(self.model).items():
                roles = tuple(match_role(row, texts) for row in list_rows(value))
                if "positive" in roles:
                    return call, argument, roles
        raise AttachError(message("probe-text", pipeline=self.name))

    def _find_latents(self) -> Argument:
        """Return the argument with the latents: of the first values with rows for these of the text."""
        fits: dict[Argument, tuple[int, ...]] = {}
        for argument, value in self.call.list_arguments(self.model).items():
            rows = list_rows(value)
            if argument != self.text and len(rows) == len(self.roles) and not isinstance(value, tuple):
                fits[argument] = tuple(rows[0].shape)
        if not fits:
            raise AttachError(message("probe-latents", pipeline=self.name))
        return min(fits, key=lambda each: (fits[each][-2:] != self.size, each[0]))

    @property
    def _text_rows(self) -> int:
        """Number of rows of the prompt in the call."""
        return len(list_rows(self.call.get(self.text))[self.row])

    def _mark_text(self, row: int) -> ModelCall:
        """Return the call with another row of the prompt's embeddings."""
        return self.call.with_value(self.text, change_values(self.call.get(self.text), self.row, (row,)))

    def _mark_latents(self, *position: int) -> ModelCall:
        """Return the call with other latents at a position of the image."""
        value = self.call.get(self.latents)
        is_packed = value[0].ndim == 2
        index = position if is_packed else (..., *position)
        return self.call.with_value(self.latents, change_values(value, self.row, index))

    def _find_layers(self, rows: Sequence[int]) -> list[LayerPlaces]:
        """Return text and image of every layer with text keys, from changes of some rows of the text."""
        plain = observe(self.model, self.call)
        by_text = [observe(self.model, self._mark_text(row)) for row in rows]
        by_latents = [observe(self.model, self._mark_latents(*each)) for each in self._list_places()]
        batch = len(list_rows(self.call.get(self.text)))
        found = []
        for place, own in plain.items():
            if own.key.ndim != 4 or own.key.shape[0] != batch:  # over something other than positions
                continue
            columns = [
                find_peak(own.find_changed_keys(each[place])[self.row]) for each in by_text if place in each
            ]
            if all(column is None for column in columns):
                continue
            if not place[0]:
                raise AttachError(message("probe-processor", pipeline=self.name))
            if place[1]:
                raise AttachError(message("probe-second-call", pipeline=self.name, layer=place[0]))
            starts = {None if c is None else c - row for c, row in zip(columns, rows, strict=True)}
            start = starts.pop()
            if starts or start is None:
                raise AttachError(message("probe-columns", pipeline=self.name, layer=place[0]))
            own.check()
            changed = [each[place] for each in by_latents]
            found.append(place_image(self.name, place[0], own, start, changed, self.row))
        if not any(each.image_queries for each in found):
            raise AttachError(message("probe-text", pipeline=self.name))
        return found

    def _list_places(self) -> list[tuple[int, ...]]:
        """Return places of the latents: the first, some between, and the last.

        Each is a row and a column, or the number of a position of packed latents.
        """
        latents = self.call.get(self.latents)[0]
        if latents.ndim == 2:
            return [(0,), (len(latents) // 3,), (len(latents) - 1,)]
        if latents.ndim > 3 and latents.shape[1] > 1:
            raise AttachError(message("probe-film", pipeline=self.name, frames=latents.shape[1]))
        height, width = latents.shape[-2:]
        inside = (height // 2, width // 3)
        return [(0, 0), (0, width - 1), inside, (height - 1, 0), (height - 1, width - 1)]

    def _read_size(self) -> tuple[tuple[int, int], tuple[Any, ...], int]:
        """Return height and width of the call's latents, how later calls tell them, and a position's side.

        The side is that of a position of packed latents, in latents; 0 for latents that are not packed.
        """
        latents = self.call.get(self.latents)[0]
        if latents.ndim > 2:
            return tuple(latents.shape[-2:]), (), 0
        tokens, (height, width) = len(latents), self.size
        side = round((height * width / tokens) ** 0.5)
        grid = (height // side, width // side)
        for argument, value in self.call.list_arguments(self.model).items():
            axis = RasterPositions.find_axis(value, grid)
            if axis is not None:
                return self.size, (RasterPositions, argument, self.latents, axis, side), side
            if ImageShapes.has_grid(value, grid):
                return self.size, (ImageShapes, argument, side), side
        raise AttachError(message("probe-size", pipeline=self.name, tokens=tokens))

    def _describe(
        self, found: Sequence[LayerPlaces], used: int, size: tuple[int, int], side: int
    ) -> tuple[bool, tuple[tuple[Layer, ...], ...]]:
        """Return whether the model leaves out the unused end of the text, and the forms of its layers."""
        rows = self._text_rows
        joint = [each for each in found if each.image_keys]
        lengths = {
            each.image_keys.start - each.text_start
            for each in joint
            if each.image_keys.start > each.text_start
        }
        trims = bool(lengths) and lengths == {used} and used < rows
        length = used if trims else rows
        layers = []
        for each in found:
            processor = type(self.model.get_submodule(each.name).processor)
            forms = list_forms(self.name, each, length, size, side, self._list_places())
            layers.append(tuple(replace(form, processor=processor) for form in forms))
        return trims, tuple(layers)

    def _get_row_order(self) -> tuple[Role, ...]:
        """Return the roles in the order in which a call stacks them; the usual order where it does not."""
        order = tuple(dict.fromkeys(role for role in self.roles if role is not None))
        return order if len(order) > 1 else DenoiserKind.row_order

    def _find_mask(self, mask: Tensor, *, is_full: bool) -> tuple[Argument | None, bool]:
        """Return the argument with the mask of the text, None for none; and whether it is left out.

        It may go on over the image. A mask of a text without padding, `is_full`, may be None.
        """
        kept = mask.reshape(len(mask), -1)[: self._text_rows, 0].float()
        arguments = {
            argument: value
            for argument, value in self.call.list_arguments(self.model).items()
            if argument[1].endswith("mask")
        }
        for argument, value in arguments.items():
            fits = isinstance(value, Tensor) and value.ndim > 1 and len(value) == len(self.roles)
            if fits and value.shape[1] >= self._text_rows:
                own = value[self.row].reshape(value.shape[1], -1)[: self._text_rows, 0].float()
                if torch.equal(own[: len(kept)], kept.to(own.device)) and not bool(own[len(kept) :].any()):
                    return argument, False
        empty = [argument for argument, value in arguments.items() if value is None]
        return (empty[0], True) if is_full and len(empty) == 1 else (None, False)

    def _find_lengths(self, used: int) -> Argument | None:
        """Return the argument with the number of used rows of each text; None for none."""
        for argument, value in self.call.list_arguments(self.model).items():
            is_length = isinstance(value, Tensor) and not value.is_floating_point() and value.ndim == 1
            if is_length and len(value) == len(self.roles) and int(value[self.row]) == used:
                return argument
        return None

    def _test_hidden(self, found: Sequence[LayerPlaces], row: int) -> tuple[bool, bool]:
        """Return whether a row of the text acts where its keys are hidden; and whether it acts nowhere.

        Raises:
            AttachError: the hook of a layer is not reached.
        """
        marked, outputs = self._mark_text(row), []
        for hidden in ({}, {each.name: each.text_start + row for each in found}):
            for call in (self.call, marked):
                output, missed = run_without_keys(self.model, call, hidden)
                if missed:
                    raise AttachError(message("probe-hook", pipeline=self.name, layer=missed[0]))
                outputs.append(first_tensor(output)[self.row].nan_to_num())
        is_idle, is_hidden = (torch.equal(*pair) for pair in (outputs[:2], outputs[2:]))
        return not is_hidden, is_idle


def _stack(inputs: Mapping[str, Any], role: Role) -> Tensor | None:
    """Return the embeddings of the one text of a role, (rows, ...); None for none."""
    value = inputs.get("prompt_embeds" if role == "positive" else "negative_prompt_embeds")
    return None if value is None else stack_texts(value)[0]


def _list_values(calls: Sequence[ModelCall]) -> list[Any]:
    """Return the arguments of calls."""
    return [(each.args, each.kwargs) for each in calls]
