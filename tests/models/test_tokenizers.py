"""Token tables from a model's folder: those that the loaded pipeline reads, without its weights."""

import json
import shutil

import pytest

from promptweight.conditioning import encode_prompts
from promptweight.errors import ModelError
from promptweight.models.tokenizers import token_tables
from promptweight.prompt import parse

PROMPT = parse("um (gato:1.4) vermelho BREAK um rato" + ", um gato" * 40)


@pytest.fixture
def copy(model_folder, tmp_path):
    """A copy of the model that a test may damage."""
    return shutil.copytree(model_folder, tmp_path / "my-model")


def test_the_tables_are_those_the_pipeline_is_given(model_folder, tiny_pipe):
    (table,) = token_tables(PROMPT, model_folder)
    (expected,) = encode_prompts(tiny_pipe, PROMPT).positive
    assert table == expected
    assert table.chunks > 2


def test_no_weights_are_needed(copy):
    for file in copy.rglob("*.safetensors"):
        file.unlink()
    assert len(token_tables(PROMPT, copy)) == 1


def test_an_encoder_that_was_left_out_has_no_table(model_folder, tmp_path):
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
    assert [table.encoder for table in token_tables(PROMPT, folder)] == ["clip_l", "clip_g"]
    (folder / "model_index.json").write_text(json.dumps(index | {"text_encoder": [None, None]}))
    assert [table.encoder for table in token_tables(PROMPT, folder)] == ["clip_g"]


def test_one_chunk_encoders_quote_what_they_cut(model_folder, tmp_path):
    folder = tmp_path / "flux"
    shutil.copytree(model_folder / "tokenizer", folder / "tokenizer")
    index = {
        "_class_name": "FluxPipeline",
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "text_encoder": ["transformers", "CLIPTextModel"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    (table,) = token_tables(PROMPT, folder)
    assert table.chunks == 1
    assert PROMPT.text.endswith(table.cut)
    assert table.cut


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"_class_name": "AudioPipeline"}, "AudioPipeline.*supported: Stable Diffusion 1 and 2"),
        ({"tokenizer": ["evil", "Evil"]}, "evil.Evil, which is no tokenizer"),
        ({"tokenizer": ["transformers", "CLIPTextModel"]}, "CLIPTextModel, which is no tokenizer"),
    ],
)
def test_what_cannot_be_read_is_named(copy, change, said):
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps(index | change))
    with pytest.raises(ModelError, match=said):
        token_tables(PROMPT, copy)


def test_a_damaged_tokenizer_is_named(copy):
    for file in (copy / "tokenizer").iterdir():
        file.write_text("{")
    with pytest.raises(ModelError, match=r"my-model.tokenizer cannot be read"):
        token_tables(PROMPT, copy)


def test_a_hub_id_is_found_in_the_cache(model_folder, tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--someone--tiny"
    shutil.copytree(model_folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert token_tables(PROMPT, "someone/tiny") == token_tables(PROMPT, model_folder)
    with pytest.raises(ModelError, match=r"'someone/tiny' at revision 'v9'.*cache"):
        token_tables(PROMPT, "someone/tiny@v9")
