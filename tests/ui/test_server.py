"""The app over HTTP: the API, and invalid or malicious requests."""

import base64
import json
import threading
import weakref

import httpx
import pytest
from PIL import Image

from promptweight.metadata import read_metadata
from promptweight_ui.validation import MAX_CHARACTERS

gradio_client = pytest.importorskip("gradio_client")

# other libraries warn inside the server's threads
pytestmark = pytest.mark.filterwarnings("ignore")

STEPS = 2


def settings(served, **changes):
    usual = {
        "prompt": "um (gato:1.4)", "negative": "", "model": served.context.models.names[0],
        "weighting": "default", "sampler": "own", "schedule": "default", "steps": STEPS, "guidance": 4.0,
        "seed": 7, "random": False, "number": 1, "width": None, "height": None, "clip_skip": 0,
        "refine": False, "language": "en",
    }  # fmt: skip
    return {**usual, **changes}


@pytest.fixture(scope="module")
def client(served):
    client = gradio_client.Client(served.url, verbose=False)
    yield client
    client.close()


def generated(client, served, **changes):
    return client.predict(*settings(served, **changes).values(), api_name="/generate_form")[0]


def raw(served, name, data, session="raw"):
    """Call an endpoint with arbitrary JSON and return the event and its data."""
    if not isinstance(data, str):
        data = json.dumps({"data": data, "session_hash": session})
    headers = {"Content-Type": "application/json"}
    with httpx.Client(timeout=None) as http:
        begun = http.post(f"{served.url}/gradio_api/call/{name}", content=data, headers=headers)
        if begun.status_code != 200:
            return "refused", begun.text
        event, body = "", ""
        with http.stream("GET", f"{served.url}/gradio_api/call/{name}/{begun.json()['event_id']}") as stream:
            for line in stream.iter_lines():
                if line.startswith("event:"):
                    event = line.removeprefix("event:").strip()
                elif line.startswith("data:"):
                    body = line.removeprefix("data:").strip()
        return event, body


def refused(served, **changes):
    event, body = raw(served, "generate_form", list(settings(served, **changes).values()))
    assert event in ("error", "refused"), body
    return body


def test_api_returns_images_and_maps(client, served):
    message = generated(client, served, number=2)
    assert message["state"] == "done"
    assert message["seeds"] == ["7", "8"]
    assert len(message["images"]) == 2
    assert [word["text"] for word in message["maps"]["words"]] == ["um", "gato"]
    assert len(base64.b64decode(message["maps"]["planes"][0]["maps"])) > 0


def test_files_contain_their_settings(client, served):
    file = generated(client, served)["images"][0]  # the client downloads files and returns their paths
    record = read_metadata(file).record
    assert (record["prompt"], record["seed"]) == ("um (gato:1.4)", 7)


def test_image_equals_that_of_the_library(client, served):
    from promptweight import generate

    file = generated(client, served)["images"][0]
    with served.context.models.use(served.context.models.names[0]) as pipe:
        expected = generate(pipe, "um (gato:1.4)", num_inference_steps=STEPS, guidance_scale=4.0, seed=7)
    assert Image.open(file).convert("RGB").tobytes() == expected.images[0].tobytes()


def test_sampler_is_the_chosen_one(client, served):
    images = {}
    for sampler, schedule in (("own", "default"), ("Euler a", "default"), ("DPM++ 2M", "Karras")):
        file = generated(client, served, sampler=sampler, schedule=schedule, steps=4)["images"][0]
        images[read_metadata(file).record["sampler"]] = Image.open(file).convert("RGB").tobytes()
    assert set(images) == {"DDIM", "Euler a", "DPM++ 2M Karras"}
    assert len(set(images.values())) == 3
    with served.context.models.use(served.context.models.names[0]) as pipe:
        assert type(pipe.scheduler).__name__ == "DDIMScheduler"


def test_target_share_is_reported_with_its_weight(client, served):
    message = generated(client, served, prompt="um (gato:=30%)", steps=4, number=2)
    assert [word["share"] for word in message["maps"]["words"]] == [None, 0.3]
    session = served.context.sessions.used[client.session_hash]
    for (payload,), (solved,) in zip(message["shares"], session.result.shares, strict=True):
        assert payload["phrase"] == "gato"
        assert payload["target"] == 0.3
        assert payload["weight"] == pytest.approx(solved.weight, rel=0.01)
        assert payload["share"] == pytest.approx(solved.share, rel=0.01)
    assert not [line for line in message["warnings"] if "gato" in line["en"]]


