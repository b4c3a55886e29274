"""Names of methods, normalizers and modes: one list for the code with torch and without it."""

import subprocess
import sys

from promptweight.prompt.model import MODES
from promptweight.weighting import (
    ATTACH_MODES,
    ENCODER_MODES,
    KEY_MODES,
    METHOD_NAMES,
    METHODS,
    NORMALIZER_NAMES,
    NORMALIZERS,
)


def test_names_are_the_keys_of_the_tables():
    assert tuple(METHODS) == METHOD_NAMES
    assert tuple(NORMALIZERS) == NORMALIZER_NAMES


def test_modes_of_a_word_are_those_of_the_encoder_and_of_attention():
    assert set(MODES) == {*ENCODER_MODES, *KEY_MODES} - {"split"}  # a default of sessions, not of a word
    assert (*KEY_MODES, "clip") == ATTACH_MODES


def test_names_import_without_torch():
    code = "import sys; from promptweight.weighting import METHOD_NAMES; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
