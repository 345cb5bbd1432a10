# The README's commands. Each sets up .venv from pinned versions first; nothing else is needed but Python.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: sweep test lint notebooks reference

sweep: .venv/ready  ## train every network of the paper on the embedded digits: make sweep ARGS="--help"
	$(BIN)/python -m experiments.sweep $(ARGS)

test: .venv/ready  ## the test suite
	$(BIN)/python -m pytest $(ARGS)

lint: .venv/ready  ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

NOTEBOOKS_TO ?= --inplace
notebooks: .venv/ready  ## execute the notebooks, in their places
	$(BIN)/python -m jupyter nbconvert --log-level WARN --execute --to notebook $(NOTEBOOKS_TO) notebooks/*.ipynb

reference: .venv/ready  ## the reference run, in resumable parts: about four hours on two cores
	$(BIN)/python -m experiments.reproduce $(ARGS)

.venv/ready: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed, {sys.version.split()[0]} found: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@
