"""LoRAs and textual inversions that a prompt names: found in a folder, applied to a pipeline for a while.

    adapters = find_adapters(parse("um gato <lora:aquarela:0.8>"), lora_dir="loras")
    with apply_adapters(pipe, adapters):
        ...

The loaders of diffusers apply them; only safetensors are read. The end of the block restores the pipeline,
also after an error.
"""

from __future__ import annotations

import copy
import difflib
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptweight.errors import ModelError, SettingError
from promptweight.messages import Message, message
from promptweight.models.files import check_safetensors, summarize_error
from promptweight.prompt import make_timeline

if TYPE_CHECKING:
    from torch import Tensor

    from promptweight.prompt import Prompt

_EncoderNames = tuple[str, str]
"""Attributes of a pipeline: a tokenizer and its text encoder."""

_CLIP_L, _CLIP_G = ("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2")


@dataclass(frozen=True)
class Lora:
    """A LoRA file and its weight."""

    path: Path
    weight: float


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
    anywhere in the folders, without the suffix.

    Raises:
        SettingError: a folder does not exist, or has no file of that name; the error suggests similar names.
        ModelError: a file is damaged.
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
    return Adapters(loras, embeddings, tuple(dict.fromkeys(warnings)))


@contextmanager
def apply_adapters(pipe: Any, adapters: Adapters) -> Iterator[None]:
    """Apply LoRAs and textual inversions to `pipe` during the block, and remove them afterwards.

    Raises:
        ModelError: a file does not fit the model, or peft, which LoRAs need, is not installed.
        SettingError: the prompts have LoRAs and the pipeline has LoRAs of its own.
    """
    with ExitStack() as stack:
        if adapters.loras:
            _apply_loras(pipe, adapters.loras, stack)
        if adapters.embeddings:
            _apply_embeddings(pipe, adapters.embeddings, stack)
        yield


def _find_loras(
    prompt: Prompt, folder: str | os.PathLike[str] | None, warnings: list[Message]
) -> dict[str, Lora]:
    loras: dict[str, Lora] = {}
    files = None if folder is None else _list_safetensors(folder, "lora_dir")
    for tag in prompt.loras:
        if tag.kind == "hypernet":
            warnings.append(message("hypernetwork-unsupported", name=tag.name))
        elif files is None:
            warnings.append(message("lora-unused", name=tag.name))
        else:
            path = _get_file(tag.name, files, "LoRA", folder)
            earlier = loras[tag.name].weight if tag.name in loras else 0.0
            loras[tag.name] = Lora(path, earlier + tag.weight)
    return loras


def _find_embeddings(
    prompt: Prompt, folder: str | os.PathLike[str] | None, warnings: list[Message]
) -> dict[str, Path]:
    from promptweight.prompt import note_embeddings

    files = {} if folder is None else _list_safetensors(folder, "embeddings_dir")
    embeddings: dict[str, Path] = {}
    for named in note_embeddings(prompt, [path.stem for path in files.values()]).embeddings:
        written = prompt.text[named.clean_start : named.clean_end]
        name = named.name.strip("<>").removesuffix(".safetensors")
        if name.casefold() in files:
            embeddings[written] = files[name.casefold()]
        elif not written.startswith("embedding:"):
            continue  # angle brackets around no file name are plain text
        elif folder is None:
            warnings.append(message("textual-inversion-unused", name=name))
        else:
            _get_file(name, files, "textual inversion", folder)
    return embeddings


def _list_safetensors(folder: str | os.PathLike[str], argument: str) -> dict[str, Path]:
    """Return the safetensors files in a folder and its subfolders, by their names in lower case."""
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise SettingError(f"{argument} must be a folder; got {os.fspath(folder)!r}")
    return {path.stem.casefold(): path for path in sorted(root.rglob("*.safetensors"), reverse=True)}


def _get_file(name: str, files: Mapping[str, Path], noun: str, folder: object) -> Path:
    """Return the file of that name, or raise `SettingError` with similar names."""
    if name.casefold() in files:
        return files[name.casefold()]
    close = [files[each].stem for each in difflib.get_close_matches(name.casefold(), files, cutoff=0.5)]
    if close:
        hint = f"did you mean {' or '.join(repr(each) for each in close)}?"
    else:
        hint = f"none of its {len(files)} files has a similar name"
    raise SettingError(f"there is no {noun} {name!r} (.safetensors) in {str(folder)!r}; {hint}")


def _apply_loras(pipe: Any, loras: Mapping[str, Lora], stack: ExitStack) -> None:
    if find_spec("peft") is None:
        raise ModelError("LoRAs need the package peft; install it with `pip install peft`")
    if not hasattr(pipe, "load_lora_weights"):
        raise ModelError(f"{type(pipe).__name__} does not support LoRAs")
    if any(pipe.get_list_adapters().values()):
        raise SettingError(
            "the pipeline must have no LoRAs of its own for a prompt with LoRA tags; call its "
            "unload_lora_weights() first"
        )
    stack.callback(pipe.unload_lora_weights)
    names = {f"promptweight_{number}": lora for number, lora in enumerate(loras.values())}
    for name, lora in names.items():
        try:
            pipe.load_lora_weights(
                str(lora.path.parent), weight_name=lora.path.name, adapter_name=name, local_files_only=True
            )
        except Exception as error:  # the error depends on the content of the file
            raise ModelError(
                f"{lora.path} cannot be loaded into this {type(pipe).__name__}: {summarize_error(error)}"
            ) from error
        if not any(name in adapters for adapters in pipe.get_list_adapters().values()):
            raise ModelError(f"{lora.path} contains no LoRA for a {type(pipe).__name__}")
    pipe.set_adapters(list(names), [lora.weight for lora in names.values()])


def _apply_embeddings(pipe: Any, files: Mapping[str, Path], stack: ExitStack) -> None:
    from safetensors.torch import load_file

    if not hasattr(pipe, "load_textual_inversion"):
        raise ModelError(f"{type(pipe).__name__} does not support textual inversions")
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
                    f"{path} cannot be loaded into this {type(pipe).__name__}: {summarize_error(error)}"
                ) from error


def _match_vectors(
    pipe: Any, path: Path, tensors: Mapping[str, Tensor], encoders: list[_EncoderNames]
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
        f"{path} must be a textual inversion with vectors of width {' or '.join(map(str, widths))} for this "
        f"{type(pipe).__name__}; got {shapes[:200] or 'no tensors'}"
    )


@contextmanager
def _restore_vocabulary(pipe: Any, tokenizer: str, text_encoder: str) -> Iterator[None]:
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
