"""Parse trees: the prompt of each step, from one tree."""

import pytest

from promptweight.errors import SettingError
from promptweight.prompt import parse, to_fragments
from promptweight.prompt.nodes import Alternate, Break, Edit, Text, Weighted


def test_tree_at_gives_the_text_of_the_first_step():
    prompt = parse("um [gato:cão:0.5] (a:[1.2:0.8:3]) [céu|mar]").at()
    assert prompt.text == "um gato a céu"
    assert prompt.scheduled
    assert to_fragments(prompt) == [("um gato ", 1.0), ("a", 1.2), (" céu", 1.0)]
    place = prompt.text.index("céu")
    assert prompt.source[prompt.to_source(place) :].startswith("céu")


def test_tree_nodes_have_their_ranges_and_contents():
    part = parse("um (gato:1.4) BREAK [a:b:3] [c|d]").parts[0]
    assert [type(node) for node in part.nodes] == [
        *(Text, Weighted, Text, Break, Edit, Text, Text, Text, Alternate, Text, Text),
    ]
    group, edit, alternate = part.nodes[1], part.nodes[4], part.nodes[8]
    source = part.text.text
    assert source[group.start : group.end] == "(gato:1.4)"
    assert source[group.start + 1 : group.content_end] == "gato"
    assert source[edit.start : edit.end] == "[a:b:3]"
    assert [source[node.start : node.end] for node in part.nodes[5:7]] == ["a", "b"]
    assert source[alternate.start : alternate.end] == "[c|d]"
    assert (group.stop, edit.branches, alternate.branches) == (3, (5, 6, 7), (9, 10, 11))


def test_tree_groups_that_cross_keep_their_own_ranges():
    nodes = parse("(a [b) c]", "a1111").parts[0].nodes
    groups = [node for node in nodes if isinstance(node, Weighted)]
    assert [(group.start, group.end, group.origin) for group in groups] == [(0, 6, "round"), (3, 9, "square")]
    weights = [span.weight for span in parse("(a [b) c]", "a1111").at().spans]
    assert weights == pytest.approx([1.1, 1.0, 1 / 1.1])


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        ("[a:b:2] c", ["a c", "a c", "b c", "b c"]),
        ("[a|b|c]", ["a", "b", "c", "a"]),
        ("[a|[b:c:3]]", ["a", "b", "a", "c"]),
        ("x[ BREAK y:z:2]", ["x y", "x y", "xz", "xz"]),
        ("BR[EAK:OWN:2] a", [" a", " a", "BROWN a", "BROWN a"]),
        ("[x::2]BREAK", ["xBREAK", "xBREAK", " ", " "]),
    ],
)
@pytest.mark.parametrize("dialect", ["pw", "a1111"])
def test_tree_at_gives_the_text_of_each_step(source, texts, dialect):
    tree = parse(source, dialect)
    assert [tree.at(step, 4).text for step in range(1, 5)] == texts


def test_tree_weight_completed_by_an_edit_is_that_of_each_step():
    tree = parse("(x:[1.2:0.8:2]) (y:1.[1|5]) (z:[=25%::2])")
    assert [[span.weight for span in tree.at(step, 4).spans] for step in (1, 2)] == [
        [1.2, 1.0, 1.1, 1.0, 1.0],
        [1.2, 1.0, 1.5, 1.0, 1.0],
    ]
    third = tree.at(3, 4)
    assert [(span.text, span.weight) for span in third.spans] == [
        ("x", 0.8),
        (" ", 1.0),
        ("y", 1.1),
        (" ", 1.0),
        ("z:", 1.1),
    ]
    assert [span.options.share for span in tree.at(1, 4).spans] == [None, None, None, None, 0.25]


def test_tree_without_edits_gives_the_same_prompt_at_every_step():
    tree = parse("um (gato:1.4)")
    assert tree.at(1, 10) == tree.at(7, 10)
    assert not tree.is_scheduled


@pytest.mark.parametrize(("step", "steps", "name"), [(0, 4, "step"), (1, 0, "steps")])
def test_tree_at_invalid_step_raises_setting_error(step, steps, name):
    with pytest.raises(SettingError, match=f"{name} must be at least 1; got 0"):
        parse("[a|b]").at(step, steps)
