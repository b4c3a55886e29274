"""AUTOMATIC1111's API with a public client of that tool."""

from urllib.parse import urlsplit

import pytest

from promptweight.metadata import parse_infotext

webuiapi = pytest.importorskip(
    "webuiapi", reason="webuiapi is not installed (pip install --no-deps webuiapi requests)"
)

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def client(api):
    address = urlsplit(api.url)
    return webuiapi.WebUIApi(host=address.hostname, port=address.port, sampler="Euler a", steps=2)


def test_client_draws_with_its_defaults(api, client):
    side = api.context.models.facts(api.names[0]).side
    answer = client.txt2img(prompt="um (gato:1.4)", negative_prompt="feio", seed=3, width=side, height=side)
    assert answer.image.size == (side, side)
    assert answer.info["seed"] == 3
    prompt, negative, settings = parse_infotext(answer.image.info["parameters"])
    assert (prompt, negative, settings["Sampler"]) == ("um (gato:1.4)", "feio", "Euler a")


def test_client_draws_from_a_picture(api, client):
    side = api.context.models.facts(api.names[0]).side
    first = client.txt2img(prompt="um gato", seed=3, width=side, height=side)
    second = client.img2img(images=[first.image], prompt="um gato", seed=4, width=side, height=side)
    assert second.image.size == (side, side)
    assert second.image.tobytes() != first.image.tobytes()


def test_client_reads_lists_and_sets_the_model(api, client):
    assert client.util_get_model_names() == sorted(api.names)
    assert "Euler a" in client.util_get_sampler_names()
    assert "karras" in client.util_get_scheduler_names()
    client.util_set_model(api.names[0], find_closest=False)
    assert client.util_get_current_model() == api.names[0]
    client.util_wait_for_ready()
    assert client.get_progress()["progress"] == 0
    assert client.interrupt() == {}


def test_client_is_told_what_is_not_followed(api, client):
    side = api.context.models.facts(api.names[0]).side
    with pytest.raises(RuntimeError, match="enable_hr must be one of"):
        client.txt2img(prompt="um gato", width=side, height=side, enable_hr=True)
