"""Endpoints of the app, called by gradio_client over HTTP."""

import re
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from promptweight import generate
from promptweight.metadata import read_metadata
from promptweight.prompt import parse, to_data

gradio_client = pytest.importorskip("gradio_client")

# other libraries warn inside the server's threads
pytestmark = pytest.mark.filterwarnings("ignore")

FAST = {"num_inference_steps": 2, "seed": 7}
PAGE = Path(__file__).parents[3] / "docs" / "app.md"
ENDPOINTS = {"/generate", "/maps", "/compare", "/parse", "/info"}


@pytest.fixture(scope="module")
def client(served):
    client = gradio_client.Client(served.url, verbose=False)
    yield client
    client.close()


def expected(served, prompt="um (gato:1.4)", **options):
    with served.context.models.use(served.context.models.names[0]) as pipe:
        return generate(pipe, prompt, **FAST | options)


def pixels(file):
    return np.asarray(Image.open(file).convert("RGB"))


def refusal(client, *values, **named):
    with pytest.raises(gradio_client.exceptions.AppError) as caught:
        client.predict(*values, **named)
    return str(caught.value)


def test_only_the_endpoints_are_listed_and_every_parameter_is_described(served):
    info = httpx.get(f"{served.url}/gradio_api/info").json()
    assert info["unnamed_endpoints"] == {}
    assert set(info["named_endpoints"]) == ENDPOINTS
    for name, endpoint in info["named_endpoints"].items():
        assert len(endpoint["description"]) > 40, name
        required = [
            each["parameter_name"] for each in endpoint["parameters"] if not each["parameter_has_default"]
        ]
        assert required == ["file" if name == "/info" else "prompt"]
        for each in endpoint["parameters"]:
            assert len(each["python_type"]["description"]) > 10, each
            assert each["label"] == each["parameter_name"]
            assert each["python_type"]["type"] != "Any"


def test_generate_returns_the_images_of_the_library(client, served):
    answer = client.predict("um (gato:1.4)", 2, **FAST, api_name="/generate")
    result = expected(served, num_images_per_prompt=2)
    assert answer["seeds"] == [7, 8]
    for file, image in zip(answer["images"], result.images, strict=True):
        assert (pixels(file) == np.asarray(image)).all()
    assert read_metadata(answer["images"][1]).record["seed"] == 8
    assert answer["settings"]["num_inference_steps"] == 2
    assert answer["warnings"] == list(result.warnings)


def test_generate_needs_only_the_prompt(client):
    answer = client.predict("um gato", api_name="/generate")
    assert len(answer["images"]) == len(answer["seeds"]) == 1
    assert answer["settings"]["num_inference_steps"] == 25


def test_settings_and_their_dialect_are_followed(client, served):
    settings = {"dialect": "compel", "scheduler": "euler a", "weighting": "comfy", "guidance_scale": 3.0}
    answer = client.predict("um gato++", **FAST, **settings, negative_prompt="aa", api_name="/generate")
    result = expected(served, "um gato++", **{**settings, "scheduler": "Euler a"}, negative_prompt="aa")
    assert (pixels(answer["images"][0]) == np.asarray(result.images[0])).all()


def test_warnings_are_in_the_language_of_the_caller(client):
    named = {**FAST, "negative_prompt": "aa", "guidance_scale": 1.0, "api_name": "/generate"}
    english, portuguese = (
        client.predict("um", language=each, **named)["warnings"] for each in ("en", "pt-br")
    )
    assert len(english) == len(portuguese) > 0
    assert english != portuguese


