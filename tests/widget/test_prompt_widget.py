"""The notebook widget: its shared values against `generate`, messages of the page, and the page itself."""

import base64
import io
import json
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

from promptweight import generate
from promptweight.errors import SettingError, WordNotFoundError
from promptweight.prompt import parse
from promptweight.render import colormap_table, comparable_scales, heat_range

pytest.importorskip("anywidget", reason="anywidget is not installed")

from promptweight.widget import PromptWidget

PROMPT = "um (gato:1.4) vermelho, um rato"
OPTIONS = {"num_inference_steps": 2}


@pytest.fixture(scope="module")
def pipe():
    from promptweight import load

    return load("mini", device="cpu")


@pytest.fixture
def widget(pipe):
    return PromptWidget(pipe, PROMPT, seed=3, **OPTIONS)


def planes_of(widget):
    rows, columns = widget.plane_size
    return np.frombuffer(widget.planes, np.uint8).reshape(-1, rows, columns)


def test_image_and_words_are_those_of_generate(pipe, widget):
    expected = generate(pipe, PROMPT, seed=3, **OPTIONS)
    with Image.open(io.BytesIO(widget.image)) as image:
        assert image.convert("RGB").tobytes() == expected.images[0].tobytes()
    assert [(word["text"], word["weight"]) for word in widget.words] == [
        (word.text, word.weight) for word in expected.words
    ]
    assert widget.state == "idle"
    assert widget.warnings == list(expected.warnings)
    assert widget.result.seeds == (3,)


def test_maps_are_those_of_the_words_on_one_scale(pipe, widget):
    result = generate(pipe, PROMPT, seed=3, **OPTIONS)
    heats = [
        result.maps.overlay_word(word.text, word.occurrence).tensor.numpy()
        for word in result.words
        if not word.is_punctuation
    ]
    scales = comparable_scales([heat_range(heat) for heat in heats])
    planes = planes_of(widget)
    assert [word["plane"] for word in widget.words] == [0, 1, 2, -1, 3, 4]
    assert len(planes) == len(heats)
    for plane, heat, scale in zip(planes, heats, scales, strict=True):
        assert plane.shape == (64, 64)
        cells = np.clip((heat - scale[0]) / (scale[1] - scale[0]), 0, 1)
        cells = cells.reshape(64, heat.shape[0] // 64, 64, heat.shape[1] // 64).mean((1, 3))
        assert np.abs(cells * 255 - plane).max() <= 0.51
    assert widget.colors == colormap_table("inferno").tobytes()


def test_weight_changes_the_prompt_and_draws_the_image_again(pipe, widget):
    before = widget.image
    result = widget.set_weight("rato", 1.5)
    assert widget.prompt == "um (gato:1.4) vermelho, um (rato:1.5)"
    assert result is widget.result
    expected = generate(pipe, widget.prompt, seed=3, **OPTIONS)
    assert result.images[0].tobytes() == expected.images[0].tobytes()
    assert widget.image != before
    assert widget.words[-1]["weight"] == 1.5


def test_messages_of_the_page_change_weight_and_seed(widget):
    widget.receive({"kind": "weight", "word": 1, "weight": 0.5})
    assert parse(widget.prompt).at().spans[1].weight == 0.5
    assert widget.words[1]["weight"] == 0.5
    widget.receive({"kind": "seed", "seed": 4})
    assert (widget.seed, widget.result.seeds, widget.state, widget.error) == (4, (4,), "idle", "")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "kind"),
        ([], "kind"),
        ({"kind": "rm"}, "kind"),
        ({"kind": "weight", "word": 99, "weight": 1}, "word"),
        ({"kind": "weight", "word": -1, "weight": 1}, "word"),
        ({"kind": "weight", "word": "0", "weight": 1}, "word"),
        ({"kind": "weight", "word": 0, "weight": float("nan")}, "weight"),
        ({"kind": "weight", "word": 0, "weight": "x"}, "weight"),
        ({"kind": "weight", "word": 0, "weight": 1e9}, "weight"),
        ({"kind": "seed", "seed": -1}, "seed"),
    ],
)
def test_invalid_messages_are_told_and_change_nothing(widget, content, text):
    before = (widget.prompt, widget.seed, widget.image)
    widget.receive(content)
    assert widget.state == "failed"
    assert text in widget.error
    assert (widget.prompt, widget.seed, widget.image) == before
    widget.draw()
    assert (widget.state, widget.error) == ("idle", "")


def test_messages_are_in_the_language_of_the_widget(pipe):
    widget = PromptWidget(pipe, "um gato", language="pt-br", **OPTIONS)
    assert widget.texts["weight"] == "peso de"
    widget.receive({"kind": "weight", "word": 0, "weight": 1e9})
    assert "precisa" in widget.error or "está em" in widget.error


def test_progress_and_state_are_shared_while_an_image_is_drawn(widget):
    seen = []
    widget.observe(lambda change: seen.append((change.name, change.new)), ["state", "step"])
    widget.draw()
    assert sorted(seen[:2]) == [("state", "running"), ("step", 0)]
    assert seen[2:] == [("step", 1), ("step", 2), ("state", "idle")]


