"""Loading of pipelines by name, and the errors for invalid names, files and settings."""

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
    ModelOrigin,
    choose_device,
    choose_dtype,
    get_default_guidance_scale,
    get_origin,
    load,
)

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def copy(model_folder, tmp_path):
    """A copy of the model that a test can damage."""
    return shutil.copytree(model_folder, tmp_path / "my-model")


def test_load_of_a_folder_gives_a_pipeline_in_eval_mode(model_folder):
    pipe = load(model_folder, device="cpu")
    assert isinstance(pipe, StableDiffusionPipeline)
    assert pipe.device.type == "cpu"
    assert pipe.unet.dtype == torch.float32
    assert not pipe.unet.training
    assert get_origin(pipe) == ModelOrigin("tiny-random")


def test_load_gives_the_weights_of_the_files(model_folder, tiny_pipe):
    reference = StableDiffusionPipeline.from_pretrained(model_folder)
    for ours, theirs in zip(tiny_pipe.unet.parameters(), reference.unet.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_load_is_silent_and_restores_the_logging_settings(model_folder, capfd, caplog):
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
def test_load_with_dtype_by_name_or_torch_type(model_folder, dtype, expected):
    assert load(model_folder, device="cpu", dtype=dtype).unet.dtype == expected


@pytest.mark.parametrize("dtype", ["int8", "fp16", torch.int32, None])
def test_load_with_another_dtype_raises(model_folder, dtype):
    with pytest.raises(SettingError, match="one of: auto, float32, float16, bfloat16"):
        load(model_folder, device="cpu", dtype=dtype)


@pytest.mark.parametrize(
    ("available", "device", "transformer", "expected"),
    [
        (["cuda", "mps", "xpu"], "cuda", False, torch.float16),
        (["cuda", "mps", "xpu"], "cuda", True, torch.bfloat16),
        (["mps", "xpu"], "mps", False, torch.float16),
        (["xpu"], "xpu", True, torch.bfloat16),
        ([], "cpu", True, torch.float32),
    ],
)
def test_auto_chooses_the_first_device_and_its_default_dtype(
    monkeypatch, available, device, transformer, expected
):
    for kind in ("cuda", "mps", "xpu"):
        monkeypatch.setattr(getattr(torch, kind), "is_available", lambda kind=kind: kind in available)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert choose_device("auto") == device
    assert choose_dtype("auto", device, is_transformer=transformer) == expected


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "", "cpu:-1", "cpu:x"])
def test_choose_device_with_an_unavailable_device_lists_the_available_ones(device):
    with pytest.raises(SettingError, match=rf"device must be one of: auto.* cpu; got '{device}'"):
        choose_device(device)


def test_load_of_a_missing_path_lists_the_kinds_of_names(tmp_path):
    with pytest.raises(ModelError, match=r"built-in name .*mini.*owner/name@revision"):
        load(str(tmp_path / "nowhere" / "at" / "all"), device="cpu")
    with pytest.raises(ModelError, match=r"'nome'"):
        load("nome", device="cpu")


def test_load_of_a_missing_file_does_not_ask_the_hub():
    with pytest.raises(ModelError, match=r"^model must be an existing file; got 'models/none\.safetensors'$"):
        load("models/none.safetensors", device="cpu")


def test_load_of_an_unknown_hub_id_offline_raises_one_sentence(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"'nobody/nothing' at revision 'v1'.*cache.*network"):
        load("nobody/nothing@v1", device="cpu")


