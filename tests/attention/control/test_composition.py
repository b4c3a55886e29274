"""Maps of prompts that change while a picture is made or that AND joins, and what joins predictions."""

import pytest
import torch

from promptweight.attention import Record, attach
from promptweight.attention.control.composition import combine_predictions, repeat_rows
from promptweight.errors import SettingError, WordNotFoundError
from promptweight.generation.image_generation import generate
from promptweight.maps import AttentionMaps

CHANGING = "um [gato:rato verde:0.5] feio"
JOINED = "um gato AND um rato verde:0.5"
STEPS = 4


def run(pipe, prompt, record=True, **settings):
    with attach(pipe, prompt, "x", num_inference_steps=STEPS, record=record, **settings) as session:
        pipe(
            **session.inputs,
            num_inference_steps=STEPS,
            guidance_scale=3.0,
            output_type="latent",
            generator=torch.Generator().manual_seed(7),
        )
    return session


@pytest.fixture(scope="module")
def pipe(tiny_pipe):
    return tiny_pipe


def test_the_words_are_those_of_every_text_in_the_order_of_the_source(pipe):
    session = run(pipe, CHANGING)
    maps = session.maps
    assert [word.text for word in session.words()] == ["um", "gato", "rato", "verde", "feio"]
    assert maps.words == session.words()
    assert [word.index for word in maps.words] == [0, 1, 2, 3, 4]
    assert maps.texts() == ("um gato feio", "um rato verde feio")
    assert [word.text for word in session.find("verde feio")] == ["verde", "feio"]
    with pytest.raises(WordNotFoundError, match="'um', 'gato', 'rato', 'verde', 'feio'"):
        maps.word("gato rato")
    with pytest.raises(WordNotFoundError, match="once, as occurrence 0; got occurrence 1"):
        maps.word("feio", 1)


def test_a_word_of_two_places_is_two_words_in_the_order_of_the_source(pipe):
    maps = run(pipe, "[gato|rato] e [rato|gato]").maps
    assert [(word.text, word.occurrence) for word in maps.words] == [
        ("gato", 0),
        ("rato", 0),
        ("e", 0),
        ("rato", 1),
        ("gato", 1),
    ]
    assert not torch.equal(maps.word("gato", 0).tensor, maps.word("gato", 1).tensor)


def test_a_map_is_the_mean_over_the_steps_in_which_the_word_is_said(pipe):
    summed = run(pipe, CHANGING).maps
    kept = run(pipe, CHANGING, Record(steps="keep")).maps
    said = {"gato": (0, 1), "rato verde": (2, 3), "verde feio": (2, 3), "um": (0, 1, 2, 3)}
    for phrase, steps in said.items():
        alone = [kept.steps(step, step + 1).word(phrase).tensor for step in steps]
        assert torch.allclose(summed.word(phrase).tensor, torch.stack(alone).mean(0), atol=1e-6)
    assert kept.steps(2, 4).word("gato").mass == 0
    assert kept.steps(0, 2).word("gato").mass > 0


def test_the_first_step_is_that_of_the_plain_prompt(pipe):
    first = [run(pipe, text, Record(steps="keep")).maps.steps(0, 1) for text in (CHANGING, "um gato feio")]
    assert torch.allclose(first[0].word("gato").tensor, first[1].word("gato").tensor, atol=1e-6)


@pytest.mark.parametrize("unit", ["probability", "share"])
def test_each_part_has_its_own_attention(pipe, unit):
    """At the first step the latents are those of any run, so a part attends as it does by itself."""
    parts = run(pipe, JOINED, Record(steps="keep")).maps.steps(0, 1)
    for text, words in (("um gato", ["gato"]), ("um rato verde", ["rato", "verde"])):
        alone = run(pipe, text, Record(steps="keep")).maps.steps(0, 1)
        for word in words:
            found, expected = (getattr(maps, unit)().word(word).tensor for maps in (parts, alone))
            assert torch.allclose(found, expected, atol=1e-6)
    assert [word.text for word in parts.words] == ["um", "gato", "um", "rato", "verde"]


@pytest.mark.parametrize("prompt", [CHANGING, JOINED])
def test_probabilities_sum_to_one(pipe, prompt):
    maps = run(pipe, prompt).maps
    columns = {variant: maps.recording.columns(("positive", 0), variant).values() for variant in range(2)}
    said = maps._on_picture("positive", 0, {variant: list(of) for variant, of in columns.items()})
    assert torch.allclose(said + maps.rest().tensor, torch.ones_like(said), atol=1e-5)
    assert 0 < maps.beginning().mass < 1


