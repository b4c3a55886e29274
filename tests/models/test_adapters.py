"""LoRAs and textual inversions: they act as their weights say, and leave no trace on the pipeline."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from promptweight.errors import ModelError, SettingError
from promptweight.generation.image_generation import generate
from promptweight.models.adapters import Adapters, apply_adapters, find_adapters
from promptweight.models.loading import load
from promptweight.prompt import parse

FAST = {"num_inference_steps": 2, "seed": 7}
LAYERS = ("attn1.to_q", "attn2.to_k", "attn2.to_v")


def random(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def lora_factors(unet):
    """The two factors of a random LoRA of rank 2 for each of some layers of `unet`."""
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


def state(pipe):
    """Everything of a pipeline that an adapter could change."""
    tensors = {
        f"{part}.{name}": tensor.clone()
        for part in ("unet", "text_encoder")
        for name, tensor in getattr(pipe, part).state_dict().items()
    }
    modules = {name: type(module) for name, module in pipe.unet.named_modules()}
    return tensors, modules, len(pipe.tokenizer), pipe.text_encoder.config.vocab_size


@pytest.fixture
def unchanged(tiny_pipe):
    """Fails the test after which the pipeline is not what it was."""
    before = state(tiny_pipe)
    yield
    after = state(tiny_pipe)
    assert after[1:] == before[1:]
    assert after[0].keys() == before[0].keys()
    assert all(torch.equal(after[0][name], tensor) for name, tensor in before[0].items())


def pixels(result):
    return np.asarray(result.images[0]).astype(int)


def test_a_lora_acts_as_its_weight_times_its_factors(tiny_pipe, model_folder, lora_dir, unchanged):
    merged = load(model_folder, device="cpu")
    for name, (down, up) in lora_factors(merged.unet).items():
        merged.unet.get_submodule(name).weight.data += 0.8 * up @ down
    expected = generate("um gato", merged, **FAST)
    made = generate("um gato <lora:aquarela:0.8>", tiny_pipe, lora_dir=lora_dir, **FAST)
    plain = generate("um gato ", tiny_pipe, **FAST)
    assert abs(pixels(made) - pixels(expected)).max() <= 1
    assert abs(pixels(made) - pixels(plain)).max() > 20
    assert made.settings["loras"] == {"aquarela": 0.8}
    assert plain.settings["loras"] == {}
    assert made.maps.word("gato").tensor.shape == (32, 32)


def test_loras_as_kohya_s_trainer_names_them_act_on_both_models(tiny_pipe, model_folder, tmp_path, unchanged):
    """With an alpha of their own, which divided by the rank is a part of the strength."""
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
    made = generate("um gato <lora:kohya:0.8>", tiny_pipe, lora_dir=tmp_path, **FAST)
    expected = generate("um gato", merged, **FAST)
    plain = generate("um gato", tiny_pipe, **FAST)
    assert abs(pixels(made) - pixels(expected)).max() <= 1
    assert abs(pixels(made) - pixels(plain)).max() > 20


def test_a_textual_inversion_may_be_said_at_later_steps_alone(embeddings_dir):
    prompt = parse("um [gato:bichano:0.5]")
    chosen = find_adapters(prompt, embeddings_dir=embeddings_dir, num_inference_steps=4)
    assert [path.stem for path in chosen.embeddings.values()] == ["Bichano"]


def test_weights_of_one_lora_add_up(lora_dir):
    chosen = find_adapters(parse("<lora:Aquarela:0.25><lora:Aquarela:0.5>"), lora_dir=lora_dir)
    assert {name: lora.weight for name, lora in chosen.loras.items()} == {"Aquarela": 0.75}


def test_an_error_on_the_way_takes_the_lora_off(tiny_pipe, lora_dir, unchanged):
    def callback(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate("gato <lora:aquarela:1>", tiny_pipe, lora_dir=lora_dir, callback=callback, **FAST)


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("aquarella", SettingError, r"no LoRA 'aquarella'.*did you mean 'Aquarela'\?"),
        ("zzz", SettingError, r"no LoRA 'zzz'.*it holds 3 files"),
        ("pickle", SettingError, r"no LoRA 'pickle' \(\.safetensors\)"),
        ("broken", ModelError, r"broken\.safetensors is damaged: it is a web page"),
        ("other", ModelError, r"other\.safetensors"),
    ],
)
def test_a_lora_that_cannot_be_put_on_is_named(tiny_pipe, lora_dir, unchanged, name, error, said):
    with pytest.raises(error, match=said):
        generate(f"gato <lora:{name}:1>", tiny_pipe, lora_dir=lora_dir, **FAST)


def test_a_folder_that_is_none_is_named():
    for setting in ("lora_dir", "embeddings_dir"):
        with pytest.raises(SettingError, match=f"{setting} is '/no/where', which is no folder"):
            find_adapters(parse("<lora:x:1> gato"), **{setting: "/no/where"})


def test_what_has_no_effect_is_said(lora_dir):
    said = find_adapters(parse("<lora:x:1> <hypernet:y:1> embedding:z <b>"), parse("<lora:w:1>")).warnings
    assert [any(name in line for line in said) for name in ("'x'", "'y'", "'z'", "'w'", "'b'")] == [
        True, True, True, True, False,
    ]  # fmt: skip


def test_loras_of_the_pipelines_own_are_left_alone(model_folder, lora_dir):
    pipe = load(model_folder, device="cpu")
    pipe.load_lora_weights(str(lora_dir / "styles"), weight_name="Aquarela.safetensors", adapter_name="own")
    with pytest.raises(SettingError, match="LoRAs of its own"):
        generate("gato <lora:aquarela:1>", pipe, lora_dir=lora_dir, **FAST)
    assert pipe.get_active_adapters() == ["own"]


@pytest.mark.parametrize("written", ["bichano", "embedding:Bichano", "<bichano>"])
def test_a_textual_inversion_is_the_one_that_diffusers_loads(
    tiny_pipe, model_folder, embeddings_dir, unchanged, written
):
    theirs = load(model_folder, device="cpu")
    theirs.load_textual_inversion(str(embeddings_dir / "Bichano.safetensors"), token="<x>")
    expected = generate("um <x> rato", theirs, **FAST)
    made = generate(f"um {written} rato", tiny_pipe, embeddings_dir=embeddings_dir, **FAST)
    assert made.images[0].tobytes() == expected.images[0].tobytes()
    assert made.settings["embeddings"] == ["Bichano"]
    plain = generate(f"um {written} rato", tiny_pipe, **FAST)
    assert plain.images[0].tobytes() != made.images[0].tobytes()


def test_both_vectors_of_a_textual_inversion_are_one_word(tiny_pipe, embeddings_dir, unchanged):
    made = generate("um (bichano:1.3) rato", tiny_pipe, embeddings_dir=embeddings_dir, **FAST)
    assert [len(word.positions) for word in made.words] == [1, 2, 3]  # um, two vectors, r a to
    assert made.words[1].weight == 1.3


def test_a_textual_inversion_of_sdxl_gives_each_encoder_its_own(tiny_pipe, embeddings_dir, unchanged):
    with apply_adapters(tiny_pipe, find_adapters(parse("xl"), embeddings_dir=embeddings_dir)):
        token = tiny_pipe.tokenizer.convert_tokens_to_ids("xl")
        learned = tiny_pipe.text_encoder.get_input_embeddings().weight[token]
        assert torch.equal(learned, random(1, 32, seed=2)[0])


@pytest.mark.parametrize(
    ("prompt", "error", "said"),
    [
        (
            "narrow",
            ModelError,
            r"narrow\.safetensors is no textual inversion.*width of 32.*emb_params \(1, 7\)",
        ),
        ("embedding:bixano", SettingError, r"no textual inversion 'bixano'.*did you mean 'Bichano'\?"),
    ],
)
def test_a_textual_inversion_that_cannot_be_put_on_is_named(
    tiny_pipe, embeddings_dir, unchanged, prompt, error, said
):
    with pytest.raises(error, match=said):
        generate(prompt, tiny_pipe, embeddings_dir=embeddings_dir, **FAST)


def test_nothing_chosen_touches_nothing(unchanged):
    with apply_adapters(None, Adapters({}, {})):
        pass
