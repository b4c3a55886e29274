"""Fixtures of the tests of modular pipelines: tiny models of SDXL and FLUX."""

from tests.fixtures.text_encoders import flux, sd, sdxl  # noqa: F401
