"""Composition of prompts that change during a run or are joined by AND: maps, weights and predictions."""

import pytest
import torch

from promptweight.attention import Record, attach
from promptweight.attention.control.composition import combine_predictions, repeat_rows
from promptweight.errors import SettingError, WordNotFoundError
from promptweight.generation import generate
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


def test_words_of_changing_prompt_follow_the_source(pipe):
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


def test_word_at_two_places_is_two_words(pipe):
    maps = run(pipe, "[gato|rato] e [rato|gato]").maps
    assert [(word.text, word.occurrence) for word in maps.words] == [
        ("gato", 0),
        ("rato", 0),
        ("e", 0),
        ("rato", 1),
        ("gato", 1),
    ]
    assert not torch.equal(maps.word("gato", 0).tensor, maps.word("gato", 1).tensor)


def test_map_is_the_mean_over_the_steps_of_its_variant(pipe):
    summed = run(pipe, CHANGING).maps
    by_step = run(pipe, CHANGING, Record(steps="keep")).maps
    phrases = {"gato": (0, 1), "rato verde": (2, 3), "verde feio": (2, 3), "um": (0, 1, 2, 3)}
    for phrase, steps in phrases.items():
        alone = [by_step.steps(step, step + 1).word(phrase).tensor for step in steps]
        assert torch.allclose(summed.word(phrase).tensor, torch.stack(alone).mean(0), atol=1e-6)
    assert by_step.steps(2, 4).word("gato").mass == 0
    assert by_step.steps(0, 2).word("gato").mass > 0


def test_first_step_equals_that_of_the_plain_prompt(pipe):
    first = [run(pipe, text, Record(steps="keep")).maps.steps(0, 1) for text in (CHANGING, "um gato feio")]
    assert torch.allclose(first[0].word("gato").tensor, first[1].word("gato").tensor, atol=1e-6)


@pytest.mark.parametrize("unit", ["probability", "share"])
def test_each_and_part_has_its_own_attention(pipe, unit):
    """At the first step the latents are those of any run, so a part attends as in a run of its own."""
    parts = run(pipe, JOINED, Record(steps="keep")).maps.steps(0, 1)
    for text, words in (("um gato", ["gato"]), ("um rato verde", ["rato", "verde"])):
        alone = run(pipe, text, Record(steps="keep")).maps.steps(0, 1)
        for word in words:
            actual, expected = (getattr(maps, unit)().word(word).tensor for maps in (parts, alone))
            assert torch.allclose(actual, expected, atol=1e-6)
    assert [word.text for word in parts.words] == ["um", "gato", "um", "rato", "verde"]


@pytest.mark.parametrize("prompt", [CHANGING, JOINED])
def test_rest_is_the_complement_of_the_recorded_probabilities(pipe, prompt):
    """The probabilities of both variants in every layer, by number of calls; `rest` averages the layers."""
    maps = run(pipe, prompt).maps
    columns = [list(maps.recording.columns(("positive", 0), variant).values()) for variant in range(2)]
    totals = []
    for slot in maps.recording.slots:
        of_variants = [slot.sums[0, 0, variant][..., columns[variant]].sum(-1) for variant in range(2)]
        totals.append(sum(of_variants).mean(0) / slot.counts.sum())
        assert 0 < totals[-1].min() <= totals[-1].max() < 1
    words = torch.stack([total.mean() for total in totals]).mean().item()
    assert maps.rest().mass == pytest.approx(1 - words, abs=2e-3)
    assert 0 < maps.beginning().mass < 1


def test_map_file_keeps_every_variant(pipe, tmp_path):
    maps = run(pipe, "um [(gato:1.4{steps=0-0.5, region=left}):rato verde:0.5] feio AND x").maps
    maps.save(tmp_path / "maps.safetensors")
    loaded = AttentionMaps.load(tmp_path / "maps.safetensors")
    assert loaded.words == maps.words
    assert loaded.texts() == maps.texts() == ("um gato feio", "x", "um rato verde feio")
    for word in maps.words:
        actual = loaded.word(word.text, word.occurrence)
        assert torch.equal(actual.tensor, maps.word(word.text, word.occurrence).tensor)
    (gato,) = loaded.word("gato").words
    assert (gato.weight, gato.options.region, gato.options.steps) == (1.4, "left", ((0, 1), (0.5, 1)))


