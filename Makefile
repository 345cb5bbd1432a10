# Each command sets up .venv from pinned versions first, in a minute. Only Python is needed. Times are for two cores.
PYTHON ?= python3
BIN := .venv/bin
OLDEST := .venv-oldest/bin
ORACLES := .venv-oracles/bin
INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile
IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed, {sys.version.split()[0]} found: make PYTHON=python3.11")
# Worker processes of a test run: auto starts one for each core, and 0 runs all tests in the main process.
WORKERS ?= auto
# pip does not compile packages, which would take longer than the rest of the installation. Python compiles modules when they are
# imported, and keeps them.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help sweep compare test check slow mesh golden real lint notebooks reference oldest pythons oracles docs dist

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-11s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

sweep: .venv/ready  ## train every network of the paper on the embedded digits (2 min); ARGS="--help" lists options
	$(BIN)/python -m experiments.sweep $(ARGS)

compare: .venv/ready  ## methods against overfitting on embedded data, tuned alike (3 min); ARGS="--help" lists options
	$(BIN)/python -m experiments.compare $(ARGS)

test: .venv/ready  ## the quick tests (4 min; 3 when run again)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

# In this order, make -j2 starts the longest parts early. It also keeps dist and oldest apart, which both build in this folder.
check: dist slow oldest oracles docs notebooks mesh golden lint  ## all that `test` leaves out, part by part

check: NOTEBOOKS_TO = --output-dir $(NOTEBOOKS)
check: NOTEBOOKS = .venv/notebooks

# Slow golden tests are left to the target golden, which compiles with optimisations like users do.
slow: .venv/ready  ## the tests of whole sweeps, killed processes, a cluster, the wheel, recipes (9 min in one process)
	$(BIN)/python -m pytest -n $(WORKERS) -m "slow and not golden and not oracle" $(ARGS)

mesh: .venv/ready  ## the tests of mapped axes and meshes, on eight devices of one CPU (2 min)
	CPU_DEVICES=8 $(BIN)/python -m pytest -n $(WORKERS) -m mesh tests/decorr $(ARGS)

# Compared values may not depend on one processor's rounding, so these tests compute like a processor without AVX-512.
# NumPy warns when it is told to disable a feature that it does not use or that the machine lacks. So wide.py leaves these features out.
golden: .venv/ready  ## the tests of golden values, including slow ones, with other CPU kernels (2 min)
	wide=$$($(BIN)/python .ci/wide.py) && JAX_DISABLE_MOST_OPTIMIZATIONS=0 OPENBLAS_CORETYPE=Haswell \
		XLA_FLAGS=--xla_cpu_max_isa=AVX2 NPY_DISABLE_CPU_FEATURES="$$wide" $(BIN)/python -m pytest -n $(WORKERS) -m golden tests/experiments $(ARGS)

# The run fails if it skipped one of these tests, or found none.
real: .venv/ready  ## the tests of MNIST and Fashion-MNIST, with the prepared sets in TFDS_DATA_DIR
	$(BIN)/python -m pytest -n $(WORKERS) -m real_data --junit-xml=.venv/real.xml tests/experiments $(ARGS)
	$(BIN)/python .ci/all_ran.py .venv/real.xml

lint: .venv/ready  ## formatting, lint and types (1 min)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tests/decorr/numpy_arguments.py

