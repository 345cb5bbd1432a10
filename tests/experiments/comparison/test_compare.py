"""The command: trained once, resumed where it stopped, and one line for what cannot be."""

import contextlib
import dataclasses

import numpy as np
import pytest
from rich.console import Console

from experiments import compare
from experiments.compare import Compare
from experiments.comparison import page, results
from experiments.disk.errors import ResultsError
from experiments.run import executor

# As many seeds of a trial as of a report: both are trained by the same program.
SMALL = Compare(images=(200,), methods=("vanilla",), trials=2, seeds=2, report_seeds=2, moments=2, steps=8)


@pytest.fixture
def begun(monkeypatch, small_networks):
    """What was trained, by name, in this process; no page is drawn."""
    names = []
    monkeypatch.setattr(page, "write", lambda folder: folder / "compare.html")

    def connect(*_):
        return contextlib.nullcontext(executor.Executor(executor.Room("cpu", 1, 1e12), 1, run))

    def run(training, work, dataset, read, seconds):
        for each in work:
            names.append(each.name.removeprefix("digits-200 "))
            yield from executor.local.run(training, [each], dataset, read, seconds)

    monkeypatch.setattr(executor, "connect", connect)
    return names


def test_what_ended_is_not_trained_again(tmp_path, begun, monkeypatch):
    options, console = dataclasses.replace(SMALL, out=tmp_path), Console(record=True, width=160)
    write = results.write_trials

    def interrupted(folder, trials, *rest):
        if trials.name == "digits-200 vanilla, trial 1":
            raise KeyboardInterrupt
        write(folder, trials, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(results, "write_trials", interrupted)
        compare.compare(options, console)
    compare.compare(dataclasses.replace(options, plan=True), console)
    assert "vanilla       8 steps  missing, 1 of 2 trials done" in console.export_text()
    assert begun == ["vanilla, trial 0", "vanilla, trial 1"]
    begun.clear()
    compare.compare(options, console)
    assert f"page: {tmp_path}/compare.html" in console.export_text()
    assert begun == ["vanilla, trial 1", "vanilla, report"]
    assert not (tmp_path / "digits-200").exists()

    before = results.one(results.load(tmp_path / "digits-200.nc"), "vanilla")
    begun.clear()
    compare.compare(dataclasses.replace(options, methods=("corr",)), console)
    assert begun == [f"corr, {each}" for each in ("trial 0", "trial 1", "report")]
    found = results.load(tmp_path / "digits-200.nc")
    assert found.method.values.tolist() == ["vanilla", "corr"]
    after = results.one(found, "vanilla")
    for each in ("tuning_error", "test_error", "learning_rate"):
        np.testing.assert_array_equal(after[each], before[each], err_msg=each)
    assert before.seed.values.tolist() == [2, 3]
    assert np.isfinite(results.one(found, "corr").penalty_weight).all()
    assert np.isnan(after.penalty_weight).all()
    with pytest.raises(ResultsError, match=r"other options \(steps is 8 there, not 10\): give the same ones"):
        compare.compare(dataclasses.replace(options, steps=10), console)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"methods": ("dorpout",)},
            "unknown method 'dorpout'; the methods are vanilla, dropout, weight-decay",
        ),
        ({"images": ()}, "number of images must be at least 1; got 0"),
        ({"images": (500, 0)}, "images must be at least 1; got 0"),
        ({"moments": 0}, "moments must be at least 1; got 0"),
        ({"steps": 0}, "steps must be at least 1; got 0"),
    ],
)
def test_options_that_cannot_be(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **change)


def test_more_images_than_there_are_mean_all():
    settings = dataclasses.replace(SMALL, images=(500, 2000, 10000)).settings("digits", 1250)
    assert [setting.images for setting in settings] == [500, 1250]


def test_the_best_trial_is_stopped_at_its_best_moment():
    errors = np.full((3, 2, 4), 0.5)
    errors[1, 0, 2], errors[1, 1, 2] = 0.1, 0.3  # in the mean 0.2
    errors[2, 0, 3] = 0.0  # 0.25
    assert results.best(errors) == (1, 3)
    errors[2, :, 1] = 0.3, 0.1  # as many, in another order: equal but for rounding
    assert results.best(errors) == (2, 2)


def test_what_is_no_comparison_is_left_alone(tmp_path):
    path = tmp_path / "digits-200.nc"
    path.write_text("mine")
    with pytest.raises(ResultsError, match="not a readable netCDF4 file"):
        results.load(path)
    assert path.read_text() == "mine"
