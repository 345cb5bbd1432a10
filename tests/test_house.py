"""Rules of the house: who may import what, what importing may cost, and what is documented."""

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import decorr

ROOT = Path(__file__).parent.parent
FLOORS = ("disk", "statistics", "grid", "data", "run", "store", "page", "comparison", "paper")
JAX = {"jax", "jaxlib", "flax", "optax", "chex"}
LATER = {
    "xarray",
    "pandas",
    "h5netcdf",
    "scipy",
    "sklearn",
    "matplotlib",
    "jinja2",
    "tensorflow_datasets",
    "ray",
}
"""What reads, draws or judges results, and what not every sweep is about."""


def modules(folder):
    """The modules of a folder, by their dotted names."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def loaded(*imported, then="pass"):
    """What a fresh process has in sys.modules once it has imported these, and then done something."""
    code = "import json, sys; " + "; ".join([*(f"import {name}" for name in imported), then])
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print(json.dumps(list(sys.modules)))"],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "no_such"},  # nor may importing start a backend
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def within(names, *packages):
    return {name for name in names if any(f"{name}.".startswith(f"{package}.") for package in packages)}


def test_the_library_does_not_know_the_experiments():
    assert not within(loaded(*modules("decorr")), "experiments")


def test_importing_the_library_loads_nothing_but_itself():
    found = loaded("decorr")
    assert not within(found, *JAX, "numpy") and within(found, "decorr") == {"decorr"}


def test_the_configuration_needs_the_standard_library_only():
    found = loaded("decorr.config")
    assert within(found, "decorr") == {"decorr", "decorr.config"}
    assert not within(found, *JAX, "numpy")


def test_the_mathematics_needs_no_flax():
    above = ("decorr.training", "decorr.models", "decorr.config")
    found = loaded(*(name for name in modules("decorr") if not name.startswith(above)))
    assert not within(found, "flax", "optax", *above)


def test_a_penalty_does_not_know_training():
    assert not within(loaded("decorr.penalties"), "decorr.training", "decorr.models")


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_knows_only_those_below_it(floor):
    """disk <- statistics, grid <- data <- run <- store <- page <- comparison <- paper."""
    above = [f"experiments.{name}" for name in FLOORS[FLOORS.index(floor) + 1 :]]
    commands = [name for name in modules("experiments") if name.count(".") == 1 and name not in above]
    commands = [name for name in commands if name.removeprefix("experiments.") not in FLOORS]
    found = loaded(*modules(f"experiments/{floor}"))
    assert within(found, f"experiments.{floor}")
    assert not within(found, *above, *commands, "experiments.benchmark")


@pytest.mark.parametrize("floor", ["grid", "store", "statistics", "page", "paper"])
def test_what_reads_results_needs_no_jax(floor):
    assert not within(loaded(*modules(f"experiments/{floor}")), *JAX)


def test_statistics_know_no_network():
    assert not within(loaded(*modules("experiments/statistics")), "decorr", "xarray")


def test_a_sweep_trains_without_knowing_the_papers_claims():
    assert not within(loaded("experiments.sweep"), "experiments.paper")


@pytest.mark.parametrize(
    ("imported", "then", "unneeded"),
    [
        (["experiments.sweep"], "experiments.sweep.Sweep().cells()", {*JAX, *LATER}),
        (["experiments.run.epochs", "experiments.data.load"], "experiments.data.load.load()", LATER),
    ],
    ids=["--plan", "training"],
)
def test_a_sweep_begins_without_waiting_for_what_comes_later(imported, then, unneeded):
    found = loaded(*imported, then=then)
    assert within(found, "experiments") and not within(found, *unneeded)


@pytest.mark.parametrize("name", decorr.__all__)
def test_public_names_are_documented(name):
    value = getattr(decorr, name)
    text = inspect.getdoc(value)
    # A dataclass or NamedTuple without a docstring gets its signature for one.
    assert text and not text.startswith(f"{name}(")
    if inspect.isfunction(value):
        assert re.search(r"^Args:", text, re.MULTILINE) and re.search(r"^Returns:", text, re.MULTILINE)


def test_the_public_names_are_listed_and_few():
    assert set(decorr.__all__) <= set(dir(decorr))
    assert len(decorr.__all__) < 32
