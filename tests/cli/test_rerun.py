"""`promptweight generate --from FILE`, and `info` of several files."""

import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from promptweight.errors import ModelError
from promptweight.messages import message
from promptweight.metadata import GenerationInfo, LoraUse, encode_image, read_metadata
from promptweight.prompt import parse

MAKE = ["um (gato:1.4) azul", "--negative", "feio", "--steps", "2", "--guidance", "3", "--seed", "5",
        "--width", "40", "--height", "24", "--weighting", "attention-p2p steps=0-0.6"]  # fmt: skip


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


def test_edit_of_a_file_is_reproduced_bit_for_bit(run, model_folder, tmp_path):
    common = ["--model", model_folder, "--device", "cpu", "-q", "-o"]
    made = ["um gato vermelho", "um (rato:1.3) vermelho", "--cross", "0.5", "--steps", "2", "--seed", "5"]
    first = run("edit", *made, *common, tmp_path / "a")[1].splitlines()
    for command, file in (("generate", first[0]), ("generate", first[1]), ("edit", first[1])):
        code, out, err = run(command, "--from", file, *common, tmp_path / "b")
        assert (code, err) == (0, "")
        for one, other in zip(first, out.splitlines(), strict=True):
            assert read_metadata(one).record == read_metadata(other).record
            with Image.open(one) as image, Image.open(other) as again:
                assert image.tobytes() == again.tobytes()


def test_edit_of_a_file_without_an_edit_takes_its_prompt_as_source(run, model_folder, tmp_path):
    common = ["--model", model_folder, "--device", "cpu", "-q", "-o", tmp_path]
    file = run("generate", "um gato", "--steps", "2", "--seed", "5", *common)[1].strip()
    code, out, _ = run("edit", "um rato", "--from", file, "--self", "0.1", *common)
    assert code == 0
    source, edited, _ = (read_metadata(path).record for path in out.splitlines())
    assert (source["prompt"], edited["prompt"], edited["seed"]) == ("um gato", "um rato", 5)
    assert edited["edit"]["self_replace_steps"] == 0.1
    changed = run("edit", "um (rato:2)", "--from", out.splitlines()[1], "--cross", "0.3", *common)[1]
    record = read_metadata(changed.splitlines()[1]).record
    expected = {"cross_replace_steps": 0.3, "self_replace_steps": 0.1, "source": "um gato"}
    assert {name: record["edit"][name] for name in expected} == expected
    assert run("edit", "--from", file, *common)[0] == 2


def test_arguments_of_the_pipeline_are_reproduced(run, model_folder, tmp_path):
    common = ["--model", model_folder, "--device", "cpu", "-q", "-o", tmp_path]
    made = ["um gato", "--steps", "2", "--seed", "5", "--argument", "guidance_rescale=0.5"]
    file = run("generate", *made, *common)[1].strip()
    again = run("generate", "--from", file, *common)[1].strip()
    assert read_metadata(again).record == read_metadata(file).record
    assert read_metadata(file).record["pipeline_kwargs"] == {"guidance_rescale": 0.5}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", None), ("steps", [1]), ("targets", [1]), ("edit", "um gato"),
        ("edit", {"source": "um gato"}),
        ("edit", {"source": "um gato", "edited": 5}), ("edit", {"source": "a", "edited": "b", "kind": "x"}),
        ("edit", {"source": "a", "edited": "b", "more": 1}), ("pipeline_kwargs", 1), ("weighting", {}),
    ],
)  # fmt: skip
def test_damaged_record_exits_with_1_and_names_the_setting(run, tmp_path, name, value):
    path = tmp_path / "a.png"
    recorded = {"num_inference_steps" if name == "steps" else name: value}
    content = encode_image(Image.new("RGB", (8, 8)), "png", {"prompt": "a", "model": "mini", **recorded}, "a")
    path.write_bytes(content[0])
    code, out, err = run("generate", "--from", path, "-q", "-o", tmp_path / "out")
    assert (code, out) == (1, "")
    assert err == f"error: the record of the file is damaged: {name} is not valid\n"
    assert not (tmp_path / "out").exists()


def test_argument_without_its_value_is_a_warning():
    from promptweight.cli.rerun import options_from_record

    record = {"prompt": "a", "model": "mini", "pipeline_kwargs": {"latents": "<Tensor>", "eta": 0.5}}
    values, warnings = options_from_record(record)
    assert values["argument"] == ["eta=0.5"]
    assert "latents" in warnings[0].text


def test_model_without_a_loadable_name_needs_the_option(run, model_folder, tmp_path):
    first = run("generate", "x", "--model", model_folder, "--steps", "1", "-q", "-o", tmp_path)[1].strip()
    values = read_metadata(first).record
    assert values["model"] == model_folder.name
    from promptweight.cli.rerun import options_from_record

    options, warnings = options_from_record(values)
    assert "model" not in options
    assert warnings[0].option == "model"
    assert "--model" in warnings[0].text


@pytest.mark.parametrize("model", ["owner/model", "../model", "/models/x", "./mini"])
def test_a_file_never_chooses_what_is_loaded(model):
    from promptweight.cli.rerun import options_from_record

    options, (warning,) = options_from_record({"prompt": "a", "model": model, "revision": None})
    assert "model" not in options
    assert warning.option == "model"
    assert model in warning.text


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
    assert "Hires upscale" in err


@pytest.mark.parametrize(
    ("option", "value"),
    [("seed", 2**64 - 1), ("num_inference_steps", 5000), ("guidance_scale", 500.0), ("width", 10**6)],
)
def test_value_above_the_maximum_is_ignored_with_a_warning(option, value):
    from promptweight.cli.rerun import options_from_info

    values, warnings = options_from_info(GenerationInfo("ComfyUI", "a", options={option: value}))
    assert set(values) == {"prompt", "negative", "dialect"}
    assert any(str(value) in warning.text for warning in warnings)
    given = {"num_inference_steps": "steps", "guidance_scale": "guidance"}.get(option, option)
    assert options_from_info(GenerationInfo("ComfyUI", "a", options={option: 1}))[0][given] == 1


def test_settings_that_the_reader_does_not_follow_are_warnings():
    from promptweight.cli.rerun import options_from_info

    warning = message("settings-not-followed", tool="NovelAI", names="sm_dyn")
    _, warnings = options_from_info(GenerationInfo("NovelAI", "a", dialect="compel", warnings=(warning,)))
    assert [each.text for each in warnings][1:] == [str(warning)]


@pytest.mark.parametrize("dialect", ["a1111", "comfy"])
def test_loras_of_another_tool_are_named_in_the_prompt(dialect):
    from promptweight.cli.rerun import options_from_info

    loras = (LoraUse("x", 0.5, 0.5), LoraUse("y"), LoraUse("a:b"))
    values, warnings = options_from_info(GenerationInfo("Fooocus", "a", dialect=dialect, loras=loras))
    assert [lora.name for lora in parse(values["prompt"], values["dialect"]).at().loras] == ["x", "y"]
    assert values.get("weighting") == (None if dialect == "a1111" else "comfy")
    assert [warning.option for warning in warnings] == [None, "lora_dir", None]
    assert "(x, y)" in warnings[1].text
    assert warnings[2].text.endswith("ignored: a:b")


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
    code, out, err = run("generate", "--from", tmp_path / "b.png")
    assert (code, out, err) == (1, "", f"error: {tmp_path / 'b.png'}: No such file or directory\n")


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
