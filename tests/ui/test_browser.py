"""The Generate tab in a browser: prompt box, word chips, heat maps, downloads, keys."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tests.ui.conftest import called
from tests.ui.page_driving import AREA, BROWSER, CHIP, PATIENCE, PICTURE, fill_number

pytestmark = BROWSER


def write(page, text):
    page.fill(AREA, text)
    page.wait_for_function(
        """([id, text]) => {
            const box = app.promptBox(id);
            return box.parsedText === text && box.parsed.tokens !== null;
        }""",
        arg=["generate-prompt", text],
    )


def generate(page, text="um (gato:1.4) aa", steps=3):
    write(page, text)
    fill_number(page, "generate-steps", steps)
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


def test_weights_are_highlighted_in_place(open_page):
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


@pytest.mark.parametrize(("prompt", "is_right"), [("(קטה:1.3) שמש", True), ("(cat:1.3) שמש", False)])
def test_marks_lie_behind_text_of_either_direction(open_page, prompt, is_right):
    page = open_page()
    page.fill(AREA, f"a\n{prompt}")
    page.wait_for_selector("#generate-prompt .pw-weighted")
    left, right, start, end = page.evaluate(
        """() => {
          const mark = document.querySelector("#generate-prompt .pw-weighted").getBoundingClientRect();
          const box = document.querySelector("#generate-prompt textarea").getBoundingClientRect();
          return [mark.left, mark.right, box.left, box.right];
        }"""
    )
    distances = (left - start, end - right)
    assert (distances[1] < distances[0]) is is_right
    assert min(distances) < 60  # behind the first word of its line


def test_diagnostic_below_the_box_selects_its_text(open_page):
    page = open_page()
    write(page, "um ((gato")
    page.click("#generate-prompt-report .pw-diagnostic:has-text('never closed')")
    start, end = page.evaluate(
        f"[document.querySelector('{AREA}').selectionStart, document.querySelector('{AREA}').selectionEnd]"
    )
    assert value(page)[start:end] == "(("


def test_keys_change_the_weight_of_the_selection_and_undo_reverts_it(open_page):
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


def test_pointing_at_a_word_paints_its_map_without_a_request(open_page, served):
    page = open_page()
    generate(page)
    urls = []
    page.on("request", lambda request: urls.append(request.url))
    page.mouse.move(2, 2)
    assert heat(page)[..., 3].max() == 0
    page.hover(f"{CHIP}:nth-child(2)")
    shown = heat(page)
    assert shown[..., 3].max() > 0
    assert [url for url in urls if "heartbeat" not in url] == []
    session = served.context.sessions.last("result")
    field = session.result.maps.word("gato").tensor
    large = F.interpolate(field[None, None], shown.shape[:2], mode="bilinear")[0, 0]
    painted = shown[..., 3] > 0.5 * shown[..., 3].max()
    assert large[painted].mean() > large[~painted].mean()


def test_page_composes_the_maps_of_the_library(open_page, served):
    page = open_page()
    generate(page)
    session = served.context.sessions.last("result")
    for unit in ("probability", "share"):
        maps = session.result.maps.share() if unit == "share" else session.result.maps
        for number, word in enumerate(session.result.words):
            composed = page.evaluate(
                """([message, unit, word]) => {
                    const maps = new app.HeatMaps(message, [32, 32]);
                    const view = {image: 0, kind: 'words', unit, group: null, part: null};
                    const field = [...maps.composed(view).fields[word]];
                    return [maps.mean(view, [word]), maps.height, maps.width, field];
                }""",
                [payload_of(session), unit, number],
            )
            expected = maps.word(word.text, word.occurrence).tensor
            mean, height, width, field = composed
            assert mean == pytest.approx(float(expected.mean()), rel=0.02)
            small = torch.tensor(field).reshape(1, height, width)
            pooled = F.adaptive_avg_pool2d(small, expected.shape)[0]
            assert torch.allclose(pooled, expected, atol=0.06 * float(expected.max()))


def payload_of(session):
    from promptweight_ui.components.map_payload import maps_payload

    return json.loads(json.dumps(maps_payload(session.result.maps, 1)))


def test_several_words_have_one_color_each(open_page):
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


def test_opacity_unit_and_sliders_repaint(open_page):
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


def test_pointing_at_the_image_ranks_the_words_at_that_point(open_page):
    page = open_page()
    generate(page)
    page.hover("#generate-picture .pw-stage")
    assert page.locator("#generate-picture .pw-here li").count() == 3
    texts = page.locator("#generate-picture .pw-here .pw-value").all_inner_texts()
    values = [float(text.removesuffix("\u00a0%")) for text in texts]
    assert values == sorted(values, reverse=True)
    page.mouse.move(2, 2)
    page.focus("#generate-picture .pw-heat")
    page.keyboard.press("ArrowRight")
    assert page.locator("#generate-picture .pw-here li").count() == 3


def test_chip_changes_the_weight_in_the_prompt(open_page):
    page = open_page()
    generate(page)
    page.focus(f"{CHIP}:nth-child(2)")
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


def test_escape_stops_a_run(open_page, served, hold_run):
    hold = hold_run(image_number=1, step=50)
    page = open_page()
    write(page, "um gato")
    fill_number(page, "generate-steps", 150)
    page.click("#generate-go")
    page.wait_for_selector(f"{PICTURE}[data-state=running] .pw-chip")
    assert "step" in page.inner_text("#generate-picture .pw-status")
    page.hover(f"{CHIP}:nth-child(2)")
    page.wait_for_function(
        """() => { const canvas = document.querySelector('#generate-picture .pw-heat');
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            return data.some((value) => value > 0); }"""
    )
    assert hold.wait()
    stopped = called(served.context.sessions.last("run").run, "stop")
    page.keyboard.press("Escape")
    assert stopped.wait(PATIENCE)
    hold.release()
    page.wait_for_selector(f"{PICTURE}[data-state=stopped]")
    assert "Stopped after step 50 of 150" in page.inner_text("#generate-picture .pw-status")
    page.wait_for_selector("#generate-go:visible")


def test_image_overlay_and_mask_are_downloaded(open_page, tmp_path):
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
def test_prompt_is_never_executed(open_page, text):
    page = open_page()
    generate(page, text)
    page.hover(f"{CHIP}:nth-child(1)")
    page.hover("#generate-picture .pw-stage")
    assert page.title() == "promptweight"
    assert page.locator("img[src=x]").count() == 0
    assert value(page) == text


@pytest.mark.parametrize("query", ["", "?__theme=dark"])
def test_page_fits_a_phone(open_page, query):
    page = open_page(query, viewport={"width": 390, "height": 844}, has_touch=True)
    generate(page)
    page.tap(f"{CHIP}:nth-child(2)")
    assert heat(page)[..., 3].max() > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    picture, settings = (
        page.locator(name).bounding_box() for name in ("#generate-picture .pw-stage", ".pw-settings")
    )
    assert picture["y"] < settings["y"]


def test_controls_have_names_and_keys(open_page):
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


def test_remarks_do_not_move_a_pressed_button(open_page):
    page = open_page()
    remark = "#generate-prompt-report .pw-diagnostic"
    fill_number(page, "generate-steps", 2)
    page.evaluate(f"document.querySelector('{PICTURE}').dataset.state = 'clicked'")
    page.hover("#generate-go")
    page.mouse.down()
    write(page, "um (gato")
    page.locator(AREA).dispatch_event("blur")  # as the press does to a prompt that has the focus
    assert page.locator(remark).count() == 0
    page.mouse.up()
    page.wait_for_selector(remark)
    page.wait_for_selector(f"{PICTURE}[data-state=done]")
