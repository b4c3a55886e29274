"""Job files of JSON: arrays, objects one after the other, and JSON Lines."""

import json

import pytest


def test_jsonl_has_an_object_on_each_line(rows):
    lines = [{"prompt": "um gato", "seed": [1, 2], "steps": 8, "width": None}, {"prompt": "rato", "d": "3-4"}]
    values, problems = rows("\n".join(map(json.dumps, lines)), "a.jsonl")
    assert problems == []
    assert values == [
        {"prompt": "um gato", "seeds": (1, 2), "num_inference_steps": 8},
        {"prompt": "rato", "seeds": (3, 4)},
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"prompt": "a", }', "1:17: the line is not valid JSON:"),
        ('{"prompt": "a", "stpes": 3}', "1:17: unknown option 'stpes'; did you mean steps?"),
        ('{"prompt": "a", "steps": 3.5}', "1:26: steps must be an integer; got 3.5"),
        ('{"prompt": "a", "weighting": 2}', "1:30: weighting must be"),
        ('{"prompt": "a", "steps": true}', "1:26: steps must be an integer; got True"),
        ('{"prompt": "a", "cfg": NaN}', "1:1: the line is not valid JSON: NaN is not a JSON number"),
        ('{"prompt": "a", "prompt": "b"}', "prompt must be given once"),
        ('["a"]', "1:1: the line must be one JSON object"),
        ('{"seed": 1}', '1:1: the object must have a "prompt"'),
        ('{"prompt": null}', "the prompt must not be null"),
        ('{"prompt": 3}', "1:12: prompt must be text; got 3"),
        (
            '{"prompt": "a\\ud800"}',
            "prompt must not contain a lone surrogate; got one at character 2",
        ),
        ('{"prompt": "a", "seed": [1, "x"]}', "seed must be an integer; got 'x'"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_error_of_jsonl_has_its_position(rows, line, expected):
    _, problems = rows(line, "a.jsonl")
    assert any(expected in problem for problem in problems), problems


def test_json_array_has_objects_or_prompts(rows):
    content = """[
      {"prompt": "um gato", "seed": 1, "steps": 2.0},
      {"prompt": "um rato", "negative_prompt": null},
      "um peixe --steps 3"
    ]"""
    values, problems = rows(content, "a.json")
    assert problems == []
    assert values == [
        {"prompt": "um gato", "seeds": (1,), "num_inference_steps": 2},
        {"prompt": "um rato"},
        {"prompt": "um peixe --steps 3"},
    ]
    assert rows(content, "jobs")[0] == values


@pytest.mark.parametrize("name", ["a.json", "jobs"])
def test_objects_after_each_other_are_jobs(rows, name):
    lines = '{"prompt": "um gato"}\n{"prompt": "um rato", "d": 2}\n'
    assert rows(lines, name) == ([{"prompt": "um gato"}, {"prompt": "um rato", "seeds": (2,)}], [])
    indented = '{\n  "prompt": "um gato"\n}\n{\n  "prompt": "um rato"\n}\n'
    assert rows(indented, "a.json") == ([{"prompt": "um gato"}, {"prompt": "um rato"}], [])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('[\n {"prompt": "a",\n  "stpes": 3}\n]', "3:3: unknown option 'stpes'; did you mean steps?"),
        ('[\n {"prompt": "a",\n  "steps": 0}\n]', "3:12: steps must be between 1 and 1000; got 0"),
        ('[{"\\u0070rompt": "a",\n "s\\u0074eps": 0}]', "2:16: steps must be between 1 and 1000; got 0"),
        (
            '[{"negative": "\\"steps\\": 2",\n "prompt": "a", "steps": 0}]',
            "2:26: steps must be between 1 and 1000; got 0",
        ),
        ('[{"prompt": "a"},\n {"seed": 1}]', '2:2: the object must have a "prompt"'),
        ('[{"prompt": "a"}\n {"prompt": "b"}]', "2:2: the file is not valid JSON: Expecting ',' or ']'"),
        ('[{"prompt": "a"},\n {"prompt": }]', "2:13: the file is not valid JSON: Expecting value"),
        ('[{"prompt": "a"}', "1:17: the array is not closed"),
        ('[{"prompt": "a"},\n', "2:1: the array is not closed"),
        ("[", "1:2: the array is not closed"),
        ('[{"prompt": "a"}] x', "1:19: no text may follow the array"),
        ("[3]", "1:2: an element must be an object"),
        ("[[1]]", "1:2: an element must be an object"),
        ('[""]', "1:2: the prompt must not be empty"),
        ("[" + "[" * 100_000, "not valid JSON"),
        ('[{"prompt": "a", "cfg": NaN}]', "NaN is not a JSON number"),
        ("[]", "1:1: the file must have at least one prompt"),
        ("", "1:1: the file must have at least one prompt"),
        ('{"prompt": {"0": "um gato"}, "seed": {"0": 1}}', "orient='columns'"),
        ('[{"prompt": "a", "steps": 1e300}]', "steps must be an integer; got 1e+300"),
        ('[{"prompt": "a", "seed": 9007199254740994.0}]', "seed must be an integer"),
    ],
)
def test_error_of_json_has_its_position(rows, content, expected):
    _, problems = rows(content, "a.json")
    assert any(expected in problem for problem in problems), problems


def test_json_of_sd_scripts_and_of_the_api_of_automatic1111_is_read(rows):
    sd_scripts = {
        "prompt": "um gato", "width": 64, "seed": 1, "sample_steps": 8, "scale": 1.0, "guidance_scale": 3.5,
        "sample_sampler": "euler_a", "controlnet_image": None, "enum": 0,
    }  # fmt: skip
    api = {
        "prompt": "um rato", "styles": ["noir"], "seed": -1, "subseed": -1, "sampler_name": "DPM++ 2M Karras",
        "batch_size": 2, "n_iter": 2, "cfg_scale": 7, "restore_faces": False, "tiling": False,
        "override_settings": {}, "enable_hr": False, "denoising_strength": 0.7,
    }  # fmt: skip
    values, problems = rows(json.dumps([sd_scripts, api]), "a.json")
    assert problems == []
    assert values == [
        {
            "prompt": "um gato", "width": 64, "seeds": (1,), "num_inference_steps": 8, "guidance_scale": 3.5,
            "scheduler": "Euler a",
        },
        {
            "prompt": "um rato", "styles": ("noir",), "seeds": (-1,), "scheduler": "DPM++ 2M Karras",
            "count": 4, "guidance_scale": 7,
        },
    ]  # fmt: skip
    _, problems = rows(json.dumps([{**api, "override_settings": {"CLIP_stop_at_last_layers": 2}}]), "a.json")
    assert "override_settings is not followed" in problems[0]
