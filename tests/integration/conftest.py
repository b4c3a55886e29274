"""Fixtures of other folders that these tests use."""

from tests.fixtures.attention import pipe, tiny  # noqa: F401
from tests.fixtures.batches import plan_of, run_in  # noqa: F401
