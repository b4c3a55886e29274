"""Refined maps and patches from the image's self-attention, against softmaxes computed in float64."""

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0, JointAttnProcessor2_0

from promptweight.attention import Record, attach
from promptweight.attention.kernels.sdpa import compute_rows, propagate
from promptweight.errors import SettingError
from promptweight.maps import AttentionMaps

SIZE = {"height": 48, "width": 80}
PATCHES = ((0.1, 0.9), (1.0, 0.3))
CELLS = 12 * 20
"""Image positions for SIZE in the Stable Diffusion 3 of the tests: four pixels a side."""


def softmax(query, key, bias=0.0):
    logits = query.double() @ key.double().transpose(-1, -2) * query.shape[-1] ** -0.5
    return (logits + bias).softmax(-1)


def cells_of(height, width):
    """Return the cells that contain PATCHES."""
    return [int(0.9 * height) * width + int(0.1 * width), int(0.3 * height) * width + width - 1]


@pytest.fixture
def record_softmax(monkeypatch):
    """Return a function that starts to record the float64 softmax of every attention call of torch."""
    calls = []
    attention = torch.nn.functional.scaled_dot_product_attention

    def recording_attention(query, key, value, attn_mask=None, **settings):
        calls.append(softmax(query, key))
        return attention(query, key, value, attn_mask=attn_mask, **settings)

    def start():
        monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", recording_attention)
        return calls

    return start


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("columns", [3, 16, 37])
def test_propagate_equals_float64_product(dtype, biased, columns):
    torch.manual_seed(0)
    query, key = torch.randn(2, 2, 3, 50, 16).to(dtype)
    maps = torch.rand(2, 50, columns) ** 4 * torch.logspace(-7, 0, columns)
    maps[..., 0] = 0
    bias = torch.randn(2, 1, 50, 50) if biased else None
    expected = (softmax(query, key, bias if biased else 0).mean(1) @ maps.double()).float()
    found = propagate(query, key, maps, bias=bias)
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected, rtol=1e-5 if dtype == torch.float32 else 1e-2, atol=1e-12)


def test_attention_rows_equal_float64_softmax():
    torch.manual_seed(0)
    query, key = torch.randn(2, 3, 2, 11, 8)
    bias = torch.randn(3, 1, 11, 11)
    chosen, rows = torch.tensor([10, 0, 4]), torch.tensor([2, 0])
    expected = softmax(query, key, bias)[rows][:, :, chosen]
    assert torch.allclose(
        compute_rows(query, key, chosen, bias=bias, rows=rows).double(), expected, atol=1e-6
    )
    flat = compute_rows(query, key, chosen, bias=bias[:, :, :1], scale=0.3)
    logits = query.double() @ key.double().transpose(-1, -2) * 0.3 + bias[:, :, :1]
    assert torch.allclose(flat.double(), logits.softmax(-1)[:, :, chosen], atol=1e-6)


@pytest.mark.parametrize("model", ["sd1", "sdxl"])
@pytest.mark.parametrize("fused", [False, True])
def test_refined_maps_and_patches_of_unets(tiny, record_softmax, model, fused):
    """A·M of every layer and step, where M is the mean of the grid's layers so far; images do not change."""
    pipe = tiny.pipeline() if model == "sd1" else tiny.sdxl_pipeline()
    encoded = tiny.encode("um gato vermelho", "casa azul")
    inputs = encoded.inputs | (tiny.pooled(2) if model == "sdxl" else {})
    if fused:
        pipe.unet.fuse_qkv_projections()
    plain = tiny.run(pipe, inputs, **SIZE)
    processors = pipe.unet.attn_processors
    with attach(pipe, encoded, record=Record(steps="keep", refine=True, patches=PATCHES)) as session:
        assert torch.equal(tiny.run(pipe, inputs, **SIZE), plain)
    assert all(pipe.unet.attn_processors[name] is each for name, each in processors.items())

    calls = record_softmax()
    tiny.run(pipe, inputs, **SIZE)
    recording = session.maps.recording
    slots = {kind: [slot for slot in recording.slots if slot.kind == kind] for kind in ("words", "refined")}
    patches = [slot for slot in recording.slots if slot.kind == "patches"]
    assert len(calls) == 3 * 2 * len(slots["words"]) == 3 * 2 * len(slots["refined"]) == 3 * 2 * len(patches)
    order = [name.removesuffix(".processor") for name in processors]
    order = [name for block in ("down", "mid", "up") for name in order if name.startswith(block)]
    by_name = {name: calls[place :: len(order)] for place, name in enumerate(order)}
    before: dict[object, list[torch.Tensor]] = {}
    for words, refined, patch in zip(slots["words"], slots["refined"], patches, strict=True):
        assert words.layers == refined.layers == patch.layers
        cross = by_name[words.layers[0]]
        own = by_name[words.layers[0].replace("attn2", "attn1")]
        for step, image in ((0, 0), (2, 1)):
            columns = recording.columns(("positive", image))
            seen = own[step][2 + image]
            so_far = before.setdefault((words.grid, step, image), [])
            so_far.append(cross[step][2 + image].mean(0)[:, list(columns)])
            expected = seen.mean(0) @ torch.stack(so_far).mean(0)
            found = refined.sums[step, 0, image, 0][:, list(columns.values())]
            assert (found - expected).abs().max() < 1e-5
            cells = cells_of(patch.height, patch.width)
            assert (patch.sums[step, 0, image, 0] - seen.mean(0)[cells].T).abs().max() < 1e-5


