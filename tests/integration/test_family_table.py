"""The table of proofs in the documentation against a new measurement."""

from pathlib import Path

import pytest

from tests.integration.family_table import Proof, prove
from tests.integration.test_language_models import CASES

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
SLOW = [name for name in CASES if name != "z-image"]
COLUMN_ERROR, WEIGHT_ERROR = 1e-6, 0.02
"""Bounds of the numbers, which depend on the machine; those of `test_language_models`."""


def check(proof: Proof) -> None:
    """Check that everything is proved, and that the page has the row."""
    assert proof.has_own_bits
    assert proof.removes_words
    assert proof.probe_finds_layers
    assert not proof.acts_outside
    assert 0 < proof.column_error < COLUMN_ERROR
    assert 0 <= proof.weight_error < WEIGHT_ERROR
    cells = [f"`{proof.pipeline}`", proof.encoder]
    (row,) = [
        line.strip("| ").split(" | ")
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith(f"| {cells[0]} | {cells[1]} |")
    ]
    own = str(proof).strip("| ").split(" | ")
    assert [row[k] for k in (2, 5, 6, 7)] == [own[k] for k in (2, 5, 6, 7)]
    assert float(row[3]) < COLUMN_ERROR
    assert float(row[4].rstrip("%")) < 100 * WEIGHT_ERROR


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in CASES])
def test_every_family_is_proved_as_the_page_says(name):
    check(prove(CASES[name]))
