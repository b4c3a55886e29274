"""A prompt is parsed once in a whole batch, from the job file to the sidecar files, and in its preview."""

import pytest

from promptweight.batch import OutputOptions, Sweep
from promptweight.prompt import ParseTree

NEGATIVE = "feio (mau:1.2)"


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


@pytest.mark.parametrize("batch_size", [1, 4])
def test_batch_parses_each_prompt_once(plan_of, run_in, parsed, batch_size):
    prompts = ("um (gato:1.4)", "um [gato:rato:0.5] (um:1.2)", "um gato AND um rato:0.5")
    plan = plan_of(*prompts, num_inference_steps=2, negative_prompt=NEGATIVE, seeds=(1, 2))
    options = OutputOptions(overlays=("gato",), masks=True, maps=True)
    outcome, lines = run_in(plan, batch_size=batch_size, output_options=options)
    assert outcome.ok == 6, lines
    assert run_in(plan, output_options=options)[0].skipped == 6
    assert sorted(parsed) == sorted([*prompts, NEGATIVE])


def test_sweep_parses_each_prompt_and_each_of_its_points_once(plan_of, run_in, parsed):
    plan = plan_of("um gato e um rato", sweep=Sweep((1, 2), (("gato", (0.5, 1.5)), ("rato", (2.0,)))))
    assert run_in(plan)[0].ok == 4
    points = [
        "um gato e um rato",
        "um (gato:0.5) e um rato", "um (gato:0.5) e um (rato:2)",
        "um (gato:1.5) e um rato", "um (gato:1.5) e um (rato:2)",
    ]  # fmt: skip
    assert sorted(parsed) == sorted(["", *points])


@pytest.mark.parametrize("arguments", [["--dry-run", "--json"], ["--limit", "0"]])
def test_command_parses_each_prompt_once(model_folder, tmp_path, parsed, arguments):
    from typer.testing import CliRunner

    from promptweight.cli.main import app

    jobs = tmp_path / "jobs.txt"
    jobs.write_text("um (gato:1.4) --d 1-3\num rato e um gato\n")
    common = ["--model", str(model_folder), "--overlay", "gato", "-o", str(tmp_path / "out")]
    assert CliRunner().invoke(app, ["batch", str(jobs), *common, *arguments]).exit_code == 0
    assert sorted(parsed) == sorted(["", "um (gato:1.4)", "um rato e um gato"])
