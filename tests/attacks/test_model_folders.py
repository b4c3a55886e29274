"""Hostile model folders: lying headers and configurations, links, code, and names that are paths."""

import json
import os
import shutil
import struct

import pytest

from promptweight.errors import ModelError
from promptweight.models import load
from promptweight.models.config_limits import check_configs
from tests.attacks.conftest import UNET, check_one_sentence, safetensors_bytes, tensor_entry

pytestmark = pytest.mark.slow


def write_config(folder, file, **changes):
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 99_000_000) + b"{}",
        safetensors_bytes({"a": tensor_entry([1], 0, 4), "b": tensor_entry([1], 0, 4)}, bytes(4)),
        safetensors_bytes({"a": tensor_entry([1], 0, 4), "b": tensor_entry([1], 8, 12)}, bytes(12)),
        safetensors_bytes({"a": tensor_entry([-1], 0, 4)}, bytes(4)),
        safetensors_bytes({"a": tensor_entry([2**62, 2**62], 0, 4)}, bytes(4)),
        safetensors_bytes({"a": tensor_entry([2**40], 0, 2**42)}, bytes(4)),
        safetensors_bytes({"a": tensor_entry([1], 0, 4, "F31")}, bytes(4)),
        safetensors_bytes(b'{"a":' + b"[" * 100_000 + b"}"),
        safetensors_bytes(b'{"\xff\xfe":1}'),
    ],
    ids=["2^63", "99 MB", "overlap", "hole", "negative", "overflow", "beyond", "type", "nested", "bytes"],
)
def test_lying_headers_are_damaged_files(copy_model, content):
    (copy_model / UNET).write_bytes(content)
    with pytest.raises(ModelError, match=r"diffusion_pytorch_model\.safetensors is damaged"):
        load(copy_model, device="cpu")


@pytest.mark.parametrize("number", [1_000_000, 110_000])
def test_header_of_many_tensors_is_refused_by_its_size_or_number(tmp_path, number):
    entries = ",".join(f'"t{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}' for i in range(number))
    (tmp_path / "many.safetensors").write_bytes(safetensors_bytes(f"{{{entries}}}".encode()))
    with pytest.raises(
        ModelError, match=r"its header has \d+ (bytes; at most 33554432|tensors; at most 100000) are read"
    ):
        load(tmp_path / "many.safetensors", device="cpu")


def test_header_of_many_tensors_needs_little_memory(tmp_path, run_limited):
    entries = ",".join(f'"t{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}' for i in range(1_000_000))
    (tmp_path / "many.safetensors").write_bytes(safetensors_bytes(f"{{{entries}}}".encode()))
    answer = run_limited("generate", "a", "-m", tmp_path / "many.safetensors", "--device", "cpu")
    check_one_sentence(answer, 1, "its header has 57888891 bytes")


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("unet/config.json", {"layers_per_block": 10**7}),
        ("unet/config.json", {"transformer_layers_per_block": [1, 10**9]}),
        ("unet/config.json", {"block_out_channels": [10**9, 10**9]}),
        ("unet/config.json", {"block_out_channels": [32] * 5_000}),
        ("unet/config.json", {"down_block_types": ["DownBlock2D"] * 5_000}),
        ("unet/config.json", {"cross_attention_dim": 1e300}),
        ("vae/config.json", {"latent_channels": 10**8}),
        ("text_encoder/config.json", {"num_hidden_layers": 10**8}),
        ("text_encoder/config.json", {"vocab_size": 10**12}),
        ("text_encoder/config.json", {"intermediate_size": 10**7}),
        ("text_encoder/config.json", {"max_position_embeddings": 10**12}),
        ("text_encoder/config.json", {"text_config": {"num_hidden_layers": 10**8}}),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 10**9}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_configuration_beyond_its_weights_builds_nothing(copy_model, file, changes, monkeypatch):
    monkeypatch.setattr("diffusers.DiffusionPipeline.from_pretrained", pytest.fail)
    monkeypatch.setattr("transformers.CLIPTextModel.from_pretrained", pytest.fail)
    write_config(copy_model, file, **changes)
    with pytest.raises(ModelError, match=r"config\.json of .*my-model' cannot be used: \w+ must be at most"):
        load(copy_model, device="cpu")


def test_configuration_of_parts_that_are_not_built_is_no_fault(copy_model):
    """As in the safety checkers of Stable Diffusion, and tokenizers with a thousand special tokens."""
    write_config(
        copy_model, "unet/config.json", text_config={"vocab_size": 49408, "intermediate_size": 18944}
    )
    write_config(copy_model, "tokenizer/tokenizer_config.json", special_names=["x"] * 3_000)
    check_configs(copy_model, ["unet", "tokenizer"], "my-model")


