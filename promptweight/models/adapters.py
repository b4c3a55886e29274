"""LoRAs and textual inversions that a prompt names: found in a folder, put on a pipeline for a while.

    chosen = choose(parse("um gato <lora:aquarela:0.8>"), lora_dir="loras")
    with applied(pipe, chosen):
        ...

diffusers' own loaders put them on; only safetensors are read. At the end of the block the pipeline is as it
was before, whatever happened inside.
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
from promptweight.prompt import script_of

if TYPE_CHECKING:
    from torch import Tensor

    from promptweight.prompt import Prompt

_CLIP_L, _CLIP_G = ("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2")


@dataclass(frozen=True)
class Lora:
    """A LoRA file, and how strongly it acts."""

    path: Path
    weight: float


@dataclass(frozen=True)
class Adapters:
    """What prompts ask for.

    Attributes:
        loras: by the name in the prompt.
        embeddings: files of textual inversions, by the very text that stands for them in the prompts.
        warnings: what could not be followed, in full sentences.
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
    """Return the files that two prompts name, at any step of a run of `num_inference_steps`.

    A LoRA is named by its tag, `<lora:name:weight>`; weights of one that is named twice add up. A textual
    inversion is named by its file's name as a whole word, in any case, or by `embedding:name` or `<name>`.
    Names are those of files anywhere in the folders, without their ending.

    Raises:
        SettingError: a folder is none, or holds no file of that name; says which names are close.
        ModelError: the file is damaged.
    """
    warnings: list[Message] = []
    negative_loras = [] if negative_prompt is None else list(negative_prompt.loras)
    if negative_loras:
        names = ", ".join(repr(lora.name) for lora in negative_loras)
        warnings.append(
            message(
                "negative-loras",
                names=names,
            )
        )
    loras = _choose_loras(prompt, lora_dir, warnings)
    embeddings: dict[str, Path] = {}
    for each in (prompt, negative_prompt):
        if each is not None:
            for text in script_of(each, num_inference_steps).variants:
                embeddings |= _choose_embeddings(text, embeddings_dir, warnings)
    for path in [*(lora.path for lora in loras.values()), *embeddings.values()]:
        check_safetensors(path)
    return Adapters(loras, embeddings, tuple(dict.fromkeys(warnings)))


@contextmanager
def apply_adapters(pipe: Any, chosen: Adapters) -> Iterator[None]:
    """Hold what was chosen on `pipe` for as long as the block lasts, and takes it off again.

    Raises:
        ModelError: a file does not fit the model, or peft is not installed, which LoRAs need.
        SettingError: LoRAs are wanted of a pipeline that has some of its own.
    """
    with ExitStack() as stack:
        if chosen.loras:
            _put_on_loras(pipe, chosen.loras, stack)
        if chosen.embeddings:
            _put_on_embeddings(pipe, chosen.embeddings, stack)
        yield


def _choose_loras(
    prompt: Prompt, folder: str | os.PathLike[str] | None, warnings: list[Message]
) -> dict[str, Lora]:
    chosen: dict[str, Lora] = {}
    files = None if folder is None else _files(folder, "lora_dir")
    for tag in prompt.loras:
        if tag.kind == "hypernet":
            warnings.append(
                message(
                    "hypernetwork-unsupported", name=tag.name
                )
            )
        elif files is None:
            warnings.append(
                message("lora-unused", name=tag.name)
            )
        else:
            path = _find(tag.name, files, "LoRA", folder)
            earlier = chosen[tag.name].weight if tag.name in chosen else 0.0
            chosen[tag.name] = Lora(path, earlier + tag.weight)
    return chosen


def _choose_embeddings(
    prompt: Prompt, folder: str | os.PathLike[str] | None, warnings: list[Message]
) -> dict[str, Path]:
    from promptweight.prompt import note_embeddings

    files = {} if folder is None else _files(folder, "embeddings_dir")
    chosen: dict[str, Path] = {}
    for named in note_embeddings(prompt, [path.stem for path in files.values()]).embeddings:
        written = prompt.text[named.clean_start : named.clean_end]
        name = named.name.strip("<>").removesuffix(".safetensors")
        if name.casefold() in files:
            chosen[written] = files[name.casefold()]
        elif not written.startswith("embedding:"):
            continue  # text in angle brackets that names no file is text
        elif folder is None:
            warnings.append(
                message(
                    "textual-inversion-unused",
                    name=name,
                )
            )
        else:
            _find(name, files, "textual inversion", folder)
    return chosen


def _files(folder: str | os.PathLike[str], setting: str) -> dict[str, Path]:
    """Return the safetensors files in a folder and those below it, by their names in lower case."""
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise SettingError(f"{setting} is {os.fspath(folder)!r}, which is no folder")
    return {path.stem.casefold(): path for path in sorted(root.rglob("*.safetensors"), reverse=True)}


