"""Weight response: weighted captions, weightings, resumed runs, and the digest of the baseline."""

import pytest

from promptweight.errors import SettingError
from promptweight.evaluation import recognizer, weight_response
from promptweight.evaluation.checkpoint import Checkpoint
from promptweight.evaluation.prompt_fidelity import SENTENCE, held_out_scenes
from promptweight.evaluation.report.response_section import build_change_section
from promptweight.evaluation.response_curves import linearity_of_presence
from promptweight.weighting import WEIGHTING_NAMES, Weighting


def test_weight_caption_weights_first_phrase():
    assert weight_response.weight_caption(SENTENCE, "pt", 1.0) == "um gato vermelho persegue um rato cinza"
    assert weight_response.weight_caption(SENTENCE, "en", 0.25) == "a (red cat:0.25) chases a grey mouse"
    assert weight_response.weight_caption(SENTENCE, "pt", -1.0, "steps=0-0.5") == (
        "um (gato vermelho:-1{steps=0-0.5}) persegue um rato cinza"
    )


def test_weightings_are_all_that_weight_and_parts_of_the_run():
    names = {weighting.name for weighting in weight_response.WEIGHTINGS}
    assert set(WEIGHTING_NAMES) - names == {"none"}
    assert Weighting("attention", steps=(0, 0.5)) in weight_response.WEIGHTINGS


def test_select_weightings_by_text():
    def select(*texts: str) -> list[str]:
        return [str(weighting) for weighting in weight_response.select_weightings(texts)]

    assert select() == [str(weighting) for weighting in weight_response.WEIGHTINGS]
    assert select("attention-p2p", "scale", "scale") == ["attention-p2p", "scale"]
    assert select("presence gain=0.5", "default") == ["presence gain=0.5", "default"]
    assert select("attention steps=0-0.50") == ["attention steps=0-0.5"]
    with pytest.raises(SettingError, match=r"attention-p2p.*'atention-p2p'"):
        select("atention-p2p")


def test_linearity_of_presence_is_r_squared_of_the_identity():
    weights = (0.0, 0.25, 0.5, 0.75, 1.0)
    present = {0: (0, 0, 1, 1, 1), 1: (0, 1, 1, 1, 1)}
    samples = [
        weight_response.WeightSample(scene, "presence", weight, value, 1, 1, 0, 0, 0)
        for scene, values in present.items()
        for weight, value in zip(weights, values, strict=True)
    ]
    measured = linearity_of_presence(samples)
    means = (0, 0.5, 1, 1, 1)
    errors = sum((mean - weight) ** 2 for mean, weight in zip(means, weights, strict=True))
    assert measured.value == pytest.approx(1 - errors / 0.625)
    assert measured.count == 2


def test_measure_weight_response_resumes_from_checkpoint(tmp_path, mini, monkeypatch):
    scenes = list(held_out_scenes(3, 2, False, 0))
    baseline = weight_response.generate_baseline(mini, scenes, 0, steps=6)
    settings = {
        "steps": 6,
        "weightings": (Weighting("attention"),),
        "weights": (1.0, 2.5),
    }
    # six steps are too few for the objects to be recognized
    monkeypatch.setattr(recognizer.SceneAnalysis, "has", lambda self, index: True)
    expected = weight_response.measure_weight_response(mini, scenes, baseline, **settings)
    assert [(each.scene, each.weight) for each in expected] == [
        (scene, weight) for weight in (1.0, 2.5) for scene in range(3)
    ]
    path = tmp_path / "images.jsonl"
    first = weight_response.measure_weight_response(
        mini, scenes, baseline, **settings, checkpoint=Checkpoint(path, {})
    )
    monkeypatch.setattr(
        weight_response, "generate_images", lambda *_args, **_more: pytest.fail("generated again")
    )
    resumed = weight_response.measure_weight_response(
        mini, scenes, baseline, **settings, checkpoint=Checkpoint(path, {})
    )
    assert repr(resumed) == repr(first) == repr(expected)  # as text, in which NaN equals NaN


def test_measure_image_change_is_zero_at_weight_1(tiny_pipe):
    samples = weight_response.measure_image_change(
        tiny_pipe,
        list(held_out_scenes(1, 2, False, 0)),
        seed=0,
        steps=2,
        weightings=(Weighting("scale"), Weighting("attention")),
        weights=(1.0, 2.5),
    )
    assert [each.change > 0 for each in samples] == [False, True, False, True]
    rows = build_change_section(samples).tables[0].rows
    assert [row[0] for row in rows] == ["scale", "attention"]


def test_baseline_digest_identifies_the_model(mini):
    scenes = list(held_out_scenes(1, 2, False, 5))
    baseline = weight_response.generate_baseline(mini, scenes, 0, steps=2)
    assert baseline.digest == weight_response.generate_baseline(mini, scenes, 0, steps=2).digest
    (bias,) = [p for name, p in mini.unet.named_parameters() if name == "conv_out.bias"]
    before = bias.data.clone()
    try:
        bias.data += 0.5
        assert weight_response.generate_baseline(mini, scenes, 0, steps=2).digest != baseline.digest
    finally:
        bias.data = before
