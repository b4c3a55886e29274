"""Fixtures of the tests of batches."""

import pytest

from promptweight.batch import parse_rows
from tests.fixtures.batches import plan_of, run_in  # noqa: F401


@pytest.fixture
def rows(tmp_path):
    """Function that reads a job file with some content and returns its values and its problems as text."""

    def rows(content, name="jobs.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        parsed, problems = parse_rows(path)
        return [row.values for row in parsed], [str(each).replace(str(path), name) for each in problems]

    return rows
