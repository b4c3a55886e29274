"""Attention loss: token ids of object names, and the divergence of maps from object masks."""

import math

import pytest
import torch

from promptweight.attention import Record, attach
from promptweight.mini.captions import plainly
from promptweight.mini.scenes import Scene, Thing
from promptweight.mini.training import mmdit
from promptweight.mini.training.attention_loss import Names, misplaced
from promptweight.models.loading import load
from promptweight.render.interpolation import upsample_maps

CHASE = Scene((Thing("cat", "red", 4, 20, 24), Thing("mouse", "gray", 36, 20, 24)), relation="chase")


@pytest.mark.parametrize(
    ("scene", "language", "named"),
    [
        (CHASE, "pt", {"gato": 1, "vermelho": 1, "rato": 2, "cinza": 2}),
        (CHASE, "en", {"red": 1, "cat": 1, "grey": 2, "mouse": 2}),
        (Scene((Thing("cat", "blue", 0, 0, 0),), "blue"), "en", {"cat": 1}),
        (Scene((Thing("cat", "blue", 0, 0, 0),), "green"), "en", {"blue": 1, "cat": 1}),
        (Scene((Thing("cat", "blue", 0, 0, 0),), relation="mirror"), "en", {}),
    ],
)
def test_words_name_things_by_kind_and_by_color(scene: Scene, language: str, named: dict[str, int]) -> None:
    tokenizer = load("mini-dit").tokenizer
    ids = tokenizer(plainly(scene, language), padding="max_length").input_ids
    found = Names(tokenizer).find(scene, ids)
    words = {
        tokenizer.decode([token]).strip(): number for token, number in zip(ids, found, strict=True) if number
    }
    assert words == named
    assert sum(number > 0 for number in found) == len(named)


def test_a_piece_that_several_names_share_names_nothing() -> None:
    names = Names(load("mini-dit").tokenizer)
    for pieces in (names.kinds, names.colors):
        every = [piece for each in pieces.values() for piece in each]
        assert len(every) == len(set(every))
        assert all(pieces.values())


def test_attention_is_misplaced_by_its_divergence_from_the_thing() -> None:
    areas = torch.zeros(2, 3, 2, 2)
    areas[0, 0, 0, 0] = 1  # one patch of four
    areas[0, 1, 1] = torch.tensor([0.5, 0.5])  # two patches, both half filled
    areas[1, 0] = 0.3
    attention = torch.empty(2, 4, 3)
    attention[0, :, 0] = 0.2  # uniform, row of the first object
    attention[0, :, 1] = torch.tensor([1e-9, 1e-9, 0.1, 0.3])  # mostly one of its two patches
    attention[0, :, 2] = 0.9  # names nothing
    attention[1] = torch.rand(4, 3)
    named = torch.tensor([[1, 2, 0], [0, 3, 0]])  # the third object of the second scene is invisible
    expected = (math.log(4) + 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)) / 2
    assert misplaced(attention, named, areas).item() == pytest.approx(expected, abs=1e-5)
    assert misplaced(7 * attention, named, areas).item() == pytest.approx(expected, abs=1e-5)
    assert misplaced(attention, torch.zeros_like(named), areas).item() == 0


def test_training_looks_at_the_attention_that_recording_shows() -> None:
    pipe = load("mini-dit")
    calls = []
    seen = pipe.transformer.register_forward_pre_hook(
        lambda _module, _args, kwargs: calls.append(kwargs), with_kwargs=True
    )
    with attach(pipe, "um gato vermelho", record=Record()) as session:
        pipe(**session.inputs, num_inference_steps=1, guidance_scale=1, generator=torch.manual_seed(0))
    seen.remove()
    (call,) = calls
    transformer = pipe.transformer
    transformer.set_attn_processor(
        {name: mmdit.CountedJointAttention() for name in transformer.attn_processors}
    )
    rows = call["encoder_hidden_states"]
    assert rows.shape[1] == mmdit.TEXT_POSITIONS + mmdit.ABSENT_T5_ROWS
    shorter = rows[:, : mmdit.TEXT_POSITIONS + 1]
    with torch.no_grad():
        transformer(call["hidden_states"], shorter, call["pooled_projections"], call["timestep"])
    side = transformer.config.sample_size // transformer.config.patch_size
    for number, block in enumerate(transformer.transformer_blocks):
        shown = session.maps.layers(f"transformer_blocks.{number}.")
        for position, word in enumerate(("um", "gato", "vermelho"), 1):
            told = block.attn.processor.to_text[0, :, position].view(side, side)
            torch.testing.assert_close(
                shown.word(word).tensor,
                upsample_maps(told, (128, 128)),
                atol=1e-5,
                rtol=1e-3,
                check_device=False,
            )
