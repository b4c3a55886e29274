"""Output of the commands."""

import pytest

from promptweight.cli.console import name_options


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("clip_skip must be an integer; got 'x'", "--clip-skip must be an integer; got 'x'"),
        ("width must be a multiple of 8", "--width must be a multiple of 8"),
        ("pass its folder as lora_dir", "pass its folder as --lora-dir"),
        ("the width must be small", "the width must be small"),
        ("weighting of words", "weighting of words"),
        ("my_clip_skip", "my_clip_skip"),
        ("use kind='refine' where", "use --kind refine where"),
        ("load it with dtype='float32'", "load it with --dtype float32"),
    ],
)
def test_arguments_of_python_become_options(text, expected):
    assert name_options(text) == expected
