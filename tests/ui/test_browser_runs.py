"""Runs in a browser: stopped, finished, left alone, and made with other samplers and models."""

import time
from threading import Event

import pytest

AREA = "#generate-prompt textarea"
PICTURE = "#generate-picture .pw-picture"
CHIP = "#generate-picture .pw-chip"
# What other libraries warn of inside the server's threads is not about this package.
pytestmark = pytest.mark.filterwarnings("ignore")


def number(page, name, value):
    page.fill(f"{name} input[type=number]", str(value))
    page.press(f"{name} input[type=number]", "Tab")


def begin(page, pictures=1, steps=150):
    page.fill(AREA, "um gato")
    number(page, "#generate-steps", steps)
    number(page, "#generate-number", pictures)
    page.click("#generate-go")
    page.wait_for_selector(f"{PICTURE}[data-state=running] .pw-chip")


def run_of(served):
    """The session whose run is going on."""
    return next(s for s in reversed(served.context.sessions._sessions.values()) if s.run is not None)


def pick(page, name, value):
    page.click(f"#{name} input")
    page.get_by_role("option", name=value, exact=True).click()
    page.wait_for_function("!document.querySelector('[role=option]')")  # it fades out


def test_stop_now_ends_the_run_at_the_next_step(open_page, served):
    page = open_page()
    begin(page, pictures=4)
    session = run_of(served)
    page.click("#generate-stop")
    page.wait_for_selector(f"{PICTURE}[data-state=stopped]")
    assert session.result.stopped_after < 150
    assert len(session.result.images) < 4
    assert "Stopped after step" in page.inner_text("#generate-picture .pw-status")
    page.wait_for_selector("#generate-go:visible")
    for name in ("stop", "finish"):
        assert page.locator(f"#generate-{name}:visible").count() == 0


def test_finish_this_one_lets_the_picture_come_to_its_end_and_drops_the_rest(open_page, served):
    page = open_page()
    begin(page, pictures=16, steps=40)
    session = run_of(served)
    run, show = session.run, session.run._show
    held_at, go_on = [], Event()

    def hold_in_a_later_picture(progress):
        if progress.picture > 1 and not held_at:
            held_at.append(progress.picture)
            go_on.wait()
        return show(progress)

    run._show = hold_in_a_later_picture
    while not held_at:
        assert not run.is_done
        page.wait_for_timeout(20)
    page.click("#generate-finish")
    while run._wish != "finish":
        page.wait_for_timeout(20)
    go_on.set()
    page.wait_for_selector(f"{PICTURE}[data-state=done]")
    assert session.result.stopped_after is None
    assert held_at[0] < 16
    assert len(session.result.images) == held_at[0]
    assert len(session.result.seeds) == held_at[0]
    page.wait_for_selector("#generate-go:visible")
    assert page.locator("#generate-finish:visible").count() == 0


def test_one_picture_is_finished_by_itself(open_page):
    page = open_page()
    begin(page)
    assert page.locator("#generate-stop:visible").count() == 1
    assert page.locator("#generate-finish:visible").count() == 0
    page.keyboard.press("Escape")
    page.wait_for_selector(f"{PICTURE}[data-state=stopped]")


def test_a_closed_tab_frees_the_model_at_the_next_step(open_page, served):
    page = open_page()
    begin(page, pictures=16)
    session = run_of(served)
    run = session.run
    page.close()
    while not run.is_done:  # 16 pictures of 150 steps would take minutes
        time.sleep(0.05)
    assert len(run.outcome.images) < 16
    assert session.result is None
    while session in served.context.sessions._sessions.values():
        time.sleep(0.05)
    with served.context.models.use(served.context.models.names[0]) as pipe:
        assert pipe is not None


def test_samplers_follow_the_model(open_page, served):
    page = open_page()
    assert page.input_value("#generate-sampler input") == "The model's own"
    page.click("#generate-sampler input")
    assert "DPM++ 2M Karras" in page.locator("[role=option]").all_inner_texts()
    page.get_by_role("option", name="Euler", exact=True).click()
    pick(page, "generate-model", "mini-dit")
    page.wait_for_function("promptweight.prompt.box('generate-prompt').understood.tokens?.length === 2")
    assert page.input_value("#generate-sampler input") == "Euler"  # both have one of that name
    page.click("#generate-sampler input")
    offered = [text.strip(" ✓\n") for text in page.locator("[role=option]").all_inner_texts()]
    assert set(offered) == {"The model's own", *served.context.models.samplers("mini-dit")} - {"own"}
    page.keyboard.press("Escape")
    page.fill(AREA, "um gato")
    number(page, "#generate-steps", 2)
    page.click("#generate-go")
    page.wait_for_selector(f"{PICTURE}[data-state=done] .pw-chip")
    session = run_of(served)
    assert session.result.settings["model"] == "mini-dit"
    assert session.result.settings["scheduler"] == "FlowMatchEulerDiscreteScheduler"


