"""Test vectors of heat map painting: the file that the JavaScript tests load."""

from tests.ui.heat_vectors import PATH, format_vectors


def test_heat_vectors_file_is_up_to_date():
    assert PATH.read_text(encoding="utf-8") == format_vectors(), "run: python tests/ui/heat_vectors.py"
