"""Weights of LoRAs by model and by step, and DoRA, LoHa and LoKr files, against weights changed by hand."""

import numpy as np
import pytest
import tiny_models
import torch
from safetensors.torch import save_file

from promptweight.errors import ModelError
from promptweight.generation import generate
from promptweight.models import Lora, apply_adapters, find_adapters, load, make_scheduler
from promptweight.prompt import parse

FAST = {"num_inference_steps": 2, "seed": 7}
STEPS = {**FAST, "num_inference_steps": 4, "guidance_scale": 7.5}
UNET_LAYERS = ("attn1.to_q", "attn2.to_k", "attn2.to_v", "resnets.0.conv1", "proj_in")
TEXT_LAYERS = ("self_attn.q_proj", "mlp.fc1")


def random(*shape, seed, scale=0.4):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def chosen_layers(pipe):
    """Return some layers of both models as (attribute, name, weight)."""
    return [
        (attribute, name, layer.weight.detach())
        for attribute, endings in (("unet", UNET_LAYERS), ("text_encoder", TEXT_LAYERS))
        for name, layer in getattr(pipe, attribute).named_modules()
        if name.endswith(endings)
    ]


def kohya_name(attribute, name):
    if attribute == "unet":
        return f"lora_unet_{name}".replace(".", "_")
    return f"lora_te_text_model_{name.removeprefix('text_model.')}".replace(".", "_")


def lora_tensors(weight, seed):
    """Return a LoRA of rank 2 and alpha 1, and its change of the weights."""
    down, up = random(2, *weight.shape[1:], seed=seed), random(weight.shape[0], 2, seed=seed + 1)
    change = (up @ down.flatten(1)).reshape(weight.shape) / 2
    if weight.ndim == 4:
        up = up[:, :, None, None]
    return {"lora_down.weight": down, "lora_up.weight": up, "alpha": torch.tensor(1.0)}, change


def dora_tensors(weight, seed):
    """Return a DoRA, and its change: rows of the changed weights with lengths of their own."""
    tensors, change = lora_tensors(weight, seed)
    lengths = 1 + random(weight.shape[0], seed=seed + 2).abs()
    changed = (weight + change).flatten(1)
    normed = lengths[:, None] * changed / changed.norm(dim=1, keepdim=True)
    tensors["dora_scale"] = lengths.reshape(-1, *[1] * (weight.ndim - 1))
    return tensors, normed.reshape(weight.shape) - weight


def loha_tensors(weight, seed):
    """Return a LoHa of rank 2 and alpha 1: the product of two matrices of low rank, number by number."""
    rows, columns = weight.flatten(1).shape
    factors = {}
    for number in (1, 2):
        factors[f"hada_w{number}_a"] = random(rows, 2, seed=seed + number, scale=0.7)
        factors[f"hada_w{number}_b"] = random(2, columns, seed=seed + number + 2, scale=0.7)
    first, second = (factors[f"hada_w{number}_a"] @ factors[f"hada_w{number}_b"] for number in (1, 2))
    return factors | {"alpha": torch.tensor(1.0)}, (first * second / 2).reshape(weight.shape)


def lokr_tensors(weight, seed):
    """Return a LoKr with a whole first factor; the second is whole for convolutions, else of rank 2."""
    rows, columns = weight.shape[:2]
    first = random(2, 4, seed=seed)
    shape = rows // 2, columns // 4
    if weight.ndim == 4:
        second = random(*shape, *weight.shape[2:], seed=seed + 1)
        tensors = {"lokr_w1": first, "lokr_w2": second, "alpha": torch.tensor(3.0)}
        places = [torch.kron(first, place) for place in second.flatten(2).unbind(dim=2)]
        return tensors, torch.stack(places, dim=-1).reshape(weight.shape)
    left, right = random(shape[0], 2, seed=seed + 1), random(2, shape[1], seed=seed + 2)
    tensors = {"lokr_w1": first, "lokr_w2_a": left, "lokr_w2_b": right, "alpha": torch.tensor(1.0)}
    return tensors, torch.kron(first, left @ right) / 2


