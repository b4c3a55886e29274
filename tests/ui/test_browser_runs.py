"""Runs in a browser: stop, finish, closed pages, samplers, models, target shares and regions."""

from tests.ui.conftest import called
from tests.ui.page_driving import AREA, BROWSER, CHIP, PATIENCE, PICTURE, fill_number, pick

pytestmark = BROWSER


def begin(page, images=1, steps=150):
    page.fill(AREA, "um gato")
    fill_number(page, "generate-steps", steps)
    fill_number(page, "generate-number", images)
    page.click("#generate-go")
    page.wait_for_selector(f"{PICTURE}[data-state=running] .pw-chip")


def test_stop_ends_the_run_after_the_present_step(open_page, served, hold_run):
    hold = hold_run(image_number=1, step=50)
    page = open_page()
    begin(page, images=4)
    assert hold.wait()
    session = served.context.sessions.last("run")
    stopped = called(session.run, "stop")
    page.click("#generate-stop")
    assert stopped.wait(PATIENCE)
    hold.release()
    page.wait_for_selector(f"{PICTURE}[data-state=stopped]")
    assert session.result.stopped_after == 50
    assert len(session.result.images) == 1
    assert "Stopped after step 50 of 150" in page.inner_text("#generate-picture .pw-status")
    page.wait_for_selector("#generate-go:visible")
    for name in ("stop", "finish"):
        assert page.locator(f"#generate-{name}:visible").count() == 0


def test_finish_ends_the_present_image_and_drops_the_rest(open_page, served, hold_run):
    hold = hold_run(image_number=2, step=3)
    page = open_page()
    begin(page, images=16, steps=10)
    assert hold.wait()
    session = served.context.sessions.last("run")
    finished = called(session.run, "finish")
    page.click("#generate-finish")
    assert finished.wait(PATIENCE)
    hold.release()
    page.wait_for_selector(f"{PICTURE}[data-state=done]")
    assert session.result.stopped_after is None
    assert len(session.result.images) == 2
    assert len(session.result.seeds) == 2
    page.wait_for_selector("#generate-go:visible")
    assert page.locator("#generate-finish:visible").count() == 0


def test_finish_is_hidden_for_one_image(open_page, hold_run):
    hold = hold_run(image_number=1, step=2)
    page = open_page()
    begin(page, steps=3)
    assert hold.wait()
    page.wait_for_selector("#generate-stop:visible")
    assert page.locator("#generate-finish:visible").count() == 0
    hold.release()
    page.wait_for_selector(f"{PICTURE}[data-state=done]")


def test_closed_page_releases_the_model_after_the_present_step(open_page, served, hold_run):
    hold = hold_run(image_number=1, step=5)
    page = open_page()
    begin(page, images=16)
    assert hold.wait()
    sessions = served.context.sessions
    session = sessions.last("run")
    name = next(name for name, each in sessions.used.items() if each is session)
    run = session.run
    page.close()
    assert sessions.wait_removed(name)
    hold.release()
    assert run.wait(PATIENCE)
    assert run.outcome.stopped_after == 5
    assert session.result is None
    with served.context.models.use(served.context.models.names[0]) as pipe:
        assert pipe is not None


def test_samplers_follow_the_model(open_page, served):
    page = open_page()
    assert page.input_value("#generate-sampler input") == "Default of the model"
    pick(page, "generate-sampler", "DPM++ 2M")
    page.wait_for_function("document.querySelector('#generate-schedule input').value === 'Default'")
    pick(page, "generate-schedule", "Karras")
    pick(page, "generate-sampler", "Euler a")  # it has no such schedule
    page.wait_for_function("document.querySelector('#generate-schedule input').value === 'Default'")
    pick(page, "generate-sampler", "Euler")
    pick(page, "generate-model", "mini-dit")
    page.wait_for_function("app.promptBox('generate-prompt').parsed.tokens?.length === 2")
    assert page.input_value("#generate-sampler input") == "Euler"  # both have one of that name
    page.click("#generate-sampler input")
    offered = [text.strip(" ✓\n") for text in page.locator("[role=option]").all_inner_texts()]
    assert set(offered) == {"Default of the model", *served.context.models.samplers("mini-dit")} - {"own"}
    page.keyboard.press("Escape")
    page.fill(AREA, "um gato")
    fill_number(page, "generate-steps", 2)
    page.click("#generate-go")
    page.wait_for_selector(f"{PICTURE}[data-state=done] .pw-chip")
    session = served.context.sessions.last("run")
    assert session.result.settings["model"] == "mini-dit"
    assert session.result.settings["scheduler"] == "FlowMatchEulerDiscreteScheduler"


def test_target_share_is_marked_and_its_weight_shown(open_page, served):
    page = open_page()
    page.fill(AREA, "um (gato:=30%) aa")
    page.wait_for_selector("#generate-prompt .pw-weighted")
    assert page.locator("#generate-prompt .pw-weighted").all_inner_texts() == ["gato"]
    fill_number(page, "generate-steps", 4)
    page.click("#generate-go")
    page.wait_for_selector(f"{PICTURE}[data-state=done] .pw-chip")
    assert page.inner_text(f"{CHIP}:nth-child(2) .pw-weight") == "=30\u00a0%"
    solved = served.context.sessions.last("run").result.shares[0][0]
    note = page.inner_text("#generate-picture .pw-share-result")
    assert "gato" in note
    assert f"{solved.weight:.3g}"[:4] in note
    page.focus(f"{CHIP}:nth-child(2)")
    page.keyboard.press("+")
    page.wait_for_function(f"document.querySelector('{AREA}').value === 'um (gato:=35%) aa'")
    page.wait_for_selector(f"{CHIP}:nth-child(2).pw-changed")
    page.fill(AREA, "um (gato:=250%)")
    page.wait_for_selector("#generate-prompt-report .pw-diagnostic")


def test_models_and_steps_are_compared(open_page):
    page = open_page()
    page.fill(AREA, "um gato")
    fill_number(page, "generate-steps", 2)
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


def test_painted_regions_are_restored_from_a_file(open_page, served):
    page = open_page()
    page.fill(AREA, "um gato aa")
    fill_number(page, "generate-steps", 2)
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
    record = served.context.sessions.last("run").result.settings["regions"]
    assert record["words"] == ["gato", "", ""]
    first = served.context.sessions.last("run").result.images[0]
    name = list(served.context.sessions.used)[-1]
    page.get_by_role("tab", name="Regions", exact=True).click()
    page.reload()
    page.wait_for_selector(f"{AREA}.pw-area")
    page.get_by_role("tab", name="History", exact=True).click()
    path = served.context.parts["history"].files(name)[0][0]
    page.set_input_files("#history-upload input[type=file]", path)
    page.wait_for_selector("#history-paint:visible")
    page.click("#history-paint")
    page.wait_for_selector("#regions-go:visible")
    page.wait_for_function("document.querySelector('#regions-orange input').value === 'gato'")
    assert page.input_value("#generate-steps input[type=number]") == "2"
    page.click("#regions-go")
    page.wait_for_selector("#regions-picture .pw-picture[data-state=done] .pw-chip")
    restored = served.context.sessions.last("run").result
    assert restored.settings["regions"] == record
    assert restored.images[0].tobytes() == first.tobytes()
