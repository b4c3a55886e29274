"""Negative guidance: its names, fields and text form."""

import subprocess
import sys

import pytest

from promptweight.attention import NegativeGuidance
from promptweight.errors import SettingError


def test_fields_have_the_defaults_of_their_name():
    assert NegativeGuidance() == NegativeGuidance("cfg")
    nag = NegativeGuidance("nag", scale=3)
    assert (nag.scale, nag.tau, nag.alpha, nag.offset) == (3, 2.5, NegativeGuidance("nag").alpha, None)
    vsf = NegativeGuidance("vsf")
    assert (vsf.tau, vsf.alpha) == (None, None)
    assert None not in (vsf.scale, vsf.offset)


@pytest.mark.parametrize(
    "guidance",
    [
        NegativeGuidance(),
        NegativeGuidance("nag"),
        NegativeGuidance("nag", scale=1.25, tau=10, alpha=1),
        NegativeGuidance("vsf", scale=0.5, offset=0),
    ],
)
def test_text_is_read_back(guidance):
    assert NegativeGuidance.parse(str(guidance)) == guidance
    assert NegativeGuidance.of(str(guidance)) == NegativeGuidance.of(guidance) == guidance


def test_text_may_leave_out_fields():
    assert NegativeGuidance.parse("nag alpha=0.5") == NegativeGuidance("nag", alpha=0.5)
    assert NegativeGuidance.parse("") == NegativeGuidance.of(None) == NegativeGuidance()


def test_neutral_guidance_does_not_act_in_attention():
    assert not NegativeGuidance().acts_in_attention
    assert not NegativeGuidance("nag", scale=1).acts_in_attention
    assert not NegativeGuidance("nag", alpha=0).acts_in_attention
    assert NegativeGuidance("nag").acts_in_attention
    assert NegativeGuidance("vsf", scale=0).acts_in_attention


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: NegativeGuidance("gag"), "must be one of: cfg, nag, vsf; got 'gag'; did you mean nag"),
        (lambda: NegativeGuidance("nag", scale=0.5), "scale must be between 1 and 100; got 0.5"),
        (lambda: NegativeGuidance("nag", alpha=2), "alpha must be between 0 and 1; got 2"),
        (lambda: NegativeGuidance("nag", tau=float("nan")), "tau must be"),
        (lambda: NegativeGuidance("vsf", offset="x"), "offset must be"),
        (lambda: NegativeGuidance("vsf", tau=2), "vsf must be among: scale, offset, .* got 'tau=2'"),
        (lambda: NegativeGuidance("cfg", scale=2), "cfg must be among: none, .* got 'scale=2'"),
        (lambda: NegativeGuidance.parse("nag scale=2 scale=3"), "each once; got 'scale=3'"),
        (lambda: NegativeGuidance.parse("nag strong"), "got 'strong' in 'nag strong'"),
        (lambda: NegativeGuidance.parse("vsf scale=x"), "scale must be"),
        (lambda: NegativeGuidance.of(5), "text or None; got int"),
    ],
)
def test_invalid_values_are_refused(make, error):
    with pytest.raises(SettingError, match=error):
        make()


def test_import_needs_no_torch():
    code = "import sys; from promptweight.attention import NegativeGuidance; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
