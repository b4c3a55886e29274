"""Fixtures of other folders that these tests use."""

from tests.fixtures.attention import pipe, tiny  # noqa: F401