KINDS = {"LoRA": lora_tensors, "DoRA": dora_tensors, "LoHa": loha_tensors, "LoKr": lokr_tensors}


def write_file(pipe, path, make_tensors, seed=0):
    """Write a file in kohya's format; return the changes of the weights by layer."""
    tensors, changes = {}, {}
    for number, (attribute, name, weight) in enumerate(chosen_layers(pipe)):
        parts, changes[attribute, name] = make_tensors(weight, seed + 10 * number)
        tensors |= {f"{kohya_name(attribute, name)}.{part}": tensor for part, tensor in parts.items()}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return changes


def change_by_hand(pipe, changes, unet, text_encoder):
    for (attribute, name), change in changes.items():
        factor = unet if attribute == "unet" else text_encoder
        getattr(pipe, attribute).get_submodule(name).weight.data += factor * change
    return pipe


def pixels(result):
    return np.asarray(result.images[0]).astype(int)


def state(pipe):
    models = {"unet": pipe.unet, "text_encoder": pipe.text_encoder}
    return {
        f"{part}.{name}": value.clone()
        for part, model in models.items()
        for name, value in model.state_dict().items()
    }


@pytest.fixture
def unchanged(tiny_pipe):
    """Fail the test after which the pipeline has changed."""
    before = state(tiny_pipe)
    yield
    after = state(tiny_pipe)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("tag", "text_encoder", "unet"),
    [("1", 1, 1), ("0:1", 0, 1), ("te=0.5:unet=0", 0.5, 0), ("0.4:-0.6", 0.4, -0.6)],
)
def test_network_changes_each_model_by_its_weight(
    tiny_pipe, model_folder, tmp_path, unchanged, kind, tag, text_encoder, unet
):
    changes = write_file(tiny_pipe, tmp_path / "x.safetensors", KINDS[kind])
    expected = generate(
        change_by_hand(load(model_folder, device="cpu"), changes, unet, text_encoder), "um gato", **FAST
    )
    result = generate(tiny_pipe, f"um gato<lora:x:{tag}>", lora_dir=tmp_path, **FAST)
    assert abs(pixels(result) - pixels(expected)).max() <= 1
    plain = generate(tiny_pipe, "um gato", **FAST)
    assert abs(pixels(result) - pixels(plain)).max() > (10 if unet else 1)
    assert not result.warnings
    assert result.settings["loras"]["x"] == (1 if tag == "1" else f"{text_encoder:g}:{unet:g}")


@pytest.mark.parametrize(("first", "second"), [("LoRA", "LoHa"), ("LoKr", "DoRA"), ("DoRA", "LoRA")])
def test_networks_of_two_kinds_add_their_changes(tiny_pipe, model_folder, tmp_path, unchanged, first, second):
    """Where both change a layer, as in peft, each change is that of the model alone."""
    pipe = load(model_folder, device="cpu")
    for number, kind in enumerate((first, second)):
        changes = write_file(tiny_pipe, tmp_path / f"{kind}.safetensors", KINDS[kind], seed=1000 * number)
        change_by_hand(pipe, changes, 0.5, 0.5)
    result = generate(tiny_pipe, f"gato<lora:{first}:0.5><lora:{second}:0.5>", lora_dir=tmp_path, **FAST)
    assert abs(pixels(result) - pixels(generate(pipe, "gato", **FAST))).max() <= 1