def test_arguments_are_checked_before_an_image_is_drawn(pipe, widget):
    with pytest.raises(SettingError, match="language"):
        PromptWidget(pipe, PROMPT, language="de")
    with pytest.raises(SettingError, match="num_images_per_prompt"):
        PromptWidget(pipe, PROMPT, num_images_per_prompt=2)
    with pytest.raises(SettingError, match="record"):
        PromptWidget(pipe, PROMPT, record=False)
    with pytest.raises(SettingError, match="prompt must be text"):
        PromptWidget(pipe, 3)
    with pytest.raises(WordNotFoundError, match="peixe"):
        widget.set_weight("peixe", 1.2)


def test_error_of_a_run_is_shared_and_raised(widget, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("stopped")

    monkeypatch.setattr("promptweight.widget.prompt_widget.generate", fail)
    with pytest.raises(RuntimeError, match="stopped"):
        widget.draw()
    assert (widget.state, widget.error) == ("failed", "RuntimeError: stopped")


PAGE = """
const bytes = (text) => {
  const view = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new DataView(view.buffer);
};
const state = STATE;
["image", "planes", "colors"].forEach((name) => { state[name] = bytes(state[name]); });
const listeners = {};
window.sent = [];
window.model = {
  get: (name) => state[name],
  set: (name, value) => {
    state[name] = value;
    (listeners[`change:${name}`] ?? []).forEach((listener) => listener());
  },
  save_changes: () => {},
  on: (event, listener) => { (listeners[event] ??= []).push(listener); },
  off: (event, listener) => { listeners[event] = listeners[event].filter((each) => each !== listener); },
  send: (content) => window.sent.push(content),
};
window.listenerCount = () => Object.values(listeners).flat().length;
const source = new Blob([SOURCE], { type: "text/javascript" });
const module = await import(URL.createObjectURL(source));
window.remove = module.default.render({ model: window.model, el: document.body });
window.isReady = true;
"""


SHARED = (
    *("prompt", "words", "image", "planes", "plane_size", "colors", "selected"),
    *("state", "step", "steps", "seed", "error", "warnings", "texts"),
)
"""The values that the page reads."""


@pytest.fixture
def page(widget, browser):
    folder = files("promptweight.widget") / "static"
    values = {name: getattr(widget, name) for name in SHARED}
    state = {
        name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for name, value in values.items()
    }
    source = (folder / "prompt_widget.js").read_text(encoding="utf-8")
    script = PAGE.replace("STATE", json.dumps(state)).replace("SOURCE", json.dumps(source))
    opened = browser.new_page()
    errors = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    style = (folder / "prompt_widget.css").read_text(encoding="utf-8")
    opened.set_content(f"<style>{style}</style><body><script type=module>{script}</script></body>")
    opened.wait_for_function("window.isReady")
    yield opened
    opened.close()
    assert errors == []


def pixels_of(page):
    script = """() => {
        const canvas = document.querySelector("canvas");
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return [canvas.height, canvas.width, [...data]];
    }"""
    rows, columns, values = page.evaluate(script)
    return np.array(values, np.uint8).reshape(rows, columns, 4)


def expected_pixels(widget, plane):
    colors = np.frombuffer(widget.colors, np.uint8).reshape(256, 3)
    return colors[planes_of(widget)[plane]]


@pytest.mark.browser
def test_page_paints_the_map_of_the_word_under_the_pointer(widget, page):
    shown = page.locator(".pw-words button").all_inner_texts()
    assert shown == [
        "um",
        "gato1.4",
        "vermelho",
        ",",
        "um",
        "rato",
    ]
    assert (pixels_of(page)[..., :3] == expected_pixels(widget, 0)).all()
    page.hover(".pw-words button:nth-child(2)")
    assert (pixels_of(page)[..., :3] == expected_pixels(widget, 1)).all()
    assert page.evaluate("model.get('selected')") == 0
    page.hover(".pw-weight label")
    assert (pixels_of(page)[..., :3] == expected_pixels(widget, 0)).all()
    page.hover(".pw-words button:nth-child(4)")  # punctuation has no map
    assert page.is_hidden("canvas")


@pytest.mark.browser
def test_page_shows_the_image_and_sends_a_moved_weight_once(widget, page):
    page.wait_for_function("document.querySelector('img').naturalWidth > 0")
    assert page.evaluate("document.querySelector('img').naturalWidth") == widget.result.images[0].width
    page.click(".pw-words button:nth-child(2)")
    slider = page.locator("input[type=range]")
    assert (slider.input_value(), page.inner_text(".pw-weight output")) == ("1.4", "1.4")
    assert page.inner_text(".pw-weight label") == "weight of gato"
    slider.press("ArrowRight")
    assert page.evaluate("sent") == [{"kind": "weight", "word": 1, "weight": 1.45}]
    page.click(".pw-weight button")
    assert page.evaluate("sent.at(-1)") == {"kind": "seed", "seed": 4}


@pytest.mark.browser
def test_page_follows_the_state_and_can_be_removed(page):
    page.evaluate("model.set('steps', 2); model.set('step', 1); model.set('state', 'running')")
    assert page.inner_text("[role=status]") == "step 1/2"
    assert page.is_disabled("input[type=range]")
    page.evaluate("model.set('error', '<b>x</b>'); model.set('state', 'failed')")
    assert page.inner_text("[role=alert]") == "<b>x</b>"
    assert page.is_enabled("input[type=range]")
    page.evaluate("remove()")
    assert page.evaluate("listenerCount()") == 0
    assert page.locator(".promptweight-widget").count() == 0
