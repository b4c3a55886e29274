"""Attention maps: words, views, overlays and files, on recordings made by hand."""

import pytest
import torch
from PIL import Image

from promptweight.errors import FileFormatError, SettingError, WordNotFoundError
from promptweight.maps.attention_maps import AttentionMaps
from promptweight.maps.prompt_words import PlacedTable
from promptweight.maps.recording import RecordedSlot, Recording

# columns: beginning, um, gato, verm, elho, gato
COLUMNS = 6


def slot(name, stride, height, width, values, *, steps=1, heads=1, calls=1):
    """Return a slot in which every pixel of column c has the probability values[c]."""
    sums = torch.zeros(steps, 1, 1, heads, height * width, COLUMNS) + torch.tensor(values) * calls
    return RecordedSlot((name,), stride, height, width, sums, torch.full((steps, 1, 1), float(calls)))


@pytest.fixture
def table(tiny):
    return tiny.table_of("um gato vermelho gato")


@pytest.fixture
def maps_of(table):
    def build(*slots, size=(24, 40)):
        return AttentionMaps.from_recording(
            Recording(slots, ("positive",), {("positive", 0): (PlacedTable(0, ("clip",), table),)}, size)
        )

    return build


def test_word_sums_tokens_and_selects_occurrence(maps_of):
    maps = maps_of(slot("a", 0, 3, 5, [0.5, 0.1, 0.04, 0.02, 0.03, 0.05], calls=7))
    assert [word.text for word in maps.words] == ["um", "gato", "vermelho", "gato"]
    for phrase, occurrence, mass in [
        ("um", 0, 0.1),
        ("gato", 0, 0.04),
        ("GATO", 1, 0.05),
        ("vermelho", 0, 0.05),
        ("gato vermelho", 0, 0.09),
        ("vermelho gato", 0, 0.10),
    ]:
        heat = maps.word(phrase, occurrence)
        assert heat.tensor.shape == (24, 40)
        assert heat.tensor.dtype == torch.float32
        assert heat.mass == pytest.approx(mass)
    assert maps.beginning().mass == pytest.approx(0.5)
    assert maps.rest().mass == pytest.approx(1 - 0.74)
    with pytest.raises(WordNotFoundError, match="vermelho"):
        maps.word("rato")


def test_share_is_relative_to_words_only(maps_of):
    shares = maps_of(slot("a", 0, 3, 5, [0.5, 0.1, 0.04, 0.02, 0.03, 0.05])).share()
    assert shares.word("gato").mass == pytest.approx(0.04 / 0.24)
    assert shares.beginning().mass == pytest.approx(0.5 / 0.24)
    assert shares.probability().word("gato").mass == pytest.approx(0.04)
    with pytest.raises(SettingError, match="must be the probability; got share"):
        shares.rest()


def test_lift_is_relative_to_image_mean(maps_of):
    one = slot("a", 0, 3, 5, [0] * COLUMNS)
    one.sums[..., 2] = torch.arange(15.0) / 100
    maps = maps_of(one, size=(3, 5)).lift()
    assert maps.word("gato").tensor.flatten().tolist() == pytest.approx([i / 7 for i in range(15)], abs=1e-6)
    with pytest.raises(SettingError, match="got lift"):
        maps.rest()


def test_word_gives_grids_equal_weight(maps_of):
    fine = [slot("up.3", 0, 12, 20, [0, 0, 0.4, 0, 0, 0])]
    coarse = [slot(f"up.{i}", 1, 6, 10, [0, 0, 0.1 * i, 0, 0, 0]) for i in range(3)]
    assert maps_of(*fine, *coarse).word("gato").mass == pytest.approx((0.4 + 0.1) / 2)


def test_default_view_omits_coarse_layers(maps_of):
    slots = [slot(f"l{level}", 2**level, 12, 20, [0, 0, 0.1 * (level + 1), 0, 0, 0]) for level in range(4)]
    maps = maps_of(*slots)
    assert maps.word("gato").mass == pytest.approx(0.2)
    assert maps.layers().word("gato").mass == pytest.approx(0.25)
    assert maps.layers("l3").word("gato").mass == pytest.approx(0.4)
    assert maps_of(slots[3]).word("gato").mass == pytest.approx(0.4)


def test_default_view_omits_small_grids_unless_finest(maps_of):
    fine, small = slot("up", 0, 8, 12, [0, 0, 0.4, 0, 0, 0]), slot("mid", 1, 4, 6, [0, 0, 0.1, 0, 0, 0])
    maps = maps_of(fine, small)
    assert maps.word("gato").mass == pytest.approx(0.4)
    assert maps.layers().word("gato").mass == pytest.approx(0.25)
    assert maps_of(small).word("gato").mass == pytest.approx(0.1)


