# Work on promptweight. `make check` does all that CI does, in a fresh environment; the rest uses this one.

PYTHON ?= python

.PHONY: help install check quick lint types test format notebooks package

help:
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

install: ## everything that work on promptweight needs, in the environment that is active
	$(PYTHON) -m pip install -c constraints.txt -e ".[test]"

check: ## all that CI does, in a fresh environment
	.ci/run

quick: lint types test ## the same checks, in the environment that is active

lint: ## style
	ruff check .
	ruff format --check .

types: ## types
	mypy promptweight ui/promptweight_ui

test: ## the tests
	$(PYTHON) -m pytest

format: ## write the code as the style wants it
	ruff format .
	ruff check --fix .

notebooks: ## write the notebooks from their sources and keep what they show
	$(PYTHON) examples/notebooks/make.py --execute

package: ## the source archive and the wheel, in dist/
	$(PYTHON) -m build --no-isolation