def _find(name: str, files: Mapping[str, Path], what: str, folder: object) -> Path:
    if name.casefold() in files:
        return files[name.casefold()]
    close = [files[each].stem for each in difflib.get_close_matches(name.casefold(), files, cutoff=0.5)]
    if close:
        hint = f"did you mean {' or '.join(repr(each) for each in close)}?"
    else:
        hint = f"it holds {len(files)} files, none with a name like it"
    raise SettingError(f"there is no {what} {name!r} (.safetensors) in {str(folder)!r}; {hint}")


def _put_on_loras(pipe: Any, loras: Mapping[str, Lora], stack: ExitStack) -> None:
    if find_spec("peft") is None:
        raise ModelError("LoRAs need the package peft, which is not installed: pip install peft")
    if not hasattr(pipe, "load_lora_weights"):
        raise ModelError(f"{type(pipe).__name__} takes no LoRAs")
    if any(pipe.get_list_adapters().values()):
        raise SettingError(
            "the pipeline has LoRAs of its own, beside which those of the prompt cannot be put on and off; "
            "call its unload_lora_weights(), or leave the tags out of the prompt"
        )
    stack.callback(pipe.unload_lora_weights)
    names = {f"promptweight_{number}": lora for number, lora in enumerate(loras.values())}
    for name, lora in names.items():
        try:
            pipe.load_lora_weights(
                str(lora.path.parent), weight_name=lora.path.name, adapter_name=name, local_files_only=True
            )
        except Exception as error:  # the file's content decides which of many errors this is
            raise ModelError(
                f"{lora.path} cannot be put on this {type(pipe).__name__}: {summarize_error(error)}"
            ) from error
        if not any(name in adapters for adapters in pipe.get_list_adapters().values()):
            raise ModelError(f"{lora.path} holds no LoRA for a {type(pipe).__name__}")
    pipe.set_adapters(list(names), [lora.weight for lora in names.values()])


def _put_on_embeddings(pipe: Any, files: Mapping[str, Path], stack: ExitStack) -> None:
    from safetensors.torch import load_file

    if not hasattr(pipe, "load_textual_inversion"):
        raise ModelError(f"{type(pipe).__name__} takes no textual inversions")
    places = [place for place in (_CLIP_L, _CLIP_G) if getattr(pipe, place[1], None) is not None]
    for tokenizer, text_encoder in places:
        stack.enter_context(_changeable(pipe, tokenizer, text_encoder))
    for token, path in files.items():
        for (tokenizer, text_encoder), vectors in _vectors(pipe, path, load_file(path), places):
            try:
                pipe.load_textual_inversion(
                    {token: vectors},
                    token=token,
                    tokenizer=getattr(pipe, tokenizer),
                    text_encoder=getattr(pipe, text_encoder),
                )
            except Exception as error:  # the file's content decides which of many errors this is
                raise ModelError(
                    f"{path} cannot be put on this {type(pipe).__name__}: {summarize_error(error)}"
                ) from error


def _vectors(
    pipe: Any, path: Path, tensors: Mapping[str, Tensor], places: list[tuple[str, str]]
) -> list[tuple[tuple[str, str], Tensor]]:
    """Return which text encoder learns which vectors of a file: by name in SDXL's, else by their width."""
    named = {"clip_l": _CLIP_L, "clip_g": _CLIP_G}
    if tensors and set(tensors) <= set(named):
        return [(named[name], vectors) for name, vectors in tensors.items() if named[name] in places]
    widths = {
        getattr(pipe, place[1]).get_input_embeddings().embedding_dim: place for place in reversed(places)
    }
    if len(tensors) == 1:
        (vectors,) = tensors.values()
        if vectors.ndim in (1, 2) and vectors.shape[-1] in widths:
            return [(widths[vectors.shape[-1]], vectors)]
    shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items())
    raise ModelError(
        f"{path} is no textual inversion for this {type(pipe).__name__}, whose vectors have a width of "
        f"{' or '.join(map(str, widths))}; it holds {shapes[:200] or 'nothing'}"
    )


@contextmanager
def _changeable(pipe: Any, tokenizer: str, text_encoder: str) -> Iterator[None]:
    """Let words be added to a tokenizer and its text encoder inside the block; afterwards they are gone."""
    words, encoder = getattr(pipe, tokenizer), getattr(pipe, text_encoder)
    vectors, size = encoder.get_input_embeddings(), encoder.config.vocab_size
    setattr(pipe, tokenizer, copy.deepcopy(words))
    encoder.set_input_embeddings(copy.deepcopy(vectors))
    try:
        yield
    finally:
        setattr(pipe, tokenizer, words)
        encoder.set_input_embeddings(vectors)
        encoder.config.vocab_size = size
