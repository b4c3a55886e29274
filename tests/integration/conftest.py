"""Fixtures of other folders that these tests use."""

from tests.fixtures.attention import pipe, tiny  # noqa: F401
from tests.fixtures.batches import plan_of, run_in  # noqa: F401
from tests.fixtures.text_encoders import (  # noqa: F401
    clip_tokenizer,
    flux,
    make_flux,
    make_sd,
    make_sd3,
    make_sdxl,
    sd,
)
