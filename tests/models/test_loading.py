"""Loading: what a name may be, what is refused, and in which words."""

import json
import logging
import shutil
import warnings

import pytest
import torch
from diffusers import StableDiffusionPipeline

from promptweight.errors import ModelError, SettingError
from promptweight.models import (
    BUILTIN_MODELS,
    choose_device,
    choose_dtype,
    default_guidance_scale,
    get_origin,
)
from promptweight.models.loading import Origin, load

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def copy(model_folder, tmp_path):
    """A copy of the model that a test may damage."""
    return shutil.copytree(model_folder, tmp_path / "my-model")


def test_a_folder_is_loaded_ready_to_run(model_folder):
    pipe = load(model_folder, device="cpu")
    assert isinstance(pipe, StableDiffusionPipeline)
    assert pipe.device.type == "cpu"
    assert pipe.unet.dtype == torch.float32
    assert not pipe.unet.training
    assert get_origin(pipe) == Origin("tiny-random")


def test_the_weights_are_those_of_the_files(model_folder, tiny_pipe):
    reference = StableDiffusionPipeline.from_pretrained(model_folder)
    for ours, theirs in zip(tiny_pipe.unet.parameters(), reference.unet.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_loading_is_silent_and_leaves_everything_as_it_was(model_folder, capfd, caplog):
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    before = diffusers_logging.get_verbosity(), transformers_logging.get_verbosity()
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        load(str(model_folder), device="cpu")
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    assert (diffusers_logging.get_verbosity(), transformers_logging.get_verbosity()) == before
    assert diffusers_logging.is_progress_bar_enabled()


@pytest.mark.parametrize(
    ("dtype", "expected"), [("bfloat16", torch.bfloat16), (torch.float16, torch.float16)]
)
def test_dtype_is_a_name_or_a_torch_type(model_folder, dtype, expected):
    assert load(model_folder, device="cpu", dtype=dtype).unet.dtype == expected


@pytest.mark.parametrize("dtype", ["int8", "fp16", torch.int32, None])
def test_other_dtypes_are_refused(model_folder, dtype):
    with pytest.raises(SettingError, match=r"valid: auto, float32, float16, bfloat16"):
        load(model_folder, device="cpu", dtype=dtype)


@pytest.mark.parametrize(
    ("there", "device", "transformer", "expected"),
    [
        (["cuda", "mps", "xpu"], "cuda", False, torch.float16),
        (["cuda", "mps", "xpu"], "cuda", True, torch.bfloat16),
        (["mps", "xpu"], "mps", False, torch.float16),
        (["xpu"], "xpu", True, torch.bfloat16),
        ([], "cpu", True, torch.float32),
    ],
)
def test_auto_takes_the_first_device_and_its_usual_type(monkeypatch, there, device, transformer, expected):
    for kind in ("cuda", "mps", "xpu"):
        monkeypatch.setattr(getattr(torch, kind), "is_available", lambda kind=kind: kind in there)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert choose_device("auto") == device
    assert choose_dtype("auto", device, is_transformer=transformer) == expected


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "", "cpu:-1", "cpu:x"])
def test_a_device_that_is_not_there_is_named_with_those_that_are(device):
    with pytest.raises(SettingError, match=rf"'{device}'.*cpu"):
        choose_device(device)


def test_a_missing_path_says_what_a_name_may_be(tmp_path):
    with pytest.raises(ModelError, match=r"built-in name .*mini.*owner/name@revision"):
        load(str(tmp_path / "nowhere" / "at" / "all"), device="cpu")
    with pytest.raises(ModelError, match=r"'nome'"):
        load("nome", device="cpu")


def test_a_file_that_is_missing_is_not_taken_for_a_hub_id():
    with pytest.raises(ModelError, match=r"^there is no file 'models/none\.safetensors'$"):
        load("models/none.safetensors", device="cpu")


def test_an_unknown_hub_id_is_one_sentence_and_needs_no_network(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"'nobody/nothing' at revision 'v1'.*cache.*network"):
        load("nobody/nothing@v1", device="cpu")


def test_a_hub_model_in_the_cache_is_called_by_its_id_and_commit(model_folder, tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = shutil.copytree(model_folder, tmp_path / "models--someone--tiny" / "snapshots" / commit)
    monkeypatch.setattr("diffusers.DiffusionPipeline.download", lambda *_, **__: str(snapshot))
    assert get_origin(load("someone/tiny@main", device="cpu")) == Origin("someone/tiny", commit)
    assert get_origin(load(snapshot, device="cpu")) == Origin("someone/tiny", commit)


def test_only_safetensors_are_asked_of_the_hub(monkeypatch):
    asked = {}

    def download(name, **options):
        asked.update(options, name=name)
        raise OSError("no network")

    monkeypatch.setattr("diffusers.DiffusionPipeline.download", download)
    with pytest.raises(ModelError, match="no network"):
        load("someone/tiny@v2", device="cpu", variant="fp16")
    assert asked == {"name": "someone/tiny", "revision": "v2", "variant": "fp16", "use_safetensors": True}


def test_a_folder_without_a_pipeline_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"not a complete pipeline.*model_index\.json"):
        load(tmp_path, device="cpu")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "[" * 100_000, '{"_class_name": "NoSuchPipeline"}'])
