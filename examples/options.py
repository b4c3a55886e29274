"""What the example scripts ask on the command line, in the same words."""

import argparse
from pathlib import Path


def arguments(
    doc: str | None, *, model: str | None = "mini", output: str = "out", seed: int = 1, steps: int | None = 25
) -> argparse.ArgumentParser:
    """A parser that knows the model, the seed, the number of steps and where to write; doc is its help.

    Where `model` is None, the script makes do with a tiny random one of its own.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=model, help="hub id, folder or .safetensors file")
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--output", type=Path, default=Path(output))
    return parser