@pytest.mark.parametrize(
    ("tag", "text_encoder", "positions", "weights"),
    [
        ("1@0,0@0.5", 1, [0, 0.5], [1, 0]),
        ("te=0.5:unet=0@0,1@1", 0.5, [0, 1], [0, 1]),
        ("0:0.2@0,1@2,0.5@3", 0, [0, 2, 3], [0.2, 1, 0.5]),
    ],
)
@pytest.mark.parametrize("sampler", [None, "Heun"])
def test_weight_by_step_equals_set_adapters_after_each_step(
    tiny_pipe, model_folder, tmp_path, unchanged, tag, text_encoder, positions, weights, sampler
):
    tensors = {}
    for number, (attribute, name, weight) in enumerate(chosen_layers(tiny_pipe)):
        parts, _ = lora_tensors(weight, 10 * number)
        tensors[f"{attribute}.{name}.lora_A.weight"] = parts["lora_down.weight"]
        tensors[f"{attribute}.{name}.lora_B.weight"] = parts["lora_up.weight"]
    save_file(tensors, tmp_path / "x.safetensors")
    reference = load(model_folder, device="cpu")
    if sampler:
        reference.scheduler = make_scheduler(sampler, reference.scheduler)
    reference.load_lora_weights(str(tmp_path / "x.safetensors"), adapter_name="x")

    def set_weight(step, steps):
        place = step if positions[-1] > 1 else step / (steps - 1)
        unet = float(np.interp(place, positions, weights))
        reference.set_adapters("x", {"unet": unet, "text_encoder": text_encoder})

    def on_step_end(pipe, step, _timestep, tensors):
        set_weight(step + 1, pipe.num_timesteps)
        return tensors

    set_weight(0, 4)
    drawn = reference(
        "um gato", num_inference_steps=4, generator=torch.Generator().manual_seed(7), output_type="np",
        callback_on_step_end=on_step_end, guidance_scale=7.5,
    ).images[0]  # fmt: skip
    for _ in range(2):  # the second run begins with the weight of the first step again
        result = generate(tiny_pipe, f"um gato<lora:x:{tag}>", lora_dir=tmp_path, scheduler=sampler, **STEPS)
        assert abs(pixels(result) - (drawn * 255).round()).max() <= 1
    constant = generate(tiny_pipe, "um gato<lora:x:1>", lora_dir=tmp_path, scheduler=sampler, **STEPS)
    assert abs(pixels(result) - pixels(constant)).max() > 1


def test_lora_describes_its_weights():
    path = None
    assert Lora(path, 0.8).describe() == 0.8
    assert Lora(path, 1, 0.0).describe() == "0:1"
    curve = ((0.0, 1.0), (0.5, 0.0))
    assert Lora(path, 0, 1.0, (curve,)).describe() == "1@0,0@0.5"
    assert Lora(path, 0, 0.5, (curve,)).describe() == "0.5:1@0,0@0.5"
    assert Lora(path, 0.2, 1.2, (curve,)).describe() == "1.2:0.2+1@0,0@0.5"


@pytest.mark.parametrize("naming", ["input_blocks", "down_blocks"])
def test_layers_of_sdxl_have_the_names_of_both_codes(tmp_path, naming):
    """Kohya's scripts write the names of Stable Diffusion's own code in files for SDXL."""
    pipe = tiny_models.sdxl(side=8)
    own = {
        "down_blocks.0.resnets.0.conv1": "input_blocks.1.0.in_layers.2",
        "mid_block.attentions.0.proj_in": "middle_block.1.proj_in",
        "up_blocks.1.resnets.0.conv_shortcut": "output_blocks.2.0.skip_connection",
        "time_embedding.linear_1": "time_embed.0",
        "add_embedding.linear_2": "label_emb.0.2",
    }
    tensors = {}
    for name, original in own.items():
        written = original if naming == "input_blocks" else name
        parts, _ = lora_tensors(pipe.unet.get_submodule(name).weight.detach(), 1)
        tensors |= {
            f"lora_unet_{written}.".replace(".", "_")[:-1] + f".{part}": value
            for part, value in parts.items()
        }
    for number, encoder in enumerate((pipe.text_encoder, pipe.text_encoder_2), 1):
        (name,) = (name for name, _ in encoder.named_modules() if name.endswith("layers.0.mlp.fc1"))
        parts, _ = lora_tensors(encoder.get_submodule(name).weight.detach(), 2)
        written = f"lora_te{number}_text_model_{name.removeprefix('text_model.')}".replace(".", "_")
        tensors |= {f"{written}.{part}": value for part, value in parts.items()}
    save_file({name: value.contiguous() for name, value in tensors.items()}, tmp_path / "x.safetensors")
    with apply_adapters(pipe, find_adapters(parse("<lora:x:1>").at(), lora_dir=tmp_path)) as loras:
        assert not loras.warnings
        changed = {name for name, module in pipe.unet.named_modules() if hasattr(module, "lora_A")}
        assert changed == set(own)
        assert all(
            sum(hasattr(module, "lora_A") for module in encoder.modules()) == 1
            for encoder in (pipe.text_encoder, pipe.text_encoder_2)
        )