def test_layers_select_by_name_or_grid(maps_of):
    maps = maps_of(
        slot("down.attn", 0, 12, 20, [0, 0.1, 0, 0, 0, 0]),
        slot("up.attn", 0, 12, 20, [0, 0.2, 0, 0, 0, 0]),
        slot("mid.attn", 1, 6, 10, [0, 0.4, 0, 0, 0, 0]),
    )
    assert maps.layers("up").word("um").mass == pytest.approx(0.2)
    assert maps.layers("12x20").word("um").mass == pytest.approx(0.15)
    assert maps.layers("6x10", "down").word("um").mass == pytest.approx(0.25)
    with pytest.raises(SettingError, match=r"layers must match one of: down.attn \(12x20\).*got 'left'"):
        maps.layers("left")


def test_steps_and_heads_select_recorded_axes(maps_of):
    one = slot("a", 0, 3, 5, [0] * COLUMNS, steps=4, heads=2)
    one.sums[..., 2] = torch.arange(8.0).view(4, 1, 1, 2, 1) / 10
    maps = maps_of(one)
    assert maps.word("gato").mass == pytest.approx(0.35)
    assert maps.steps(1, 3).word("gato").mass == pytest.approx(0.35)
    assert maps.steps(-1).word("gato").mass == pytest.approx(0.65)
    assert maps.heads(1).word("gato").mass == pytest.approx(0.4)
    assert maps.steps(0, 1).heads(0).word("gato").mass == 0
    with pytest.raises(SettingError, match="one of the 4 recorded; got 9 to None"):
        maps.steps(9)
    with pytest.raises(SettingError, match="heads must be 0 to 1"):
        maps.heads(2)
    flat = maps_of(slot("a", 0, 3, 5, [0] * COLUMNS))
    with pytest.raises(SettingError, match="got their sum"):
        flat.steps(0, 1)
    with pytest.raises(SettingError, match="got their mean"):
        flat.heads(0)


def test_word_of_layer_that_did_not_run_raises(maps_of):
    with pytest.raises(SettingError, match="did not run"):
        maps_of(slot("a", 0, 3, 5, [0] * COLUMNS, calls=0)).word("um")


def test_word_keeps_orientation(maps_of):
    one = slot("a", 0, 3, 5, [0] * COLUMNS)
    one.sums[..., 2].view(3, 5)[0, 4] = 1.0
    heat = maps_of(one).word("gato")
    top_right = heat.tensor[:8, 32:].sum()
    assert top_right > 0.6 * heat.tensor.sum()
    mask = heat.mask(0.5)
    assert mask.dtype == torch.bool
    assert mask[0, 39]
    assert not mask[8:].any()
    assert not mask[:, :28].any()
    normalized = heat.normalized()
    assert (normalized.min(), normalized.max()) == (0, 1)
    with pytest.raises(SettingError, match=r"threshold must be between 0 and 1; got 1\.5"):
        heat.mask(1.5)


def test_normalized_constant_map_is_zero(maps_of):
    heat = maps_of(slot("a", 0, 3, 5, [0, 0.1, 0, 0, 0, 0])).word("um")
    assert heat.normalized().abs().max() == 0


def test_overlay_covers_peak(maps_of):
    one = slot("a", 0, 3, 5, [0] * COLUMNS)
    one.sums[..., 2].view(3, 5)[0, 4] = 1.0
    image = maps_of(one).word("gato").overlay(Image.new("RGB", (40, 24), "gray"), upscale=None)
    assert image.size == (40, 24)
    assert image.getpixel((39, 0)) != image.getpixel((0, 23))


def test_load_returns_saved_maps(pipe, tiny, tmp_path):
    from promptweight.attention import Record, attach

    encoded = tiny.encode("um gato:1.4 vermelho", "casa gato")
    with attach(pipe, encoded, record=Record(steps="keep", roles=("positive", "negative"))) as session:
        tiny.run(pipe, session.inputs, height=48)
    maps = session.maps
    maps.save(tmp_path / "maps.safetensors")
    loaded = AttentionMaps.load(tmp_path / "maps.safetensors")
    assert loaded.recording.tables == maps.recording.tables
    assert loaded.words == maps.words
    assert loaded.recording.size == (48, 32)
    assert torch.equal(loaded.word("gato", image=1).tensor, maps.word("gato", image=1).tensor)
    heat = loaded.share().steps(1).word("feio", role="negative")
    assert torch.equal(heat.tensor, maps.share().steps(1).word("feio", role="negative").tensor)


def test_load_other_files_raise(tmp_path):
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(FileFormatError, match="is not a file of attention maps"):
        AttentionMaps.load(tmp_path / "model.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    with pytest.raises(FileFormatError, match="not a complete file"):
        AttentionMaps.load(tmp_path / "broken.safetensors")
    metadata = {
        "format": "promptweight attention 4",
        "recording": '{"tables": [], "slots": [[["a"], 0, 1, 1]]}',
    }
    save_file({"weight": torch.zeros(2)}, tmp_path / "cut.safetensors", metadata=metadata)
    with pytest.raises(FileFormatError, match="not a complete file"):
        AttentionMaps.load(tmp_path / "cut.safetensors")
    with pytest.raises(FileNotFoundError):
        AttentionMaps.load(tmp_path / "none.safetensors")
