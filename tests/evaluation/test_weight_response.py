"""What pictures show, what weights do and how it is told, on drawn scenes and figures made by hand."""

import json
from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch

from promptweight.errors import SettingError
from promptweight.evaluation import (
    missing_concepts,
    recognizer,
    region_response,
    response_curves,
    share_targets,
    weight_response,
)
from promptweight.evaluation.checkpoint import Kept
from promptweight.evaluation.prompt_fidelity import SENTENCE, Drawn, held_out
from promptweight.evaluation.recognizer import Found
from promptweight.evaluation.report import writers
from promptweight.evaluation.report.document import Figure, Section, cell, plain
from promptweight.evaluation.report.map_sections import told_leaks
from promptweight.evaluation.report.picture_sections import told_change, told_response, told_targets
from promptweight.evaluation.report.run import report
from promptweight.evaluation.report.subject import draws_world
from promptweight.evaluation.statistics import Clustered
from promptweight.generation.early_warning import LEAK_THRESHOLD, find_leaks, score_leaks
from promptweight.mini.scenes import random_scene, render


def test_drawn_scenes_are_seen_as_they_are():
    rng, areas, covered = Random("seen"), [], []
    for scene in (random_scene(rng) for _ in range(30)):
        if len(scene.things) != 2 or scene.relation in ("ride", "mirror"):
            continue
        picture, masks = render(scene)
        looked = recognizer.look(picture, scene)
        for index, thing in enumerate(scene.things):
            areas.append(looked.area(index))
            covered.append(float(masks[index].mean()))
            if looked.has(index):
                box = np.zeros((64, 64), bool)
                box[thing.y : thing.y + thing.side, thing.x : thing.x + thing.side] = True
                assert (looked.box(index) & box).sum() / (looked.box(index) | box).sum() > 0.6
    assert len(areas) > 20
    assert np.corrcoef(areas, covered)[0, 1] > 0.7
    assert np.median(np.array(areas) / covered) == pytest.approx(1, abs=0.25)


def test_a_missing_thing_is_missed():
    picture, _ = render(SENTENCE.__class__(SENTENCE.things[:1]))
    looked = recognizer.look(picture, SENTENCE)
    assert (looked.has(0), looked.has(1), looked.kinds) == (True, False, (True, False))
    assert not looked.box(1).any()
    assert looked.area(1) < 0.02 < looked.area(0)


def test_the_first_phrase_is_weighted():
    assert weight_response.weighted(SENTENCE, "pt", 1.0) == "um gato vermelho persegue um rato cinza"
    assert weight_response.weighted(SENTENCE, "en", 0.25) == "a (red cat:0.25) chases a grey mouse"
    assert weight_response.weighted(SENTENCE, "pt", -1.0, "steps=0-0.5") == (
        "um (gato vermelho:-1{steps=0-0.5}) persegue um rato cinza"
    )


def drawn(
    scene: int, weight: float, area: float, present: float = 1.0, way: str = "a1111"
) -> weight_response.Drawn:
    return weight_response.Drawn(scene, way, weight, present, 1.0, 1.0, area, 0.1, 0.01)


def test_curves_are_judged_scene_by_scene():
    rising = [drawn(0, weight, weight / 10) for weight in (0.0, 0.5, 1.0, 2.0)]
    falling = [drawn(1, weight, 1 - weight / 10) for weight in (0.0, 0.5, 1.0, 2.0)]
    flat = [drawn(2, weight, 0.5) for weight in (0.0, 0.5, 1.0, 2.0)]
    negative = [drawn(0, -1.0, 9.0)]
    assert response_curves.monotone([*rising, *falling, *flat, *negative]) == [(0, 1.0), (1, -1.0)]
    assert response_curves.smooth(rising) == [(0, pytest.approx(0.5))]


def test_the_mean_curve_may_rise_where_single_ones_do_not():
    wiggles = ([0.1, 0.4, 0.3, 0.5], [0.3, 0.2, 0.5, 0.6])
    found = [
        drawn(scene, weight, area)
        for scene, areas in enumerate(wiggles)
        for weight, area in zip((0.0, 0.5, 1.0, 2.0), areas, strict=True)
    ]
    assert response_curves.monotone_mean(found).value == 1.0
    assert [round(value, 2) for _, value in response_curves.monotone(found)] == [0.8, 0.8]
    assert response_curves.monotone_mean(found).low == pytest.approx(0.8)


def test_usable_weights_reach_as_far_as_the_things_stay():
    present = {-1.0: 0.0, 0.0: 0.5, 0.5: 0.9, 1.0: 1.0, 1.5: 0.85, 2.0: 0.2, 2.5: 0.9}
    found = [drawn(0, weight, 0.1, share) for weight, share in present.items()]
    assert response_curves.usable(found) == (0.5, 1.5)


