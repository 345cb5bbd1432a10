"""The command: trained once, resumed where it stopped, and one line for what cannot be."""

import contextlib
import dataclasses

import numpy as np
import pytest
from rich.console import Console

from experiments import compare
from experiments.compare import Compare
from experiments.comparison import page, results
from experiments.disk import netcdf
from experiments.disk.errors import ResultsError
from experiments.run import executor
from tests.experiments.comparison import made_up

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


def test_a_report_of_other_tuning_is_not_kept(tmp_path, begun, monkeypatch):
    """As where a trial was damaged, moved away and trained again."""
    options = dataclasses.replace(SMALL, out=tmp_path)
    (setting,) = options.settings("digits", 1250)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(results, "finish", lambda *_: raise_(KeyboardInterrupt()))
        compare.compare(options, Console(quiet=True))
    assert begun == ["vanilla, trial 0", "vanilla, trial 1", "vanilla, report"]
    trial, _ = results.tuned(tmp_path, setting, "vanilla")
    path = tmp_path / f"digits-200/vanilla.trial-{1 - trial}.nc"
    worse = results.xr.load_dataset(path, engine="h5netcdf")
    worse["validation_error"][:] = 0  # now it is the best one
    worse.to_netcdf(path, engine="h5netcdf")
    begun.clear()
    compare.compare(options, Console(quiet=True))
    assert begun == ["vanilla, report"]
    kept = results.one(results.load(tmp_path / "digits-200.nc"), "vanilla")
    assert results.best(kept.tuning_error.values) == (1 - trial, 1)

    path.parent.mkdir()
    worse.attrs["numbers"] = worse.attrs["numbers"].replace('{"learning_rate": ', '{"learning_rate": 1')
    worse.to_netcdf(path, engine="h5netcdf")
    with pytest.raises(ResultsError, match=r"other options \(learning_rate is 1"):
        results.read_trial(tmp_path, setting, "vanilla", 1 - trial)


def raise_(error):
    raise error


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


def test_methods_of_other_data_are_not_added(tmp_path):
    found = made_up.setting({"vanilla": 0.1, "dropout": 0.2})
    path = results.path_of(tmp_path, setting := results.setting_of(found))
    now = dataclasses.replace(setting, identity="3.0.1 sha256:0123")

    def keep(*identities):
        found["dataset_version"] = "method", list(identities)
        netcdf.write(path, found)

    keep("3.0.1 sha256:0123", "3.0.1 sha256:0123")
    assert results.done(tmp_path, now) == ["vanilla", "dropout"]
    with pytest.raises(
        ResultsError, match=r"other data .version 3.0.1 sha256:0123 there, not 2.0.0 sha256:4567"
    ):
        results.done(tmp_path, dataclasses.replace(setting, identity="2.0.0 sha256:4567"))
    keep("3.0.1", "3.0.1 sha256:0123")  # the first as before results had a hash
    with pytest.warns(UserWarning, match="names the version of its data .3.0.1. and not their content"):
        results.done(tmp_path, now)
    keep("3.0.1 sha256:0123", "3.0.1 sha256:4567")
    with pytest.raises(ResultsError, match="methods trained on different data"):
        results.load(path)