def write_tensors(path, tensors, metadata=None):
    save_file(tensors, path, metadata=metadata)
    return path.parent


@pytest.mark.parametrize(
    ("tensors", "metadata", "text"),
    [
        (
            {"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": torch.ones(2, 9)},
            {},
            r"LoRA for FLUX\.1",
        ),
        ({"lora_te2_x.lora_down.weight": torch.ones(2, 9)}, {}, "LoRA for Stable Diffusion XL"),
        (
            {"unet.mid_block.attn2.to_k.lora_A.weight": torch.ones(2, 2048)},
            {"format": "pt"},
            "LoRA for Stable Diffusion XL",
        ),
        (
            {"lora_unet_x.hada_w1_a": torch.ones(2, 9)},
            {"modelspec.architecture": "stable-diffusion-3-medium/lora"},
            "LoHa for Stable Diffusion 3",
        ),
        ({"lora_unet_x.oft_blocks": torch.ones(2, 9)}, {}, "a network of the kind OFT"),
        ({"lora_unet_x.lora_down.weight": torch.ones(2, 9)}, {}, "contains no LoRA"),
        ({"lora_unet_x.hada_w1_a": torch.ones(2, 9)}, {}, "contains no LoRA"),
    ],
)
def test_file_that_does_not_fit_gets_one_sentence(tiny_pipe, tmp_path, unchanged, tensors, metadata, text):
    folder = write_tensors(tmp_path / "x.safetensors", tensors, metadata)
    with (
        pytest.raises(ModelError, match=text),
        apply_adapters(tiny_pipe, find_adapters(parse("<lora:x:1>").at(), lora_dir=folder)),
    ):
        pass


def test_file_of_other_widths_names_the_layer(tiny_pipe, tmp_path, unchanged):
    (_, name, weight) = next(each for each in chosen_layers(tiny_pipe) if each[1].endswith("attn2.to_k"))
    parts, _ = lora_tensors(torch.ones(weight.shape[0], weight.shape[1] + 8), 1)
    tensors = {f"{kohya_name('unet', name)}.{part}": tensor for part, tensor in parts.items()}
    folder = write_tensors(tmp_path / "x.safetensors", tensors)
    with pytest.raises(
        ModelError, match=rf"another model: its layer unet\.{name} is for \d+ × {weight.shape[1] + 8} "
    ):
        generate(tiny_pipe, "gato<lora:x:1>", lora_dir=folder, **FAST)


def test_dora_with_magnitudes_of_inputs_is_refused(tiny_pipe, tmp_path, unchanged):
    (_, name, weight) = next(each for each in chosen_layers(tiny_pipe) if each[1].endswith("attn2.to_k"))
    parts, _ = lora_tensors(weight, 1)
    parts["dora_scale"] = torch.ones(1, weight.shape[1])
    tensors = {f"{kohya_name('unet', name)}.{part}": tensor for part, tensor in parts.items()}
    folder = write_tensors(tmp_path / "x.safetensors", tensors)
    with pytest.raises(ModelError, match="one magnitude for each input"):
        generate(tiny_pipe, "gato<lora:x:1>", lora_dir=folder, **FAST)


def test_layers_that_the_model_lacks_are_told(tiny_pipe, tmp_path, unchanged):
    changes = write_file(tiny_pipe, tmp_path / "x.safetensors", loha_tensors)
    from safetensors.torch import load_file

    tensors = load_file(tmp_path / "x.safetensors")
    tensors |= {
        f"lora_unet_nowhere.{part}": value for part, value in loha_tensors(torch.ones(4, 4), 1)[0].items()
    }
    folder = write_tensors(tmp_path / "x.safetensors", tensors)
    (warning,) = generate(tiny_pipe, "gato<lora:x:1>", lora_dir=folder, **FAST).warnings
    assert warning.code == "lora-layers-unused"
    assert (warning.fields["number"], warning.fields["total"]) == (1, len(changes) + 1)
