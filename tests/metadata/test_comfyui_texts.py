"""Prompts that ComfyUI makes of several text nodes, by what the nodes output."""

import time

import pytest

from promptweight.metadata.comfyui import read_comfyui
from tests.metadata.graphs import graph, node

FOX, SNOW = node("PrimitiveStringMultiline", value="red fox"), node("PrimitiveString", value="in snow")

TEN = {f"text{number}": letter for number, letter in [(10, "j"), *enumerate("abcdefghi", 1)]}
JOINED = {
    "core": (
        "red fox, in snow",
        node("StringConcatenate", string_a=["11", 0], string_b=["12", 0], delimiter=", "),
    ),
    "Comfyroll": (
        "red fox, in snow",
        node("CR Text Concatenate", text1=["11", 0], text2="in snow", separator=", "),
    ),
    "Comfyroll, an empty text": (
        ", in snow",
        node("CR Text Concatenate", text1="", text2="in snow", separator=", "),
    ),
    "WAS": (
        "red fox\nin snow",
        node(
            "Text Concatenate", delimiter="\\n", clean_whitespace="true", text_a=["11", 0],
            text_b=" in snow ", text_c="",
        ),
    ),
    "KJNodes": (
        "red fox | in snow",
        node("JoinStrings", string1=["11", 0], string2="in snow", delimiter=" | "),
    ),
    "KJNodes, many": (
        "red fox, in snow, x",
        node(
            "JoinStringMulti", inputcount=3, string_1=["11", 0], string_2=["12", 0], string_3="x",
            delimiter=", ", return_list=False,
        ),
    ),
    "Easy Use": (
        "red fox, in snow",
        node("easy promptConcat", prompt1=["11", 0], prompt2=["12", 0], separator=", "),
    ),
    "Custom Scripts": (  # its own clean-up of tags leaves no space
        "red fox,in snow",
        node(
            "StringFunction|pysssss", action="append", tidy_tags="yes", text_a="red fox ", text_b=",in snow",
            text_c="",
        ),
    ),
    "Custom Scripts, replace": (
        "blue fox",
        node(
            "StringFunction|pysssss", action="replace", tidy_tags="no", text_a=["11", 0], text_b="red",
            text_c="blue",
        ),
    ),
    "ten texts": ("a b c d e f g h i j", node("Text Concatenate (JPS)", delimiter="space", **TEN)),
    "replaced": ("blue fox", node("StringReplace", string=["11", 0], find="red", replace="blue")),
    "trimmed": ("red fox", node("StringTrim", string="  red fox ", mode="Both")),
    "upper case": ("RED FOX", node("CaseConverter", string=["11", 0], mode="UPPERCASE")),
    "cut": ("fox", node("StringSubstring", string=["11", 0], start=4, end=7)),
    "nested": (
        "a, red fox, in snow",
        node("StringConcatenate", string_a="a", string_b=["13", 0], delimiter=", "),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", JOINED)
def test_texts_are_joined_as_the_node_does(case):
    prompt, joining = JOINED[case]
    inner = node("StringConcatenate", string_a=["11", 0], string_b=["12", 0], delimiter=", ")
    info = read_comfyui(graph(["10", 0], **{"10": joining, "11": FOX, "12": SNOW, "13": inner}))
    assert (info.prompt, info.negative_prompt, info.error) == (prompt, "blurry", None)


@pytest.mark.parametrize(
    "passing",
    [
        node("ShowText|pysssss", text=["11", 0], text_0="of the run before"),
        node("Reroute", **{"": ["11", 0]}),
        node("PreviewAny", source=["11", 0]),
        node("ImpactWildcardProcessor", wildcard_text="{red|blue} fox", populated_text="red fox"),
        node("ImpactSwitch", select=2, input1="blue fox", input2=["11", 0], sel_mode=False),
        node("ImpactConditionalBranch", cond=True, tt_value=["11", 0], ff_value=["12", 0]),
        node("Switch any [Crystools]", boolean=False, on_true=["12", 0], on_false=["11", 0]),
        node("LazySwitchKJ", switch=["20", 0], on_true=["11", 0], on_false=["12", 0]),
        node("CR Text Input Switch", Input=2, text1=["12", 0], text2=["11", 0]),
        node("CR Text Input Switch", Input=["21", 0], text1=["12", 0], text2=["11", 0]),
        node("Text Input Switch", boolean=True, text_a=["11", 0], text_b=["12", 0]),
        node("Any Switch (rgthree)", any_02=["11", 0], any_03=["12", 0]),
        node("easy textIndexSwitch", index=1, text0=["12", 0], text1=["11", 0]),
        node("ComfySwitchNode", switch=True, on_true=["11", 0], on_false=["12", 0]),
        node("SDXLPromptStyler", text_positive=["11", 0], text_negative="bad", style="base", log_prompt="No"),
        node("String Literal", string="red fox"),
        node("CR Text", text="red fox"),
        node("My Own Text Box", text="red fox"),
    ],
    ids=lambda each: f"{each['class_type']} {each['inputs'].get('Input', '')}",
)  # fmt: skip
def test_switches_and_passing_nodes_give_the_text_that_they_output(passing):
    more = {"20": node("PrimitiveBoolean", value=True), "21": node("PrimitiveInt", value=2)}
    info = read_comfyui(graph(["10", 0], **{"10": passing, "11": FOX, "12": SNOW, **more}))
    assert (info.prompt, info.error) == ("red fox", None)


@pytest.mark.parametrize(
    "opaque",
    [
        node(
            "SDXLPromptStyler",
            text_positive=["11", 0],
            text_negative="bad",
            style="sai-anime",
            log_prompt="No",
        ),
        node("OllamaGenerate", prompt=["11", 0], model="llama"),
        node("DPRandomGenerator", text="{red|blue} fox", seed=3, autorefresh="No"),
        node("WD14Tagger|pysssss", image=["8", 0], threshold=0.35),
        node("Florence2Run", text_input="", image=["8", 0]),
        node("RegexReplace", string=["11", 0], regex_pattern="r.d", replace="blue"),
        node("StringFunction|pysssss", action="replace", text_a=["11", 0], text_b="/r.d/", text_c="blue"),
        node("ImpactSwitch", select=["30", 0], input1="a", input2="b"),
        node("ImpactSwitch", select=3, input1="a", input2="b"),
        node("My Own Text Box", text="a __color__ fox"),
        node("My Own Joiner", first=["11", 0], second=["12", 0]),
        node("Load Text File", file_path="a.txt"),
        node("Text Concatenate (JPS)", delimiter="comma", text1="a", text2="b"),
        node("StringConcatenate", string_a=["10", 0], string_b="b", delimiter=", "),
        node("StringConcatenate", string_a=["99", 0], string_b="b", delimiter=", "),
    ],
    ids=lambda each: each["class_type"],
)
def test_text_that_is_not_in_the_file_is_an_error_and_no_half_prompt(opaque):
    info = read_comfyui(
        graph(["10", 0], **{"10": opaque, "11": FOX, "12": SNOW, "30": node("RandomInt", min=1)})
    )
    assert info.prompt == ""
    assert info.error.code in ("prompt-node-unknown", "prompt-link-missing")


def test_both_outputs_of_a_style_node_are_read_by_their_number():
    style = node("SDXLPromptStyler", text_positive="fox", text_negative="ugly", style="base", log_prompt="No")
    info = read_comfyui(graph(["10", 0], ["10", 1], **{"10": style}))
    assert (info.prompt, info.negative_prompt) == ("fox", "ugly")


def test_text_of_an_unknown_node_gives_a_warning():
    info = read_comfyui(graph(["10", 0], **{"10": node("My Own Text Box", text="red fox")}))
    assert [warning.code for warning in info.warnings] == ["nodes-assumed"]
    assert "My Own Text Box" in info.warnings[0]


def test_long_chain_of_texts_is_joined_without_recursion():
    size = 3_000
    nodes = {
        f"t{n}": node("StringConcatenate", string_a=[f"t{n + 1}", 0], string_b="a", delimiter="")
        for n in range(size)
    }
    nodes[f"t{size}"] = node("PrimitiveString", value="b")
    assert read_comfyui(graph(["t0", 0], **nodes)).prompt == "b" + "a" * size


DOUBLED = {
    "joined": node("StringConcatenate", string_a=["{}", 0], string_b=["{}", 0], delimiter=","),
    "replaced": node("StringReplace", string=["{}", 0], find="a", replace="aa"),
    "function": node("StringFunction|pysssss", action="append", text_a=["{}", 0], text_b=["{}", 0]),
}


@pytest.mark.parametrize("doubling", DOUBLED)
def test_text_that_nodes_double_without_end_is_an_error(doubling):
    kind, inputs = DOUBLED[doubling].values()
    nodes = {
        str(number): node(
            kind,
            **{
                name: [str(number + 1), 0] if isinstance(value, list) else value
                for name, value in inputs.items()
            },
        )
        for number in range(100, 160)
    }
    info = read_comfyui(graph(["100", 0], **nodes, **{"160": node("PrimitiveString", value="a")}))
    assert (info.prompt, info.error.code) == ("", "prompt-node-unknown")


@pytest.mark.parametrize(
    "text", ["{" + "|" * 300_000, "{a|" * 100_000, "__a" + "_ " * 150_000, "%a." * 100_000]
)
def test_long_text_of_an_unknown_node_takes_linear_time(text):
    start = time.process_time()
    read_comfyui(graph(["11", 0], **{"11": node("Unheard", text=text)}))
    assert time.process_time() - start < 2