def test_maps_returns_shares_overlays_and_raw_maps(client, served):
    answer = client.predict("um (gato:1.4)", ["um gato", "gato"], **FAST, api_name="/maps")
    maps = expected(served).maps
    assert [each["phrase"] for each in answer["phrases"]] == ["um gato", "gato"]
    assert [each["weight"] for each in answer["phrases"]] == [None, 1.4]
    for each in answer["phrases"]:
        assert each["share"] == pytest.approx(maps.share().word(each["phrase"]).mass, abs=1e-4)
        assert pixels(each["overlay"]).std() > 0
    with safe_open(answer["maps"], "numpy") as file:
        raw = file.get_tensor("maps")
    assert raw.shape[0] == 2
    assert raw[1] == pytest.approx(maps.word("gato").tensor.numpy(), abs=1e-5)


def test_maps_without_phrases_are_those_of_all_words(client):
    answer = client.predict("um gato, um aa", **FAST, api_name="/maps")
    assert [each["phrase"] for each in answer["phrases"]] == ["um", "gato", "aa"]


def test_compare_returns_an_image_and_a_share_for_each_weight(client, served):
    answer = client.predict("um (gato:1.4) aa", values=[0, 1.5], **FAST, api_name="/compare")
    assert (answer["phrase"], answer["seed"]) == ("gato", 7)
    assert [each["value"] for each in answer["images"]] == [0, 1.5]
    result = expected(served, "um (gato:1.5) aa")
    assert (pixels(answer["images"][1]["image"]) == np.asarray(result.images[0])).all()
    share = result.maps.share().word("gato").mass
    assert answer["images"][1]["share"] == pytest.approx(share, abs=1e-4)


@pytest.mark.parametrize(
    ("kind", "values", "shown"),
    [
        ("weight", None, [0, 0.5, 1, 1.5, 2]),
        ("steps", [1, 2], [1, 2]),
        ("sampler", ["DDIM", "DPM++ 2M Karras"], ["DDIM", "DPM++ 2M Karras"]),
        ("weighting", None, ["presence", "a1111", "comfy", "attention"]),
    ],
)
def test_compare_varies_a_setting(client, kind, values, shown):
    answer = client.predict("um gato", "gato", kind, values, **FAST, api_name="/compare")
    assert [each["value"] for each in answer["images"]] == shown


def test_parse_returns_the_data_of_the_library(client, served):
    answer = client.predict("um (gato:1.4", api_name="/parse")
    data = to_data(parse("um (gato:1.4").at())
    assert answer["fragments"] == data["fragments"]
    assert [each["message"] for each in answer["diagnostics"]] == [
        each["message"] for each in data["diagnostics"]
    ]
    assert answer["tokens"][0]["count"] > 0
    portuguese = client.predict("um (gato:1.4", language="pt-br", api_name="/parse")
    assert portuguese["diagnostics"][0]["message"] == data["diagnostics"][0]["message_pt"]


def test_info_returns_the_settings_of_a_file(client):
    file = client.predict("um (gato:1.4)", **FAST, api_name="/generate")["images"][0]
    answer = client.predict(gradio_client.handle_file(file), api_name="/info")
    assert (answer["tool"], answer["prompt"]) == ("promptweight", "um (gato:1.4)")
    assert answer["promptweight"]["seed"] == 7


