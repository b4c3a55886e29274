"""Files of adapters: names, paths, several files of one name, and pickles."""

import pytest
import torch
from safetensors.torch import save_file

from promptweight.errors import SettingError
from promptweight.models import find_adapters
from promptweight.prompt import parse


@pytest.fixture
def folder(tmp_path):
    for path in ("a/style", "b/style", "b/c/ink.v1", "style"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        save_file({"emb_params": torch.ones(1, 4)}, f"{tmp_path / path}.safetensors")
    for path in ("ptneg.pt", "b/other.bin"):
        torch.save({"string_to_param": {"*": torch.ones(1, 4)}}, tmp_path / path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("b/style", "b/style"),
        ("B\\Style", "b/style"),
        ("./style", "style"),
        ("a/style.safetensors", "a/style"),
        ("ink.v1", "b/c/ink.v1"),
        ("ink.v1.safetensors", "b/c/ink.v1"),
        ("c/ink.v1", "b/c/ink.v1"),
        ("b/c/ink.v1", "b/c/ink.v1"),
    ],
)
def test_path_selects_a_lora(folder, name, path):
    (lora,) = find_adapters(parse(f"<lora:{name}:1>").at(), lora_dir=folder).loras.values()
    assert lora.path == folder / f"{path}.safetensors"


def test_name_of_several_files_lists_their_paths(folder):
    with pytest.raises(SettingError, match=r"several files .* LoRA 'style'; .*: a/style, b/style, \./style"):
        find_adapters(parse("<lora:style:1>").at(), lora_dir=folder)
    with pytest.raises(SettingError, match=r"several files .* textual inversion 'style'"):
        find_adapters(parse("a style").at(), embeddings_dir=folder)


@pytest.mark.parametrize("name", ["a/ink.v1", "c/style", "zzz"])
def test_path_without_a_file_raises(folder, name):
    with pytest.raises(SettingError, match="there is no LoRA"):
        find_adapters(parse(f"<lora:{name}:1>").at(), lora_dir=folder)


@pytest.mark.parametrize("name", ["ptneg", "ptneg.pt", "other"])
def test_pickle_that_is_named_raises(folder, name):
    for prompt, folders in (
        (f"<lora:{name}:1>", {"lora_dir": folder}),
        (f"embedding:{name}", {"embeddings_dir": folder}),
    ):
        with pytest.raises(
            SettingError, match=r"is a pickle, .* is not read; .*convert it in Python: safetensors"
        ):
            find_adapters(parse(prompt).at(), **folders)


def test_word_that_is_the_name_of_a_pickle_gets_a_warning(folder):
    adapters = find_adapters(parse("um gato").at(), parse("feio, ptneg").at(), embeddings_dir=folder)
    assert [warning.code for warning in adapters.warnings] == ["adapter-pickle"]
    assert not adapters.embeddings


def test_conversion_that_the_message_gives_makes_a_file_that_is_found(folder, monkeypatch):
    (warning,) = find_adapters(parse("ptneg").at(), embeddings_dir=folder).warnings
    monkeypatch.chdir(folder)
    import safetensors.torch

    exec(warning.fields["conversion"], {"torch": torch, "safetensors": safetensors})
    assert list(find_adapters(parse("ptneg").at(), embeddings_dir=folder).embeddings) == ["ptneg"]
