"""Share targets: the solved share of joint attention."""

import pytest

from promptweight.evaluation.prompt_fidelity import held_out_scenes
from promptweight.evaluation.share_targets import measure_targets


def test_measure_targets_of_joint_attention_reaches_target(joint):
    scenes = list(held_out_scenes(1, 2, False, 3))
    (sample,) = measure_targets(joint, scenes, seed=0, steps=3, targets=(0.5,))
    assert sample.share == pytest.approx(0.5, abs=0.1)
