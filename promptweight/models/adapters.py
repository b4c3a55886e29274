"""LoRAs and textual inversions that a prompt names: found in a folder, applied to a pipeline for a while.

    adapters = find_adapters(parse("um gato <lora:aquarela:0.8>"), lora_dir="loras")
    with apply_adapters(pipe, adapters):
        ...

The loaders of diffusers apply them; only safetensors are read. The end of the block restores the pipeline,
also after an error.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from promptweight.errors import ModelError, SettingError
from promptweight.messages import Message, message
from promptweight.models.adapter_files import AdapterFiles
from promptweight.models.files import check_safetensors, summarize_error
from promptweight.models.lora_layers import Lora, LoraSet, load_loras
from promptweight.prompt import make_timeline

if TYPE_CHECKING:
    from torch import Tensor

    from promptweight.prompt import Lora as PromptLora
    from promptweight.prompt import Prompt
    from promptweight.protocols import Pipeline

_MAX_VECTORS = 256
"""Vectors of a textual inversion; a chunk of a prompt holds 75 tokens."""

_EncoderNames = tuple[str, str]
"""Attributes of a pipeline: a tokenizer and its text encoder."""

_CLIP_L, _CLIP_G = ("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2")


@dataclass(frozen=True)
class Adapters:
    """The LoRAs and textual inversions of some prompts.

    Attributes:
        loras: LoRAs by their names in the prompts.
        embeddings: files of textual inversions by the text that names them in the prompts.
        warnings: messages about names without effect.
    """

    loras: Mapping[str, Lora]
    embeddings: Mapping[str, Path]
    warnings: tuple[Message, ...] = ()


def find_adapters(
    prompt: Prompt,
    negative_prompt: Prompt | None = None,
    *,
    lora_dir: str | os.PathLike[str] | None = None,
    embeddings_dir: str | os.PathLike[str] | None = None,
    num_inference_steps: int | None = None,
) -> Adapters:
    """Find the files that two prompts name at any step of a run of `num_inference_steps`.

    The tag `<lora:name:weight>` names a LoRA; the weights of repeated tags add up. The file name as a whole
    word, in any case, `embedding:name` or `<name>` names a textual inversion. Names are those of files
    anywhere in the folders, without the suffix, or their paths.

    Raises:
        SettingError: a folder does not exist, or has no file of that name or several; the error suggests
            similar names, or lists the paths. The file is a pickle, which is not read.
        ModelError: a file is damaged, or a textual inversion has more than 256 vectors.
    """
    warnings: list[Message] = []
    negative_loras = [] if negative_prompt is None else list(negative_prompt.loras)
    if negative_loras:
        names = ", ".join(repr(lora.name) for lora in negative_loras)
        warnings.append(message("negative-loras", names=names))
    loras = _find_loras(prompt, lora_dir, warnings)
    embeddings: dict[str, Path] = {}
    for each in (prompt, negative_prompt):
        if each is not None:
            for variant in make_timeline(each, num_inference_steps).variants:
                embeddings |= _find_embeddings(variant, embeddings_dir, warnings)
    for path in [*(lora.path for lora in loras.values()), *embeddings.values()]:
        check_safetensors(path)
    for path in embeddings.values():
        _check_vectors(path)
    return Adapters(loras, embeddings, tuple(dict.fromkeys(warnings)))


@contextmanager
def apply_adapters(pipe: Pipeline, adapters: Adapters) -> Iterator[LoraSet]:
    """Apply LoRAs and textual inversions to `pipe` during the block, and remove them afterwards.

    The value of the block is a `LoraSet`, with the weights of the first step; its `set_step` sets those of
    another one, which weights by step need.

    Raises:
        ModelError: a file does not fit the model, or peft, which LoRAs need, is not installed.
        SettingError: the prompts have LoRAs and the pipeline has LoRAs of its own.
    """
    with ExitStack() as stack:
        loras = _apply_loras(pipe, adapters.loras, stack) if adapters.loras else LoraSet(pipe, {})
        if adapters.embeddings:
            _apply_embeddings(pipe, adapters.embeddings, stack)
        yield loras


def _find_loras(
    prompt: Prompt, folder: str | os.PathLike[str] | None, warnings: list[Message]
) -> dict[str, Lora]:
    loras: dict[str, Lora] = {}
    files = None if folder is None else AdapterFiles(folder, "lora_dir", "LoRA")
    for tag in prompt.loras:
        if tag.kind == "hypernet":
            warnings.append(message("hypernetwork-unsupported", name=tag.name))
        elif files is None:
            warnings.append(message("lora-unused", name=tag.name))
        else:
            loras[tag.name] = _add_tag(loras.get(tag.name), files.get(tag.name), tag)
    return loras


def _add_tag(earlier: Lora | None, path: Path, tag: PromptLora) -> Lora:
    """Return a LoRA with the weights of one more tag."""
    before = Lora(path, 0.0) if earlier is None else earlier
    denoiser = before.weight + (0.0 if tag.curve else tag.weight)
    own = tag.weight if tag.text_encoder_weight is None else tag.text_encoder_weight
    encoder = before.encoder_weight + own
    curves = (*before.curves, tag.curve) if tag.curve else before.curves
    return Lora(path, denoiser, None if encoder == denoiser else encoder, curves)


def _find_embeddings(
    prompt: Prompt, folder: str | os.PathLike[str] | None, warnings: list[Message]
) -> dict[str, Path]:
    from promptweight.prompt import note_embeddings

    files = None if folder is None else AdapterFiles(folder, "embeddings_dir", "textual inversion")
    embeddings: dict[str, Path] = {}
    for named in note_embeddings(prompt, files.names if files else ()).embeddings:
        written = prompt.text[named.clean_start : named.clean_end]
        name = named.name.strip("<>")
        if files is None:
            if written.startswith("embedding:"):
                warnings.append(message("textual-inversion-unused", name=name))
        elif (path := files.find(name)) is not None:
            embeddings[written] = path
        elif written.startswith("embedding:"):
            files.get(name)
        elif (pickle := files.find_pickle(name)) is not None:
            warnings.append(pickle)
    return embeddings


def _apply_loras(pipe: Pipeline, loras: Mapping[str, Lora], stack: ExitStack) -> LoraSet:
    if find_spec("peft") is None:
        raise ModelError(message("peft-missing"))
    if not hasattr(pipe, "load_lora_weights"):
        raise ModelError(message("loras-unsupported", pipeline=type(pipe).__name__))
    if any(pipe.get_list_adapters().values()):
        raise SettingError(message("pipeline-has-loras"))
    stack.callback(pipe.unload_lora_weights)
    return load_loras(pipe, {f"promptweight_{number}": lora for number, lora in enumerate(loras.values())})


def _apply_embeddings(pipe: Pipeline, files: Mapping[str, Path], stack: ExitStack) -> None:
    from safetensors.torch import load_file

    if not hasattr(pipe, "load_textual_inversion"):
        raise ModelError(message("textual-inversions-unsupported", pipeline=type(pipe).__name__))
    encoders = [names for names in (_CLIP_L, _CLIP_G) if getattr(pipe, names[1], None) is not None]
    for tokenizer, text_encoder in encoders:
        stack.enter_context(_restore_vocabulary(pipe, tokenizer, text_encoder))
    for token, path in files.items():
        for (tokenizer, text_encoder), vectors in _match_vectors(pipe, path, load_file(path), encoders):
            try:
                pipe.load_textual_inversion(
                    {token: vectors},
                    token=token,
                    tokenizer=getattr(pipe, tokenizer),
                    text_encoder=getattr(pipe, text_encoder),
                )
            except Exception as error:  # the error depends on the content of the file
                raise ModelError(
                    message(
                        "adapter-load-failed",
                        path=path,
                        pipeline=type(pipe).__name__,
                        reason=summarize_error(error),
                    )
                ) from error


def _check_vectors(path: Path) -> None:
    """Raise `ModelError` where a file has no vectors, or more than a prompt can hold; no tensor is read."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 (not a mapping)
            shape = file.get_slice(name).get_shape()
            number = shape[0] if len(shape) > 1 else 1
            if not 1 <= number <= _MAX_VECTORS:
                raise ModelError(
                    message("textual-inversion-vectors", path=path, number=number, most=_MAX_VECTORS)
                )