def test_every_way_says_where_it_acts():
    ways = {way.name: way.space for way in weight_response.ways()}
    assert ways["comfy"] == "embedding"
    assert ways["attention logit"] == ways["attention logit, steps 0-0.5"] == "attention"
    assert "none" not in ways
    assert "attention value" not in ways  # the output of p2p under another name


def test_ways_are_chosen_by_name_or_by_space():
    def names(*chosen: str) -> list[str]:
        return [way.name for way in weight_response.chosen_ways(chosen)]

    assert names() == [way.name for way in weight_response.ways()]
    assert all(name.startswith("attention ") for name in names("attention"))
    assert names("attention p2p", "scale") == ["scale", "attention p2p"]
    with pytest.raises(SettingError, match=r"'atention p2p'.*attention p2p"):
        names("atention p2p")


def test_a_thing_that_grows_is_told_from_one_that_is_drawn_more_often():
    found = [drawn(0, 0.0, 0.05, present=0.0), drawn(0, 1.0, 0.1), drawn(0, 2.0, 0.15), drawn(1, 2.0, 0.2)]
    assert response_curves.grown(found) == [(0, 1.0, 1.0), (0, 2.0, pytest.approx(1.5))]


def test_a_curve_is_also_judged_on_either_side_of_one():
    areas = {-1.0: 0.0, 0.0: 0.3, 0.5: 0.2, 1.0: 0.1, 1.5: 0.4, 2.0: 0.5}
    found = [drawn(0, weight, area) for weight, area in areas.items()]
    assert response_curves.monotone_mean(response_curves.part_of(found, 0, 1)).value == pytest.approx(-1)
    assert response_curves.monotone_mean(response_curves.part_of(found, 1, np.inf)).value == pytest.approx(1)


def test_a_stopped_measurement_goes_on(tmp_path, mini, monkeypatch):
    scenes = list(held_out(3, 2, False, 0))
    ways = weight_response.chosen_ways(("attention logit",))
    plain = weight_response.drawn_plainly(mini, scenes, 0, steps=6)
    asked = {"steps": 6, "chosen": ways, "weights": (1.0, 2.5)}
    monkeypatch.setattr(recognizer.Seen, "has", lambda self, thing: True)  # six steps draw no things
    wanted = weight_response.measure(mini, scenes, plain, **asked)
    assert [(each.scene, each.weight) for each in wanted] == [
        (scene, weight) for weight in (1.0, 2.5) for scene in range(3)
    ]
    first = weight_response.measure(mini, scenes, plain, **asked, kept=Kept(tmp_path / "kept.jsonl", {}))
    monkeypatch.setattr(
        weight_response, "pictures", lambda *_args, **_more: pytest.fail("nothing is drawn again")
    )
    again = weight_response.measure(mini, scenes, plain, **asked, kept=Kept(tmp_path / "kept.jsonl", {}))
    assert repr(again) == repr(first) == repr(wanted)  # as text: what is no number equals itself


def heat_at(*cells: int) -> torch.Tensor:
    heat = torch.full((4, 4), 0.01)
    heat.view(-1)[list(cells)] = 0.2
    return heat


def test_a_phrase_without_a_clear_place_leaks(recorded):
    bos, little = torch.full((4, 4), 0.3), torch.full((4, 4), 0.02)
    left, right = heat_at(0, 4, 8, 12), heat_at(3, 7, 11, 15)
    spread = torch.full((4, 4), 0.05) + right / 10
    # um gato vermelho e um rato cinza
    columns = [bos, little, left, left, little, little, right, spread]
    maps = recorded("um gato vermelho e um rato cinza", [torch.stack(columns, -1)[None]], pixels=1)
    (leak,) = find_leaks(maps)
    assert (leak.phrase, leak.other) == ("rato cinza", "gato vermelho")
    assert str(leak) == ("'rato cinza' has no clear place, and its map is likest to that of 'gato vermelho'")
    total = sum(column for column in columns[1:])
    cat, mouse = ((column / total).numpy() for column in (left, spread))
    wanted = 1 - (mouse.std() / mouse.mean()) / (cat.std() / cat.mean())
    assert leak.score == pytest.approx(wanted, abs=1e-5)
    assert find_leaks(maps, threshold=wanted + 0.01) == ()
    columns[7] = right
    clean = recorded("um gato vermelho e um rato cinza", [torch.stack(columns, -1)[None]])
    assert find_leaks(clean) == ()
    assert [each.phrase for each in score_leaks(clean)] == ["gato vermelho", "rato cinza"]


