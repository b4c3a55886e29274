"""Finished images: complete files whose record is that of the job."""

import shutil

import pytest

from promptweight.batch import OutputOptions, is_finished_image


def path_of(tmp_path, image):
    return tmp_path / "out" / f"{image.stem}.png"


@pytest.mark.parametrize(
    "other",
    [
        {"seeds": (2,)}, {"negative_prompt": "feio"}, {"num_inference_steps": 2}, {"guidance_scale": 2.0},
        {"width": 64, "height": 64}, {"clip_skip": 1}, {"dialect": "plain"},
    ],
)  # fmt: skip
def test_copy_of_an_image_with_other_settings_is_drawn_again(plan_of, run_in, tmp_path, other):
    settings = {"guidance_scale": 3.0, "width": 32, "height": 32}
    plan, copied = plan_of("um gato", **settings), plan_of("um gato", **{**settings, **other})
    run_in(plan)
    run_in(copied)
    expected = path_of(tmp_path, plan.images[0]).read_bytes()
    shutil.copyfile(path_of(tmp_path, copied.images[0]), path_of(tmp_path, plan.images[0]))
    outcome, _ = run_in(plan)
    assert (outcome.ok, outcome.skipped) == (1, 0)
    assert path_of(tmp_path, plan.images[0]).read_bytes() == expected
    assert run_in(plan)[0].skipped == 1


def test_copy_of_the_image_of_another_prompt_is_drawn_again(plan_of, run_in, tmp_path):
    plan = plan_of("um gato", "um rato")
    run_in(plan)
    first, second = (path_of(tmp_path, image) for image in plan.images)
    shutil.copyfile(first, second)
    outcome, _ = run_in(plan)
    assert (outcome.ok, outcome.skipped) == (1, 1)
    assert first.read_bytes() != second.read_bytes()


def test_image_of_a_prompt_in_another_spelling_is_finished(plan_of, run_in):
    run_in(plan_of("um (gato:1.20) azul"))
    outcome, _ = run_in(plan_of("um (gato:1.2) azul"))
    assert (outcome.ok, outcome.skipped) == (0, 1)


def test_image_without_a_record_is_finished(plan_of, run_in, tmp_path):
    plan = plan_of("um gato")
    run_in(plan, output_options=OutputOptions(metadata=()))
    assert run_in(plan)[0].skipped == 1
    path = path_of(tmp_path, plan.images[0])
    assert is_finished_image(path, plan.images[0].job, plan.prompts)
    assert not is_finished_image(path, plan.images[0].job, plan.prompts, (".gato.png",))
    assert not is_finished_image(path.with_name("other.png"), plan.images[0].job, plan.prompts)
