"""Measurement of negative prompts: its samples, and its section of the report."""

import numpy as np
import pytest
import torch

from promptweight.attention import NegativeGuidance
from promptweight.evaluation import negative_prompts
from promptweight.evaluation.negative_prompts import NegativeCase, NegativeSample, measure_negative_prompts
from promptweight.evaluation.prompt_fidelity import held_out_scenes
from promptweight.evaluation.report.negative_section import build_negative_section
from promptweight.mini import phrase, plainly, render
from promptweight.models import load


def test_samples_tell_what_a_rendered_image_has(monkeypatch):
    scenes = list(held_out_scenes(6, 2, False, 3))
    drawn = []

    def draw(_pipeline, prompts, seeds, *, negative_prompts, negative_guidance, **_):
        drawn.append((list(prompts), list(negative_prompts), list(seeds)))
        images = [np.asarray(render(scene)[0]) for scene in scenes]
        if str(negative_guidance) == "cfg":
            images[0] = np.full_like(images[0], 255)  # without objects: the scene is left out
            return images
        return [np.asarray(render(scene_without_first(scene))[0]) for scene in scenes[1:]]

    def scene_without_first(scene):
        return type(scene)(**{**vars(scene), "things": scene.things[1:], "relation": ""})

    monkeypatch.setattr(negative_prompts, "generate_images", draw)
    case = NegativeCase("vsf", NegativeGuidance("vsf"))
    samples = measure_negative_prompts(None, scenes, seed=1, cases=[case])
    assert [sample.scene for sample in samples] == [1, 2, 3, 4, 5]
    assert all(sample.other_present for sample in samples)
    assert not any(sample.named_present for sample in samples)
    languages = ["pt", "en"] * 3
    assert drawn[0][0] == [plainly(*each) for each in zip(scenes, languages, strict=True)]
    assert drawn[0][1] == [""] * 6
    named = [
        phrase(scene.things[0], language).core for scene, language in zip(scenes, languages, strict=True)
    ]
    assert drawn[1][1] == named[1:]
    assert drawn[1][2] == drawn[0][2][1:]


@pytest.mark.slow
def test_cases_differ_on_the_built_in_model():
    pipe = load("mini")
    pipe.set_progress_bar_config(disable=True)
    scenes = list(held_out_scenes(4, 2, False, 5))
    cases = [NegativeCase("none", NegativeGuidance("cfg")), NegativeCase("vsf", NegativeGuidance("vsf"))]
    with torch.no_grad():
        samples = measure_negative_prompts(pipe, scenes, seed=2, steps=10, cases=cases)
    none, vsf = ([each for each in samples if each.case == name] for name in ("none", "vsf"))
    assert [each.scene for each in none] == [each.scene for each in vsf] != []
    assert all(each.named_present and each.other_present for each in none)
    assert sum(each.named_present for each in vsf) < len(vsf)


def test_section_has_a_row_for_each_case():
    samples = [
        NegativeSample(0, "nag", True, True, True),
        NegativeSample(1, "nag", False, True, True),
        NegativeSample(2, "nag", False, False, False),
        NegativeSample(3, "nag", False, False, True),
        NegativeSample(0, "cfg", True, True, True),
    ]
    (table,) = build_negative_section(samples).tables
    rows = {row[0]: row for row in table.rows}
    assert [cell.value for cell in rows["nag"][3:7]] == [0.75, 0.5, 0.75, 0.5]
    assert rows["nag"][2] == "1"
    assert rows["cfg"][2] == "default"
    assert (rows["nag"][7], rows["cfg"][7], rows["vsf"][7]) == (4, 1, 0)