def test_info_of_a_file_without_settings_has_no_tool(client, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    answer = client.predict(gradio_client.handle_file(tmp_path / "plain.png"), api_name="/info")
    assert answer["tool"] is None


@pytest.mark.parametrize(
    ("name", "named", "sentence"),
    [
        ("generate", {"num_inference_steps": 0}, "num_inference_steps must be between 1 and 150; got 0"),
        ("generate", {"num_inference_steps": "many"}, "num_inference_steps must be an integer; got 'many'"),
        ("generate", {"num_images_per_prompt": 99}, "num_images_per_prompt must be between 1 and 16; got 99"),
        ("generate", {"guidance_scale": 1e9}, "guidance_scale must be"),
        ("generate", {"seed": -1}, "seed must be between 0 and"),
        ("generate", {"width": 7}, "width must be between 8 and"),
        ("generate", {"clip_skip": 1.5}, "clip_skip must be an integer"),
        ("generate", {"model": "/etc/passwd"}, "model must be one of: "),
        ("generate", {"scheduler": "Best"}, "scheduler must be one of: own, DDIM"),
        ("generate", {"scheduler": ["Euler"]}, "scheduler must be one of: own, DDIM"),
        ("generate", {"dialect": "perl"}, "dialect must be one of: "),
        ("generate", {"weighting": "eval"}, "comfy"),
        ("generate", {"prompt": None}, "prompt must be text; got None"),
        ("generate", {"prompt": "x" * 20_001}, "prompt must have at most 20000 characters; got 20001"),
        ("maps", {"phrases": ["cão"]}, "is not in the prompt"),
        ("maps", {"phrases": "gato"}, "phrases must be a list; got 'gato'"),
        ("maps", {"phrases": []}, "the number of phrases must be between 1 and 64; got 0"),
        ("maps", {"phrases": [3]}, "phrases must be text; got 3"),
        ("compare", {"prompt": ""}, "phrase must be a word or phrase of the prompt, which has none"),
        ("compare", {"phrase": "cão"}, "'cão' is not in the prompt"),
        ("compare", {"kind": "color"}, "kind must be one of: weight, weighting"),
        ("compare", {"values": [1e9]}, "weight must be a number from -100 to 100; got '1000000000.0'"),
        ("compare", {"kind": "model", "values": ["other"]}, "model must be one of: "),
        ("parse", {"dialect": "perl"}, "dialect must be one of: "),
        ("parse", {"model": "other"}, "model must be one of: "),
    ],
)  # fmt: skip
def test_invalid_values_are_refused_with_a_sentence(client, name, named, sentence):
    named = {"prompt": "um gato"} | named
    answer = refusal(client, **named, api_name=f"/{name}")
    assert sentence in answer
    assert "Traceback" not in answer


def test_errors_are_in_the_language_of_the_caller(client):
    answer = refusal(client, "um gato", num_inference_steps=0, language="pt-br", api_name="/generate")
    assert answer == "num_inference_steps está em 0; precisa ficar entre 1 e 150"


@pytest.mark.parametrize("file", ["/etc/passwd", {"path": "/etc/passwd"}, None, 3])
def test_info_reads_uploaded_files_only(served, file):
    body = {"data": [file, "en"]}
    with httpx.Client(base_url=f"{served.url}/gradio_api/call", timeout=None) as http:
        event = http.post("/info", json=body).json()["event_id"]
        answer = http.get(f"/info/{event}").text
    assert "event: error" in answer
    assert "root:" not in answer


def test_unreadable_file_is_named_without_its_place(client, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    answer = refusal(client, gradio_client.handle_file(tmp_path / "broken.png"), api_name="/info")
    assert answer.startswith("'broken.png' is not a readable image")


def test_canceled_job_ends_its_run(served, hold_run):
    own = gradio_client.Client(served.url, verbose=False)
    held = hold_run(1, 1)
    job = own.submit("um gato", num_inference_steps=150, api_name="/generate")
    assert held.wait()
    (run,) = served.context.sessions.used[own.session_hash].calls
    job.cancel()
    held.release()
    assert run.wait(300)
    assert run.is_stopped
    own.close()


def test_calls_of_one_client_do_not_end_each_other(client):
    jobs = [client.submit("um gato", **FAST, api_name="/generate") for _ in range(3)]
    assert [job.result()["seeds"] for job in jobs] == [[7]] * 3


def test_example_of_the_page_runs(served, capsys):
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in text for name in ENDPOINTS)
    (block,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    names = {}
    exec(block.replace("http://127.0.0.1:7860", served.url), names)
    names["client"].close()
    *_, generated, maps, info = capsys.readouterr().out.splitlines()
    assert "a-red-cat-chases-a-mouse.png" in generated
    assert "'red cat', 0." in maps
    assert "'prompt': 'a (red cat:1.4) chases a mouse'" in info