def test_files_keep_every_text(pipe, tmp_path):
    maps = run(pipe, "um [(gato:1.4{steps=0-0.5, region=left}):rato verde:0.5] feio AND x").maps
    maps.save(tmp_path / "maps.safetensors")
    loaded = AttentionMaps.load(tmp_path / "maps.safetensors")
    assert loaded.words == maps.words
    assert loaded.texts() == maps.texts() == ("um gato feio", "x", "um rato verde feio")
    for word in maps.words:
        found = loaded.word(word.text, word.occurrence)
        assert torch.equal(found.tensor, maps.word(word.text, word.occurrence).tensor)
    (gato,) = loaded.word("gato").words
    assert (gato.weight, gato.options.region, gato.options.steps) == (1.4, "left", (0.0, 0.5))


def test_rows_of_the_text_are_of_one_text(pipe):
    maps = run(pipe, JOINED, Record(patches=((0.5, 0.5),))).maps
    row = maps.row(text=1)
    assert [word.text for word, _ in sorted(row.words, key=lambda pair: pair[0].index)] == [
        "um",
        "rato",
        "verde",
    ]
    assert row.total == pytest.approx(1, abs=1e-5)
    assert maps.patch().mass > 0
    with pytest.raises(SettingError, match="text 2 of a prompt with 2"):
        maps.row(text=2)


def test_weights_in_attention_act_in_every_text(pipe):
    heavy = "[um (gato:3)|um (gato:3) feio] AND um (rato:0)"
    light = "[um gato|um gato feio] AND um rato"
    masses = {}
    for prompt in (heavy, light):
        maps = run(pipe, prompt, Record(steps="keep"), space="attention").maps
        masses[prompt] = [maps.steps(0, 1).word(word).mass for word in ("gato", "rato")]
    assert masses[heavy][0] > masses[light][0]
    assert masses[heavy][1] == 0 < masses[light][1]


def test_a_weight_is_set_in_every_text_that_has_the_word(pipe):
    with attach(pipe, CHANGING, num_inference_steps=STEPS, record=Record(steps="keep")) as session:
        session.set_weight("feio", 0)
        session.set_weight("rato", 0)
        pipe(**session.inputs, num_inference_steps=STEPS, output_type="latent")
    assert [session.maps.word(word).mass for word in ("feio", "rato")] == [0, 0]
    assert session.maps.word("verde").mass > 0


def test_pictures_of_changing_prompts_are_made_alike_alone_and_together(pipe, tmp_path):
    fast = {"num_inference_steps": 2, "seed": 7, "negative_prompt": "x"}
    together = generate("[gato|rato] AND um", pipe, num_images_per_prompt=2, **fast)
    alone = generate("[gato|rato] AND um", pipe, **fast | {"seed": 8})
    assert together.images[1].tobytes() == alone.images[0].tobytes()
    for word in ("gato", "rato", "um"):
        assert torch.equal(together.maps.word(word, image=1).tensor, alone.maps.word(word).tensor)
    assert together.prompt.source == together.settings["prompt"] == "[gato|rato] AND um"
    assert together.warnings == ()
    assert len(together.save(tmp_path, overlays=["rato"], sheet=True, maps=True)) == 8


def test_words_of_every_text_may_be_required(pipe):
    fast = {"num_inference_steps": 2, "seed": 7}
    generate("[gato:rato:0.5] AND um", pipe, require_words=["gato", "rato", "um"], **fast)
    with pytest.raises(WordNotFoundError, match="'gato', 'rato', 'um'"):
        generate("[gato:rato:0.5] AND um", pipe, require_words=["gato rato"], **fast)


def test_running_maps_hold_words_not_yet_said(pipe):
    masses = []
    generate(
        CHANGING,
        pipe,
        num_inference_steps=STEPS,
        seed=1,
        callback=lambda progress: masses.append(progress.maps.word("rato").mass),
    )
    assert masses[:2] == [0, 0]
    assert min(masses[2:]) > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_parts_are_joined_round_the_negative(dtype):
    parts, around = torch.randn(3, 4, 5).to(dtype), torch.randn(4, 5).to(dtype)
    weights = [0.7, -0.2, 1.5]
    expected = around.double() + sum(
        weight * (part.double() - around.double()) for weight, part in zip(weights, parts, strict=True)
    )
    found = combine_predictions(parts, weights, around)
    assert found.dtype == dtype
    assert torch.allclose(found.double(), expected, rtol=1e-3, atol=4e-3 if dtype == torch.float16 else 1e-6)
    assert torch.equal(combine_predictions(parts[:1], [1.0], around), parts[0])


def test_only_what_belongs_to_the_batch_is_repeated():
    index = torch.tensor([0, 1, 1])
    batch, other = torch.arange(2.0), torch.arange(3.0)
    given = {
        "a": batch,
        "b": [other, (batch,)],
        "img_ids": batch,
        "c": None,
        "d": torch.tensor(5.0),
        "e": 1.5,
    }
    found = repeat_rows(given, index, 2)
    assert found["a"].tolist() == found["b"][1][0].tolist() == [0, 1, 1]
    assert found["b"][0] is other
    assert found["img_ids"] is batch
    assert (found["c"], found["d"].item(), found["e"]) == (None, 5.0, 1.5)
