"""Fixtures of other folders that these tests use, and the reason of skipped tests."""

import pytest
import torch

from tests.fixtures.attention import pipe, tiny  # noqa: F401


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests with the mark `gpu` on machines without a CUDA device."""
    if item.get_closest_marker("gpu") is not None and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
