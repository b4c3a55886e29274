"""Random search over the properties of the suite: `python -m tests.fuzz`."""
