"""Infotexts of AUTOMATIC1111, formatted and parsed."""

from hypothesis import given
from hypothesis import strategies as st

from promptweight.metadata import format_infotext, parse_infotext

SETTINGS = {"Steps": 25, "Sampler": "DDIM", "CFG scale": 4.5, "Seed": 1, "Size": "64x64", "Model": "mini"}


def test_format_infotext_equals_create_infotext_of_automatic1111():
    # The format of processing.create_infotext in that tool.
    assert format_infotext("um (gato:1.4)", "feio", {**SETTINGS, "Clip skip": None, "Note": "a, b: c"}) == (
        "um (gato:1.4)\nNegative prompt: feio\n"
        'Steps: 25, Sampler: DDIM, CFG scale: 4.5, Seed: 1, Size: 64x64, Model: mini, Note: "a, b: c"'
    )
    assert "Negative prompt" not in format_infotext("gato", "", SETTINGS)
    scheduled = {**SETTINGS, "Sampler": "DPM++ 2M Karras"}
    assert "Sampler: DPM++ 2M, Schedule type: Karras, CFG scale" in format_infotext("gato", "", scheduled)


def test_parse_infotext_of_other_tools_gives_prompts_and_settings():
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


def test_parse_infotext_with_few_pairs_keeps_the_line_in_the_prompt():
    assert parse_infotext("a cat, ratio 16:9") == ("a cat, ratio 16:9", "", {})


def storable(text: str) -> str:
    """Return the text as an infotext can store it."""
    return format_infotext(text, "", {})


@given(st.dictionaries(st.sampled_from(["Steps", "Seed", "Model", "Note"]), st.text()))
def test_infotext_values_survive_a_round_trip(values):
    values = {name: storable(value).strip() for name, value in values.items()}
    line = format_infotext("x", "", {"Steps": "1", "Seed": "2", "Size": "8x8", **values}).split("\n", 1)[1]
    _, _, settings = parse_infotext("x\n" + line)
    assert {name: settings[name] for name in values} == values


@given(st.text())
def test_parse_infotext_never_raises(text):
    parse_infotext(text)


def test_parse_infotext_takes_time_linear_in_the_length():
    # Texts with which a backtracking parser reads the same characters again; reads are counted, not timed.
    shapes = [",x", ":", ", :", '"', '\\"', 'a:"', "a b ", 'a: "x\\", ', " "]
    for shape in shapes:
        reads = []
        for size in (2_000, 4_000):

            class Counted(str):
                __slots__ = ()
                characters = 0

                def strip(self, *characters):
                    return Counted(str.strip(self, *characters))

                def split(self, *separator):
                    return [Counted(part) for part in str.split(self, *separator)]

                def __getitem__(self, at):
                    Counted.characters += len(range(*at.indices(len(self)))) if isinstance(at, slice) else 1
                    return str.__getitem__(self, at)

                def find(self, sub, start=0, *rest):
                    end = str.find(self, sub, start, *rest)
                    Counted.characters += (len(self) if end < 0 else end) - start + 1
                    return end

            parse_infotext(Counted("x" + shape * size + "a: b"))
            reads.append(Counted.characters)
        assert reads[0] >= 2_000 * len(shape)
        assert reads[1] < 2.5 * reads[0] + 100, shape
