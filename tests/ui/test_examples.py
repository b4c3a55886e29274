"""Examples of the built-in model: prompts, images made at the start, and the comparison of weights."""

from threading import Event, Thread
from types import SimpleNamespace

import pytest
from PIL import Image

from promptweight_ui import examples as module
from promptweight_ui.components.example_prompts import example_prompts
from promptweight_ui.components.picture import has_files
from promptweight_ui.context import Context
from promptweight_ui.examples import Examples
from promptweight_ui.form_store import opening_message
from promptweight_ui.models import Models
from promptweight_ui.runs import Run
from promptweight_ui.sessions import Session, Sessions

PATIENCE = 600  # seconds
# other libraries warn inside the threads
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def component(tmp_path):
    return SimpleNamespace(GRADIO_CACHE=str(tmp_path), temp_files=set(), keep_in_cache=set())


@pytest.fixture
def context(component):
    made = Context(Models(["mini"], device="cpu"), Sessions())
    made.parts |= {"picture": component, "compare_grid": component}
    return made


@pytest.fixture
def two_steps(monkeypatch):
    """Every image has two steps."""
    import promptweight

    whole = promptweight.generate
    monkeypatch.setattr(
        promptweight, "generate", lambda *arguments, **more: whole(*arguments, num_inference_steps=2, **more)
    )


def test_only_a_model_with_a_list_of_words_has_examples(model_folder):
    assert example_prompts(Models([str(model_folder)])) == {}
    prompts = example_prompts(Models(["mini"]))
    assert {language: len(texts) for language, texts in prompts.items()} == {"en": 4, "pt-br": 4}


def test_image_of_each_language_is_made_for_its_prompt(context, component, two_steps):
    examples = Examples(context)
    thread = examples.begin()
    prompts = example_prompts(context.models)
    for language in ("en", "pt-br"):
        first = prompts[language][0]
        example = examples.wait(None, language, PATIENCE)
        assert example.prompt == first
        assert examples.wait(first, "en", PATIENCE) is example
        assert example.message["former"]
        assert has_files(example.message)
        assert {image["path"] for image in example.message["images"]} <= component.keep_in_cache
    assert examples.wait("um gato azul", "en", PATIENCE) is None
    thread.join(PATIENCE)
    dial = examples.dial(prompts["en"][0])
    assert (dial["word"], dial["columns"]["values"]) == ("green tree", [0.0, 0.5, 1.0, 1.5, 2.0])
    assert [cell["column"] for cell in dial["cells"]] == [0, 1, 2, 3, 4]
    assert examples.dial("um gato azul") is None


def test_run_of_a_person_goes_first(context, two_steps, monkeypatch):
    import promptweight

    whole, begun, waits = promptweight.generate, Event(), Event()

    def slow(*arguments, callback, **more):
        def slow_callback(progress):
            begun.set()
            assert waits.wait(PATIENCE)
            return callback(progress)

        return whole(*arguments, callback=slow_callback, **more)

    monkeypatch.setattr(promptweight, "generate", slow)
    examples = Examples(context)
    thread = examples.begin()
    assert begun.wait(PATIENCE)
    turns, order = context.models.turns, []
    ticket = turns.join()

    def person():
        with turns.hold(ticket):
            order.append((len(examples.made), ticket.thread is not None))

    waiting = Thread(target=person)
    waiting.start()
    waits.set()
    waiting.join(PATIENCE)
    thread.join(PATIENCE)
    assert order == [(0, True)]
    assert set(examples.made) == {"en", "pt-br"}


def test_example_does_not_replace_the_image_of_a_run_that_began_meanwhile(context, two_steps):
    examples = context.parts["examples"] = Examples(context)
    examples.begin().join(PATIENCE)
    idle, running = Session(), Session(run=Run(context.models.turns))
    assert opening_message(context, idle, None, "en") is examples.made["en"].message
    assert idle.result is examples.made["en"].result
    assert opening_message(context, running, None, "en") is None
    assert (running.result, running.message) == (None, None)
    assert opening_message(context, Session(), "um gato azul", "en") is None


def test_busy_server_has_no_examples_and_no_page_waits(context, two_steps, monkeypatch):
    monkeypatch.setattr(module, "MAX_ATTEMPTS", 0)
    examples = Examples(context, is_pending=True)
    examples.begin().join(PATIENCE)
    assert examples.wait(None, "en", PATIENCE) is None


@pytest.mark.slow
def test_weights_of_the_default_comparison_visibly_change_the_image(context, component):
    examples = Examples(context)
    examples.begin().join(PATIENCE)
    for texts in example_prompts(context.models).values():
        images = [pixels(cell) for cell in examples.dial(texts[0])["cells"]]
        without, half, base, _, doubled = images
        assert changed_part(base, without) > 0.02
        assert changed_part(without, doubled) > 0.02
        assert changed_part(base, half) > 0.02


def pixels(cell):
    return Image.open(cell["path"]).convert("RGB")


def changed_part(one, other):
    """Return the part of the pixels whose mean difference exceeds a tenth of the range."""
    from PIL import ImageChops

    difference = ImageChops.difference(one, other).getdata()
    return sum(sum(pixel) / 3 > 25 for pixel in difference) / len(difference)
