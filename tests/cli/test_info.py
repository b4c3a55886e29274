"""`promptweight info` of images of other tools."""

import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

INFOTEXT = "a cat\nNegative prompt: bad\nSteps: 20, Sampler: DPM++ 2S a Karras, Seed: 1, Size: 8x8"
SWARM = {
    "prompt": "a ((fox:1.3)) <lora:x:0.8:0.5>", "negativeprompt": "bad", "seed": 3, "steps": 20,
    "sampler": "euler", "scheduler": "simple",
}  # fmt: skip


@pytest.fixture
def save(tmp_path):
    def save(**texts):
        info = PngInfo()
        for name, text in texts.items():
            info.add_text(name, text)
        Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=info)
        return tmp_path / "a.png"

    return save


def test_infotext_is_printed_as_it_is_with_warnings_on_stderr(run, save):
    code, out, err = run("info", save(parameters=INFOTEXT))
    assert (code, out) == (0, INFOTEXT + "\n")
    assert "'DPM++ 2S a Karras' of AUTOMATIC1111 is not in diffusers" in err


def test_settings_of_other_tools_are_printed_by_name(run, save):
    code, out, err = run("info", save(parameters=json.dumps({"sui_image_params": SWARM})))
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "tool: SwarmUI", "prompt: a ((fox:1.3))", "negative_prompt: bad", "lora: x 0.8 (text encoder 0.5)",
        "seed: 3", "steps: 20", "sampler: euler", "scheduler: simple",
    ]  # fmt: skip


def test_json_has_the_options_that_can_be_followed(run, save):
    code, out, _ = run("info", save(parameters=json.dumps({"sui_image_params": SWARM})), "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["tool"], told["dialect"], told["error"], told["warnings"]) == ("SwarmUI", "comfy", None, [])
    assert told["options"] == {"num_inference_steps": 20, "seed": 3, "scheduler": "Euler Simple"}
    assert told["loras"] == [{"name": "x", "weight": 0.8, "text_encoder_weight": 0.5}]


def test_tool_whose_settings_are_not_in_the_file_is_named(run, save):
    code, out, err = run("info", save(Software="NovelAI"))
    assert (code, out) == (0, "tool: NovelAI\n")
    assert "the image was made by NovelAI, whose settings are not in the file" in err
    told = json.loads(run("info", save(Software="NovelAI"), "--json")[1])
    assert (told["tool"], told["prompt"]) == ("NovelAI", "")
    assert "not in the file" in told["error"]


def test_settings_in_a_text_file(run, tmp_path):
    (tmp_path / "a.txt").write_text(INFOTEXT, encoding="utf-8")
    assert run("info", tmp_path / "a.txt")[1] == INFOTEXT + "\n"


@pytest.mark.parametrize("value", ["\x1b]0;title\x07", "\x1b[2J", "a\u202eb", "a\nseed: 5", "\x9b2J"])
def test_characters_that_act_on_a_terminal_are_printed_as_codes(run, save, value):
    texts = {
        "parameters": json.dumps({"sui_image_params": {**SWARM, "prompt": f"x {value}", "model": value}})
    }
    code, out, err = run("info", save(**texts))
    assert code == 0
    assert all(letter.isprintable() for line in (out + err).split("\n") for letter in line)
    assert len(out.splitlines()) == 8
    file = save(parameters=f"a {value}\nSteps: 20, Seed: 1, Sampler: {value}")
    for arguments in ([file], [file, "--json"]):
        code, out, err = run("info", *arguments)
        assert all(letter.isprintable() for line in (out + err).split("\n") for letter in line)
    assert json.loads(out)["settings"]["Sampler"] == value.split("\n")[0]


def test_names_of_files_are_printed_with_codes(run, save, tmp_path):
    file = tmp_path / "a\x1b[2J.png"
    file.write_bytes(save(parameters=INFOTEXT).read_bytes())
    (tmp_path / "b\x9b2J.png").write_text("x")
    code, out, err = run("info", file, tmp_path / "b\x9b2J.png", tmp_path / "c\x1b[2J.png")
    assert code == 1
    assert out.startswith(f"# {tmp_path}/a\\x1b[2J.png\n")
    assert "b\\x9b2J.png" in err
    assert "c\\x1b[2J.png: No such file" in err
    assert all(letter.isprintable() for line in (out + err).split("\n") for letter in line)