@pytest.mark.parametrize("dual", [(), (0,)])
def test_refined_maps_and_patches_of_joint_attention(tiny, record_softmax, dual):
    """Refined maps use the image's positions only; patches use the whole softmax, with the text."""
    pipe = tiny.sd3_pipeline(qk_norm="rms_norm", dual_attention_layers=dual)
    encoded = tiny.encode("um gato vermelho")
    inputs = encoded.inputs | tiny.pooled(1)
    plain = tiny.run(pipe, inputs, **SIZE)
    record = Record(steps="keep", heads="keep", refine=True, patches=PATCHES)
    with attach(pipe, encoded, record=record) as session:
        assert torch.equal(tiny.run(pipe, inputs, **SIZE), plain)
    assert all(type(each) is JointAttnProcessor2_0 for each in pipe.transformer.attn_processors.values())

    calls = record_softmax()
    tiny.run(pipe, inputs, **SIZE)
    calls = [call for call in calls if call.shape[-1] == CELLS + tiny.rows]
    recording = session.maps.recording
    columns = recording.columns(("positive", 0))
    for layer in range(3):
        words, refined, patch = (
            next(s for s in recording.slots if s.kind == kind and f".{layer}." in s.layers[0])
            for kind in ("words", "refined", "patches")
        )
        assert words.height * words.width == CELLS
        for step in range(3):
            seen = calls[3 * step + layer][1]
            among_image = seen[:, :CELLS, :CELLS] / seen[:, :CELLS, :CELLS].sum(-1, keepdim=True)
            own = (calls[3 * step + earlier][1] for earlier in range(layer + 1))
            maps = torch.stack([each[:, :CELLS].mean(0) for each in own]).mean(0)
            maps = maps[:, [CELLS + column for column in columns]]
            found = refined.sums[step, 0, 0, 0][:, list(columns.values())]
            assert (found - among_image.mean(0) @ maps).abs().max() < 1e-5
            expected = seen[:, cells_of(words.height, words.width), :CELLS].transpose(1, 2)
            assert (patch.sums[step, 0, 0] - expected).abs().max() < 1e-5


def test_refined_maps_of_flux_sum_to_one(tiny):
    pipe, encoded = tiny.flux_pipeline(), tiny.encode("um gato vermelho", negative=None)
    inputs = encoded.inputs | {"pooled_prompt_embeds": torch.ones(1, 32)}
    plain = tiny.run(pipe, inputs)
    with attach(pipe, encoded, record=Record(refine=True, patches=PATCHES)) as session:
        assert torch.equal(tiny.run(pipe, inputs), plain)
    maps = session.maps.refined()
    total = maps.beginning().mass + sum(maps.word(word.text).mass for word in maps.words) + maps.rest().mass
    assert total == pytest.approx(1, abs=1e-5)
    assert 0 < maps.patch(1).mass * maps.recording.slots[0].sums.shape[4] < 1


