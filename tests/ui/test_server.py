"""The app over HTTP: as a program uses it, and as somebody with bad intentions does."""

import base64
import json
import threading
import time
import weakref

import httpx
import pytest
from PIL import Image

from promptweight.metadata import read_metadata
from promptweight_ui.validation import MOST_CHARACTERS

gradio_client = pytest.importorskip("gradio_client")

# What other libraries warn of inside the server's threads is not about this package.
pytestmark = pytest.mark.filterwarnings("ignore")

STEPS = 2


def settings(served, **changes):
    usual = {
        "prompt": "um (gato:1.4)", "negative": "", "model": served.context.models.names[0], "method": "auto",
        "normalizer": "none", "sampler": "own", "steps": STEPS, "guidance": 4.0, "seed": 7,
        "random": False, "number": 1, "width": None, "height": None, "refine": False, "language": "en",
    }  # fmt: skip
    return {**usual, **changes}


@pytest.fixture(scope="module")
def client(served):
    client = gradio_client.Client(served.url, verbose=False)
    yield client
    client.close()


def generated(client, served, **changes):
    return client.predict(*settings(served, **changes).values(), api_name="/generate")[0]


def raw(served, name, data, session="raw"):
    """Calls an endpoint with JSON that no client would send; returns the event and what it says."""
    if not isinstance(data, str):
        data = json.dumps({"data": data, "session_hash": session})
    headers = {"Content-Type": "application/json"}
    with httpx.Client(timeout=None) as http:
        begun = http.post(f"{served.url}/gradio_api/call/{name}", content=data, headers=headers)
        if begun.status_code != 200:
            return "refused", begun.text
        event, said = "", ""
        with http.stream("GET", f"{served.url}/gradio_api/call/{name}/{begun.json()['event_id']}") as stream:
            for line in stream.iter_lines():
                if line.startswith("event:"):
                    event = line.removeprefix("event:").strip()
                elif line.startswith("data:"):
                    said = line.removeprefix("data:").strip()
        return event, said


def refused(served, **changes):
    event, said = raw(served, "generate", list(settings(served, **changes).values()))
    assert event in ("error", "refused"), said
    return said


def test_a_program_gets_a_picture_and_its_maps(client, served):
    message = generated(client, served, number=2)
    assert message["state"] == "done"
    assert message["seeds"] == ["7", "8"]
    assert len(message["images"]) == 2
    assert [word["text"] for word in message["maps"]["words"]] == ["um", "gato"]
    assert len(base64.b64decode(message["maps"]["planes"][0]["maps"])) > 0


def test_files_keep_their_settings(client, served):
    file = generated(client, served)["images"][0]  # the client fetches files and tells where they are
    record = read_metadata(file).record
    assert (record["prompt"], record["seed"]) == ("um (gato:1.4)", 7)


def test_the_same_seed_gives_the_same_picture_as_the_library(client, served):
    from promptweight import generate

    file = generated(client, served)["images"][0]
    with served.context.models.use(served.context.models.names[0]) as pipe:
        expected = generate("um (gato:1.4)", pipe, num_inference_steps=STEPS, guidance_scale=4.0, seed=7)
    assert Image.open(file).convert("RGB").tobytes() == expected.images[0].tobytes()


def test_the_sampler_is_the_one_that_was_chosen(client, served):
    pictures = {}
    for sampler in ("own", "Euler a", "DPM++ 2M Karras"):
        file = generated(client, served, sampler=sampler, steps=4)["images"][0]
        pictures[read_metadata(file).record["sampler"]] = Image.open(file).convert("RGB").tobytes()
    assert set(pictures) == {"DDIM", "Euler a", "DPM++ 2M Karras"}
    assert len(set(pictures.values())) == 3
    with served.context.models.use(served.context.models.names[0]) as pipe:
        assert type(pipe.scheduler).__name__ == "DDIMScheduler"


def test_the_weight_that_a_target_share_took_is_told(client, served):
    message = generated(client, served, prompt="um (gato:=30%)", steps=4, number=2)
    assert [word["share"] for word in message["maps"]["words"]] == [None, 0.3]
    session = served.context.sessions._sessions[client.session_hash]
    for (told,), (found,) in zip(message["found"], session.result.found, strict=True):
        assert told["phrase"] == "gato"
        assert told["target"] == 0.3
        assert told["weight"] == pytest.approx(found.weight, rel=0.01)
        assert told["share"] == pytest.approx(found.share, rel=0.01)
    assert not [line for line in message["warnings"] if "gato" in line["en"]]


def test_what_the_library_remarks_is_told_in_both_languages(client, served):
    prompt = "<lora:luz:0.8> um (gato:1.4{mode=clip}) e um (aa:1.2{region=left}) AND [um:aa:0.5]"
    message = generated(client, served, prompt=prompt, negative="feio", guidance=1.0, steps=4)
    assert len(message["warnings"]) >= 4
    for told in message["warnings"]:
        assert set(told) == {"en", "pt-br"}
        assert told["pt-br"] != told["en"]
        assert "em inglês" not in told["pt-br"]


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


