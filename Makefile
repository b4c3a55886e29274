# Commands for work on promptweight. `make check` runs all of CI in a fresh environment; the other targets use
# the active one.

PYTHON ?= python

.PHONY: help install check quick lint types imports js test test-all format notebooks docs package

help:
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

install: ## install promptweight for development, in the active environment
	$(PYTHON) -m pip install -c constraints.txt -e ".[test]"

check: ## run all checks and all tests, as CI does, in a fresh environment
	.ci/run

quick: lint types imports test ## run the checks and the fast tests in the active environment

lint: ## check style
	ruff check .
	ruff format --check .

types: ## check types
	mypy promptweight ui/promptweight_ui

imports: ## check that imports run downwards only
	lint-imports

js: ## check and test the app's JavaScript
	npm ci --no-audit --no-fund
	npm run check

test: ## run the fast tests
	$(PYTHON) -m pytest

test-all: ## run all tests, in two processes
	$(PYTHON) -m pytest -m "" -n 2 --dist worksteal

format: ## format the code
	ruff format .
	ruff check --fix .

notebooks: ## write the notebooks from their sources, and execute them into out/notebooks
	$(PYTHON) examples/notebooks/make.py
	$(PYTHON) examples/notebooks/make.py --execute out/notebooks

docs: ## build the documentation site with executed notebooks, in out/site
	sphinx-build --fail-on-warning -D nb_execution_mode=force docs out/site

package: ## build the source archive and the wheel, in dist/
	$(PYTHON) -m build --no-isolation
