"""`promptweight generate --from FILE`, and `info` of several files."""

import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from promptweight.errors import ModelError
from promptweight.metadata import encode_image, read_metadata

MAKE = ["um (gato:1.4) azul", "--negative", "feio", "--steps", "2", "--guidance", "3", "--seed", "5",
        "--width", "40", "--height", "24", "--space", "attention", "--mode", "p2p"]  # fmt: skip


def test_image_of_a_file_is_reproduced_bit_for_bit(run, model_folder, tmp_path):
    common = ["--model", model_folder, "--device", "cpu", "-q", "-o"]
    first = run("generate", *MAKE, *common, tmp_path / "a")[1].strip()
    code, out, err = run("generate", "--from", first, *common, tmp_path / "b")
    assert (code, err) == (0, "")
    with Image.open(first) as one, Image.open(out.strip()) as other:
        assert one.tobytes() == other.tobytes()
    assert read_metadata(first).record == read_metadata(out.strip()).record
    changed = run("generate", "--from", first, "--seed", "6", *common, tmp_path / "b")[1].strip()
    expected = {**read_metadata(first).record, "seed": 6}
    assert read_metadata(changed).record == expected


def test_model_without_a_loadable_name_needs_the_option(run, model_folder, tmp_path):
    first = run("generate", "x", "--model", model_folder, "--steps", "1", "-q", "-o", tmp_path)[1].strip()
    values = read_metadata(first).record
    assert values["model"] == model_folder.name
    from promptweight.cli.rerun import options_from_record

    options, warnings = options_from_record(values)
    assert "model" not in options
    assert warnings[0].option == "model"
    assert "--model" in warnings[0].text


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # diffusers' scheduler on numpy 2
def test_image_of_another_tool_sets_the_options_that_exist(run, model_folder, tmp_path):
    info = PngInfo()
    info.add_text(
        "parameters",
        "a (cat:1.2)\nNegative prompt: ugly\nSteps: 2, Sampler: Euler a, Schedule type: Automatic, "
        "CFG scale: 7, Seed: 9, Size: 40x24, Clip skip: 2, Hires upscale: 2, Version: v1.9",
    )
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=info)
    code, out, err = run(
        "generate", "--from", tmp_path / "a.png", "--model", model_folder, "--clip-skip", "0", "-o",
        tmp_path / "out",
    )  # fmt: skip
    assert code == 0, err
    record = read_metadata(out.strip()).record
    expected = {
        "prompt": "a (cat:1.2)", "negative_prompt": "ugly", "dialect": "a1111", "num_inference_steps": 2,
        "sampler": "Euler a", "guidance_scale": 7.0, "seed": 9, "width": 40, "height": 24, "clip_skip": 0,
    }  # fmt: skip
    assert {name: record[name] for name in expected} == expected
    assert "the image is of AUTOMATIC1111" in err
    assert "ignored: Hires upscale" in err


@pytest.mark.parametrize(
    ("texts", "ignored"),
    [
        ({"parameters": json.dumps({"sui_image_params": {"prompt": "a", "steps": [1], "cfgscale": None}})},
         "steps, cfgscale"),
        ({"prompt": '{"1": {"inputs": {"seed": 18446744073709551615, "steps": Infinity, "positive": "a"}}}'},
         "seed, steps"),
        ({"parameters": "a\nSteps: 2, Sampler: DPM adaptive, CFG scale: 7, Seed: -1"}, "Sampler, Seed"),
    ],
)  # fmt: skip
def test_values_out_of_range_are_ignored_with_a_warning(tmp_path, texts, ignored):
    from promptweight.cli.rerun import options_from_info

    info = PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=info)
    values, warnings = options_from_info(read_metadata(tmp_path / "a.png").generation_info())
    assert f"ignored: {ignored}" in [warning.text for warning in warnings]
    assert not {"seed", "scheduler"} & values.keys()


def test_given_option_has_no_warning(run, tmp_path, monkeypatch):
    record = {"prompt": "a", "model": "aquarela", "loras": {"x": 1.0}, "embeddings": ["y"]}
    path = tmp_path / "a.png"
    path.write_bytes(encode_image(Image.new("RGB", (8, 8)), "png", record, "a")[0])

    def load(*_, **__):
        raise ModelError("loaded")

    monkeypatch.setattr("promptweight.models.load", load)
    given = {"--model": "mini", "--lora-dir": tmp_path, "--embeddings-dir": tmp_path}
    questions = ["drawn by 'aquarela'", "used loras (x)", "used embeddings (y)"]
    for number in range(4):
        arguments = [each for pair in list(given.items())[:number] for each in pair]
        _, _, err = run("generate", "--from", path, "-q", "-o", tmp_path / "out", *arguments)
        assert [question in err for question in questions] == [place >= number for place in range(3)]
        assert "loaded" in err


def test_missing_prompt_and_file_without_settings_exit_with_2(run, tmp_path):
    assert run("generate")[0] == 2
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    code, _, err = run("generate", "--from", tmp_path / "a.png")
    assert code == 2
    assert "must have generation settings" in err


def test_info_of_several_files(run, tmp_path):
    record = {"prompt": "um gato", "negative_prompt": "feio", "seed": 1}
    paths = [tmp_path / "a.webp", tmp_path / "b.png", tmp_path / "c.png"]
    paths[0].write_bytes(encode_image(Image.new("RGB", (8, 8)), "webp", record, "um gato")[0])
    Image.new("RGB", (8, 8)).save(paths[1])
    paths[2].write_bytes(b"none")
    code, out, err = run("info", *paths, "--json")
    assert code == 1
    told = json.loads(out)
    assert [each["file"] for each in told] == [str(path) for path in paths[:2]]
    assert (told[0]["tool"], told[0]["prompt"], told[0]["settings"]) == (
        "promptweight", "um gato", {"seed": 1},
    )  # fmt: skip
    assert told[1]["tool"] is None
    assert "c.png" in err
    code, out, _ = run("info", *paths[:2])
    assert code == 0
    assert out.startswith(f"# {paths[0]}\nprompt: um gato\n")
