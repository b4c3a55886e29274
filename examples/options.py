"""Command-line options that the example scripts share."""

import argparse
from pathlib import Path


def arguments(
    doc: str | None,
    *,
    model: str | None = "mini",
    output: str | None = "out",
    seed: int = 1,
    steps: int | None = 25,
) -> argparse.ArgumentParser:
    """Return a parser of the model, the seed, the number of steps and the output path.

    Args:
        doc: The script's docstring, shown as help.
        model: Default model; None where the script makes a tiny random one.
        output: Default file or folder to write; None where it depends on other options.
        seed: Default seed.
        steps: Default number of steps; None where it depends on the model.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=model, help="hub id, folder or .safetensors file")
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--output", type=Path, default=None if output is None else Path(output))
    return parser
