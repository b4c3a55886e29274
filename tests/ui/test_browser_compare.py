"""Compare in a browser: axes of every kind, and images equal to those of the library."""

import httpx
import pytest
from PIL import Image

from promptweight import generate
from promptweight.metadata import read_metadata
from tests.ui.page_driving import AREA, BROWSER, fill_number, pick

pytestmark = BROWSER


def begin(page, prompt="um (gato:1.5) aa", steps=2):
    page.fill(AREA, prompt)
    fill_number(page, "generate-steps", steps)
    if page.is_checked("#generate-random input"):
        page.uncheck("#generate-random input")
    fill_number(page, "generate-seed", 7)
    page.get_by_role("tab", name="Compare", exact=True).click()
    page.wait_for_function("document.querySelector('#compare-word input').value === 'gato'")


def write(page, side, values):
    box = f"#compare-{side}-values input, #compare-{side}-values textarea"
    page.wait_for_selector(f"#compare-{side}-values:visible")
    page.fill(box, values)
    page.press(box, "Tab")


def choose(page, side, names):
    """Select exactly these names of an axis."""
    page.wait_for_selector(f"#compare-{side}-names:visible")
    tokens = page.locator(f"#compare-{side}-names .token-remove:not(.remove-all)")
    for _ in range(tokens.count()):
        tokens.first.click()
    for name in names:
        page.click(f"#compare-{side}-names input")
        page.get_by_role("option", name=name, exact=True).click()
    page.keyboard.press("Escape")


def grid(page, folder, rows, columns):
    """Generate the grid and return the records in the files of its images, row by row, and their pixels."""
    page.click("#compare-go")
    page.wait_for_function(
        f"document.querySelectorAll('.pw-cell').length === {rows * columns}"
        " && !document.querySelector('#compare-stop')?.checkVisibility()"
    )
    records, pixels = [], []
    for link in page.locator(".pw-cell-under a").all():
        answer = httpx.get(link.evaluate("element => element.href"), timeout=None).raise_for_status()
        file = folder / f"{len(records)}.png"
        file.write_bytes(answer.content)
        records.append(read_metadata(file).record)
        pixels.append(Image.open(file).convert("RGB").tobytes())
    return records, pixels


@pytest.mark.parametrize(
    ("across", "values", "down", "others", "names"),
    [
        ("seed", [3, 8], "steps", [1, 3], ("seed", "num_inference_steps")),
        ("guidance scale (CFG)", [1, 6], "weight", [0.5, 2], ("guidance_scale", None)),
        ("steps", [2, 4], "guidance scale (CFG)", [2, 7], ("num_inference_steps", "guidance_scale")),
    ],
)
def test_numbers_vary_along_both_axes(open_page, tmp_path, across, values, down, others, names):
    page = open_page()
    begin(page)
    for side, kind, along in (("across", across, values), ("down", down, others)):
        pick(page, f"compare-{side}", kind)
        write(page, side, ", ".join(map(str, along)))
    records, pixels = grid(page, tmp_path, 2, 2)
    for name, expected in zip(
        names, ([values[0], values[1]] * 2, [others[0]] * 2 + [others[1]] * 2), strict=True
    ):
        if name is not None:
            assert [record[name] for record in records] == expected
    assert len(set(pixels)) == 4
    if "seed" not in names:
        assert {record["seed"] for record in records} == {7}


def test_weightings_and_samplers_give_the_images_of_the_library(open_page, served, tmp_path):
    page = open_page()
    begin(page)
    pick(page, "compare-across", "weighting")
    choose(page, "across", ["comfy", "attention"])
    pick(page, "compare-down", "sampler")
    choose(page, "down", ["Euler", "DPM++ 2M Karras"])
    records, pixels = grid(page, tmp_path, 2, 2)
    assert [record["sampler"] for record in records] == ["Euler"] * 2 + ["DPM++ 2M Karras"] * 2
    assert [record["weighting"] for record in records] == ["comfy", "attention"] * 2
    assert len(set(pixels)) == 4
    with served.context.models.use(served.context.models.names[0]) as pipe:
        usual = {
            "num_inference_steps": 2,
            "guidance_scale": records[0]["guidance_scale"],
            "seed": 7,
            "scheduler": "Euler",
        }
        expected = generate(pipe, "um (gato:1.5) aa", weighting="comfy", **usual)
        other = generate(pipe, "um (gato:1.5) aa", weighting="attention", **usual)
    assert pixels[0] == expected.images[0].tobytes()
    assert pixels[1] == other.images[0].tobytes()
    assert page.locator(".pw-charts circle").count() == 2 * 4  # a dot for mass and area of each image


def test_models_and_seeds_vary_along_both_axes(open_page, tmp_path):
    page = open_page()
    begin(page)
    pick(page, "compare-across", "model")
    page.wait_for_selector("#compare-across-names:visible")
    pick(page, "compare-down", "seed")
    write(page, "down", "1; 2")
    records, pixels = grid(page, tmp_path, 2, 2)
    assert [record["seed"] for record in records] == [1, 1, 2, 2]
    assert [record["pipeline"] for record in records] == [
        "StableDiffusionPipeline", "StableDiffusion3Pipeline"] * 2  # fmt: skip
    assert len(set(pixels)) == 4


def test_invalid_axis_is_refused_in_the_language_of_the_page(open_page):
    page = open_page(locale="pt-BR")
    page.fill(AREA, "um (gato:1.5) aa")
    page.get_by_role("tab", name="Comparar", exact=True).click()
    page.wait_for_function("document.querySelector('#compare-word input').value === 'gato'")
    write(page, "across", "0,5; muito")
    page.click("#compare-go")
    toast = page.wait_for_selector(".toast-body")
    assert "peso: “muito” não é um número de -100 a 100" in toast.inner_text()
    assert page.locator(".pw-cell").count() == 0


def test_warnings_of_every_image_are_listed_once_and_translated(open_page):
    page = open_page()
    begin(page, "um (gato:1.5) aa <lora:luz:1>")
    page.click("#compare-pair")
    page.wait_for_selector(".pw-versus")
    assert "no effect here" in page.inner_text(".pw-compare .pw-notes")
    assert page.locator(".pw-cell-warning").count() == 0
    page.click("#language label:has-text('Português')")
    page.wait_for_function(
        "document.querySelector('.pw-compare .pw-notes').innerText.includes('não tem efeito')"
    )
