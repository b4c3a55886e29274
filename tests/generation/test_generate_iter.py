"""`generate_iter`: its images, what it does once, and the pipeline between two results."""

import pytest
import torch

import promptweight
from promptweight.errors import SettingError, WordNotFoundError
from promptweight.generation import GenerateOptions, generate, generate_iter
from promptweight.prompt import ParseTree, parse

PROMPTS = ("um (gato:1.4)", "um [gato:rato:0.5]")
FAST = {"num_inference_steps": 2, "negative_prompt": "feio"}


def test_images_and_maps_are_those_of_generate(tiny_pipe):
    results = list(generate_iter(tiny_pipe, PROMPTS, seeds=[7, 3], **FAST))
    assert [(each.prompt.source, each.seeds) for each in results] == [
        (prompt, (seed,)) for prompt in PROMPTS for seed in (7, 3)
    ]
    for each in results:
        alone = generate(tiny_pipe, each.prompt, seed=each.seeds[0], **FAST)
        assert each.images[0].tobytes() == alone.images[0].tobytes()
        assert torch.equal(each.maps.word("gato").tensor, alone.maps.word("gato").tensor)
        assert (each.record(), each.warnings) == (alone.record(), alone.warnings)


@pytest.fixture
def counted(monkeypatch):
    """The sources that are parsed, and the prompts that are encoded."""
    parsed, encoded = [], []
    make_tree, encode = ParseTree.__init__, promptweight.conditioning.encode_scheduled

    def count_tree(tree, source, *arguments, **options):
        parsed.append(source)
        make_tree(tree, source, *arguments, **options)

    def count_encoding(pipe, prompts, *arguments, **options):
        encoded.append(tuple(prompt.source for prompt in prompts))
        return encode(pipe, prompts, *arguments, **options)

    monkeypatch.setattr(ParseTree, "__init__", count_tree)
    monkeypatch.setattr("promptweight.conditioning.encode_scheduled", count_encoding)
    return parsed, encoded


def test_each_prompt_is_parsed_and_encoded_once_for_all_its_seeds(tiny_pipe, counted):
    parsed, encoded = counted
    assert len(list(generate_iter(tiny_pipe, PROMPTS, seeds=range(3), record=False, **FAST))) == 6
    assert [source for source in parsed if source in PROMPTS] == list(PROMPTS)
    assert encoded == [(prompt,) for prompt in PROMPTS]


def test_pipeline_is_unchanged_between_results_and_may_be_used(tiny_pipe):
    processors, scheduler = dict(tiny_pipe.unet.attn_processors), tiny_pipe.scheduler

    def run_pipeline():
        generator = torch.Generator().manual_seed(5)
        return tiny_pipe("rato", num_inference_steps=1, generator=generator, output_type="np").images

    own = run_pipeline()
    seeds, results = (1, 2), []
    for result in generate_iter(tiny_pipe, "um (gato:2)", seeds=seeds, scheduler="Euler", **FAST):
        after = tiny_pipe.unet.attn_processors
        assert all(after[name] is each for name, each in processors.items())
        assert tiny_pipe.scheduler is scheduler
        assert (run_pipeline() == own).all()
        results.append(result)
    for seed, result in zip(seeds, results, strict=True):
        alone = generate(tiny_pipe, "um (gato:2)", seed=seed, scheduler="Euler", **FAST)
        assert result.images[0].tobytes() == alone.images[0].tobytes()


def test_left_iteration_leaves_the_pipeline_unchanged(tiny_pipe):
    processors = dict(tiny_pipe.unet.attn_processors)
    results = generate_iter(tiny_pipe, "um gato", seeds=range(9), record=False, **FAST)
    next(results)
    results.close()
    assert all(tiny_pipe.unet.attn_processors[name] is each for name, each in processors.items())


def test_seeds_are_those_of_the_options_when_none_are_given(tiny_pipe):
    options = GenerateOptions(seed=4, num_images_per_prompt=2, num_inference_steps=1, record=False)
    results = generate_iter(tiny_pipe, ["gato", parse("rato")], options=options)
    assert [(each.prompt.source, each.seeds) for each in results] == [
        (source, (seed,)) for source in ("gato", "rato") for seed in (4, 5)
    ]


def test_edit_and_targets_are_those_of_generate(tiny_pipe):
    (edited,) = generate_iter(tiny_pipe, "um gato", seeds=[7], edit="um rato", **FAST)
    alone = generate(tiny_pipe, "um gato", seed=7, edit="um rato", **FAST)
    assert edited.edited.images[0].tobytes() == alone.edited.images[0].tobytes()
    (solved,) = generate_iter(tiny_pipe, "um gato e rato", seeds=[7], targets={"gato": 0.5}, **FAST)
    assert (
        solved.shares == generate(tiny_pipe, "um gato e rato", seed=7, targets={"gato": 0.5}, **FAST).shares
    )


@pytest.mark.parametrize(
    ("prompt", "keywords", "error", "expected"),
    [
        (7, {}, SettingError, "prompt must be text or a Prompt; got int"),
        (["gato", 7], {}, SettingError, "prompt must be text or a Prompt; got int"),
        ("gato", {"seeds": 7}, SettingError, "seeds must be an iterable of integers; got int"),
        ("gato", {"seeds": [1, -1]}, SettingError, "seeds must be between 0 and .*; got -1"),
        ("gato", {"seeds": [1.5]}, SettingError, "seeds must be an integer; got 1.5"),
        ("gato", {"weighting": "magic"}, SettingError, "weighting must be one of"),
        ("gato", {"callback": print}, SettingError, "'callback'"),
        ("gato", {"require_words": ["rato"]}, WordNotFoundError, "'rato'"),
    ],
)
def test_invalid_argument_is_refused(tiny_pipe, prompt, keywords, error, expected):
    with pytest.raises(error, match=expected):
        list(generate_iter(tiny_pipe, prompt, **{"num_inference_steps": 1, "record": False, **keywords}))
