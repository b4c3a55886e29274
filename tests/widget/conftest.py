"""The app's headless browser."""

from tests.ui.conftest import browser  # noqa: F401
