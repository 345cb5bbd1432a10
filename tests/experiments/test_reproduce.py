"""The reference run resumes from its compact files, and the repository holds its results."""

import dataclasses
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from experiments import reproduce
from experiments.comparison import analysis
from experiments.comparison.results import stored
from experiments.disk.errors import ResultsError
from experiments.paper import report
from experiments.store import compact, measurements
from experiments.sweep import Sweep
from tests.experiments.store.made_up_cell import EPOCHS, history, write

ROOT = Path(__file__).parents[2]

SMALL = Sweep(sizes=("tiny",), variants=("corr-0.1", "corr-1.0"), seeds=2, epochs=EPOCHS).cells()


@pytest.mark.slow
def test_what_the_file_has_is_not_trained_again(tmp_path, monkeypatch):
    path, console, trained = tmp_path / "small.nc", Console(quiet=True), []

    def train(_, grid, folder, __):
        folder.mkdir(parents=True, exist_ok=True)
        for cell in grid:
            trained.append(cell.name)
            write(folder, cell, history(seed=len(trained)))

    monkeypatch.setattr(reproduce, "train", train)
    options = reproduce.Reproduce(results=tmp_path / "results", out=tmp_path)
    reproduce.reproduce(options, "small", SMALL[1:], console)
    before = compact.load(path)
    reproduce.reproduce(options, "small", SMALL, console)
    after = compact.load(path)
    assert trained == ["tiny-corr-1.0", "tiny-corr-0.1"]
    assert after.cell.values.tolist() == ["tiny-corr-0.1", "tiny-corr-1.0"]
    assert "correlation" not in after  # only sweeps named after their data set have it
    error = after.validation_error.sel(cell="tiny-corr-1.0")
    np.testing.assert_array_equal(error, before.validation_error.sel(cell="tiny-corr-1.0"))
    assert (error != after.validation_error.sel(cell="tiny-corr-0.1")).all()
    with pytest.raises(ResultsError, match=r"other options \(seeds is 2 there, not 3\)"):
        reproduce.reproduce(options, "small", [dataclasses.replace(cell, seeds=3) for cell in SMALL], console)


CELLS = reproduce.SWEEPS | {name: study.cells for name, study in reproduce.MEASUREMENTS.items()}


def test_each_measurement_is_of_the_networks_that_the_plan_names():
    merging, law = (CELLS[name] for name in ("merging", "dropout-law"))
    mnist = {cell.name: cell for cell in CELLS["mnist"]}
    assert merging == tuple(mnist[f"medium-{name}"] for name in ("vanilla", "drop", "corr-0.1", "corr-1.0"))
    (cell,) = law
    twenty = dataclasses.replace(merging[0].protocol, epochs=20)
    assert cell == dataclasses.replace(merging[0], protocol=twenty)


def test_only_takes_sweeps_and_measurements(monkeypatch, tmp_path):
    done = []
    monkeypatch.setattr(
        reproduce, "measure", lambda options, study, _: done.append((study.name, options.out))
    )
    arguments = ["reproduce", "--out", str(tmp_path), "--only", "dropout-law"]
    monkeypatch.setattr(sys, "argv", arguments)
    reproduce.main()
    assert done == [("dropout-law", tmp_path)]
    monkeypatch.setattr(sys, "argv", [*arguments, "merge"])
    with pytest.raises(
        SystemExit,
        match=r"^error: unknown sweep 'merge' \(did you mean 'merging'\?\): choose from mnist, .*, merging, ",
    ):
        reproduce.main()


@pytest.mark.slow
def test_the_committed_run_is_small_and_of_these_sweeps():
    ignored = {".png", ".html"}  # .gitignore lists these
    paths = [path for path in report.REFERENCE.rglob("*") if path.is_file() and path.suffix not in ignored]
    assert sum(path.stat().st_size for path in paths) < 8e6
    assert {path.stem for path in paths if path.suffix == ".nc"} == set(CELLS)
    for path in (report.REFERENCE / report.NETWORKS).glob("*.nc"):
        assert measurements.is_done(path, CELLS[path.stem])
        made = measurements.load(path, {}).attrs
        assert "dirty" not in made["commit"] + made["trained_by_commit"] and path.stat().st_size < 3e5
    for path in report.REFERENCE.glob("*.nc"):
        sweep, wanted = compact.load(path), CELLS[path.stem]
        assert set(sweep.cell.values.tolist()) == {cell.name for cell in wanted}
        assert sweep.sizes["seed"] == wanted[0].seeds and sweep.sizes["epoch"] == wanted[0].protocol.epochs
        assert all("dirty" not in str(commit) for commit in sweep.commit.values)
        assert Path(path).stat().st_size < 2e6


@pytest.mark.golden
@pytest.mark.slow
def test_the_committed_figures_and_verdicts_are_those_of_the_committed_results(tmp_path, no_png):
    report.write_reference(report.REFERENCE, tmp_path, analysis.c10(stored()))
    readme = (report.REFERENCE.parent / "README.md").read_text()
    tables = {path.name: path.read_text() for path in report.REFERENCE.glob("*.md")}
    assert tables == {path.name: path.read_text() for path in tmp_path.glob("*.md")}
    for name, table in tables.items():
        assert table in readme, name
    assert_same_pictures(tmp_path, report.REFERENCE)


def assert_same_pictures(*folders):
    """Checks that pictures are equal up to rounding, because other processors may add in another order."""
    number = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")
    drawn, committed = ({path.name: path for path in (each / "figures").glob("*.svg")} for each in folders)
    assert set(drawn) == set(committed)
    for name in committed:
        # Leaves out ids, because matplotlib makes them from every digit of the drawn numbers.
        found, expected = (
            re.sub(r'(id="|#)[a-zA-Z]\w{10}', r"\1", each[name].read_text()) for each in (drawn, committed)
        )
        assert number.sub("", found) == number.sub("", expected), f"{name} has other parts"
        np.testing.assert_allclose(
            *(np.array(number.findall(svg), float) for svg in (found, expected)), atol=0.02, err_msg=name
        )