def test_a_broken_index_is_a_model_error(copy, content):
    (copy / "model_index.json").write_text(content)
    with pytest.raises(ModelError, match="my-model"):
        load(copy, device="cpu")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: b"", "empty"),
        (lambda content: content[: len(content) // 2], "incomplete"),
        (lambda content: content[:-1], "incomplete"),
        (lambda content: b"\n<!DOCTYPE html><html>404</html>", "web page"),
        (lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs"),
        (lambda content: b"\xff" * 8 + content[8:], "no safetensors"),
    ],
    ids=["empty", "half", "one byte short", "html", "lfs pointer", "huge header"],
)
def test_damaged_weights_are_named_with_what_they_are(copy, damage, said):
    path = copy / UNET
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError, match=said) as raised:
        load(copy, device="cpu")
    assert str(path) in str(raised.value)


def test_pickles_are_refused_unopened(copy):
    (copy / UNET).unlink()
    pickle = copy / "unet/diffusion_pytorch_model.bin"
    pickle.write_bytes(b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    with pytest.raises(ModelError, match=r"diffusion_pytorch_model\.bin is a pickle"):
        load(copy, device="cpu")


def test_missing_weights_are_a_model_error(copy):
    (copy / UNET).unlink()
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(copy, device="cpu")


def test_weights_of_another_shape_are_a_model_error(copy):
    config = json.loads((copy / "unet/config.json").read_text())
    config["block_out_channels"] = [32, 64]
    (copy / "unet/config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(copy, device="cpu")


def test_code_in_the_folder_is_not_run(copy):
    (copy / "unet" / "evil.py").write_text("raise SystemExit('code ran')")
    index = json.loads((copy / "model_index.json").read_text())
    index["unet"] = ["evil", "Evil"]
    (copy / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError):
        load(copy, device="cpu")


@pytest.mark.parametrize("name", ["model.ckpt", "model.bin", "MODEL.PT"])
def test_a_pickle_is_refused_by_name(tmp_path, name):
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    with pytest.raises(ModelError, match=f"{name} is a pickle"):
        load(tmp_path / name, device="cpu")


def test_another_single_file_is_no_model(copy):
    with pytest.raises(ModelError, match=r"model_index\.json' is not a model.*\.safetensors"):
        load(copy / "model_index.json", device="cpu")


def test_a_scheduler_is_chosen_by_name(model_folder):
    pipe = load(model_folder, device="cpu", scheduler="DPM++ 2M Karras")
    assert type(pipe.scheduler).__name__ == "DPMSolverMultistepScheduler"
    assert pipe.scheduler.config.use_karras_sigmas is True
    assert pipe.scheduler.config.steps_offset == 1  # the model's own setting


@pytest.mark.parametrize(
    ("offload", "said"), [("model", r"offload is 'model'.*cpu"), ("disk", r"offload is 'disk'; valid: model")]
)
def test_offloading_needs_an_accelerator(offload, said):
    with pytest.raises(SettingError, match=said):
        load("nobody/nothing", device="cpu", offload=offload)


def test_offloading_is_asked_of_the_pipeline(model_folder, monkeypatch):
    asked = []
    monkeypatch.setattr("promptweight.models.loading.choose_device", lambda device: "cuda:0")
    monkeypatch.setattr(
        StableDiffusionPipeline, "enable_model_cpu_offload", lambda self, device: asked.append(device)
    )
    pipe = load(model_folder, dtype="float32", offload="model")
    assert asked == ["cuda:0"]
    assert pipe.device.type == "cpu"


def test_a_safety_checker_that_was_left_out_does_not_matter(copy):
    index = json.loads((copy / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index["requires_safety_checker"] = True
    (copy / "model_index.json").write_text(json.dumps(index))
    assert load(copy, device="cpu").safety_checker is None


def test_guidance_is_the_makers_advice_or_the_pipelines_default(copy, tiny_pipe):
    assert default_guidance_scale(tiny_pipe) == 7.5
    (copy / "promptweight.json").write_text('{"guidance_scale": 4.5}')
    assert default_guidance_scale(load(copy, device="cpu")) == 4.5
    assert default_guidance_scale(StableDiffusionPipeline.from_pretrained(copy)) == 4.5


@pytest.mark.parametrize("content", ["", "{}", '{"guidance_scale": "high"}', '{"guidance_scale": -1}', "[1]"])
def test_advice_that_is_no_number_is_a_model_error(copy, content):
    (copy / "promptweight.json").write_text(content)
    with pytest.raises(ModelError, match=r"promptweight\.json.*guidance_scale"):
        load(copy, device="cpu")


@pytest.mark.parametrize("layers", ['"up_blocks"', "[1]", "null", '[""]'])
def test_advised_layers_that_are_no_names_are_a_model_error(copy, layers):
    (copy / "promptweight.json").write_text(f'{{"guidance_scale": 4.5, "attention_layers": {layers}}}')
    with pytest.raises(ModelError, match=r"promptweight\.json.*attention_layers"):
        load(copy, device="cpu")


def test_a_pipeline_of_ones_own_shows_no_path(model_folder):
    pipe = StableDiffusionPipeline.from_pretrained(model_folder)
    assert get_origin(pipe) == Origin("tiny-random")


@pytest.mark.parametrize("name", BUILTIN_MODELS)
def test_built_in_models_load_by_name(name):
    pipe = load(name, device="cpu")
    assert get_origin(pipe).model == name
    modules = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    assert len(modules) >= 3
    assert {module.dtype for module in modules} == {torch.float32}