@pytest.mark.usefixtures("no_network")
def test_origin_of_a_hub_model_is_its_id_and_commit(model_folder, tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = shutil.copytree(model_folder, tmp_path / "models--someone--tiny" / "snapshots" / commit)
    monkeypatch.setattr("diffusers.DiffusionPipeline.download", lambda *_, **__: str(snapshot))
    assert get_origin(load("someone/tiny@main", device="cpu")) == ModelOrigin("someone/tiny", commit)
    assert get_origin(load(snapshot, device="cpu")) == ModelOrigin("someone/tiny", commit)


@pytest.mark.usefixtures("no_network")
def test_load_requests_only_safetensors_from_the_hub(monkeypatch):
    requested = {}

    def download(name, **options):
        requested.update(options, name=name)
        raise OSError("no network")

    monkeypatch.setattr("diffusers.DiffusionPipeline.download", download)
    with pytest.raises(ModelError, match="no network"):
        load("someone/tiny@v2", device="cpu", variant="fp16")
    assert requested == {"name": "someone/tiny", "revision": "v2", "variant": "fp16", "use_safetensors": True}


@pytest.fixture
def no_network(monkeypatch):
    """Files of the hub that cannot be fetched."""

    def download_file(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download_file)


UNSUPPORTED = ["MochiPipeline", "AllegroPipeline", "KandinskyPipeline", ["my_code", "MyPipeline"], 7, None]


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_load_refuses_an_unsupported_class_before_it_reads_weights(copy, name, monkeypatch):
    """The error names the class and the supported ones, also where weights are damaged."""
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps({**index, "_class_name": name}))
    (copy / UNET).write_bytes(b"")
    monkeypatch.setattr("diffusers.DiffusionPipeline.from_pretrained", pytest.fail)
    shown = name[-1] if isinstance(name, list) else name
    expected = f"my-model' is a {shown}, which is not supported; supported: Stable Diffusion 1 and 2: Sta"
    with pytest.raises(ModelError, match=expected):
        load(copy, device="cpu")


@pytest.mark.parametrize("revision", [None, "v2"])
def test_load_refuses_an_unsupported_hub_model_before_it_downloads_weights(tmp_path, revision, monkeypatch):
    index, asked = tmp_path / "model_index.json", []
    index.write_text('{"_class_name": "MochiPipeline"}')

    def download_file(*arguments, **options):
        asked.append((*arguments, options))
        return str(index)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download_file)
    monkeypatch.setattr("diffusers.DiffusionPipeline.download", pytest.fail)
    with pytest.raises(ModelError, match=r"'genmo/mochi-1-preview'.* is a MochiPipeline, which"):
        load("genmo/mochi-1-preview", device="cpu", revision=revision)
    assert asked == [("genmo/mochi-1-preview", "model_index.json", {"revision": revision})]


@pytest.mark.parametrize("content", ["[]", "{", '{"_class_name": "StableDiffusionPipeline"}', None])
def test_hub_models_without_a_readable_unsupported_class_are_downloaded(tmp_path, content, monkeypatch):
    """The download then says what is wrong with them."""
    index = tmp_path / "model_index.json"
    if content is not None:
        index.write_text(content)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: str(index))

    def download(*_, **__):
        raise OSError("reached")

    monkeypatch.setattr("diffusers.DiffusionPipeline.download", download)
    with pytest.raises(ModelError, match="reached"):
        load("someone/tiny", device="cpu")


def test_subclasses_of_supported_pipelines_load(copy, monkeypatch):
    """By the base classes of a class of diffusers, as pipelines are recognized in a session."""
    import diffusers

    class Derived(StableDiffusionPipeline):
        pass

    monkeypatch.setattr(diffusers, "Derived", Derived, raising=False)
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps({**index, "_class_name": "Derived"}))
    assert isinstance(load(copy, device="cpu"), Derived)


def test_load_of_a_folder_without_a_pipeline_raises(tmp_path):
    with pytest.raises(ModelError, match=r"not a complete pipeline.*model_index\.json"):
        load(tmp_path, device="cpu")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "[" * 100_000, '{"_class_name": "NoSuchPipeline"}'])
def test_load_with_a_damaged_index_raises(copy, content):
    (copy / "model_index.json").write_text(content)
    with pytest.raises(ModelError, match="my-model"):
        load(copy, device="cpu")


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda content: b"", "empty"),
        (lambda content: content[: len(content) // 2], "incomplete"),
        (lambda content: content[:-1], "incomplete"),
        (lambda content: b"\n<!DOCTYPE html><html>404</html>", "web page"),
        (lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs"),
        (lambda content: b"\xff" * 8 + content[8:], "not a safetensors file"),
    ],
    ids=["empty", "half", "one byte short", "html", "lfs pointer", "huge header"],
)
def test_load_of_damaged_weights_describes_their_content(copy, damage, text):
    path = copy / UNET
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError, match=text) as raised:
        load(copy, device="cpu")
    assert str(path) in str(raised.value)


