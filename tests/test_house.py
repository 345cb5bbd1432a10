"""Rules of the project: which modules may import which, what an import may cost, and what is documented.

Most tests read the imports of each file from its code, also imports within functions. Four tests share two
new processes.
"""

import ast
import functools
import graphlib
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import decorr

ROOT = Path(__file__).parent.parent
FLOORS = (
    {"decorr", "experiments.disk", "experiments.statistics"},
    {"experiments.grid"},
    {"experiments.data", "experiments.store"},
    {"experiments.run", "experiments.page"},
    {"experiments.comparison", "experiments.paper", "experiments.command"},
    {
        "experiments.compare",
        "experiments.sweep",
        "experiments.report",
        "experiments.benchmark",
        "experiments.documents",
    },
    {"experiments.reproduce"},
)
"""Packages by floor, the lowest floor first. Each package imports only from lower floors."""
JAX = {"jax", "jaxlib", "flax", "optax", "chex"}
LATER = {
    "xarray",
    "pandas",
    "h5py",
    "h5netcdf",
    "scipy",
    "sklearn",
    "matplotlib",
    "jinja2",
    "tensorflow_datasets",
    "ray",
}
"""Packages that only reading, drawing or judging results needs, or that not every sweep needs."""
SUBMODULES = ("config", "diagnostics", "models", "penalties", "training")
PUBLIC = sorted({*decorr.__all__, *decorr.diagnostics.__all__, *decorr.penalties.__all__})


class Import(NamedTuple):
    """An import of a module: the full name of our module, or the top-level name of another package."""

    name: str
    late: bool
    """Whether it is in a function or only for types. Then importing the module does not run it."""


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {
    name_of(path): path for folder in ("decorr", "experiments") for path in (ROOT / folder).rglob("*.py")
}


def named(statement: ast.AST) -> Iterator[str]:
    """Yields the modules that a statement imports."""
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
    elif isinstance(statement, ast.ImportFrom):
        assert statement.module and not statement.level
        for alias in statement.names:
            inner = f"{statement.module}.{alias.name}"
            yield inner if inner in PATHS else statement.module


def walked(node: ast.AST, late: bool = False) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        for name in named(child):
            yield Import(name if name in PATHS else name.partition(".")[0], late)
        for_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        yield from walked(child, late or for_types or isinstance(child, ast.FunctionDef))


@functools.cache
def imports(module: str) -> frozenset[Import]:
    return frozenset(walked(ast.parse(PATHS[module].read_text())))


def within(names, *packages):
    return {name for name in names if any(f"{name}.".startswith(f"{package}.") for package in packages)}


def reached(*modules: str) -> set[str]:
    """Returns all names that importing these modules imports, in the form of `Import`, with the modules."""
    names, left = set(), list(modules)
    while left:
        if (module := left.pop()) in names:
            continue
        names.add(module)
        if module in PATHS:
            left += [each.name for each in imports(module) if not each.late]
            left += [module.rpartition(".")[0]] * ("." in module)
    return names


def test_files_do_not_import_each_other_in_a_circle():
    graph = {module: {each.name for each in imports(module)} & PATHS.keys() - {module} for module in PATHS}
    # An __init__.py may import names of its package's files, so it is left out.
    graph = {module: names for module, names in graph.items() if PATHS[module].name != "__init__.py"}
    list(graphlib.TopologicalSorter(graph).static_order())  # a CycleError names the circle


def test_each_floor_imports_from_those_below_it():
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

    def room_of(module):
        (room,) = [room for room in floor if within({module}, room)]
        return room

    modules = PATHS.keys() - {"experiments"}
    assert {room_of(module) for module in modules} == floor.keys()
    upwards = {
        f"{module} imports {name}"
        for module in modules
        for name, _ in imports(module)
        if name in modules and room_of(name) != room_of(module)
        if floor[room_of(name)] >= floor[room_of(module)]
    }
    assert not upwards


def test_the_mathematics_needs_no_flax_and_penalties_no_training():
    above = ("decorr.training", "decorr.models", "decorr.config")
    mathematics = within(PATHS, "decorr") - within(PATHS, *above)
    assert not within(reached(*mathematics), "flax", "optax", *above)


def test_statistics_know_no_network():
    assert not within(reached(*within(PATHS, "experiments.statistics")), "decorr", "xarray")


def test_a_sweep_trains_without_knowing_the_papers_claims():
    assert not within(reached("experiments.sweep", "experiments.run.epochs"), "experiments.paper")


@functools.cache
def loaded(*steps):
    """Returns the sys.modules of a new process after each step. A step is a line of Python."""
    code = "\n".join(f"{step}; found.append(list(sys.modules))" for step in steps)
    done = subprocess.run(
        [sys.executable, "-c", f"import json, sys; found = []\n{code}\nprint(json.dumps(found))"],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "no_such"},  # importing may not start a backend either
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [set(names) for names in json.loads(done.stdout)]


READ_RESULTS = [f"experiments.{name}" for name in ("grid", "store", "statistics", "page", "paper")]


def without_jax():
    """The modules loaded after importing the library, after planning a sweep, and after importing readers."""
    return loaded(
        "import decorr, decorr.config",
        "import experiments.sweep; experiments.sweep.Sweep().cells()",
        f"import {', '.join(sorted(within(PATHS, *READ_RESULTS)))}",
    )


@pytest.mark.slow
def test_importing_the_library_and_its_configuration_loads_nothing_else():
    found, _, _ = without_jax()
    assert not within(found, *JAX, "numpy")
    assert within(found, "decorr") == {"decorr", "decorr.config", "decorr._names"}


@pytest.mark.slow
def test_a_sweep_is_planned_without_waiting_for_what_comes_later():
    _, found, _ = without_jax()
    assert within(found, "experiments.sweep") and not within(found, *JAX, *LATER)


def test_what_reads_results_imports_no_jax():
    assert not within(reached(*within(PATHS, *READ_RESULTS)), *JAX)


@pytest.mark.slow
def test_what_reads_results_loads_no_jax():
    _, _, found = without_jax()
    assert within(found, *READ_RESULTS) == within(PATHS, *READ_RESULTS) and not within(found, *JAX)


@pytest.mark.slow
def test_training_begins_without_waiting_for_what_comes_later():
    (found,) = loaded("import experiments.run.epochs, experiments.data.load; experiments.data.load.load()")
    assert within(found, "experiments.run") and not within(found, *LATER)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_documented(name):
    value = getattr(decorr, name)
    text = inspect.getdoc(value)
    # A dataclass or NamedTuple without a docstring gets its signature as docstring.
    assert text and not text.startswith(f"{name}(")
    if inspect.isfunction(value):
        assert re.search(r"^Args:", text, re.MULTILINE) and re.search(r"^Returns:", text, re.MULTILINE)


def test_the_public_names_are_listed_and_few():
    assert {*SUBMODULES, *decorr.__all__} <= set(dir(decorr))
    assert len(decorr.__all__) < 32


@pytest.mark.parametrize("name", SUBMODULES)
def test_submodules_need_no_import_of_their_own(name, monkeypatch):
    monkeypatch.delattr(decorr, name, raising=False)
    assert getattr(decorr, name).__name__ == f"decorr.{name}"


def test_what_measures_and_what_penalises_has_its_module_and_is_found_from_the_top():
    for module in (decorr.diagnostics, decorr.penalties):
        assert all(getattr(decorr, name) is getattr(module, name) for name in module.__all__)
