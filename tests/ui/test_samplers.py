"""The samplers that the page offers: those that the models can really be run with."""

import inspect

import diffusers
import pytest

from promptweight import generate
from promptweight.errors import SettingError
from promptweight.models.schedulers import FLOW_SAMPLERS, NOISE_SCHEDULES, SAMPLERS, make_scheduler
from promptweight_ui.models import OTHERS, OWN, WITHOUT_SCHEDULE, Models, canonical, names, sampling

# diffusers' schedulers on numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


def test_which_have_noise_schedules_is_what_diffusers_says():
    classes = {sampler.scheduler for table in (SAMPLERS, FLOW_SAMPLERS) for sampler in table.values()}
    without = set()
    for name in classes:
        taken = inspect.signature(getattr(diffusers, name)).parameters
        has = [flag in taken for flag in NOISE_SCHEDULES.values()]
        assert all(has) or not any(has)
        without |= set() if any(has) else {name}
    assert without == WITHOUT_SCHEDULE


@pytest.mark.parametrize("is_flow", [False, True])
def test_every_one_can_be_made(is_flow):
    own = diffusers.FlowMatchEulerDiscreteScheduler() if is_flow else diffusers.DDIMScheduler()
    made = {name: make_scheduler(name, own) for name in names(is_flow=is_flow) if name != OWN}
    assert len(made) == len(names(is_flow=is_flow)) - 1
    assert all(("FlowMatch" in type(each).__name__) == is_flow for each in made.values())


@pytest.mark.parametrize("name", [OWN, *SAMPLERS, "DPM++ 2M Karras", *OTHERS])
def test_every_one_makes_a_picture_and_a_preview_of_it(tiny_pipe, name):
    from promptweight_ui.components.live_preview import Preview

    own, looks = tiny_pipe.scheduler, []
    with sampling(tiny_pipe, name):
        preview = Preview(tiny_pipe)
        result = generate(
            "um gato", tiny_pipe, num_inference_steps=4, seed=1, record=False,
            callback=lambda progress: looks.append(preview(progress)),
        )  # fmt: skip
    assert tiny_pipe.scheduler is own
    assert len(result.images) == 1
    assert looks
    assert all(look.size == result.images[0].size for look in looks)
    told = {result.settings["sampler"], result.settings["scheduler"]}
    assert name in told or name == OWN


def test_ones_own_comes_back_after_an_error(tiny_pipe):
    own = tiny_pipe.scheduler
    with pytest.raises(SettingError, match="no such EulerDiscrete"), sampling(tiny_pipe, "Euler"):
        raise SettingError(f"no such {type(tiny_pipe.scheduler).__name__}")
    assert tiny_pipe.scheduler is own
    with pytest.raises(SettingError, match="scheduler is"), sampling(tiny_pipe, "Best"):
        pass
    assert tiny_pipe.scheduler is own


def test_models_trained_by_flow_matching_have_samplers_of_their_own():
    models = Models(["mini", "mini-dit", "nobody/nothing-in-no-cache"])
    assert set(models.samplers("mini-dit")) == set(names(is_flow=True))
    assert set(models.samplers("mini")) == set(names(is_flow=False))
    assert models.samplers("nobody/nothing-in-no-cache") == models.samplers("mini")
    assert "DPM++ 2M" not in models.samplers("mini-dit")
    assert "Euler" in models.samplers("mini-dit")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("dpm++ 2m  karras", "DPM++ 2M Karras"), ("Euler a", "Euler a"), ("ddpmscheduler", "DDPMScheduler"),
     ("", None), (None, None), ("x" * 10_000, None), (3, None), ("Automatic", None)],
)  # fmt: skip
def test_names_from_files(name, expected):
    assert canonical(name, names(is_flow=False)) == expected
