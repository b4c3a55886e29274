"""The walk in CONTRIBUTING through the files that one prompt enters, compared with a traced call."""

import re
import sys
from functools import partial
from pathlib import Path

import promptweight

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(promptweight.__file__).parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("\n## From a prompt to a kernel\n")[2].partition("\n## ")[0]
PROMPT = re.search(r'`promptweight\.generate\(pipe, "(.+?)"\)`', SECTION)[1]
WALK = re.findall(r"`([a-z_0-9/]+\.py)`", SECTION.partition("\n1. ")[2])


def trace_files(call):
    """Return the files of the package in the order in which `call` first enters a function of each."""
    entered = {}

    def note(frame, event, _):
        if event == "call" and frame.f_code.co_name != "<module>":
            entered.setdefault(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    paths = [Path(name) for name in entered]
    return [path.relative_to(PACKAGE).as_posix() for path in paths if path.is_relative_to(PACKAGE)]


def test_files_of_the_walk_are_entered_in_its_order(tiny_pipe, tmp_path):
    def call(prompt):
        result = promptweight.generate(tiny_pipe, prompt, seed=1, num_inference_steps=2)
        result.maps.word("gato")
        result.save(tmp_path)

    call("gato")  # imports all modules, which enters their classes
    entered = trace_files(partial(call, PROMPT))
    assert len(WALK) > 25
    assert set(WALK) <= set(entered)
    assert sorted(WALK, key=entered.index) == WALK


def test_every_path_in_contributing_exists():
    paths = re.findall(r"`((?:promptweight|ui|tests|examples)/[\w./-]*)`", PAGE)
    assert len(paths) > 30
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert missing == []