def test_a_colour_on_the_wrong_thing_is_a_mix():
    def found(kind: str, colour: str) -> Found:
        return Found(kind, colour, 0, 0, 24, 0.9)

    cat, mouse = SENTENCE.things
    swapped = Drawn(SENTENCE, "", (found("cat", "gray"), found("mouse", "gray")))
    assert [missing_concepts.mixed(swapped, thing) for thing in (None, cat, mouse)] == [True, True, False]
    assert not missing_concepts.mixed(Drawn(SENTENCE, "", (found("cat", "red"),)))
    both = replace(SENTENCE, things=(cat, replace(cat, colour="blue")))
    assert not missing_concepts.mixed(Drawn(both, "", (found("cat", "blue"), found("cat", "red"))))
    assert missing_concepts.mixed(Drawn(both, "", (found("cat", "blue"), found("cat", "gray"))))


def test_prompts_of_every_kind_are_told_in_both_halves_and_languages():
    scenes = missing_concepts.scenes_of(8, 3)
    assert [name for name, _ in scenes] == [name for name in missing_concepts.PROMPTS for _ in range(8)]
    assert scenes == missing_concepts.scenes_of(8, 3) != missing_concepts.scenes_of(8, 4)
    for name, scene in scenes:
        assert len({(thing.kind, thing.color) for thing in scene.things}) == len(scene.things)
        assert (len({thing.kind for thing in scene.things}) == 1) == (name == "two of one kind")
    four = replace(SENTENCE, things=(*SENTENCE.things, *SENTENCE.things))
    assert missing_concepts.told(four, "pt") == (
        "um gato vermelho, um rato cinza, um gato vermelho e um rato cinza"
    )
    assert missing_concepts.told(four, "en") == "a red cat, a grey mouse, a red cat and a grey mouse"


def test_pictures_and_their_phrases_are_held_against_the_warning(mini):
    scenes = missing_concepts.scenes_of(1, 0)
    found, of_phrases = missing_concepts.measure(mini, scenes, seed=0, batch=3, steps=2)
    assert [each.prompts for each in found] == list(missing_concepts.PROMPTS)
    assert [each.scene for each in of_phrases] == [0] * 2 + [1] * 2 + [2] * 3 + [3] * 4
    for each in found:
        own = [row for row in of_phrases if row.scene == each.scene]
        assert each.score == max(row.score for row in own)
        assert each.is_wrong == any(row.is_wrong for row in own)
    assert all(0 <= row.score <= 1 for row in of_phrases)


def test_warnings_are_judged_on_pictures_that_did_not_choose_the_threshold():
    scores = [0.9, 0.8, 0.7, 0.95, 0.1, 0.2, 0.0, 0.85]
    bad = [True, True, True, False, False, False, False, True]
    found = [
        missing_concepts.Warned(number, "two things", score, is_bad, is_bad)
        for number, (score, is_bad) in enumerate(zip(scores, bad, strict=True))
    ]
    verdict = missing_concepts.judge(found, "is_mixed")
    # chosen on 0, 2, 4, 6: 0.7 and up; judged on 1, 3, 5, 7
    assert verdict.threshold == 0.7
    assert (verdict.precision.hits, verdict.precision.of) == (2, 3)
    assert (verdict.recall.hits, verdict.recall.of) == (2, 2)
    pairs = [(a, b) for a in (0.9, 0.8, 0.7, 0.85) for b in (0.95, 0.1, 0.2, 0.0)]
    assert verdict.area == pytest.approx(sum(a > b for a, b in pairs) / len(pairs))
    shipped = missing_concepts.at_threshold(found, "is_mixed", 0.75)
    assert (shipped.precision.hits, shipped.precision.of) == (3, 4)
    assert (shipped.recall.hits, shipped.recall.of) == (3, 4)
    assert (shipped.base.hits, shipped.base.of) == (4, 8)
    whole, by_prompt = told_leaks(found, found).tables
    assert whole.rows[0][3] == LEAK_THRESHOLD
    assert whole.rows[1][3:] == (verdict.threshold, verdict.precision, verdict.recall, verdict.area)
    warned = missing_concepts.at_threshold(found, "is_wrong", LEAK_THRESHOLD)
    assert by_prompt.rows == (("two things", warned.base, warned.precision, warned.recall, warned.area),)


