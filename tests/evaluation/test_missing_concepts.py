"""Missing concepts: leak scores on maps made by hand, misbound objects, prompts, and thresholds."""

from dataclasses import replace

import pytest
import torch

from promptweight.evaluation import missing_concepts
from promptweight.evaluation.missing_concepts import WarningSample
from promptweight.evaluation.prompt_fidelity import SENTENCE, SceneDetections, held_out_scenes
from promptweight.evaluation.recognizer import Detection
from promptweight.evaluation.report.warning_section import build_warning_section
from promptweight.generation.early_warning import LEAK_THRESHOLD, find_leaks, score_leaks


def heat_at(*cells: int) -> torch.Tensor:
    heat = torch.full((4, 4), 0.01)
    heat.view(-1)[list(cells)] = 0.2
    return heat


def test_find_leaks_phrase_without_distinct_region(recorded):
    bos, low = torch.full((4, 4), 0.3), torch.full((4, 4), 0.02)
    left, right = heat_at(0, 4, 8, 12), heat_at(3, 7, 11, 15)
    spread = torch.full((4, 4), 0.05) + right / 10
    # um gato vermelho e um rato cinza
    columns = [bos, low, left, left, low, low, right, spread]
    maps = recorded("um gato vermelho e um rato cinza", [torch.stack(columns, -1)[None]], pixels=1)
    (leak,) = find_leaks(maps)
    assert (leak.phrase, leak.other) == ("rato cinza", "gato vermelho")
    total = sum(column for column in columns[1:])
    cat, mouse = ((column / total).numpy() for column in (left, spread))
    expected = 1 - (mouse.std() / mouse.mean()) / (cat.std() / cat.mean())
    assert leak.score == pytest.approx(expected, abs=1e-5)
    assert find_leaks(maps, threshold=expected + 0.01) == ()
    columns[7] = right
    clean = recorded("um gato vermelho e um rato cinza", [torch.stack(columns, -1)[None]])
    assert find_leaks(clean) == ()
    assert [each.phrase for each in score_leaks(clean)] == ["gato vermelho", "rato cinza"]


def test_has_misbound_object_color_of_another_object():
    def detect(kind: str, color: str) -> Detection:
        return Detection(kind, color, 0, 0, 24, 0.9)

    cat, mouse = SENTENCE.things
    swapped = SceneDetections(SENTENCE, "", (detect(cat.kind, mouse.color), detect(mouse.kind, mouse.color)))
    found = [missing_concepts.has_misbound_object(swapped, thing) for thing in (None, cat, mouse)]
    assert found == [True, True, False]
    assert not missing_concepts.has_misbound_object(SceneDetections(SENTENCE, "", (detect("cat", "red"),)))
    both = replace(SENTENCE, things=(cat, replace(cat, color="blue")))
    assert not missing_concepts.has_misbound_object(
        SceneDetections(both, "", (detect("cat", "blue"), detect("cat", "red")))
    )
    assert missing_concepts.has_misbound_object(
        SceneDetections(both, "", (detect("cat", "blue"), detect("cat", mouse.color)))
    )


def test_sample_scenes_cover_prompt_types_without_repeated_objects():
    scenes = missing_concepts.sample_scenes(8, 3)
    assert [name for name, _ in scenes] == [name for name in missing_concepts.PROMPT_TYPES for _ in range(8)]
    assert scenes == missing_concepts.sample_scenes(8, 3) != missing_concepts.sample_scenes(8, 4)
    for name, scene in scenes:
        assert len({(thing.kind, thing.color) for thing in scene.things}) == len(scene.things)
        assert (len({thing.kind for thing in scene.things}) == 1) == (name == "two of one kind")


def test_write_caption_lists_four_objects():
    four = replace(SENTENCE, things=(*SENTENCE.things, *SENTENCE.things))
    assert missing_concepts.write_caption(four, "pt") == (
        "um gato vermelho, um rato cinza, um gato vermelho e um rato cinza"
    )
    assert missing_concepts.write_caption(four, "en") == (
        "a red cat, a grey mouse, a red cat and a grey mouse"
    )


def test_measure_missing_concepts_image_is_worst_of_its_phrases(mini):
    scenes = missing_concepts.sample_scenes(1, 0)
    of_images, of_phrases = missing_concepts.measure_missing_concepts(
        mini, scenes, seed=0, batch_size=3, steps=2
    )
    assert [each.prompt_type for each in of_images] == list(missing_concepts.PROMPT_TYPES)
    assert [each.scene for each in of_phrases] == [0] * 2 + [1] * 2 + [2] * 3 + [3] * 4
    for each in of_images:
        own = [row for row in of_phrases if row.scene == each.scene]
        assert each.score == max(row.score for row in own)
        assert each.is_missing == any(row.is_missing for row in own)
    assert all(0 <= row.score <= 1 for row in of_phrases)


def test_measure_missing_concepts_of_joint_attention(joint):
    (scene,) = held_out_scenes(1, 2, False, 3)
    (image,), of_phrases = missing_concepts.measure_missing_concepts(
        joint, [(missing_concepts.PROMPT_TYPES[0], scene)], seed=0, steps=2
    )
    assert len(of_phrases) == 2
    assert 0 <= image.score == max(phrase.score for phrase in of_phrases) <= 1


def test_assess_selected_threshold_uses_the_other_half():
    scores = [0.9, 0.8, 0.7, 0.95, 0.1, 0.2, 0.0, 0.85]
    faulty = [True, True, True, False, False, False, False, True]
    samples = [
        WarningSample(number, "two objects", score, is_faulty, is_faulty)
        for number, (score, is_faulty) in enumerate(zip(scores, faulty, strict=True))
    ]
    quality = missing_concepts.assess_selected_threshold(samples, "is_misbound")
    # selected on 0, 2, 4, 6: 0.7 and up; assessed on 1, 3, 5, 7
    assert quality.threshold == 0.7
    assert (quality.precision.hits, quality.precision.count) == (2, 3)
    assert (quality.recall.hits, quality.recall.count) == (2, 2)
    pairs = [(a, b) for a in (0.9, 0.8, 0.7, 0.85) for b in (0.95, 0.1, 0.2, 0.0)]
    assert quality.area == pytest.approx(sum(a > b for a, b in pairs) / len(pairs))
    fixed = missing_concepts.assess_threshold(samples, "is_misbound", 0.75)
    assert (fixed.precision.hits, fixed.precision.count) == (3, 4)
    assert (fixed.recall.hits, fixed.recall.count) == (3, 4)
    assert (fixed.base_rate.hits, fixed.base_rate.count) == (4, 8)
    whole, by_prompt = build_warning_section(samples, samples).tables
    assert whole.rows[0][3] == LEAK_THRESHOLD
    assert whole.rows[1][3:] == (quality.threshold, quality.precision, quality.recall, quality.area)
    default = missing_concepts.assess_threshold(samples, "is_missing", LEAK_THRESHOLD)
    assert by_prompt.rows == (
        ("two objects", default.base_rate, default.precision, default.recall, default.area),
    )
