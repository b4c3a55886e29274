"""Warnings of a session about what its run left out."""

import pytest

from promptweight.attention import attach

SETTINGS = {
    "unet": ("guidance_scale", lambda tiny: tiny.pipeline()),
    "sdxl": ("guidance_scale", lambda tiny: tiny.sdxl_pipeline()),
    "sd3": ("guidance_scale", lambda tiny: tiny.sd3_pipeline()),
    "flux": ("true_cfg_scale", lambda tiny: tiny.flux_pipeline()),
}


@pytest.mark.parametrize("kind", SETTINGS)
@pytest.mark.parametrize(
    ("negative", "scale", "guidance", "is_idle"),
    [
        ("feio", 1.0, None, True),
        ("feio", 4.0, None, False),
        ("feio", 1.0, "nag", False),
        (None, 1.0, None, False),
    ],
)
def test_session_warns_of_a_negative_prompt_that_did_not_act(tiny, kind, negative, scale, guidance, is_idle):
    """At its end, once for all runs."""
    name, make = SETTINGS[kind]
    pipe, encoded = make(tiny), tiny.encode("um gato", negative=negative)
    settings = {"num_inference_steps": 1, "height": 16, "width": 16, name: scale}
    if kind != "unet":
        settings |= tiny.pooled(1)
    if negative is None:
        settings.pop("negative_pooled_prompt_embeds", None)
    with attach(pipe, encoded, negative_guidance=guidance) as session:
        for _ in range(2):
            tiny.run(pipe, session.inputs, **settings)
        assert session.warnings == []
    assert [warning.code for warning in session.warnings] == ["negative-not-run"] * is_idle


def test_session_without_a_run_does_not_warn(tiny):
    with attach(tiny.pipeline(), tiny.encode("um gato", negative="feio")) as session:
        pass
    assert session.warnings == []
