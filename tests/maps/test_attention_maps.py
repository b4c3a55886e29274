"""Views and maps of recordings whose numbers are written down here."""

import pytest
import torch
from PIL import Image

from promptweight.errors import SettingError, WordNotFoundError
from promptweight.maps.attention_maps import AttentionMaps
from promptweight.maps.prompt_words import PlacedTable
from promptweight.maps.recording import RecordedSlot, Recording

# columns: beginning, um, gato, verm, elho, gato
COLUMNS = 6


def slot(name, stride, height, width, values, *, steps=1, heads=1, calls=1):
    """A slot in which every pixel of column c has the probability values[c]."""
    sums = torch.zeros(steps, 1, 1, heads, height * width, COLUMNS) + torch.tensor(values) * calls
    return RecordedSlot((name,), stride, height, width, sums, torch.full((steps, 1, 1), float(calls)))


@pytest.fixture
def table(tiny):
    return tiny.table_of("um gato vermelho gato")


@pytest.fixture
def maps_of(table):
    def build(*slots, size=(24, 40)):
        return AttentionMaps.of(
            Recording(slots, ("positive",), {("positive", 0): (PlacedTable(0, ("clip",), table),)}, size)
        )

    return build


def test_pieces_are_summed_and_occurrences_are_told_apart(maps_of):
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


def test_share_is_of_the_words_alone(maps_of):
    shares = maps_of(slot("a", 0, 3, 5, [0.5, 0.1, 0.04, 0.02, 0.03, 0.05])).share()
    assert shares.word("gato").mass == pytest.approx(0.04 / 0.24)
    assert shares.beginning().mass == pytest.approx(0.5 / 0.24)
    assert shares.probability().word("gato").mass == pytest.approx(0.04)
    with pytest.raises(SettingError, match="probability"):
        shares.rest()


def test_lift_is_relative_to_the_mean_over_the_picture(maps_of):
    one = slot("a", 0, 3, 5, [0] * COLUMNS)
    one.sums[..., 2] = torch.arange(15.0) / 100
    maps = maps_of(one, size=(3, 5)).lift()
    assert maps.word("gato").tensor.flatten().tolist() == pytest.approx([i / 7 for i in range(15)], abs=1e-6)
    with pytest.raises(SettingError, match="no lift"):
        maps.rest()


def test_grids_weigh_the_same_however_many_layers_they_have(maps_of):
    fine = [slot("up.3", 0, 12, 20, [0, 0, 0.4, 0, 0, 0])]
    coarse = [slot(f"up.{i}", 1, 6, 10, [0, 0, 0.1 * i, 0, 0, 0]) for i in range(3)]
    assert maps_of(*fine, *coarse).word("gato").mass == pytest.approx((0.4 + 0.1) / 2)


def test_very_coarse_layers_are_left_out_unless_asked_for(maps_of):
    slots = [slot(f"l{level}", 2**level, 12, 20, [0, 0, 0.1 * (level + 1), 0, 0, 0]) for level in range(4)]
    maps = maps_of(*slots)
    assert maps.word("gato").mass == pytest.approx(0.2)
    assert maps.layers().word("gato").mass == pytest.approx(0.25)
    assert maps.layers("l3").word("gato").mass == pytest.approx(0.4)
    assert maps_of(slots[3]).word("gato").mass == pytest.approx(0.4)


def test_grids_of_a_few_cells_are_left_out_unless_there_is_no_finer_one(maps_of):
    fine, small = slot("up", 0, 8, 12, [0, 0, 0.4, 0, 0, 0]), slot("mid", 1, 4, 6, [0, 0, 0.1, 0, 0, 0])
    maps = maps_of(fine, small)
    assert maps.word("gato").mass == pytest.approx(0.4)
    assert maps.layers().word("gato").mass == pytest.approx(0.25)
    assert maps_of(small).word("gato").mass == pytest.approx(0.1)


def test_layers_by_name_and_by_grid(maps_of):
    maps = maps_of(
        slot("down.attn", 0, 12, 20, [0, 0.1, 0, 0, 0, 0]),
        slot("up.attn", 0, 12, 20, [0, 0.2, 0, 0, 0, 0]),
        slot("mid.attn", 1, 6, 10, [0, 0.4, 0, 0, 0, 0]),
    )
    assert maps.layers("up").word("um").mass == pytest.approx(0.2)
    assert maps.layers("12x20").word("um").mass == pytest.approx(0.15)
    assert maps.layers("6x10", "down").word("um").mass == pytest.approx(0.25)
    with pytest.raises(SettingError, match=r"no layer is called 'left'; layers: down.attn \(12x20\)"):
        maps.layers("left")


