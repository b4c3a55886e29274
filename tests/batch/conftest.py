"""Fixtures of other folders that these tests use."""

from tests.fixtures.batches import plan_of, run_in  # noqa: F401
