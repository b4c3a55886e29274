"""Entry point of `python -m promptweight`, the same as the command `promptweight`."""

from promptweight.cli import main

main()
