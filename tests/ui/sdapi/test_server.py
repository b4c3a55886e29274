"""AUTOMATIC1111's API over HTTP: images, settings, refusals, progress, and the order of runs."""

import asyncio
import base64
import io
import json
import threading
import time
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from PIL import Image, ImageOps
from starlette.applications import Starlette

from promptweight import generate
from promptweight.metadata import parse_infotext, read_metadata
from promptweight.models import make_picture_pipeline
from promptweight_ui import request_guard
from promptweight_ui.sdapi import server as module
from promptweight_ui.sdapi.server import ApiServer
from promptweight_ui.turns import Turns

# other libraries warn inside the server's threads
pytestmark = pytest.mark.filterwarnings("ignore")

STEPS = 2
PATIENCE = 300  # seconds; a busy machine must not fail a test
SMALL = {"prompt": "um (gato:1.4)", "steps": STEPS, "seed": 7, "cfg_scale": 4.0}


def opened(encoded):
    return Image.open(io.BytesIO(base64.b64decode(encoded)))


def encoded(picture):
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def noise(width, height):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def drawn(api, path="txt2img", **body):
    answer = api.post(path, **SMALL | body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def expected(api, change=lambda pipe: pipe, **options):
    settings = {"num_inference_steps": STEPS, "guidance_scale": 4.0, "seed": 7, "dialect": "a1111"}
    prompt = options.pop("prompt", SMALL["prompt"])
    with api.context.models.use(api.names[0]) as pipe:
        return generate(change(pipe), prompt, **settings | options)


def refusal(api, path="txt2img", **body):
    answer = api.post(path, **SMALL | body)
    assert answer.status_code == 422, answer.text
    return answer.json()["detail"]


def wait_for(condition, thread=None):
    """Wait until a condition holds; fail where its thread has ended without it, or after `PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert thread is None or thread.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_image_equals_that_of_the_library(api):
    answer = drawn(api, negative_prompt="(feio:1.2)")
    (image,) = map(opened, answer["images"])
    result = expected(api, negative_prompt="(feio:1.2)")
    assert image.convert("RGB").tobytes() == result.images[0].tobytes()
    assert answer["parameters"] == SMALL | {"negative_prompt": "(feio:1.2)"}


def test_file_has_the_infotext_that_info_repeats(api):
    answer = drawn(api, negative_prompt="feio", batch_size=1, n_iter=2)
    info = json.loads(answer["info"])
    assert info["all_seeds"] == [7, 8]
    assert info["seed"] == 7
    assert info["all_prompts"] == [SMALL["prompt"]] * 2
    assert (info["steps"], info["cfg_scale"], info["sd_model_name"]) == (STEPS, 4.0, api.names[0])
    for number, image in enumerate(map(opened, answer["images"])):
        assert image.text["parameters"] == info["infotexts"][number]
        prompt, negative, settings = parse_infotext(image.text["parameters"])
        assert (prompt, negative, settings["Seed"]) == (SMALL["prompt"], "feio", str(7 + number))
        assert settings["Size"] == f"{info['width']}x{info['height']}" == f"{image.width}x{image.height}"


def test_samplers_have_the_names_of_the_tool(api):
    for name, schedule, sampler in (
        ("DPM++ 2M", "Karras", "DPM++ 2M Karras"),
        ("DPM++ 2M Karras", "automatic", "DPM++ 2M Karras"),
        ("dpm++ 2m", "karras", "DPM++ 2M Karras"),
        ("Euler a", None, "Euler a"),
    ):
        answer = drawn(api, sampler_name=name, scheduler=schedule)
        result = expected(api, scheduler=sampler)
        assert opened(answer["images"][0]).convert("RGB").tobytes() == result.images[0].tobytes()
        assert json.loads(answer["info"])["sampler_name"] == sampler


def test_size_weighting_dialect_and_clip_skip_reach_the_model(api):
    side = api.context.models.facts(api.names[0]).side
    answer = drawn(
        api,
        prompt="(um gato)1.3",
        dialect="compel",
        weighting="comfy",
        width=side + 8,
        override_settings={"CLIP_stop_at_last_layers": 2},
    )
    result = expected(
        api,
        prompt="(um gato)1.3",
        dialect="compel",
        weighting="comfy",
        width=side + 8,
        height=side,
        clip_skip=1,
    )
    assert opened(answer["images"][0]).convert("RGB").tobytes() == result.images[0].tobytes()
    info = json.loads(answer["info"])
    assert (info["clip_skip"], info["width"], info["height"]) == (2, side + 8, side)


def test_random_seed_is_told(api):
    seeds = {json.loads(drawn(api, seed=seed)["info"])["seed"] for seed in (-1, None, -1)}
    assert len(seeds) == 3


def test_images_are_saved_or_left_out_if_so_wanted(api):
    folder = api.context.outputs.folder
    assert list(folder.iterdir()) == []
    answer = drawn(api, save_images=True, send_images=False)
    assert answer["images"] == []
    (file,) = folder.iterdir()
    assert read_metadata(file).record["seed"] == 7
    drawn(api, save_images=True, do_not_save_samples=True)
    assert list(folder.iterdir()) == [file]


def test_img2img_begins_from_the_picture(api):
    side = api.context.models.facts(api.names[0]).side
    picture = noise(side, side)
    answer = drawn(api, "img2img", init_images=[encoded(picture)], denoising_strength=0.5)
    result = expected(api, lambda pipe: make_picture_pipeline(pipe, ["image"]), image=picture, strength=0.5)
    assert opened(answer["images"][0]).convert("RGB").tobytes() == result.images[0].tobytes()
    assert json.loads(answer["info"])["denoising_strength"] == 0.5
    assert answer["parameters"]["init_images"] is None


@pytest.mark.parametrize("mode", [0, 1])
def test_picture_is_stretched_or_cut_to_the_size(api, mode):
    side = api.context.models.facts(api.names[0]).side
    picture = noise(side * 2, side)
    body = {"init_images": [f"data:image/png;base64,{encoded(picture)}"], "resize_mode": mode}
    answer = drawn(api, "img2img", **body, width=side, height=side, denoising_strength=0.5)
    size = (side, side)
    lanczos = Image.Resampling.LANCZOS
    fitted = picture.resize(size, lanczos) if mode == 0 else ImageOps.fit(picture, size, lanczos)
    result = expected(api, lambda pipe: make_picture_pipeline(pipe, ["image"]), image=fitted, strength=0.5)
    assert opened(answer["images"][0]).convert("RGB").tobytes() == result.images[0].tobytes()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("enable_hr", True),
        ("subseed_strength", 0.1),
        ("seed_resize_from_h", 512),
        ("restore_faces", True),
        ("tiling", True),
        ("styles", ["anime"]),
        ("s_noise", 1.1),
        ("s_churn", 2),
        ("eta", 0.3),
        ("script_name", "X/Y/Z plot"),
        ("script_args", [1]),
        ("alwayson_scripts", {"ControlNet": {"args": [{"model": "canny"}]}}),
        ("refiner_checkpoint", "refiner"),
        ("override_settings_restore_afterwards", False),
        ("disable_extra_networks", True),
        ("infotext", "um gato"),
        ("promt", "um gato"),
        ("prompt", 3),
        ("prompt", "a\0"),
        ("prompt", "a" * 20_001),
        ("negative_prompt", ["feio"]),
        ("weighting", "a1112"),
        ("dialect", "a1112"),
        ("sampler_name", "DPM fast"),
        ("scheduler", "Polyexponential"),
        ("steps", 0),
        ("steps", 151),
        ("steps", True),
        ("steps", "20"),
        ("cfg_scale", 31),
        ("seed", -2),
        ("batch_size", 17),
        ("width", 4),
        ("height", 100_000),
        ("send_images", 1),
        ("override_settings", {"sd_vae": "x"}),
        ("override_settings", {"eta_ancestral": 0.5}),
        ("clip_skip", 0),
        ("alwayson_scripts", {"ADetailer": {"args": [False, {"ad_model": "face"}]}}),
        ("alwayson_scripts", ["ADetailer"]),
        ("override_settings", {"sd_model_checkpoint": "/etc"}),
        ("override_settings", {"CLIP_stop_at_last_layers": 0}),
        ("init_images", ["x"]),
        ("mask", "x"),
    ],
)
def test_field_that_cannot_be_followed_is_refused_by_name(api, name, value):
    body = {name: value, **({"sampler_name": "Euler"} if name == "scheduler" else {})}
    words = {"weighting": "a1112", "override_settings": next(iter(value)) if isinstance(value, dict) else ""}
    shown = refusal(api, **body)
    assert words.get(name, name) in shown
    assert "/work" not in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "init_images must be a list with one picture"),
        ({"init_images": []}, "init_images must be a list with one picture"),
        ({"init_images": ["%%%"]}, "init_images must be a picture in base64"),
        ({"init_images": ["iVBORw0KGgo="]}, "init_images must be a picture in base64"),
        ({"mask": "x"}, "mask must be one of: null"),
        ({"resize_mode": 2}, "resize_mode must be one of: null, 0, 1"),
        ({"denoising_strength": 0.1}, "denoising_strength must be at least 0.5 with 2 steps; got 0.1"),
        ({"denoising_strength": 1.5}, "denoising_strength"),
        ({"include_init_images": True}, "include_init_images"),
    ],
)
def test_picture_that_cannot_be_followed_is_refused(api, body, text):
    assert text in refusal(api, "img2img", **body)


def test_numbers_of_images_are_limited_together(api):
    assert "batch_size × n_iter" in refusal(api, batch_size=5, n_iter=5)


@pytest.mark.parametrize(
    ("content", "kind", "text"),
    [
        (b"{", "application/json", "must be JSON"),
        (b"[1]", "application/json", "the request must be a JSON object"),
        (b'{"prompt": "um"}', "text/plain", "Content-Type must be application/json"),
        (b"[" * 100_000, "application/json", "must be JSON"),
        (b'{"cfg_scale": NaN}', "application/json", "NaN is not a number of JSON"),
        (b'{"denoising_strength": -Infinity}', "application/json", "Infinity is not a number of JSON"),
        (b'{"hr_prompt": "\\ud800"}', "application/json", "must be JSON"),
        (b'{"prompt": "\xff"}', "application/json", "must be JSON"),
        (b"", "application/json", "must be JSON"),
    ],
)
def test_body_that_is_not_a_json_object_is_refused(api, content, kind, text):
    answer = api.client.post("txt2img", content=content, headers={"Content-Type": kind})
    assert answer.status_code == 422
    assert text in answer.json()["detail"]


def test_values_without_effect_are_taken(api):
    """The fields that clients of the tool send with every request."""
    picture = encoded(noise(8, 8))
    plain = drawn(api, sampler_name="Euler a")["images"]
    unused = {
        "enable_hr": False, "hr_scale": 2, "hr_upscaler": "Latent", "hr_second_pass_steps": 0,
        "hr_additional_modules": ["Use same choices"], "denoising_strength": 0.7, "subseed": 5,
        "subseed_strength": 0, "seed_resize_from_h": -1, "restore_faces": False, "tiling": None, "styles": [],
        "eta": 1.0, "s_churn": 0, "s_tmax": 0, "s_tmin": 0, "s_noise": 1, "override_settings": {
            "sd_vae": "Automatic", "CLIP_stop_at_last_layers": 1, "forge_additional_modules": [],
        }, "clip_skip": 1, "override_settings_restore_afterwards": True, "do_not_save_grid": False,
        "do_not_save_samples": False, "script_name": None, "script_args": [], "mask_blur": 4,
        "alwayson_scripts": {"ADetailer": {"args": [False]}, "ControlNet": {"args": []}},
        "refiner_switch_at": 0.8, "comments": {}, "firstphase_width": 0, "sampler_index": "Euler",
    }  # fmt: skip
    assert drawn(api, sampler_name="Euler a", **unused)["images"] == plain
    assert "init_images" in refusal(api, init_images=[picture])


def test_options_that_were_read_can_be_sent_back(api):
    assert api.post("options", **api.get("options")).status_code == 200


def test_clip_skip_of_sdnext_is_that_of_the_tool(api):
    skipped = drawn(api, clip_skip=2)["images"]
    assert skipped == drawn(api, override_settings={"CLIP_stop_at_last_layers": 2})["images"]
    assert skipped != drawn(api)["images"]
    shown = refusal(api, clip_skip=2, override_settings={"CLIP_stop_at_last_layers": 1})
    assert "clip_skip must be one of: 1; got 2" in shown


@pytest.mark.parametrize(
    "fields", [{"clip_skip": 13}, {"override_settings": {"CLIP_stop_at_last_layers": 13}}]
)
def test_more_layers_than_the_text_encoder_has_are_counted_as_the_tool_counts(api, fields):
    with api.context.models.use(api.names[0]) as pipe:
        layers = pipe.text_encoder.config.num_hidden_layers
    shown = refusal(api, **fields)
    assert f"CLIP_stop_at_last_layers must be from 1 to {layers + 1} for the text encoder" in shown
    assert "got 13" in shown


def test_options_choose_the_model_for_later_requests(api):
    first, other = api.names
    assert api.get("options") == {
        "sd_model_checkpoint": first,
        "CLIP_stop_at_last_layers": 1,
        "samples_format": "png",
    }
    assert api.post("options", sd_model_checkpoint=other).json() == {}
    assert [each["name"] for each in api.get("samplers")] == ["Euler", "Heun", "LCM"]
    assert api.post("options", sd_model_checkpoint=first).status_code == 200
    assert api.get("options")["sd_model_checkpoint"] == first
    for changes, text in (
        ({"sd_model_checkpoint": "../x"}, "must be"),
        ({"sd_vae": "x"}, "sd_vae must be one of"),
        ({"samples_format": "webp"}, "samples_format must be one of"),
        ({"eta_ancestral": 0.5}, "options must be among"),
        ({"CLIP_stop_at_last_layers": 99}, "CLIP_stop_at_last_layers"),
    ):
        answer = api.post("options", **changes)
        assert answer.status_code == 422
        assert text in answer.json()["detail"]


def test_lists_have_the_names_of_the_tool_and_no_folders(api):
    models = api.get("sd-models")
    assert [each["title"] for each in models] == list(api.names)
    assert all("/" not in each["filename"] for each in models)
    assert {"Euler a", "DPM++ 2M"} <= {each["name"] for each in api.get("samplers")}
    schedules = {each["name"]: each["label"] for each in api.get("schedulers")}
    assert schedules["karras"] == "Karras"
    assert schedules["automatic"] == "Automatic"


def test_idle_server_has_no_progress(api):
    answer = api.get("progress")
    assert (answer["progress"], answer["state"]["job_count"], answer["current_image"]) == (0, 0, None)


def test_interrupt_ends_the_run_and_keeps_its_images(api):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(drawn(api, steps=20, n_iter=16)))
    thread.start()
    wait_for(lambda: api.get("progress")["state"]["job_no"] >= 1, thread)
    status = api.get("progress")
    state = status["state"]
    assert (state["job"], state["job_count"], state["sampling_steps"]) == ("txt2img", 1, 20)
    assert status["progress"] == pytest.approx((state["job_no"] + state["sampling_step"] / 20) / 16)
    assert api.post("interrupt").json() == {}
    thread.join()
    (answer,) = answers
    assert state["job_no"] <= len(answer["images"]) < 16
    assert len(json.loads(answer["info"])["all_seeds"]) == len(answer["images"])
    assert api.get("progress")["state"]["job_count"] == 0


def test_interrupt_without_a_run_does_nothing(api):
    assert api.post("interrupt").json() == {}


def test_requests_wait_for_the_turn_of_the_app_and_leave_with_their_client(api):
    with api.context.models.turns.hold():
        with pytest.raises(httpx.ReadTimeout):
            api.client.post("txt2img", json=SMALL, timeout=0.5)
        wait_for(lambda: api.get("progress")["state"]["job_count"] == 0)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(drawn(api)))
        thread.start()
        wait_for(lambda: api.get("progress")["state"]["job_count"] == 1, thread)
        assert api.get("progress")["progress"] == 0
        assert answers == []
    thread.join()
    assert len(answers[0]["images"]) == 1


def test_full_queue_is_told(api, monkeypatch):
    turns = Turns(max_waiting=0)
    monkeypatch.setattr(api.context.models, "turns", turns)
    with turns.hold():
        answer = api.post("txt2img", **SMALL)
    assert answer.status_code == 503
    assert answer.json()["detail"]


def test_model_that_fails_is_told_without_paths(api, monkeypatch):
    monkeypatch.setattr("promptweight.generate", lambda *_, **__: (_ for _ in ()).throw(OSError("/root/x")))
    answer = api.post("txt2img", **SMALL)
    assert answer.status_code == 500
    assert "OSError" in answer.json()["detail"]
    assert "/root" not in answer.text


def test_request_that_is_too_large_or_breaks_off_leaves_no_traceback(api, caplog):
    async def send_all():
        messages = [{"body": b" " * 1_000_000, "more_body": True}] * 10
        return await call_app([{"type": "http.request", **each} for each in messages])

    async def break_off():
        beginning = {"type": "http.request", "body": b"{", "more_body": True}
        return await call_app([beginning, {"type": "http.disconnect"}])

    async def call_app(messages):
        remaining, sent = iter(messages), []

        async def receive():
            return next(remaining)

        async def send(message):
            sent.append(message)

        headers = [(b"content-type", b"application/json"), (b"host", b"localhost")]
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": "/sdapi/v1/txt2img",
            "query_string": b"",
            "headers": headers,
            "server": ("localhost", 80),
        }
        app = Starlette(routes=ApiServer(api.context).routes())
        await request_guard.RequestGuard(app, {"localhost"})(scope, receive, send)
        return sent[0]["status"]

    assert asyncio.run(send_all()) == 413
    assert asyncio.run(break_off()) == 400
    assert not caplog.records


def test_requests_pass_the_guard_of_the_app(api):
    assert api.client.get("options", headers={"Host": "evil.example"}).status_code == 421
    answer = api.client.post("txt2img", json=SMALL, headers={"Origin": "http://evil.example"})
    assert answer.status_code == 403
    body = b'{"prompt": "' + b"a" * request_guard.MAX_BODY + b'"}'
    answer = api.client.post("txt2img", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


def test_page_and_its_api_are_still_served(api):
    assert "promptweight" in httpx.get(api.url).text
    assert "named_endpoints" in httpx.get(f"{api.url}/gradio_api/info").json()


def ask(context, logins, *requests):
    async def send_all():
        transport = httpx.ASGITransport(Starlette(routes=ApiServer(context, logins).routes()))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1/sdapi/v1/") as client:
            return [await client.get("options", **request) for request in requests]

    return asyncio.run(send_all())


def test_logins_of_the_app_are_required(api, monkeypatch):
    monkeypatch.setattr(module, "WRONG_LOGIN_DELAY", 0)
    logins = [("ana", "se:nha"), ("rui", "x")]
    answers = ask(
        api.context,
        logins,
        {},
        {"auth": ("ana", "x")},
        {"auth": ("ana", "se:nha")},
        {"auth": ("rui", "x")},
        {"headers": {"Authorization": "Basic %%%"}},
        {"headers": {"Authorization": "Bearer x"}},
    )
    assert [answer.status_code for answer in answers] == [401, 401, 200, 200, 401, 401]
    assert answers[0].headers["www-authenticate"] == "Basic"


def test_saving_without_a_folder_is_refused(api, monkeypatch):
    monkeypatch.setattr(api.context.outputs, "folder", None)
    assert "save_images must be false" in refusal(api, save_images=True)


def test_saving_into_a_full_folder_is_refused(api, monkeypatch, tmp_path):
    (tmp_path / "a.png").write_bytes(bytes(1_000))
    monkeypatch.setattr(api.context.outputs, "folder", tmp_path)
    monkeypatch.setattr(api.context.outputs, "_limit", 1_000)
    assert "the folder of finished images is full" in refusal(api, save_images=True)


def test_app_without_the_option_has_no_api(served):
    assert httpx.get(f"{served.url}/sdapi/v1/options").status_code == 404
    assert httpx.post(f"{served.url}/sdapi/v1/txt2img", json=SMALL).status_code in (404, 405)


@pytest.mark.parametrize("is_wanted", [True, False])
def test_launch_serves_the_api_only_if_so_wanted(monkeypatch, is_wanted):
    from promptweight_ui import app

    served = {}
    monkeypatch.setattr(app, "build_app", lambda context: SimpleNamespace(local_url="http://127.0.0.1:1/"))
    monkeypatch.setattr(app, "serve", lambda *_, **options: served.update(options))
    app.launch(api=is_wanted, load_now=False, prevent_thread_lock=True, output_dir=None)
    paths = {route.path for route in served["routes"]}
    assert ("/sdapi/v1/txt2img" in paths) == is_wanted
