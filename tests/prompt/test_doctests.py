"""Examples in the docstrings of the package."""

import doctest
import importlib
import pkgutil

import pytest

import promptweight.prompt

MODULES = [
    promptweight.prompt.__name__,
    *(
        module.name
        for module in pkgutil.walk_packages(promptweight.prompt.__path__, f"{promptweight.prompt.__name__}.")
    ),
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_docstrings_have_examples():
    finder = doctest.DocTestFinder()
    modules = [importlib.import_module(name) for name in MODULES]
    assert sum(len(test.examples) > 0 for module in modules for test in finder.find(module)) >= 12
