"""`python -m promptweight` is the same command line as `promptweight`."""

from promptweight.cli import main

main()
