"""The examples in the room's docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import promptweight.prompt as room

MODULES = [
    room.__name__,
    *(f"{room.__name__}.{module.name}" for module in pkgutil.iter_modules(room.__path__)),
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    modules = [importlib.import_module(name) for name in MODULES]
    assert sum(len(test.examples) > 0 for module in modules for test in finder.find(module)) >= 7
