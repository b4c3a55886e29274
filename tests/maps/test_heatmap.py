"""Text rows of image patches, against softmaxes computed in float64."""

import pytest
import torch

from promptweight.attention import Record, attach
from promptweight.errors import SettingError, WordNotFoundError
from promptweight.maps import AttentionMaps

PATCHES = ((0.1, 0.9), (1.0, 0.3))
SIZE = {"height": 48, "width": 80}


@pytest.fixture
def record_softmax(monkeypatch):
    """Return a function that starts to record the float64 softmax of every attention call of torch."""
    calls = []
    attention = torch.nn.functional.scaled_dot_product_attention

    def recording_attention(query, key, value, attn_mask=None, **settings):
        logits = query.double() @ key.double().transpose(-1, -2) * query.shape[-1] ** -0.5
        calls.append(logits.softmax(-1))
        return attention(query, key, value, attn_mask=attn_mask, **settings)

    def start():
        monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", recording_attention)
        return calls

    return start


def cells_of(height, width):
    """Return the cells that contain PATCHES."""
    return [int(0.9 * height) * width + int(0.1 * width), int(0.3 * height) * width + width - 1]


@pytest.mark.parametrize("family", ["unet", "sd3", "flux"])
def test_rows_of_every_layer_and_head_equal_softmax(tiny, record_softmax, family):
    negative = None if family == "flux" else "feio"
    encoded = tiny.encode("um gato vermelho", negative=negative)
    make = {"unet": tiny.pipeline, "sd3": tiny.sd3_pipeline, "flux": tiny.flux_pipeline}[family]
    extra = {"unet": {}, "sd3": tiny.pooled(1), "flux": {"pooled_prompt_embeds": torch.ones(1, 32)}}[family]
    pipe, settings = make(), SIZE | extra | {"num_inference_steps": 2}
    plain = tiny.run(pipe, encoded.inputs, **settings)
    record = Record(steps="keep", heads="keep", patches=PATCHES)
    with attach(pipe, encoded, record=record) as session:
        assert torch.equal(tiny.run(pipe, session.inputs, **settings), plain)
    calls = record_softmax()
    tiny.run(pipe, encoded.inputs, **settings)
    rows = [slot for slot in session.maps.recording.slots if slot.kind == "rows"]
    if family == "unet":
        calls = [call for call in calls if call.shape[-1] == tiny.rows]
    assert len(calls) == 2 * len(rows)
    for number, call in enumerate(calls):
        slot, step = rows[number % len(rows)], number // len(rows)
        image = call.shape[2] - (0 if family == "unet" else tiny.rows)
        text, queries = {
            "unet": (slice(None), slice(None)),
            "sd3": (slice(image, None), slice(image)),
            "flux": (slice(tiny.rows), slice(tiny.rows, None)),
        }[family]
        expected = call[-1][:, queries][:, cells_of(slot.height, slot.width)][..., text]
        assert (slot.sums[step, 0, 0] - expected).abs().max() < 1e-5


def test_row_sums_to_one_and_agrees_with_maps(pipe, tiny, tmp_path):
    """All tokens sum to 1; a word has the value of its map in the same cell."""
    encoded = tiny.encode("um gato vermelho", "casa gato casa")
    record = Record(roles=("positive", "negative"), patches=PATCHES)
    with attach(pipe, encoded, record=record) as session:
        tiny.run(pipe, session.inputs, **SIZE)
    maps = session.maps
    row = maps.row(1)
    assert row.position == (1.0, 0.3)
    assert [token.kind for token, _ in row.tokens[:5]] == ["bos", "text", "text", "text", "text"]
    assert {token.kind for token, _ in row.tokens} == {"bos", "text", "eos", "pad"}
    assert len(row.tokens) == tiny.rows
    assert row.total == pytest.approx(1, abs=1e-5)
    assert row.word("gato vermelho") == pytest.approx(row.word("gato") + row.word("vermelho"))
    assert sorted(word.text for word, _ in row.words) == ["gato", "um", "vermelho"]
    values = [value for _, value in row.words]
    assert values == sorted(values, reverse=True)
    one = maps.layers("up_blocks.1.attentions.0")
    (slot,) = [each for each in one.recording.slots if each.layers[0].startswith("up_blocks.1.attentions.0")][
        :1
    ]
    cell = cells_of(slot.height, slot.width)[1]
    column = maps.recording.columns(("positive", 0))[2]
    assert one.row(1).word("gato") == pytest.approx(float(slot.sums[0, 0, 0, 0, cell, column]) / 3, rel=1e-4)

    share = maps.share().row(1)
    assert sum(value for _, value in share.words) == pytest.approx(1, abs=1e-5)
    assert share.word("gato") > row.word("gato")
    second = maps.row(0, image=1)
    assert [word.occurrence for word, _ in second.words if word.text == "casa"] != [0, 0]
    assert second.word("casa", 1) != second.word("casa", 0)
    assert [word.text for word, _ in maps.row(role="negative").words] == ["feio"]

    maps.save(tmp_path / "maps.safetensors")
    loaded = AttentionMaps.load(tmp_path / "maps.safetensors")
    assert torch.equal(loaded.row(1).tensor, row.tensor)
    for call, error, message in [
        (lambda: maps.row(2), SettingError, "patch 2 was not recorded; there are 2"),
        (lambda: maps.lift().row(), SettingError, "got lift"),
        (lambda: row.word("cachorro"), WordNotFoundError, "cachorro"),
    ]:
        with pytest.raises(error, match=message):
            call()


def test_row_of_two_text_encoders_is_sum_of_both(tiny):
    """In joint attention the image has the rest of 1; a word's value is the sum over both encoders."""
    pipe, encoded = tiny.sd3_pipeline(), tiny.encode_twice("um gato:2 vermelho", "attention")
    with attach(pipe, encoded, record=Record(patches=PATCHES)) as session:
        tiny.run(pipe, session.inputs | tiny.pooled(1))
    row = session.maps.row()
    clip, t5 = session.maps.row(source="clip"), session.maps.row(source="t5")
    assert len(row.tokens) == 2 * tiny.rows
    assert row.word("gato") == pytest.approx(clip.word("gato") + t5.word("gato"))
    assert row.total == pytest.approx(clip.total + t5.total)
    assert 0 < clip.total < row.total < 1
