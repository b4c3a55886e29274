"""Styles of AUTOMATIC1111, merged into prompts."""

import pytest

from promptweight.batch import Row, StyleSheet, plan_batch, read_styles
from promptweight.errors import SettingError


def merge_prompts(style_prompt, prompt):
    """Merge as AUTOMATIC1111 does (modules/styles.py, merge_prompts), re-derived."""
    if "{prompt}" in style_prompt:
        return style_prompt.replace("{prompt}", prompt)
    return ", ".join(each for each in (prompt.strip(), style_prompt.strip()) if each)


@pytest.fixture
def styles(tmp_path):
    path = tmp_path / "styles.csv"
    path.write_text(
        "\ufeffname,prompt,negative_prompt\n"
        'portrait,"portrait of {prompt}, 35mm",blurry\n'
        'noir,"film noir, grain","color"\n'
        '"red, blue",two colors,\n'
        "noir,film noir,color\n",
        encoding="utf-8",
    )
    return read_styles(path)


def jobs(sheet, **values):
    plan = plan_batch([Row("a.txt", 1, {"prompt": "um gato", "seeds": (1,), **values})], styles=sheet)
    assert not plan.problems
    return [(image.job.prompt, image.job.negative_prompt) for image in plan.images]


def test_styles_are_merged_as_automatic1111_does(styles):
    assert jobs(styles, styles=("portrait",)) == [
        (merge_prompts("portrait of {prompt}, 35mm", "um gato"), "blurry")
    ]
    assert jobs(styles, styles=("noir", "portrait"), negative_prompt="feio") == [
        ("portrait of um gato, film noir, 35mm", "feio, color, blurry")
    ]
    assert jobs(styles, styles=()) == [("um gato", "")]


def test_text_may_hold_several_names_and_a_name_commas(styles):
    assert jobs(styles, styles=("noir, portrait",)) == jobs(styles, styles=("noir", "portrait"))
    assert jobs(styles, styles=("red, blue",)) == [("um gato, two colors", "")]


def test_unknown_style_is_an_error_at_its_place(styles):
    row = Row("a.txt", 3, {"prompt": "um gato", "styles": ("noire",)}, {"prompt": 1, "styles": 20})
    (problem,) = plan_batch([row], styles=styles).problems
    assert str(problem).startswith("a.txt:3:20: styles must be names of styles in ")
    assert "got 'noire'; did you mean noir?" in str(problem)
    (problem,) = plan_batch([row]).problems
    assert "a.txt:3:20: styles need a file of styles (--styles FILE); got noire" in str(problem)


def test_old_style_files_have_a_column_text(tmp_path):
    (tmp_path / "styles.csv").write_text("name,text\nnoir,film noir\n")
    assert read_styles(tmp_path / "styles.csv").apply(["noir"], "um gato", "") == ("um gato, film noir", "")


@pytest.mark.parametrize("content", ["prompt,seed\na,1\n", "", 'name,prompt\n"a'])
def test_file_without_styles_is_an_error(tmp_path, content):
    (tmp_path / "styles.csv").write_text(content)
    with pytest.raises(SettingError, match=r"styles\.csv"):
        read_styles(tmp_path / "styles.csv")


def test_negative_prompt_stays_without_a_style_for_it():
    sheet = StyleSheet("styles.csv", {})
    assert sheet.apply([], "a", "b") == ("a", "b")