def test_refined_view_averages_sums_to_one_and_is_saved(pipe, tiny, tmp_path):
    encoded = tiny.encode("um gato vermelho", "casa")
    record = Record(roles=("positive", "negative"), refine=True, patches=PATCHES)
    with attach(pipe, encoded, record=record) as session:
        tiny.run(pipe, session.inputs, **SIZE)
    maps, refined = session.maps, session.maps.refined()
    plain = maps.word("gato").tensor
    heat = refined.word("gato")
    assert heat.tensor.shape == (48, 80)
    assert heat.tensor.std() < plain.std()  # averages over pixels vary less
    assert heat.mass != maps.word("gato").mass
    total = refined.beginning().tensor + refined.rest().tensor
    total = total + sum(refined.word(word.text).tensor for word in maps.words)
    assert torch.allclose(total, torch.ones_like(total), atol=1e-5)
    assert torch.equal(maps.word("gato").tensor, plain)
    assert refined.share().word("gato").mass > heat.mass
    whole = sum(refined.share().word(word.text).tensor for word in maps.words)
    assert torch.allclose(whole, torch.ones_like(whole), atol=1e-5)
    one_layer = refined.layers("up_blocks.1")
    assert one_layer.kind == "refined"
    assert not torch.equal(one_layer.word("gato").tensor, heat.tensor)
    patch = maps.patch(1, image=1, role="negative")
    assert patch.text == "<patch 1, 0.3>"
    assert maps.lift().patch().mass == pytest.approx(1)
    maps.save(tmp_path / "maps.safetensors")
    loaded = AttentionMaps.load(tmp_path / "maps.safetensors")
    assert torch.equal(loaded.refined().word("gato").tensor, heat.tensor)
    shares = refined.share().word("gato").tensor
    assert torch.equal(loaded.refined().share().word("gato").tensor, shares)
    assert torch.equal(loaded.patch(1, image=1, role="negative").tensor, patch.tensor)
    for call, message in [
        (lambda: maps.patch(2), "patch 2 was not recorded; there are 2"),
        (lambda: maps.share().patch(), "got share"),
        (lambda: refined.heads(0), "means over the heads"),
    ]:
        with pytest.raises(SettingError, match=message):
            call()


def test_record_without_refine_keeps_self_attention_processors(pipe, tiny):
    with attach(pipe, tiny.encode("um gato")) as session:
        own = [each for name, each in pipe.unet.attn_processors.items() if "attn1" in name]
        assert {type(each) for each in own} == {AttnProcessor2_0}
        tiny.run(pipe, session.inputs)
    assert {slot.kind for slot in session.maps.recording.slots} == {"words"}
    with pytest.raises(SettingError, match=r"record them with Record\(refine=True\)"):
        session.maps.refined()


def test_record_layers_limits_refined_layers(pipe, tiny):
    record = Record(layers=("mid_block",), refine=True)
    with attach(pipe, tiny.encode("um gato"), record=record) as session:
        changed = [name for name, each in pipe.unet.attn_processors.items() if "attn1" in name]
        changed = [name for name in changed if type(pipe.unet.attn_processors[name]) is not AttnProcessor2_0]
        assert len(changed) == 1
        tiny.run(pipe, session.inputs)
    assert len(session.maps.recording.slots) == 2


def test_record_budget_includes_refined_maps_and_patches(pipe, tiny):
    encoded = tiny.encode("um gato vermelho")
    for budget in (512, 0.4, 0.13, 0.03):
        record = Record(steps="keep", heads="keep", max_mb=budget, refine=True, patches=PATCHES)
        with attach(pipe, encoded, record=record) as session:
            tiny.run(pipe, session.inputs)
        slots = session.maps.recording.slots
        assert sum(slot.sums.numel() for slot in slots) * 4 / 2**20 <= budget
        assert {slot.kind for slot in slots} == {"words", "refined", "patches", "rows"}
        assert session.maps.refined().word("gato").mass > 0
    assert len(slots) == 4 * 2


def test_refined_view_omits_small_grids_unless_named(pipe, tiny):
    """At 16 × 16 an object has several cells; at 8 × 8 a cell attends to other objects."""
    with attach(pipe, tiny.encode("um gato"), record=Record(refine=True)) as session:
        tiny.run(pipe, session.inputs)
    maps = session.maps
    assert {slot.grid for slot in maps.recording.slots} == {"16x16", "8x8"}
    fine = maps.refined().layers("16x16").word("gato").tensor
    every = maps.refined().layers().word("gato").tensor
    assert torch.equal(maps.refined().word("gato").tensor, fine)
    assert not torch.equal(every, fine)
    assert torch.equal(maps.layers().refined().word("gato").tensor, every)


@pytest.mark.parametrize("patch", [(0.5,), (0.5, 1.1), (-0.1, 0)])
def test_record_patches_outside_image_raise(patch):
    with pytest.raises(SettingError, match="fractions of the image"):
        Record(patches=(patch,))