def sections() -> list[Section]:
    ways = ("a1111", "attention logit")
    pictures = [
        drawn(scene, weight, weight / 10 + scene / 100, way=way)
        for way in ways
        for scene in range(3)
        for weight in (0.0, 1.0, 2.0)
    ]
    bounded = [region_response.Bounded(scene, "logit", "left", 0.8, 0.1) for scene in range(3)]
    reached = [share_targets.Reached(scene, 0.25, 0.24, 1.8, 0.23) for scene in range(3)]
    present = [
        share_targets.Present(scene, way, 2, number)
        for way, number in (("as they are", 1), ("balanced", 2))
        for scene in range(3)
    ]
    answer = told_response(pictures, bounded)
    return [replace(answer, plots=answer.plots[:2]), told_targets(reached, present)]


def test_a_report_is_written_in_words_data_and_plots(tmp_path):
    pytest.importorskip("matplotlib", reason="plots need the extra “report”")
    files = writers.write(tmp_path, "mini, measured", "Said.", sections(), {"model": "mini"})
    text, data = (tmp_path / "report.md").read_text(), json.loads((tmp_path / "report.json").read_text())
    assert "Spearman" in text
    assert "| 25% | 0.240 (0.24 – 0.24) |" in text
    assert data["sections"]["targets"]["tables"][
        "Things that are in the picture, of those in the prompt"
    ] == [
        {
            "things": "2",
            "as they are": {"value": 0.5, "low": 0.5, "high": 0.5, "of": 3},
            "balanced": {"value": 1.0, "low": 1.0, "high": 1.0, "of": 3},
            "difference": {"value": 0.5, "low": 0.5, "high": 0.5, "of": 3},
        }
    ]
    assert [figure["met"] for figure in data["sections"]["response"]["figures"]] == [True, True]
    plots = [path for path in files if path.suffix == ".svg"]
    assert plots
    assert all(f"]({path.name})" in text and path.with_suffix(".png").exists() for path in plots)
    before = plots[0].read_bytes()
    writers.draw(sections()[0].plots[0], tmp_path)
    assert plots[0].read_bytes() == before


def test_a_missed_bar_is_said():
    figure = Figure("some figure", 0.5, 0.4, 0.6, 10, 0.75)
    lines = list(writers.markdown("t", "s", [Section("n", "t", "s", figures=(figure,))]))
    assert "| some figure | 0.500 | 0.40 – 0.60 | 10 | ≥ 0.75 | **missed** |" in lines


def test_cells_that_are_no_number_are_a_dash_and_null():
    nothing = Clustered.of_all([])
    assert cell(nothing) == "–"
    assert plain(nothing)["value"] is None


def test_questions_are_checked_before_anything_is_measured(tmp_path, tiny_pipe):
    pytest.importorskip("matplotlib", reason="plots need the extra “report”")
    with pytest.raises(SettingError, match="weather"):
        report("mini", tmp_path, chosen=["weather"])
    with pytest.raises(SettingError, match="masks"):
        report(tiny_pipe, tmp_path, chosen=["leakage"])
    assert not list(tmp_path.iterdir())


def test_any_model_is_asked_what_needs_no_masks(tmp_path, tiny_pipe):
    pytest.importorskip("matplotlib", reason="plots need the extra “report”")
    (section,), files = report(tiny_pipe, tmp_path, chosen=["faithfulness"], number=1)
    assert [path.name for path in files] == ["report.md", "report.json"]
    assert "--report DIR --questions faithfulness --number 1 --seed 0`" in files[0].read_text()
    correlations = [cell.value for row in section.tables[0].rows for cell in row[2:]]
    assert all(-1 <= value <= 1 for value in correlations)
    ways = [way for way in weight_response.ways() if way.name in ("scale", "attention logit")]
    scenes = list(held_out(1, 2, False, 0))
    found = weight_response.measure_change(
        tiny_pipe, scenes, seed=0, steps=2, chosen=ways, weights=(1.0, 2.5)
    )
    assert [each.change > 0 for each in found] == [False, True, False, True]
    assert [row[0] for row in told_change(found).tables[0].rows] == ["scale", "attention logit"]


def test_only_models_of_the_built_in_size_draw_its_world(mini, tiny_pipe):
    assert draws_world(mini)
    assert not draws_world(tiny_pipe)


def test_pictures_of_another_model_are_told_apart(mini):
    scenes = list(held_out(1, 2, False, 5))
    plain = weight_response.drawn_plainly(mini, scenes, 0, steps=2)
    assert plain.digest == weight_response.drawn_plainly(mini, scenes, 0, steps=2).digest
    (weight,) = [p for name, p in mini.unet.named_parameters() if name == "conv_out.bias"]
    before = weight.data.clone()
    try:
        weight.data += 0.5
        assert weight_response.drawn_plainly(mini, scenes, 0, steps=2).digest != plain.digest
    finally:
        weight.data = before
