"""The page in a browser: what a person types, points at, presses and sees."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

AREA = "#generate-prompt textarea"
PICTURE = "#generate-picture .pw-picture"
CHIP = "#generate-picture .pw-chip"
# What other libraries warn of inside the server's threads is not about this package.
pytestmark = pytest.mark.filterwarnings("ignore")


def write(page, text):
    page.fill(AREA, text)
    page.wait_for_function(
        """([box, text]) => promptweight.prompt.box(box).answered === text
            && promptweight.prompt.box(box).understood.tokens !== null""",
        arg=["generate-prompt", text],
    )


def generate(page, text="um (gato:1.4) aa", steps=3):
    write(page, text)
    page.fill("#generate-steps input[type=number]", str(steps))
    page.press("#generate-steps input[type=number]", "Tab")
    page.press(AREA, "Control+Enter")
    page.wait_for_selector(f"{PICTURE}[data-state=done] .pw-chip")


def heat(page):
    """The canvas over the picture: (height, width, 4) bytes."""
    pixels = page.evaluate(
        """() => {
            const canvas = document.querySelector('#generate-picture .pw-heat');
            const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            return [canvas.height, canvas.width, [...data.data]];
        }"""
    )
    return torch.tensor(pixels[2], dtype=torch.float32).reshape(pixels[0], pixels[1], 4)


def value(page):
    return page.input_value(AREA)


def selected(page, text):
    start = value(page).index(text)
    page.focus(AREA)
    page.evaluate(
        "([area, start, end]) => document.querySelector(area).setSelectionRange(start, end)",
        [AREA, start, start + len(text)],
    )


def test_weights_are_marked_while_one_types(open_page):
    page = open_page()
    write(page, "um (gato:1.4) [rato] <b>")
    marks = page.eval_on_selector_all(
        "#generate-prompt .pw-weighted", "all => all.map(each => each.textContent)"
    )
    assert marks == ["gato", "rato"]
    box, text = (
        page.evaluate(f"document.querySelector('{name}').getBoundingClientRect().x")
        for name in ("#generate-prompt .pw-back", AREA)
    )
    assert box == pytest.approx(text, abs=1)
    assert page.text_content("#generate-prompt .pw-back").rstrip("\u200b") == value(page)


def test_what_is_odd_is_told_under_the_box(open_page):
    page = open_page()
    write(page, "um ((gato")
    assert "never closed" in page.inner_text("#generate-prompt-reading .pw-remarks")
    page.click("#generate-prompt-reading .pw-remark")
    start, end = page.evaluate(
        f"[document.querySelector('{AREA}').selectionStart, document.querySelector('{AREA}').selectionEnd]"
    )
    assert value(page)[start:end] == "(("


def test_keys_change_the_weight_of_the_selection_and_undo_takes_it_back(open_page):
    page = open_page()
    write(page, "um gato aa")
    selected(page, "gato")
    page.keyboard.press("Control+ArrowUp")
    page.wait_for_function(f"document.querySelector('{AREA}').value === 'um (gato:1.1) aa'")
    page.keyboard.press("Control+ArrowUp")
    page.wait_for_function(f"document.querySelector('{AREA}').value === 'um (gato:1.2) aa'")
    page.keyboard.press("Control+ArrowDown")
    page.wait_for_function(f"document.querySelector('{AREA}').value === 'um (gato:1.1) aa'")
    page.keyboard.press("Control+z")
    assert value(page) == "um (gato:1.2) aa"
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    assert value(page) == "um gato aa"


def test_pointing_at_a_word_paints_its_map_without_asking_the_server(open_page, served):
    page = open_page()
    generate(page)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.mouse.move(2, 2)
    assert heat(page)[..., 3].max() == 0
    page.hover(f"{CHIP}:nth-child(2)")
    shown = heat(page)
    assert shown[..., 3].max() > 0
    assert [url for url in asked if "heartbeat" not in url] == []
    # Where it is painted is where the library has the word.
    session = next(s for s in reversed(served.context.sessions._sessions.values()) if s.result)
    field = session.result.maps.word("gato").tensor
    large = F.interpolate(field[None, None], shown.shape[:2], mode="bilinear")[0, 0]
    painted = shown[..., 3] > 0.5 * shown[..., 3].max()
    assert large[painted].mean() > large[~painted].mean()


def test_the_page_has_the_numbers_of_the_library(open_page, served):
    page = open_page()
    generate(page)
    session = next(s for s in reversed(served.context.sessions._sessions.values()) if s.result)
    for unit in ("probability", "share"):
        maps = session.result.maps.share() if unit == "share" else session.result.maps
        for number, word in enumerate(session.result.words):
            told = page.evaluate(
                """([message, unit, word]) => {
                    const heat = new promptweight.heat.Heat(message, [32, 32]);
                    const view = {image: 0, kind: 'words', unit, group: null, part: null};
                    const field = [...heat.look(view).fields[word]];
                    return [heat.mean(view, [word]), heat.height, heat.width, field];
                }""",
                [message_of(session), unit, number],
            )
            expected = maps.word(word.text, word.occurrence).tensor
            mean, height, width, field = told
            assert mean == pytest.approx(float(expected.mean()), rel=0.02)
            small = torch.tensor(field).reshape(1, height, width)
            pooled = F.adaptive_avg_pool2d(small, expected.shape)[0]
            assert torch.allclose(pooled, expected, atol=0.06 * float(expected.max()))


def message_of(session):
    from promptweight_ui.components.map_payload import maps_of

    return json.loads(json.dumps(maps_of(session.result.maps, 1)))


def test_several_words_get_a_color_each(open_page):
    page = open_page()
    generate(page)
    for number in (1, 2):
        page.click(f"{CHIP}:nth-child({number})")
    page.mouse.move(2, 2)
    assert page.get_attribute(f"{CHIP}:nth-child(1)", "aria-pressed") == "true"
    assert heat(page)[..., 3].max() > 0
    colors = page.eval_on_selector_all(
        ".pw-chip[aria-pressed=true] .pw-dot", "all => all.map(e => e.style.background)"
    )
    assert len(set(colors)) == 2
    page.click("#generate-picture button[name=together]")
    page.mouse.move(2, 2)
    assert heat(page)[..., 3].max() > 0


def test_opacity_and_units_and_sliders_act_at_once(open_page):
    page = open_page()
    generate(page)
    page.click(f"{CHIP}:nth-child(2)")
    page.mouse.move(2, 2)
    before = heat(page)
    page.evaluate("document.querySelector('#generate-picture input[name=opacity]').value = 20")
    page.dispatch_event("#generate-picture input[name=opacity]", "input")
    assert heat(page)[..., 3].max() < before[..., 3].max() / 2
    page.evaluate("document.querySelector('#generate-picture input[name=steps]').value = 1")
    page.dispatch_event("#generate-picture input[name=steps]", "input")
    page.click("#generate-picture button[name=share]")
    assert page.get_attribute("#generate-picture button[name=share]", "aria-pressed") == "true"
    page.click("#generate-picture button[name=refined]")
    assert page.get_attribute("#generate-picture button[name=refined]", "aria-pressed") == "true"


def test_pointing_at_the_picture_ranks_the_words_there(open_page):
    page = open_page()
    generate(page)
    page.hover("#generate-picture .pw-stage")
    assert page.locator("#generate-picture .pw-here li").count() == 3
    values = [float(text) for text in page.locator("#generate-picture .pw-here .pw-value").all_inner_texts()]
    assert values == sorted(values, reverse=True)
    page.mouse.move(2, 2)
    page.focus("#generate-picture .pw-heat")
    page.keyboard.press("ArrowRight")
    assert page.locator("#generate-picture .pw-here li").count() == 3


def test_a_chip_changes_the_weight_in_the_prompt(open_page):
    page = open_page()
    generate(page)
    page.hover(f"{CHIP}:nth-child(2)")
    page.mouse.wheel(0, -100)
    page.wait_for_function(f"document.querySelector('{AREA}').value === 'um (gato:1.5) aa'")
    page.focus(f"{CHIP}:nth-child(3)")
    page.keyboard.press("-")
    page.wait_for_function(f"document.querySelector('{AREA}').value === 'um (gato:1.5) (aa:0.9)'")
    page.wait_for_selector(f"{CHIP}:nth-child(3).pw-changed")
    assert page.evaluate("document.activeElement.classList.contains('pw-chip')")
    page.focus(AREA)
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    assert value(page) == "um (gato:1.4) aa"


def test_a_run_is_followed_and_stopped_by_escape(open_page):
    page = open_page()
    write(page, "um gato")
    page.fill("#generate-steps input[type=number]", "150")
    page.press("#generate-steps input[type=number]", "Tab")
    page.click("#generate-go")
    page.wait_for_selector(f"{PICTURE}[data-state=running] .pw-chip")
    assert "step" in page.inner_text("#generate-picture .pw-status")
    page.hover(f"{CHIP}:nth-child(2)")
    page.wait_for_function(
        """() => { const canvas = document.querySelector('#generate-picture .pw-heat');
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            return data.some((value) => value > 0); }"""
    )
    page.keyboard.press("Escape")
    page.wait_for_selector(f"{PICTURE}[data-state=stopped]")
    assert "Stopped after step" in page.inner_text("#generate-picture .pw-status")
    page.wait_for_selector("#generate-go:visible")


def test_downloads(open_page, tmp_path):
    from PIL import Image

    from promptweight.metadata import read_metadata

    page = open_page()
    generate(page)
    page.click(f"{CHIP}:nth-child(2)")
    sizes = {}
    for name in ("save", "save_overlay", "save_mask"):
        with page.expect_download() as caught:
            page.click(f"#generate-picture button[name={name}]")
        file = Path(tmp_path / f"{name}.png")
        caught.value.save_as(file)
        sizes[name] = Image.open(file).size
    assert sizes == {"save": (32, 32), "save_overlay": (512, 512), "save_mask": (32, 32)}
    assert read_metadata(tmp_path / "save.png").record["prompt"] == "um (gato:1.4) aa"
    assert set(Image.open(tmp_path / "save_mask.png").convert("L").tobytes()) == {0, 255}


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=document.title='owned'>",
        "${document.title='owned'}",
        "{{value}} `${document.title='owned'}`",
    ],
)
def test_a_prompt_never_runs(open_page, text):
    page = open_page()
    generate(page, text)
    page.hover(f"{CHIP}:nth-child(1)")
    page.hover("#generate-picture .pw-stage")
    assert page.title() == "promptweight"
    assert page.locator("img[src=x]").count() == 0
    assert value(page) == text


@pytest.mark.parametrize("query", ["", "?__theme=dark"])
def test_it_fits_a_phone(open_page, query):
    page = open_page(query, viewport={"width": 390, "height": 844}, has_touch=True)
    generate(page)
    page.tap(f"{CHIP}:nth-child(2)")
    assert heat(page)[..., 3].max() > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    picture, settings = (
        page.locator(name).bounding_box() for name in ("#generate-picture .pw-stage", ".pw-settings")
    )
    assert picture["y"] < settings["y"]


def test_everything_has_a_name_and_can_be_reached_by_keys(open_page):
    page = open_page()
    generate(page)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('.pw-picture button, .pw-picture input')]
            .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim())).length"""
    )
    assert nameless == 0
    assert "um gato aa" in page.get_attribute("#generate-picture .pw-image", "alt")
    page.focus(f"{CHIP}:nth-child(1)")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.word") == "gato#0"
    assert heat(page)[..., 3].max() > 0
    page.keyboard.press("Enter")
    assert page.get_attribute(f"{CHIP}:nth-child(2)", "aria-pressed") == "true"
