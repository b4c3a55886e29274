"""A prompt is parsed once in a run of `generate`, from its text to the metadata of the image."""

import pytest

import promptweight
from promptweight.prompt import ParseTree


@pytest.fixture
def parsed(monkeypatch):
    """Return the list of the sources that are parsed, in order."""
    sources = []
    make_tree = ParseTree.__init__

    def count_tree(tree, source, *arguments, **options):
        sources.append(source)
        make_tree(tree, source, *arguments, **options)

    monkeypatch.setattr(ParseTree, "__init__", count_tree)
    return sources


@pytest.mark.parametrize(
    "prompt",
    ["um (gato:1.4)", "um [gato:rato:0.5] (um:1.2)", "um gato AND um rato:0.5", "um [gato|rato] BREAK um"],
)
def test_generate_parses_each_prompt_once(tiny_pipe, parsed, tmp_path, prompt):
    result = promptweight.generate(
        tiny_pipe, prompt, negative_prompt="um (rato:0.5)", seed=1, num_inference_steps=2
    )
    result.save(tmp_path / "image.png")
    result.maps.save(tmp_path / "maps.safetensors")
    assert sorted(parsed) == sorted([prompt, "um (rato:0.5)"])
