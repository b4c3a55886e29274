"""Fixtures of the tests of other libraries' interfaces: tiny models of their families."""

from tests.fixtures.text_encoders import (  # noqa: F401
    flux,
    make_flux,
    make_sd,
    make_sd3,
    make_sdxl,
    sd,
    sd3,
    sdxl,
)