@pytest.mark.parametrize(
    "file", ["unet/config.json", "scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json"]
)
@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, ""], ids=["arrays", "objects", "empty"])
def test_configuration_that_is_no_json_is_a_model_error(copy_model, file, text):
    (copy_model / file).write_text(text)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(copy_model, device="cpu")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"guidance_scale": NaN}', '{"guidance_scale": 1e999}'])
def test_hostile_advice_is_a_model_error(copy_model, text):
    (copy_model / "promptweight.json").write_text(text)
    with pytest.raises(ModelError, match=r"guidance_scale in .*promptweight\.json"):
        load(copy_model, device="cpu")


@pytest.mark.parametrize(
    "component", ["../../outside", "/etc", "unet/../../..", "..", ".", "", "a\0b", "a\\b"]
)
def test_component_that_is_a_path_is_refused(copy_model, component):
    write_config(copy_model, "model_index.json", **{component: ["diffusers", "UNet2DConditionModel"]})
    with pytest.raises(ModelError, match="must name components by plain folder names"):
        load(copy_model, device="cpu")


@pytest.mark.parametrize(
    "value",
    [
        ["os", "system"],
        ["subprocess", "Popen"],
        ["torch", "load"],
        ["builtins", "exec"],
        ["evil", "Evil"],
        ["diffusers", "UNet2DConditionModel", "x"],
        [1, 2],
        {"a": 1},
        "x",
    ],
    ids=str,
)
def test_component_of_another_class_is_not_run(copy_model, canary, value):
    (copy_model / "unet" / "evil.py").write_text(f"open({str(canary)!r}, 'w')")
    write_config(copy_model, "model_index.json", unet=value)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(copy_model, device="cpu")


def test_own_code_of_a_text_encoder_is_not_run(copy_model, canary):
    (copy_model / "text_encoder" / "evil.py").write_text(f"open({str(canary)!r}, 'w')")
    write_config(copy_model, "text_encoder/config.json", auto_map={"AutoModel": "evil.Evil"})
    assert type(load(copy_model, device="cpu").text_encoder).__module__.startswith("transformers.")


@pytest.mark.parametrize("suffix", [".bin", ".PT", ".Ckpt", ".pkl", ".pth"])
def test_pickle_of_any_suffix_is_not_opened(copy_model, pickle_bytes, suffix):
    (copy_model / UNET).unlink()
    (copy_model / "unet" / f"diffusion_pytorch_model{suffix}").write_bytes(pickle_bytes)
    with pytest.raises(ModelError, match="is a pickle, which can run any code"):
        load(copy_model, device="cpu")


def test_pickle_named_safetensors_is_not_opened(copy_model, pickle_bytes):
    (copy_model / UNET).write_bytes(pickle_bytes)
    with pytest.raises(ModelError, match="is damaged"):
        load(copy_model, device="cpu")


@pytest.mark.parametrize("shard", ["../../../../etc/passwd", "/etc/passwd", "evil.bin"])
def test_shards_of_an_index_are_files_of_the_folder(copy_model, pickle_bytes, shard):
    (copy_model / UNET).unlink()
    (copy_model / "unet/evil.bin").write_bytes(pickle_bytes)
    index = {"metadata": {}, "weight_map": {"conv_in.weight": shard}}
    (copy_model / f"{UNET}.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError):
        load(copy_model, device="cpu")


@pytest.mark.parametrize("kind", ["folder", "link to itself", "link to a folder", "link to nowhere"])
def test_weights_that_are_no_file_are_refused(copy_model, kind):
    path = copy_model / UNET
    path.unlink()
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"link to itself": path.name, "link to a folder": "."}.get(kind, "nowhere"))
    with pytest.raises(ModelError, match="it is not a file, or a link that leads nowhere"):
        load(copy_model, device="cpu")


@pytest.mark.parametrize("place", ["unet/config.json", "model_index.json", "tokenizer/extra"])
def test_links_to_devices_and_pipes_are_refused(copy_model, tmp_path, place):
    os.mkfifo(tmp_path / "pipe")
    for target in ("/dev/zero", tmp_path / "pipe"):
        (copy_model / place).unlink(missing_ok=True)
        (copy_model / place).symlink_to(target)
        with pytest.raises(ModelError, match="which is a pipe, socket or device"):
            load(copy_model, device="cpu")


def test_pipe_behind_a_link_to_a_folder_is_not_opened(copy_model, tmp_path):
    (tmp_path / "outside").mkdir()
    os.mkfifo(tmp_path / "outside/scheduler_config.json")
    shutil.rmtree(copy_model / "scheduler")
    (copy_model / "scheduler").symlink_to(tmp_path / "outside")
    with pytest.raises(ModelError):
        load(copy_model, device="cpu")


def test_folder_that_links_to_itself_loads(copy_model):
    (copy_model / "loop").symlink_to("loop")
    (copy_model / "unet" / "up").symlink_to("..")
    assert load(copy_model, device="cpu").unet is not None
