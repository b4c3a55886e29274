"""HTML heat maps: embedded data, escaping, self-containment, and the script run by node."""

import json
import shutil
import subprocess
from base64 import b64decode
from html.parser import HTMLParser

import pytest
import torch

from promptweight.maps import AttentionMaps
from promptweight.maps.prompt_words import PlacedTable
from promptweight.maps.recording import RecordedSlot, Recording
from promptweight.render.colormaps import colormap_table
from promptweight.render.html import SCRIPT

HEIGHT, WIDTH = 3, 5


class Page(HTMLParser):
    """The elements of a page in order, each as [tag, attributes, text right after its start]."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == self.elements[-1][0]:  # not after the element's end
            self.elements[-1][2] += data

    def all(self, tag):
        return [(attributes, text) for name, attributes, text in self.elements if name == tag]


@pytest.fixture
def maps_of(tiny):
    def build(text, size=(HEIGHT, WIDTH)):
        words = tiny.table_of(text)
        sums = torch.rand(1, 1, 1, 1, HEIGHT * WIDTH, tiny.rows, generator=torch.Generator().manual_seed(0))
        slot = RecordedSlot(("attn",), 1, HEIGHT, WIDTH, sums, torch.ones(1, 1, 1))
        placed = {("positive", 0): (PlacedTable(0, ("clip",), words),)}
        return AttentionMaps.from_recording(Recording((slot,), ("positive",), placed, size))

    return build


def test_hover_html_embeds_map_of_every_word(maps_of):
    maps = maps_of("um gato vermelho gato")
    page = Page(maps._repr_html_())
    assert page.open == []
    assert [tag for tag, _, _ in page.elements] == [
        *["div", "div", "button", "button", "button", "button", "canvas", "div", "output", "script"]
    ]
    box, canvas = page.all("div")[0][0], page.all("canvas")[0][0]
    assert b64decode(box["data-colors"]) == colormap_table("inferno").tobytes()
    assert (canvas["height"], canvas["width"]) == (str(HEIGHT), str(WIDTH))
    for word, (attributes, text) in zip(maps.words, page.all("button"), strict=True):
        heat = maps.word(word.text, word.occurrence)
        assert text == word.text
        assert attributes["title"] == f"{word.text}: mean {heat.mass:.3g}"
        cells = torch.frombuffer(bytearray(b64decode(attributes["data-map"])), dtype=torch.uint8)
        assert torch.equal(cells, (heat.normalized() * 255).round().byte().flatten())
    assert page.all("button")[1][0]["data-map"] != page.all("button")[3][0]["data-map"]


def test_hover_html_large_maps_are_pooled(maps_of):
    page = Page(maps_of("um gato", size=(512, 1024))._repr_html_())
    canvas = page.all("canvas")[0][0]
    assert (canvas["height"], canvas["width"]) == ("32", "64")
    assert all(len(b64decode(each["data-map"])) == 32 * 64 for each, _ in page.all("button"))


def test_hover_html_escapes_prompt_text(maps_of):
    words = ["<script>alert(1)</script>", '"onfocus="x', "</button>", "&amp;", "'gato'"]
    maps = maps_of(" ".join(words))
    html = maps._repr_html_()
    page = Page(html)
    assert [text for _, text in page.all("button")] == words
    assert all(set(attributes) == {"type", "title", "data-map"} for attributes, _ in page.all("button"))
    assert len(page.all("script")) == 1
    assert page.all("script")[0][1] == SCRIPT
    assert "alert(1)</script>" not in html


def test_hover_html_has_no_external_resources(maps_of):
    html = maps_of("um gato")._repr_html_()
    for loading in ("src=", "href=", "http", "url(", "import", "fetch", "@"):
        assert loading not in html


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_hover_html_script_paints_map_of_hovered_word(maps_of):
    """The page is replaced by stubs of the elements that the script uses."""
    page = Page(maps_of("um gato")._repr_html_())
    maps = [attributes["data-map"] for attributes, _ in page.all("button")]
    stubs = f"""
const painted = [];
const words = {maps}.map((map, number) => ({{
  dataset: {{map}}, title: "word " + number, attributes: {{}}, listeners: {{}},
  setAttribute(name, value) {{ this.attributes[name] = value; }},
  addEventListener(event, listener) {{ this.listeners[event] = listener; }},
}}));
const output = {{textContent: ""}};
const canvas = {{width: {WIDTH}, height: {HEIGHT}, getContext: () => ({{
  createImageData: (width, height) => ({{data: new Uint8ClampedArray(4 * width * height)}}),
  putImageData: (pixels) => painted.push([...pixels.data]),
}})}};
const box = {{
  dataset: {{colors: "{page.all("div")[0][0]["data-colors"]}"}},
  querySelector: (tag) => ({{canvas, output}})[tag],
  querySelectorAll: () => words,
}};
globalThis.document = {{querySelectorAll: () => [box]}};
{SCRIPT}
words[1].listeners.mouseenter();
console.log(JSON.stringify([painted, output.textContent, words.map((word) => word.attributes)]));
"""
    done = subprocess.run(["node", "-e", stubs], capture_output=True, text=True, check=True)
    painted, line, pressed = json.loads(done.stdout)
    assert line == "word 1"
    assert pressed == [{"aria-pressed": "false"}, {"aria-pressed": "true"}]
    assert len(painted) == 2
    for pixels, encoded in zip(painted, maps, strict=True):
        wanted = [[*map(int, colormap_table("inferno")[value]), 255] for value in b64decode(encoded)]
        assert pixels == [channel for cell in wanted for channel in cell]
