"""Names of weightings, methods and normalizers: one list for the code with torch and without it."""

import subprocess
import sys

import pytest

from promptweight.weighting import (
    CLIP_ATTENTION,
    DIALECT_METHODS,
    KEY_WEIGHTINGS,
    METHOD_NAMES,
    METHODS,
    NORMALIZER_NAMES,
    NORMALIZERS,
    WEIGHTING_NAMES,
    WORD_WEIGHTINGS,
    resolve_word_weighting,
)


def test_names_are_the_keys_of_the_tables():
    assert tuple(METHODS) == METHOD_NAMES
    assert tuple(NORMALIZERS) == NORMALIZER_NAMES
    assert set(DIALECT_METHODS.values()) <= set(METHOD_NAMES)


def test_weightings_are_the_methods_and_the_weightings_of_words_in_attention():
    assert (*METHOD_NAMES, *KEY_WEIGHTINGS, CLIP_ATTENTION) == WEIGHTING_NAMES
    assert ("embedding", *KEY_WEIGHTINGS, CLIP_ATTENTION) == WORD_WEIGHTINGS


@pytest.mark.parametrize(
    ("weight", "is_local", "expected"),
    [
        (1.4, False, "attention"),
        (1.0, False, "embedding"),
        (0.5, False, "embedding"),
        (-1.0, False, "embedding"),
        (0.5, True, "attention"),
        (1.4, True, "attention"),
    ],
)
def test_split_applies_weights_above_1_and_local_ones_in_attention(weight, is_local, expected):
    assert resolve_word_weighting(None, weight, "split", is_local=is_local) == expected


def test_option_of_a_word_has_precedence_over_every_default():
    for option in WORD_WEIGHTINGS:
        for default in (*WORD_WEIGHTINGS, "split"):
            assert resolve_word_weighting(option, 1.4, default, is_local=True) == option
            assert resolve_word_weighting(None, 0.5, option) == option


def test_names_import_without_torch():
    code = (
        "import sys; from promptweight.weighting import METHOD_NAMES, Weighting; "
        "Weighting.parse('attention'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
