"""Token tables and counts from a model's folder, equal to those of the loaded pipeline."""

import json
import shutil
import subprocess
import sys

import pytest

from promptweight.conditioning import encode_prompts
from promptweight.errors import ModelError
from promptweight.models import count_tokens, load_tokenizers, tokenize_prompt
from promptweight.prompt import parse

PROMPT = parse("um (gato:1.4) vermelho BREAK um rato" + ", um gato" * 40).at()


@pytest.fixture
def copy(model_folder, tmp_path):
    """A copy of the model that a test can damage."""
    return shutil.copytree(model_folder, tmp_path / "my-model")


def test_tokenize_prompt_equals_the_tables_of_the_pipeline(model_folder, tiny_pipe):
    (table,) = tokenize_prompt(PROMPT, model_folder)
    (expected,) = encode_prompts(tiny_pipe, PROMPT).positive
    assert table == expected
    assert table.chunks > 2


def test_tokenize_prompt_needs_no_weights(copy):
    for file in copy.rglob("*.safetensors"):
        file.unlink()
    assert len(tokenize_prompt(PROMPT, copy)) == 1


def test_tokenize_prompt_skips_absent_encoders(model_folder, tmp_path):
    folder = tmp_path / "sdxl"
    for name in ("tokenizer", "tokenizer_2"):
        shutil.copytree(model_folder / "tokenizer", folder / name)
    index = {
        "_class_name": "StableDiffusionXLPipeline",
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    assert [table.encoder for table in tokenize_prompt(PROMPT, folder)] == ["clip_l", "clip_g"]
    (folder / "model_index.json").write_text(json.dumps(index | {"text_encoder": [None, None]}))
    assert [table.encoder for table in tokenize_prompt(PROMPT, folder)] == ["clip_g"]


def test_tokenize_prompt_for_one_chunk_encoders_truncates(model_folder, tmp_path):
    folder = tmp_path / "flux"
    shutil.copytree(model_folder / "tokenizer", folder / "tokenizer")
    index = {
        "_class_name": "FluxPipeline",
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "text_encoder": ["transformers", "CLIPTextModel"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    (table,) = tokenize_prompt(PROMPT, folder)
    assert table.chunks == 1
    assert PROMPT.text.endswith(table.truncated_text)
    assert table.truncated_text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"_class_name": "AudioPipeline"}, "is a AudioPipeline, which.* supported: Stable Diffusion 1 and 2"),
        ({"_class_name": ["own_code", "Own"]}, "is a Own, which is not supported"),
        ({"tokenizer": ["evil", "Evil"]}, "must be a tokenizer of transformers; got evil.Evil"),
        (
            {"tokenizer": ["transformers", "CLIPTextModel"]},
            "got transformers.CLIPTextModel",
        ),
    ],
)
def test_tokenize_prompt_with_an_unsupported_index_raises(copy, change, text):
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps(index | change))
    with pytest.raises(ModelError, match=text):
        tokenize_prompt(PROMPT, copy)


def test_tokenize_prompt_with_a_damaged_tokenizer_raises(copy):
    for file in (copy / "tokenizer").iterdir():
        file.write_text("{")
    with pytest.raises(ModelError, match=r"my-model.tokenizer cannot be read"):
        tokenize_prompt(PROMPT, copy)


def test_tokenize_prompt_of_a_hub_id_uses_the_cache(model_folder, tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--someone--tiny"
    shutil.copytree(model_folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert tokenize_prompt(PROMPT, "someone/tiny") == tokenize_prompt(PROMPT, model_folder)
    with pytest.raises(ModelError, match="local cache; got 'someone/tiny' at revision 'v9'"):
        tokenize_prompt(PROMPT, "someone/tiny@v9")


@pytest.mark.parametrize("text", ["um (gato:1.4) vermelho", "a, " * 100, ""])
def test_count_tokens_equals_the_tables(model_folder, text):
    prompt = parse(text).at()
    (table,) = tokenize_prompt(prompt, model_folder)
    (count,) = count_tokens(load_tokenizers(model_folder), prompt)
    tokens = sum(token.kind == "text" for token in table.tokens)
    assert count == ("tokenizer", tokens, table.chunks, table.truncated_text)


def test_load_tokenizers_runs_without_torch():
    code = (
        "import sys; from promptweight.models import load_tokenizers; load_tokenizers('mini'); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