def test_row_is_of_one_variant(pipe):
    maps = run(pipe, JOINED, Record(patches=((0.5, 0.5),))).maps
    row = maps.row(text=1)
    assert [word.text for word, _ in sorted(row.words, key=lambda pair: pair[0].index)] == [
        "um",
        "rato",
        "verde",
    ]
    assert row.total == pytest.approx(1, abs=1e-5)
    assert maps.patch().mass > 0
    with pytest.raises(SettingError, match="text must be 0 to 1 for this prompt; got 2"):
        maps.row(text=2)


def test_weights_in_attention_act_in_every_variant(pipe):
    heavy = "[um (gato:3)|um (gato:3) feio] AND um (rato:0)"
    light = "[um gato|um gato feio] AND um rato"
    masses = {}
    for prompt in (heavy, light):
        maps = run(pipe, prompt, Record(steps="keep"), weighting="attention").maps
        masses[prompt] = [maps.steps(0, 1).word(word).mass for word in ("gato", "rato")]
    assert masses[heavy][0] > masses[light][0]
    assert masses[heavy][1] == 0 < masses[light][1]


def test_set_weight_changes_every_variant_with_the_word(pipe):
    with attach(pipe, CHANGING, num_inference_steps=STEPS, record=Record(steps="keep")) as session:
        session.set_weight("feio", 0)
        session.set_weight("rato", 0)
        pipe(**session.inputs, num_inference_steps=STEPS, output_type="latent")
    assert [session.maps.word(word).mass for word in ("feio", "rato")] == [0, 0]
    assert session.maps.word("verde").mass > 0


def test_images_of_changing_prompt_do_not_depend_on_the_batch(pipe, tmp_path):
    fast = {"num_inference_steps": 2, "seed": 7, "negative_prompt": "x"}
    together = generate(pipe, "[gato|rato] AND um", num_images_per_prompt=2, **fast)
    alone = generate(pipe, "[gato|rato] AND um", **fast | {"seed": 8})
    assert together.images[1].tobytes() == alone.images[0].tobytes()
    for word in ("gato", "rato", "um"):
        assert torch.equal(together.maps.word(word, image=1).tensor, alone.maps.word(word).tensor)
    assert together.prompt.source == together.settings["prompt"] == "[gato|rato] AND um"
    assert together.warnings == ()
    assert len(together.save(tmp_path, overlays=["rato"], contact_sheet=True, maps=True)) == 8


def test_required_words_may_be_of_any_variant(pipe):
    fast = {"num_inference_steps": 2, "seed": 7}
    generate(pipe, "[gato:rato:0.5] AND um", require_words=["gato", "rato", "um"], **fast)
    with pytest.raises(WordNotFoundError, match="'gato', 'rato', 'um'"):
        generate(pipe, "[gato:rato:0.5] AND um", require_words=["gato rato"], **fast)


def test_maps_during_a_run_contain_words_of_later_variants(pipe):
    masses = []
    generate(
        pipe,
        CHANGING,
        num_inference_steps=STEPS,
        seed=1,
        callback=lambda progress: masses.append(progress.maps.word("rato").mass),
    )
    assert masses[:2] == [0, 0]
    assert min(masses[2:]) > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_combine_predictions_adds_weighted_differences_to_the_negative(dtype):
    parts, around = torch.randn(3, 4, 5).to(dtype), torch.randn(4, 5).to(dtype)
    weights = [0.7, -0.2, 1.5]
    expected = around.double() + sum(
        weight * (part.double() - around.double()) for weight, part in zip(weights, parts, strict=True)
    )
    actual = combine_predictions(parts, weights, around)
    assert actual.dtype == dtype
    assert torch.allclose(actual.double(), expected, rtol=1e-3, atol=4e-3 if dtype == torch.float16 else 1e-6)
    assert torch.equal(combine_predictions(parts[:1], [1.0], around), parts[0])


def test_repeat_rows_leaves_unbatched_arguments():
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
    actual = repeat_rows(given, index, 2)
    assert actual["a"].tolist() == actual["b"][1][0].tolist() == [0, 1, 1]
    assert actual["b"][0] is other
    assert actual["img_ids"] is batch
    assert (actual["c"], actual["d"].item(), actual["e"]) == (None, 5.0, 1.5)
