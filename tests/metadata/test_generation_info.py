"""Numbers, names of files and LoRAs of other tools."""

import pytest

from promptweight.metadata.generation_info import (
    InfoBuilder,
    file_stem,
    read_integer,
    read_number,
    read_option,
)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (5, 5),
        ("5", 5),
        ("5.0", 5),
        (5.0, 5),
        ("18446744073709551615", 2**64 - 1),
        (2**64 - 1, 2**64 - 1),
        ("-3", -3),
    ],
)
def test_whole_numbers_are_exact(value, number):
    assert read_integer(value) == number


@pytest.mark.parametrize(
    "value", [None, True, "x", "", "1.5", 1.5, [1], {}, float("inf"), float("nan"), "9" * 5000, "1e30"]
)
def test_other_values_are_no_whole_numbers(value):
    assert read_integer(value) is None


@pytest.mark.parametrize("value", [None, False, "nan", "inf", "1e400", [], "1,5"])
def test_other_values_are_no_numbers(value):
    assert read_number(value) is None


@pytest.mark.parametrize(
    ("option", "value", "read"),
    [
        ("num_inference_steps", 0, None),
        ("num_inference_steps", 1, 1),
        ("seed", 0, 0),
        ("seed", -1, None),
        ("seed", 2**64, None),
        ("guidance_scale", "0", 0),
        ("guidance_scale", -1, None),
        ("width", 0, None),
    ],
)
def test_options_have_their_ranges(option, value, read):
    assert read_option(option, value) == read


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("a/b/x.safetensors", "x"),
        ("a\\b\\x.SafeTensors", "x"),
        ("x.v1.0", "x.v1.0"),
        ("x.v1.0.ckpt", "x.v1.0"),
    ],
)
def test_file_stem(path, stem):
    assert file_stem(path) == stem


def test_settings_are_followed_skipped_or_named_once():
    builder = InfoBuilder(
        "X", {"Steps": "20", "steps": 30, "Seed": "x", "Other": 1, "Empty": "", "Known": 2}, "pw"
    )
    builder.follow("num_inference_steps", "steps")
    builder.follow("seed", "seed")
    builder.skip("known")
    info = builder.build("a")
    assert info.options == {"num_inference_steps": 20}
    assert [warning.fields["names"] for warning in info.warnings] == ["Seed, steps, Other"]


def test_many_unfollowed_settings_are_one_short_warning():
    builder = InfoBuilder("X", {f"setting {number}": 1 for number in range(1000)}, "pw")
    (warning,) = builder.build("a").warnings
    assert warning.fields["names"].endswith("setting 19, …")


@pytest.mark.parametrize(("name", "weight"), [("None", 1), ("", 1), (None, 1), ("x", 0), (3, 1)])
def test_lora_without_name_or_weight_is_left_out(name, weight):
    builder = InfoBuilder("X", {}, "pw")
    builder.add_lora(name, weight)
    assert (builder.loras, builder.warnings) == ([], [])


def test_lora_with_an_unreadable_weight_is_told():
    builder = InfoBuilder("X", {}, "pw")
    builder.add_lora("x", "heavy")
    assert [warning.code for warning in builder.warnings] == ["lora-weight-unknown"]
