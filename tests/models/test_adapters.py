"""LoRAs and textual inversions: their effect follows their weights, and the pipeline is restored."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from promptweight.errors import ModelError, SettingError
from promptweight.generation import generate
from promptweight.models import Adapters, apply_adapters, find_adapters, load
from promptweight.prompt import parse

FAST = {"num_inference_steps": 2, "seed": 7}
LAYERS = ("attn1.to_q", "attn2.to_k", "attn2.to_v")


def random(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def lora_factors(unet):
    """Return the two factors of a random LoRA of rank 2 for some layers of `unet`."""
    layers = [(name, layer) for name, layer in unet.named_modules() if name.endswith(LAYERS)]
    return {
        name: (random(2, layer.in_features, seed=number), random(layer.out_features, 2, seed=number))
        for number, (name, layer) in enumerate(layers)
    }


@pytest.fixture(scope="module")
def lora_dir(tmp_path_factory, tiny_pipe):
    folder = tmp_path_factory.mktemp("loras")
    (folder / "styles").mkdir()
    tensors = {}
    for name, (down, up) in lora_factors(tiny_pipe.unet).items():
        tensors |= {f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": up}
    save_file(tensors, folder / "styles" / "Aquarela.safetensors")
    save_file({"unet.nowhere.lora_A.weight": torch.ones(2, 2)}, folder / "other.safetensors")
    (folder / "broken.safetensors").write_bytes(b"<html>")
    (folder / "pickle.pt").write_bytes(b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    return folder


@pytest.fixture(scope="module")
def embeddings_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embeddings")
    save_file({"emb_params": random(2, 32, seed=1)}, folder / "Bichano.safetensors")
    save_file({"clip_l": random(1, 32, seed=2), "clip_g": random(1, 64, seed=3)}, folder / "xl.safetensors")
    save_file({"emb_params": torch.ones(1, 7)}, folder / "narrow.safetensors")
    return folder


def read_state(pipe):
    """Return everything in a pipeline that an adapter could change."""
    tensors = {
        f"{part}.{name}": tensor.clone()
        for part in ("unet", "text_encoder")
        for name, tensor in getattr(pipe, part).state_dict().items()
    }
    modules = {name: type(module) for name, module in pipe.unet.named_modules()}
    return tensors, modules, len(pipe.tokenizer), pipe.text_encoder.config.vocab_size


@pytest.fixture
def unchanged(tiny_pipe):
    """Fail the test after which the pipeline has changed."""
    before = read_state(tiny_pipe)
    yield
    after = read_state(tiny_pipe)
    assert after[1:] == before[1:]
    assert after[0].keys() == before[0].keys()
    assert all(torch.equal(after[0][name], tensor) for name, tensor in before[0].items())


def pixels(result):
    return np.asarray(result.images[0]).astype(int)


def test_lora_changes_weights_by_its_weight_times_its_factors(tiny_pipe, model_folder, lora_dir, unchanged):
    merged = load(model_folder, device="cpu")
    for name, (down, up) in lora_factors(merged.unet).items():
        merged.unet.get_submodule(name).weight.data += 0.8 * up @ down
    expected = generate(merged, "um gato", **FAST)
    result = generate(tiny_pipe, "um gato <lora:aquarela:0.8>", lora_dir=lora_dir, **FAST)
    plain = generate(tiny_pipe, "um gato ", **FAST)
    assert abs(pixels(result) - pixels(expected)).max() <= 1
    assert abs(pixels(result) - pixels(plain)).max() > 20
    assert result.settings["loras"] == {"aquarela": 0.8}
    assert plain.settings["loras"] == {}
    assert result.maps.word("gato").tensor.shape == (32, 32)


def test_lora_in_kohya_format_changes_unet_and_text_encoder(tiny_pipe, model_folder, tmp_path, unchanged):
    """Its alpha, divided by the rank, is a factor of its strength."""
    merged = load(model_folder, device="cpu")
    tensors = {}
    factors = {
        f"lora_unet_{name}": (merged.unet, name, *both) for name, both in lora_factors(merged.unet).items()
    }
    for seed, projection in enumerate(("q_proj", "k_proj", "v_proj", "out_proj"), 90):
        ending = f"encoder.layers.0.self_attn.{projection}"
        (name,) = (each for each, _ in merged.text_encoder.named_modules() if each.endswith(ending))
        both = random(2, 32, seed=seed), random(32, 2, seed=seed + 10)
        factors[f"lora_te_text_model_{ending}"] = (merged.text_encoder, name, *both)
    for key, (model, name, down, up) in factors.items():
        key = key.replace(".", "_")
        tensors |= {
            f"{key}.lora_down.weight": down,
            f"{key}.lora_up.weight": up,
            f"{key}.alpha": torch.tensor(1.0),
        }
        model.get_submodule(name).weight.data += 0.8 * (1.0 / 2) * up @ down
    save_file(tensors, tmp_path / "kohya.safetensors")
    result = generate(tiny_pipe, "um gato <lora:kohya:0.8>", lora_dir=tmp_path, **FAST)
    expected = generate(merged, "um gato", **FAST)
    plain = generate(tiny_pipe, "um gato", **FAST)
    assert abs(pixels(result) - pixels(expected)).max() <= 1
    assert abs(pixels(result) - pixels(plain)).max() > 20


def test_find_adapters_finds_inversions_of_later_steps(embeddings_dir):
    prompt = parse("um [gato:bichano:0.5]").at()
    chosen = find_adapters(prompt, embeddings_dir=embeddings_dir, num_inference_steps=4)
    assert [path.stem for path in chosen.embeddings.values()] == ["Bichano"]


def test_find_adapters_adds_weights_of_repeated_loras(lora_dir):
    chosen = find_adapters(parse("<lora:Aquarela:0.25><lora:Aquarela:0.5>").at(), lora_dir=lora_dir)
    assert {name: lora.weight for name, lora in chosen.loras.items()} == {"Aquarela": 0.75}


def test_lora_is_removed_after_an_interrupt(tiny_pipe, lora_dir, unchanged):
    def callback(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tiny_pipe, "gato <lora:aquarela:1>", lora_dir=lora_dir, callback=callback, **FAST)


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("aquarella", SettingError, r"no LoRA 'aquarella'.*did you mean 'Aquarela'\?"),
        ("zzz", SettingError, r"no LoRA 'zzz'.*none of its 3 files"),
        ("pickle", SettingError, r"pickle\.pt is a pickle"),
        ("broken", ModelError, r"broken\.safetensors is damaged: it is a web page"),
        ("other", ModelError, r"other\.safetensors"),
    ],
)
def test_lora_that_cannot_be_loaded_raises(tiny_pipe, lora_dir, unchanged, name, error, text):
    with pytest.raises(error, match=text):
        generate(tiny_pipe, f"gato <lora:{name}:1>", lora_dir=lora_dir, **FAST)


def test_find_adapters_in_a_missing_folder_raises():
    for setting in ("lora_dir", "embeddings_dir"):
        with pytest.raises(SettingError, match=f"{setting} must be a folder; got '/no/where'"):
            find_adapters(parse("<lora:x:1> gato").at(), **{setting: "/no/where"})


def test_find_adapters_warns_about_names_without_effect(lora_dir):
    prompt = parse("<lora:x:1> <hypernet:y:1> embedding:z <b>").at()
    warnings = find_adapters(prompt, parse("<lora:w:1>").at()).warnings
    assert [warning.code for warning in warnings] == [
        "negative-loras",
        "lora-unused",
        "hypernetwork-unsupported",
        "textual-inversion-unused",
    ]


def test_lora_on_a_pipeline_with_its_own_loras_raises(model_folder, lora_dir):
    pipe = load(model_folder, device="cpu")
    pipe.load_lora_weights(str(lora_dir / "styles"), weight_name="Aquarela.safetensors", adapter_name="own")
    with pytest.raises(SettingError, match="LoRAs of its own"):
        generate(pipe, "gato <lora:aquarela:1>", lora_dir=lora_dir, **FAST)
    assert pipe.get_active_adapters() == ["own"]


@pytest.mark.parametrize("written", ["bichano", "embedding:Bichano", "<bichano>"])
def test_textual_inversion_equals_that_loaded_by_diffusers(
    tiny_pipe, model_folder, embeddings_dir, unchanged, written
):
    reference = load(model_folder, device="cpu")
    reference.load_textual_inversion(str(embeddings_dir / "Bichano.safetensors"), token="<x>")
    expected = generate(reference, "um <x> rato", **FAST)
    result = generate(tiny_pipe, f"um {written} rato", embeddings_dir=embeddings_dir, **FAST)
    assert result.images[0].tobytes() == expected.images[0].tobytes()
    assert result.settings["embeddings"] == ["Bichano"]
    plain = generate(tiny_pipe, f"um {written} rato", **FAST)
    assert plain.images[0].tobytes() != result.images[0].tobytes()


def test_textual_inversion_of_two_vectors_is_one_word(tiny_pipe, embeddings_dir, unchanged):
    result = generate(tiny_pipe, "um (bichano:1.3) rato", embeddings_dir=embeddings_dir, **FAST)
    assert [len(word.positions) for word in result.words] == [1, 2, 3]  # um, two vectors, r a to
    assert result.words[1].weight == 1.3


def test_textual_inversion_for_sdxl_gives_each_encoder_its_vectors(tiny_pipe, embeddings_dir, unchanged):
    with apply_adapters(tiny_pipe, find_adapters(parse("xl").at(), embeddings_dir=embeddings_dir)):
        token = tiny_pipe.tokenizer.convert_tokens_to_ids("xl")
        learned = tiny_pipe.text_encoder.get_input_embeddings().weight[token]
        assert torch.equal(learned, random(1, 32, seed=2)[0])


@pytest.mark.parametrize(
    ("prompt", "error", "text"),
    [
        (
            "narrow",
            ModelError,
            r"narrow\.safetensors must be a textual inversion.*width 32.*emb_params \(1, 7\)",
        ),
        ("embedding:bixano", SettingError, r"no textual inversion 'bixano'.*did you mean 'Bichano'\?"),
    ],
)
def test_textual_inversion_that_cannot_be_loaded_raises(
    tiny_pipe, embeddings_dir, unchanged, prompt, error, text
):
    with pytest.raises(error, match=text):
        generate(tiny_pipe, prompt, embeddings_dir=embeddings_dir, **FAST)


def test_apply_adapters_without_adapters_leaves_the_pipeline(unchanged):
    with apply_adapters(None, Adapters({}, {})):
        pass