def test_what_the_library_remarks_is_told_in_both_languages(client, served):
    prompt = (
        "<lora:luz:0.8> um (gato:1.4{weighting=clip-attention}) e um (aa:1.2{region=left}) AND [um:aa:0.5]"
    )
    message = generated(client, served, prompt=prompt, negative="feio", guidance=1.0, steps=4)
    assert len(message["warnings"]) >= 4
    for warning in message["warnings"]:
        assert set(warning) == {"en", "pt-br"}
        assert warning["pt-br"] != warning["en"]
        assert "em inglês" not in warning["pt-br"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 60, "height": 64}, "a largura está em 60"),
        ({"prompt": "(gato:=60%) e (aa:=50%)"}, "somam 1.1"),
        ({"prompt": "um AND aa:-2", "guidance": 1.0}, "unidas por AND somam -1"),
        ({"prompt": "(gato:=99%)"}, "não há outra palavra no prompt"),
    ],
)
def test_what_the_library_refuses_is_said_in_portuguese(served, changes, words):
    assert words in json.loads(refused(served, language="pt-br", **changes))["error"]


def test_another_model_of_the_server_can_be_chosen(client, served):
    file = generated(client, served, model="mini-dit", sampler="Heun")["images"][0]
    record = read_metadata(file).record
    assert (record["model"], record["sampler"]) == ("mini-dit", "Heun")
    assert record["pipeline"] == "StableDiffusion3Pipeline"


def test_sessions_are_separate(client, served):
    generated(client, served)
    other = gradio_client.Client(served.url, verbose=False)
    results = {
        name: session.result for name, session in served.context.sessions.used.items() if session.result
    }
    assert client.session_hash in results
    assert other.session_hash not in results
    other.close()


def test_stop_ends_a_run_after_the_present_step(client, served):
    job = client.submit(*settings(served, steps=150, number=16).values(), api_name="/generate_form")
    next(job)  # the first message arrives when the run has begun
    client.predict(api_name="/stop")
    message = job.result()[0]
    assert len(message["images"]) < 16


@pytest.mark.parametrize("failing_step", [1, 2])
def test_run_that_fails_later_ends_with_its_finished_images(served, monkeypatch, failing_step):
    fail_at(monkeypatch, image_number=3, step=failing_step)
    page = gradio_client.Client(served.url, verbose=False)
    job = page.submit(*settings(served, number=4).values(), api_name="/generate_form")
    with pytest.raises(gradio_client.exceptions.AppError, match="IndexError: out of bounds"):
        job.result()
    message = job.outputs()[-1][0]
    assert message["state"] == "failed"
    assert message["seeds"] == ["7", "8"]
    assert [read_metadata(file).record["seed"] for file in message["images"]] == [7, 8]
    assert [word["text"] for word in message["maps"]["words"]] == ["um", "gato"]
    assert served.context.sessions.used[page.session_hash].result.seeds == (7, 8)
    page.close()


def test_run_that_fails_in_its_first_image_keeps_the_result_before(served, monkeypatch):
    page = gradio_client.Client(served.url, verbose=False)
    generated(page, served)
    fail_at(monkeypatch, image_number=1, step=2)
    job = page.submit(*settings(served, seed=9, number=2).values(), api_name="/generate_form")
    with pytest.raises(gradio_client.exceptions.AppError):
        job.result()
    message = job.outputs()[-1][0]
    assert message["state"] == "failed"
    assert "images" not in message
    assert served.context.sessions.used[page.session_hash].result.seeds == (7,)
    page.close()


def fail_at(monkeypatch, image_number, step):
    """Let every run fail at one step of one image."""
    import promptweight

    whole = promptweight.generate

    def failing_generate(*arguments, callback, **options):
        def failing_callback(progress):
            if (progress.image_number, progress.step) == (image_number, step):
                raise IndexError("out of bounds")
            return callback(progress)

        return whole(*arguments, callback=failing_callback, **options)

    monkeypatch.setattr(promptweight, "generate", failing_generate)


def test_closed_page_is_removed(served):
    page = gradio_client.Client(served.url, verbose=False)
    generated(page, served)
    name = page.session_hash
    assert name in served.app.state_holder.session_data
    page.close()
    assert served.context.sessions.wait_removed(name)
    assert name not in served.app.state_holder.session_data


