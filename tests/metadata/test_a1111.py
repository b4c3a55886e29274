"""The text of AUTOMATIC1111: written as that tool does, read whatever it holds."""

from hypothesis import given
from hypothesis import strategies as st

from promptweight.metadata.a1111 import _read_settings, format_infotext, parse_infotext, writable

SETTINGS = {"Steps": 25, "Sampler": "DDIM", "CFG scale": 4.5, "Seed": 1, "Size": "64x64", "Model": "mini"}


def test_parameters_are_written_as_automatic1111_does():
    # The shape that processing.create_infotext of that tool gives.
    assert format_infotext("um (gato:1.4)", "feio", {**SETTINGS, "Clip skip": None, "Note": "a, b: c"}) == (
        "um (gato:1.4)\nNegative prompt: feio\n"
        'Steps: 25, Sampler: DDIM, CFG scale: 4.5, Seed: 1, Size: 64x64, Model: mini, Note: "a, b: c"'
    )
    assert "Negative prompt" not in format_infotext("gato", "", SETTINGS)
    scheduled = {**SETTINGS, "Sampler": "DPM++ 2M Karras"}
    assert "Sampler: DPM++ 2M, Schedule type: Karras, CFG scale" in format_infotext("gato", "", scheduled)


def test_parameters_of_other_tools_are_read():
    text = (
        "masterpiece, (cat:1.2),\nby the sea\nNegative prompt: lowres,\nbad hands\n"
        "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 42, Size: 512x768, Model hash: 6ce0161689, "
        'Lora hashes: "a: 1b, c: 2d", Version: v1.9.4'
    )
    prompt, negative, settings = parse_infotext(text)
    assert prompt == "masterpiece, (cat:1.2),\nby the sea"
    assert negative == "lowres,\nbad hands"
    assert settings == {
        "Steps": "20",
        "Sampler": "Euler a",
        "CFG scale": "7",
        "Seed": "42",
        "Size": "512x768",
        "Model hash": "6ce0161689",
        "Lora hashes": "a: 1b, c: 2d",
        "Version": "v1.9.4",
    }


def test_a_last_line_with_few_pairs_is_prompt():
    assert parse_infotext("a cat, ratio 16:9") == ("a cat, ratio 16:9", "", {})


@given(st.dictionaries(st.sampled_from(["Steps", "Seed", "Model", "Note"]), st.text()))
def test_values_come_back_whatever_they_hold(values):
    values = {name: writable(value).strip() for name, value in values.items()}
    line = format_infotext("x", "", {"Steps": "1", "Seed": "2", "Size": "8x8", **values}).split("\n", 1)[1]
    _, _, settings = parse_infotext("x\n" + line)
    assert {name: settings[name] for name in values} == values


@given(st.text())
def test_reading_never_raises(text):
    parse_infotext(text)


def test_reading_takes_time_in_proportion_to_length():
    # Every shape of text that makes a searching reader look at the same letters again: counted, not timed.
    shapes = [",x", ":", ", :", '"', '\\"', 'a:"', "a b ", 'a: "x\\", ', " "]
    for shape in shapes:
        looks = []
        for size in (2_000, 4_000):

            class Counted(str):
                __slots__ = ()
                looked = 0

                def __getitem__(self, at):
                    Counted.looked += len(range(*at.indices(len(self)))) if isinstance(at, slice) else 1
                    return str.__getitem__(self, at)

                def find(self, sub, start=0, *rest):
                    end = str.find(self, sub, start, *rest)
                    Counted.looked += (len(self) if end < 0 else end) - start + 1
                    return end

            _read_settings(Counted(shape * size + "a: b"))
            looks.append(Counted.looked)
        assert looks[1] < 2.5 * looks[0] + 100, shape
