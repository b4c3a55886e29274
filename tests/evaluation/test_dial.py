"""Calibration by the presence of objects: dial and gain of a built-in model, and images without objects."""

import numpy as np
import pytest

from promptweight.errors import SettingError
from promptweight.evaluation import calibrate_objects, dial
from promptweight.evaluation.prompt_fidelity import held_out_scenes
from promptweight.generation import GAINS
from promptweight.mini import render


def test_objects_are_counted_by_weight_and_gain(mini, monkeypatch):
    """The first object appears above an interpolation of 0.5, the second stays below a gain of 0.6."""
    scenes = list(held_out_scenes(4, 2, False, dial.SEED_OFFSET))

    def draw(_pipeline, prompts, _seeds, *, steps, weighting):
        for prompt, scene in zip(prompts, scenes, strict=True):
            weight = float(prompt.partition(":")[2].partition(")")[0])
            kept = [weight > 0.5, weight <= 1 or weighting.gain < 0.6]
            things = [thing for thing, is_kept in zip(scene.things, kept, strict=True) if is_kept]
            yield np.asarray(
                render(type(scene)(**{**vars(scene), "things": tuple(things), "relation": ""}))[0]
            )

    whole = [np.asarray(render(scene)[0]) for scene in scenes]
    monkeypatch.setattr("promptweight.evaluation.weight_response.generate_images", lambda *_, **__: whole)
    monkeypatch.setattr(dial, "generate_images", draw)
    calibration = calibrate_objects(mini, number=4, steps=1, evaluations=6)
    assert calibration.images == 4
    assert calibration.weighting.gain == max(gain for gain in GAINS if gain < 0.6)
    low, high = calibration.usable_range
    assert 0.5 <= low < high <= 0.6


def test_images_without_objects_cannot_be_calibrated(mini):
    with pytest.raises(SettingError, match="got none among 2 images of 1 steps"):
        calibrate_objects(mini, number=2, steps=1)