def test_a_target_share_is_marked_and_its_weight_shown(open_page, served):
    page = open_page()
    page.fill(AREA, "um (gato:=30%) aa")
    page.wait_for_selector("#generate-prompt .pw-weighted")
    assert page.locator("#generate-prompt .pw-weighted").all_inner_texts() == ["gato"]
    number(page, "#generate-steps", 4)
    page.click("#generate-go")
    page.wait_for_selector(f"{PICTURE}[data-state=done] .pw-chip")
    assert page.inner_text(f"{CHIP}:nth-child(2) .pw-weight") == "=30%"
    found = run_of(served).result.found[0][0]
    note = page.inner_text("#generate-picture .pw-found")
    assert "gato" in note
    assert f"{found.weight:.3g}"[:4] in note
    page.focus(f"{CHIP}:nth-child(2)")
    page.keyboard.press("+")
    page.wait_for_function(f"document.querySelector('{AREA}').value === 'um (gato:=35%) aa'")
    page.wait_for_selector(f"{CHIP}:nth-child(2).pw-changed")
    page.fill(AREA, "um (gato:=250%)")
    page.wait_for_selector("#generate-prompt-reading .pw-remark")


def test_models_side_by_side(open_page):
    page = open_page()
    page.fill(AREA, "um gato")
    number(page, "#generate-steps", 2)
    page.get_by_role("tab", name="Compare", exact=True).click()
    page.wait_for_function("document.querySelector('#compare-word input').value !== ''")
    pick(page, "compare-across", "model")
    page.wait_for_selector("#compare-across-names:visible")
    assert page.locator("#compare-across-values:visible").count() == 0
    pick(page, "compare-down", "steps")
    page.wait_for_selector("#compare-down-values:visible")
    page.fill("#compare-down-values textarea, #compare-down-values input", "1, 2")
    page.press("#compare-down-values textarea, #compare-down-values input", "Tab")
    page.click("#compare-go")
    page.wait_for_selector(".pw-versus")
    heads = page.locator(".pw-compare-table th[scope=col]").all_inner_texts()
    assert [head.split()[0] for head in heads] == ["model", "model"]
    assert "mini-dit" in heads[1]
    assert page.locator(".pw-cell").count() == 4
    assert page.locator(".pw-cell-under").count() == 4
    assert page.locator(".pw-badge").all_inner_texts() == ["A", "B"]  # in the first row, side by side


def test_painted_regions_come_back_from_the_history(open_page, served):
    page = open_page()
    page.fill(AREA, "um gato aa")
    number(page, "#generate-steps", 2)
    page.get_by_role("tab", name="Regions", exact=True).click()
    page.click("#regions-orange input")
    page.get_by_role("option", name="gato", exact=True).click()
    page.wait_for_selector("#regions-canvas canvas")
    canvas = page.locator("#regions-canvas canvas").first
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 3, box["y"] + box["height"] / 3
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 40, steps=5)
    page.mouse.up()
    page.click("#regions-go")
    page.wait_for_selector("#regions-picture .pw-picture[data-state=done] .pw-chip")
    record = run_of(served).result.settings["regions"]
    assert record["words"] == ["gato", "", ""]
    first = run_of(served).result.images[0]
    page.get_by_role("tab", name="Regions", exact=True).click()
    page.reload()
    page.wait_for_selector(f"{AREA}.pw-area")
    page.get_by_role("tab", name="History", exact=True).click()
    path = list(served.context.parts["history"]._files.values())[-1][0][0]
    page.set_input_files("#history-upload input[type=file]", path)
    page.wait_for_selector("#history-paint:visible")
    page.click("#history-paint")
    page.wait_for_selector("#regions-go:visible")
    page.wait_for_function("document.querySelector('#regions-orange input').value === 'gato'")
    assert page.input_value("#generate-steps input[type=number]") == "2"
    page.click("#regions-go")
    page.wait_for_selector("#regions-picture .pw-picture[data-state=done] .pw-chip")
    again = run_of(served).result
    assert again.settings["regions"] == record
    assert again.images[0].tobytes() == first.tobytes()