def _match_vectors(
    pipe: Pipeline, path: Path, tensors: Mapping[str, Tensor], encoders: list[_EncoderNames]
) -> list[tuple[_EncoderNames, Tensor]]:
    """Match the vectors of a file to text encoders: by name in files for SDXL, else by their width."""
    named = {"clip_l": _CLIP_L, "clip_g": _CLIP_G}
    if tensors and set(tensors) <= set(named):
        return [(named[name], vectors) for name, vectors in tensors.items() if named[name] in encoders]
    widths = {
        getattr(pipe, names[1]).get_input_embeddings().embedding_dim: names for names in reversed(encoders)
    }
    if len(tensors) == 1:
        (vectors,) = tensors.values()
        if vectors.ndim in (1, 2) and vectors.shape[-1] in widths:
            return [(widths[vectors.shape[-1]], vectors)]
    shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items())
    raise ModelError(
        message(
            "textual-inversion-width",
            path=path,
            widths=" or ".join(map(str, widths)),
            pipeline=type(pipe).__name__,
            shapes=shapes[:200] or "no tensors",
        )
    )


@contextmanager
def _restore_vocabulary(pipe: Pipeline, tokenizer: str, text_encoder: str) -> Iterator[None]:
    """Restore the vocabulary of a tokenizer and the embeddings of its text encoder after the block."""
    original, encoder = getattr(pipe, tokenizer), getattr(pipe, text_encoder)
    vectors, size = encoder.get_input_embeddings(), encoder.config.vocab_size
    setattr(pipe, tokenizer, copy.deepcopy(original))
    encoder.set_input_embeddings(copy.deepcopy(vectors))
    try:
        yield
    finally:
        setattr(pipe, tokenizer, original)
        encoder.set_input_embeddings(vectors)
        encoder.config.vocab_size = size