def test_old_results_are_released(client, served):
    generated(client, served)
    session = served.context.sessions.used[client.session_hash]
    threads = threading.active_count()
    old = []
    for seed in range(6):
        generated(client, served, seed=seed)
        old.append(weakref.ref(session.result))
    import gc

    gc.collect()
    assert [result() is not None for result in old] == [False] * 5 + [True]
    assert threading.active_count() <= threads + 3


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"steps": 0}, ""),
        ({"steps": 10**6}, ""),
        ({"steps": 2.5}, "whole number"),
        ({"steps": None}, ""),
        ({"steps": [1]}, ""),
        ({"guidance": 1e308}, ""),
        ({"guidance": "four"}, ""),
        ({"seed": -1}, "whole number from 0"),
        ({"seed": 2**63}, "whole number from 0"),
        ({"number": 1000}, ""),
        ({"width": 10**9}, "whole number"),
        ({"width": 7}, "whole number"),
        ({"width": 33}, "a multiple of"),
        ({"weighting": "eval"}, "comfy"),
        ({"weighting": ["comfy"]}, ""),
        ({"weighting": "comfy normalizer=eval"}, "mean-div"),
        ({"weighting": "attention steps=0.8-0.2"}, "increasing"),
        ({"sampler": "Best"}, ""),
        ({"sampler": None}, ""),
        ({"sampler": ["Euler"]}, ""),
        ({"sampler": "__import__('os')"}, ""),
        ({"schedule": "Karras"}, "default"),
        ({"sampler": "Euler a", "schedule": "Karras"}, "default"),
        ({"sampler": "DPM++ 2M", "schedule": ["Karras"]}, "Karras"),
        ({"clip_skip": 101}, ""),
        ({"clip_skip": 1.5}, "whole number"),
        ({"sampler": "DPM++ 2M", "model": "mini-dit"}, "own, Euler"),
        ({"model": "/etc/passwd"}, ""),
        ({"model": "../../mini"}, ""),
        ({"model": None}, ""),
        ({"prompt": "x" * (MAX_CHARACTERS + 1)}, f"at most {MAX_CHARACTERS}"),
        ({"prompt": "um \ud800 gato"}, "lone surrogate"),
        ({"negative": "a\0b"}, "null character"),
    ],
)
def test_invalid_values_are_refused(served, changes, expected):
    answer = refused(served, **changes)
    assert expected in answer
    assert "Traceback" not in answer
    assert "site-packages" not in answer


def test_nan_is_refused(served):
    data = json.dumps({"data": list(settings(served, steps=float("nan")).values())})
    assert "NaN" in data
    event, body = raw(served, "generate_form", data)
    assert event in ("error", "refused"), body


@pytest.mark.parametrize(
    "body", ["", "[]", "null", '{"data": null}', '{"data": {}}', '{"data": []}', "{", "1e999"]
)
def test_malformed_calls_are_refused(served, body):
    event, answer = raw(served, "generate_form", body)
    assert event in ("error", "refused")
    assert "Traceback" not in answer


def test_app_works_after_invalid_requests(client, served):
    assert generated(client, served)["state"] == "done"


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../../../etc/passwd", "pyproject.toml", "/proc/self/environ", "http://127.0.0.1:1/"],
)
def test_files_of_the_server_are_not_served(served, path):
    assert httpx.get(f"{served.url}/gradio_api/file={path}").status_code in (403, 404)


def component(served, name):
    config = httpx.get(f"{served.url}/config").json()
    return next(part["id"] for part in config["components"] if part["props"].get("elem_id") == name)


def call_component(served, function, data, session="page"):
    body = {
        "session_hash": session,
        "component_id": component(served, "generate-prompt-report"),
        "fn_name": function,
        "data": data,
    }
    return httpx.post(f"{served.url}/gradio_api/component_server", content=json.dumps(body))


def test_prompt_is_parsed_for_the_page(served):
    name = served.context.models.names[0]
    answer = call_component(
        served, "parse", {"text": "um (gato:1.4)", "language": "pt-br", "model": name}
    ).json()
    assert answer["spans"] == [{"start": 4, "end": 8, "weight": 1.4, "share": None}]
    assert answer["tokens"][0]["encoder"] == "clip"


@pytest.mark.parametrize("data", [None, [], "x", {"text": 3}, {"text": "x" * 10**6}, {"text": "\ud800"}])
def test_invalid_prompt_has_an_error(served, data):
    for function in ("parse", "adjust_weight"):
        answer = call_component(served, function, data)
        assert answer.status_code == 200
        assert set(answer.json()) == {"error"}


@pytest.mark.parametrize("function", ["__class__", "postprocess", "__init__", "value", "no_such"])
def test_other_functions_cannot_be_called(served, function):
    assert call_component(served, function, {"text": "x"}).status_code == 404


def test_page_does_not_disclose_folders(served, model_folder):
    config = httpx.get(f"{served.url}/config").text
    assert str(model_folder.parent) not in config
    assert 'analytics_enabled":false' in config.replace(" ", "")


def test_full_output_folder_refuses_a_run(served, tmp_path, monkeypatch):
    from promptweight_ui.outputs import Outputs

    (tmp_path / "a.png").write_bytes(bytes(1_000_000))
    monkeypatch.setattr(served.context, "outputs", Outputs(tmp_path, limit=1_000_000))
    assert "the folder of finished images is full (1 of 1 MB)" in refused(served)
    assert "a pasta de imagens prontas está cheia" in json.loads(refused(served, language="pt-br"))["error"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_events_of_opened_tabs_are_not_dropped_while_one_runs(served):
    """A tab that is opened before the event of the last one has ended is filled, too."""
    config = served.app.config
    tabs = {part["id"] for part in config["components"] if part["type"] in ("tabs", "tabitem")}
    modes = [
        event["trigger_mode"]
        for event in config["dependencies"]
        if any(kind == "select" and owner in tabs for owner, kind in event["targets"])
    ]
    assert len(modes) >= 5
    assert set(modes) == {"always_last"}
