"""The command line: thin commands over the library, light to start.

Data goes to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage (a value outside
its range, a word that is not in the prompt), 130 stopped by Ctrl-C.
"""

from promptweight.cli.main import app, main

__all__ = ["app", "main"]