def test_load_of_pickled_weights_raises_without_opening_them(copy):
    (copy / UNET).unlink()
    pickle = copy / "unet/diffusion_pytorch_model.bin"
    pickle.write_bytes(b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    with pytest.raises(ModelError, match=r"diffusion_pytorch_model\.bin is a pickle"):
        load(copy, device="cpu")


def test_load_with_missing_weights_raises(copy):
    (copy / UNET).unlink()
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(copy, device="cpu")


def test_load_with_weights_of_another_shape_raises(copy):
    config = json.loads((copy / "unet/config.json").read_text())
    config["block_out_channels"] = [32, 64]
    (copy / "unet/config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(copy, device="cpu")


def test_load_does_not_run_code_in_the_folder(copy):
    (copy / "unet" / "evil.py").write_text("raise SystemExit('code ran')")
    index = json.loads((copy / "model_index.json").read_text())
    index["unet"] = ["evil", "Evil"]
    (copy / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError):
        load(copy, device="cpu")


@pytest.mark.parametrize("name", ["model.ckpt", "model.bin", "MODEL.PT"])
def test_load_of_a_pickle_file_raises(tmp_path, name):
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    with pytest.raises(ModelError, match=f"{name} is a pickle"):
        load(tmp_path / name, device="cpu")


def test_load_of_another_single_file_raises(copy):
    with pytest.raises(ModelError, match=r"model_index\.json' is not a model.*\.safetensors"):
        load(copy / "model_index.json", device="cpu")


def test_load_with_a_sampler_name_keeps_the_models_settings(model_folder):
    pipe = load(model_folder, device="cpu", scheduler="DPM++ 2M Karras")
    assert type(pipe.scheduler).__name__ == "DPMSolverMultistepScheduler"
    assert pipe.scheduler.config.use_karras_sigmas is True
    assert pipe.scheduler.config.steps_offset == 1  # the model's own setting


@pytest.mark.parametrize(
    ("offload", "text"),
    [
        ("model", "offload must be None on the cpu; got 'model'"),
        ("disk", "offload must be one of: model; got 'disk'"),
    ],
)
def test_load_with_offload_on_the_cpu_raises(offload, text):
    with pytest.raises(SettingError, match=text):
        load("nobody/nothing", device="cpu", offload=offload)


def test_load_with_offload_enables_the_pipelines_offload(model_folder, monkeypatch):
    devices = []
    monkeypatch.setattr("promptweight.models.loading.choose_device", lambda device: "cuda:0")
    monkeypatch.setattr(
        StableDiffusionPipeline, "enable_model_cpu_offload", lambda self, device: devices.append(device)
    )
    pipe = load(model_folder, dtype="float32", offload="model")
    assert devices == ["cuda:0"]
    assert pipe.device.type == "cpu"


def test_load_without_the_safety_checkers_folder_succeeds(copy):
    index = json.loads((copy / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index["requires_safety_checker"] = True
    (copy / "model_index.json").write_text(json.dumps(index))
    assert load(copy, device="cpu").safety_checker is None


def test_default_guidance_scale_is_the_recommended_one_or_the_pipelines(copy, tiny_pipe):
    assert get_default_guidance_scale(tiny_pipe) == 7.5
    (copy / "promptweight.json").write_text('{"guidance_scale": 4.5}')
    assert get_default_guidance_scale(load(copy, device="cpu")) == 4.5
    assert get_default_guidance_scale(StableDiffusionPipeline.from_pretrained(copy)) == 4.5


@pytest.mark.parametrize("content", ["", "{}", '{"guidance_scale": "high"}', '{"guidance_scale": -1}', "[1]"])
def test_load_with_an_invalid_recommended_guidance_scale_raises(copy, content):
    (copy / "promptweight.json").write_text(content)
    with pytest.raises(ModelError, match=r"guidance_scale in .*promptweight\.json"):
        load(copy, device="cpu")


@pytest.mark.parametrize("layers", ['"up_blocks"', "[1]", "null", '[""]'])
def test_load_with_invalid_recommended_layers_raises(copy, layers):
    (copy / "promptweight.json").write_text(f'{{"guidance_scale": 4.5, "attention_layers": {layers}}}')
    with pytest.raises(ModelError, match=r"attention_layers in .*promptweight\.json"):
        load(copy, device="cpu")


def test_origin_of_a_pipeline_from_elsewhere_has_no_path(model_folder):
    pipe = StableDiffusionPipeline.from_pretrained(model_folder)
    assert get_origin(pipe) == ModelOrigin("tiny-random")


@pytest.mark.parametrize("name", BUILTIN_MODELS)
def test_built_in_models_load_by_name(name):
    pipe = load(name, device="cpu")
    assert get_origin(pipe).model == name
    modules = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    assert len(modules) >= 3
    assert {module.dtype for module in modules} == {torch.float32}