def test_steps_and_heads(maps_of):
    one = slot("a", 0, 3, 5, [0] * COLUMNS, steps=4, heads=2)
    one.sums[..., 2] = torch.arange(8.0).view(4, 1, 1, 2, 1) / 10
    maps = maps_of(one)
    assert maps.word("gato").mass == pytest.approx(0.35)
    assert maps.steps(1, 3).word("gato").mass == pytest.approx(0.35)
    assert maps.steps(-1).word("gato").mass == pytest.approx(0.65)
    assert maps.heads(1).word("gato").mass == pytest.approx(0.4)
    assert maps.steps(0, 1).heads(0).word("gato").mass == 0
    with pytest.raises(SettingError, match="steps 9 to None hold none of the 4"):
        maps.steps(9)
    with pytest.raises(SettingError, match="heads 0 to 1"):
        maps.heads(2)
    flat = maps_of(slot("a", 0, 3, 5, [0] * COLUMNS))
    with pytest.raises(SettingError, match="added together"):
        flat.steps(0, 1)
    with pytest.raises(SettingError, match="averaged"):
        flat.heads(0)


def test_a_layer_that_never_ran(maps_of):
    with pytest.raises(SettingError, match="did not run"):
        maps_of(slot("a", 0, 3, 5, [0] * COLUMNS, calls=0)).word("um")


def test_rows_are_rows_and_columns_are_columns(maps_of):
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
    with pytest.raises(SettingError, match=r"threshold is 1\.5"):
        heat.mask(1.5)


def test_a_map_that_is_the_same_everywhere_has_nothing_to_show(maps_of):
    heat = maps_of(slot("a", 0, 3, 5, [0, 0.1, 0, 0, 0, 0])).word("um")
    assert heat.normalized().abs().max() == 0


def test_overlay(maps_of):
    one = slot("a", 0, 3, 5, [0] * COLUMNS)
    one.sums[..., 2].view(3, 5)[0, 4] = 1.0
    picture = maps_of(one).word("gato").overlay(Image.new("RGB", (40, 24), "gray"), upscale=None)
    assert picture.size == (40, 24)
    assert picture.getpixel((39, 0)) != picture.getpixel((0, 23))


def test_saved_maps_are_loaded_as_they_were(pipe, tiny, tmp_path):
    from promptweight.attention import Record, attach

    encoded = tiny.encode("um gato:1.4 vermelho", "casa gato")
    with attach(pipe, encoded, record=Record(steps="keep", lanes=("positive", "negative"))) as session:
        tiny.run(pipe, session.inputs, height=48)
    maps = session.maps
    maps.save(tmp_path / "maps.safetensors")
    loaded = AttentionMaps.load(tmp_path / "maps.safetensors")
    assert loaded.recording.tables == maps.recording.tables
    assert loaded.words == maps.words
    assert loaded.recording.size == (48, 32)
    assert torch.equal(loaded.word("gato", image=1).tensor, maps.word("gato", image=1).tensor)
    heat = loaded.share().steps(1).word("feio", lane="negative")
    assert torch.equal(heat.tensor, maps.share().steps(1).word("feio", lane="negative").tensor)


def test_other_files_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(SettingError, match="holds no attention maps"):
        AttentionMaps.load(tmp_path / "model.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    with pytest.raises(SettingError, match="not a whole file"):
        AttentionMaps.load(tmp_path / "broken.safetensors")
    metadata = {
        "format": "promptweight attention 1",
        "recording": '{"tables": [], "slots": [[["a"], 0, 1, 1]]}',
    }
    save_file({"weight": torch.zeros(2)}, tmp_path / "cut.safetensors", metadata=metadata)
    with pytest.raises(SettingError, match="not a whole file"):
        AttentionMaps.load(tmp_path / "cut.safetensors")
    with pytest.raises(FileNotFoundError):
        AttentionMaps.load(tmp_path / "none.safetensors")