def test_sessions_do_not_see_each_other(client, served):
    generated(client, served)
    other = gradio_client.Client(served.url, verbose=False)
    results = {
        name: session.result for name, session in served.context.sessions._sessions.items() if session.result
    }
    assert client.session_hash in results
    assert other.session_hash not in results
    other.close()


def test_stop_ends_a_run_at_its_next_step(client, served):
    job = client.submit(*settings(served, steps=150, number=16).values(), api_name="/generate")
    session = None
    while session is None or session.run is None or session.run.is_done or not job.outputs():
        session = served.context.sessions._sessions.get(client.session_hash)
        time.sleep(0.01)
    client.predict(api_name="/stop")
    message = job.result()[0]
    assert len(message["images"]) < 16


def test_a_closed_page_leaves_nothing_behind(served):
    page = gradio_client.Client(served.url, verbose=False)
    generated(page, served)
    name = page.session_hash
    assert name in served.app.state_holder.session_data
    page.close()
    while name in served.context.sessions._sessions or name in served.app.state_holder.session_data:
        time.sleep(0.05)


def test_memory_is_flat_over_many_runs(client, served):
    generated(client, served)
    session = served.context.sessions._sessions[client.session_hash]
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
    ("changes", "said"),
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
        ({"width": 33}, "multiples of"),
        ({"method": "eval"}, ""),
        ({"method": None}, ""),
        ({"normalizer": ["mean"]}, ""),
        ({"sampler": "Best"}, ""),
        ({"sampler": None}, ""),
        ({"sampler": ["Euler"]}, ""),
        ({"sampler": "__import__('os')"}, ""),
        ({"sampler": "DPM++ 2M", "model": "mini-dit"}, "own, Euler"),
        ({"model": "/etc/passwd"}, ""),
        ({"model": "../../mini"}, ""),
        ({"model": None}, ""),
        ({"prompt": "x" * (MOST_CHARACTERS + 1)}, f"at most {MOST_CHARACTERS}"),
        ({"prompt": "um \ud800 gato"}, "lone surrogate"),
        ({"negative": "a\0b"}, "null character"),
    ],
)
def test_wrong_values_are_refused(served, changes, said):
    answer = refused(served, **changes)
    assert said in answer
    assert "Traceback" not in answer
    assert "site-packages" not in answer


def test_not_a_number_is_refused(served):
    data = json.dumps({"data": list(settings(served, steps=float("nan")).values())})
    assert "NaN" in data
    event, said = raw(served, "generate", data)
    assert event in ("error", "refused"), said


@pytest.mark.parametrize(
    "body", ["", "[]", "null", '{"data": null}', '{"data": {}}', '{"data": []}', "{", "1e999"]
)
def test_broken_calls_are_refused(served, body):
    event, said = raw(served, "generate", body)
    assert event in ("error", "refused")
    assert "Traceback" not in said


def test_the_app_goes_on_after_all_that(client, served):
    assert generated(client, served)["state"] == "done"


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../../../etc/passwd", "pyproject.toml", "/proc/self/environ", "http://127.0.0.1:1/"],
)
def test_files_of_the_server_are_not_handed_out(served, path):
    assert httpx.get(f"{served.url}/gradio_api/file={path}").status_code in (403, 404)


def component(served, name):
    config = httpx.get(f"{served.url}/config").json()
    return next(part["id"] for part in config["components"] if part["props"].get("elem_id") == name)


def ask(served, function, data, session="page"):
    body = {
        "session_hash": session,
        "component_id": component(served, "generate-prompt-reading"),
        "fn_name": function,
        "data": data,
    }
    return httpx.post(f"{served.url}/gradio_api/component_server", content=json.dumps(body))


def test_a_prompt_is_read_for_the_page(served):
    name = served.context.models.names[0]
    answer = ask(served, "read", {"text": "um (gato:1.4)", "language": "pt-br", "model": name}).json()
    assert answer["spans"] == [{"start": 4, "end": 8, "weight": 1.4, "share": None}]
    assert answer["tokens"][0]["encoder"] == "clip"


@pytest.mark.parametrize("data", [None, [], "x", {"text": 3}, {"text": "x" * 10**6}, {"text": "\ud800"}])
def test_what_is_no_prompt_is_told_so(served, data):
    for function in ("read", "nudge"):
        answer = ask(served, function, data)
        assert answer.status_code == 200
        assert set(answer.json()) == {"error"}


@pytest.mark.parametrize("function", ["__class__", "postprocess", "__init__", "value", "no_such"])
def test_no_other_function_can_be_called(served, function):
    assert ask(served, function, {"text": "x"}).status_code == 404


def test_the_page_names_no_folder_of_the_server(served, model_folder):
    config = httpx.get(f"{served.url}/config").text
    assert str(model_folder.parent) not in config
    assert 'analytics_enabled":false' in config.replace(" ", "")