NOTEBOOKS_TO ?= --inplace
NOTEBOOKS ?= notebooks
notebooks: .venv/ready  ## execute the notebooks in place (5 min); in CI stale outputs are a failure
	$(BIN)/python -m jupyter nbconvert --log-level WARN --execute --to notebook $(NOTEBOOKS_TO) notebooks/*.ipynb
	$(BIN)/python .ci/stale.py $(NOTEBOOKS)

reference: .venv/ready  ## the reference run, in resumable parts (20 h)
	$(BIN)/python -m experiments.reproduce $(ARGS)

# Tests the wheel, not the checkout: -P keeps this folder off sys.path, also in the workers, and conftest checks that.
# These tests run every line of the library except errors and warnings. make pythons runs all tests, on the newest versions.
OLDEST_TESTS := $(addprefix tests/decorr/,test_public_functions.py test_streaming.py test_layers.py test_redundancy.py models/test_mlp.py training/test_steps.py)
oldest: .venv-oldest/ready  ## each function of the library, from its wheel, with the oldest dependencies that are allowed (2 min)
	rm -rf build
	$(OLDEST)/python $(INSTALL) --no-deps --force-reinstall .
	DECORR_INSTALLED=1 $(OLDEST)/python -P -m pytest -n $(WORKERS) $(OLDEST_TESTS) $(ARGS)

# The run fails if it skipped one of these tests, or found none.
oracles: .venv-oracles/ready  ## penalties and statistics against other people's code, and recipes that need such code (3 min)
	$(ORACLES)/python -m pytest -m oracle --junit-xml=.venv-oracles/report.xml tests/oracles tests/test_recipes.py $(ARGS)
	$(ORACLES)/python .ci/all_ran.py .venv-oracles/report.xml

# With -W, the build fails if a link leads nowhere, a page is in no table of contents, or a formula cannot be typeset. The pages of the committed
# results are drawn first: docs/report.md shows them.
docs: .venv/ready  ## the documentation site, in site/; any warning fails (2 min)
	rm -rf site jupyter_execute
	$(BIN)/python -m experiments.report --reference
	JAX_PLATFORMS=cpu $(BIN)/python -m sphinx --quiet -W --keep-going -E -c docs -d .venv/doctrees . site $(ARGS)

dist: .venv/ready  ## build and check what is published, decorr alone: source archive and wheel, in dist/ (30 s)
	rm -rf dist
	$(BIN)/python -m build --quiet
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

PYTHONS ?= 3.11 3.12 3.13 3.14
pythons:  ## like oldest, but with the newest versions, under each installed Python of PYTHONS (2 min each)
	rm -rf build
	$(PYTHON) .ci/pythons.py $(PYTHONS)

# A newer pip resolves the versions in less than half the time of the pip that comes with Python.
# compat puts this folder itself on sys.path, so that notebooks find the experiments, which are not installed. Setuptools
# warns that a later version will drop this mode; ours is pinned.
.venv/ready: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c '$(IS_NEW_ENOUGH)'
	$(PYTHON) -m venv .venv
	$(BIN)/python $(INSTALL) --constraint constraints.txt pip
	PYTHONWARNINGS=ignore $(BIN)/python $(INSTALL) --constraint constraints.txt --config-settings editable_mode=compat --editable ".[dev]"
	touch $@

# Old versions have no wheels for a new Python.
.venv-oldest/ready: setup.cfg pyproject.toml constraints.txt constraints-oldest.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and f"Python 3.11 is needed, {sys.version.split()[0]} found: make oldest PYTHON=python3.11")'
	$(PYTHON) -m venv --clear .venv-oldest
	$(OLDEST)/python $(INSTALL) --constraint constraints.txt pip
	$(OLDEST)/python $(INSTALL) --no-deps --requirement constraints-oldest.txt
	touch $@

# Takes 1.5 GB and a minute if pip finds a CPU build of torch (set PIP_EXTRA_INDEX_URL to PyTorch's index of CPU builds). A GPU
# build works too, and is several times as large.
.venv-oracles/ready: setup.cfg pyproject.toml constraints.txt requirements-oracles.txt
	@$(PYTHON) -c '$(IS_NEW_ENOUGH)'
	$(PYTHON) -m venv --clear .venv-oracles
	$(ORACLES)/python $(INSTALL) --constraint constraints.txt pip
	PYTHONWARNINGS=ignore $(ORACLES)/python $(INSTALL) --constraint constraints.txt --config-settings editable_mode=compat --editable ".[oracles]"
	$(ORACLES)/python $(INSTALL) --no-deps --no-build-isolation --requirement requirements-oracles.txt
	touch $@
