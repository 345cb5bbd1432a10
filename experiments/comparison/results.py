"""What a comparison found, on disk: of a method at work a file for each trial, then one for a setting."""

import json
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import xarray as xr

from experiments.comparison.methods import BASE, METHODS, Numbers, Setting
from experiments.comparison.trials import Trials
from experiments.disk import netcdf
from experiments.disk.errors import ResultsError
from experiments.grid.cells import Arrays
from experiments.statistics.classification import counted
from experiments.store import provenance
from experiments.store.configuration import check_data, check_form, check_numbers, same_data

_DIMENSIONS = {
    "validation_error": ("seed", "moment"),
    "validation_nll": ("seed", "moment"),
    "test_error": ("seed",),
    "test_nll": ("seed",),
    "test_calibration_error": ("seed",),
    "test_penalty": ("seed", "layer"),
}
"""Of what is kept of a report."""

_TUNED = {
    "tuning_error": ("trial", "tuning_seed", "moment"),
    **dict.fromkeys((*(field.name for field in fields(Numbers)), "penalty_weight"), ("trial",)),
}
"""Of what is kept of the trials."""

_COUNTED = ("validation_error", "test_error", "tuning_error")
"""Kept as float32, and read as `classification.counted` finds them."""


def path_of(folder: Path, setting: Setting) -> Path:
    """Where the finished methods of a setting are: all [method, ...].

    learning_rate, weight_decay, penalty_share, dropout_rate, penalty_weight [trial], NaN where a method has
    none; tuning_error [trial, tuning_seed, moment], validation errors of the trials; of the networks of the
    report, trained with the best trial's numbers, validation_error and validation_nll [seed, moment]; and
    after the best moment, on the test split, test_error, test_nll, test_calibration_error [seed] and
    test_penalty (P) [seed, layer]; seconds of one training step of one of these networks, as its process
    measured it. And what `provenance` tells.
    """
    return folder / f"{setting.name}.nc"


def load(path: Path) -> xr.Dataset:
    """The finished methods of a setting; ResultsError if the file is no comparison's, or has
    another setting's name."""
    with netcdf.read(path) as stored:
        if "setting" not in stored.attrs or not {*_DIMENSIONS} <= {*map(str, stored.variables)}:
            raise ResultsError(f"{path} was not written by a comparison: move it away")
        setting = setting_of(stored)
        check_form(setting.configuration(), Setting("", BASE.batch_size).configuration())
        if setting.name != path.stem:
            raise ResultsError(f"{path} is of {setting.name}: give it that name, or move it away")
        lengths = {"trial": setting.trials, "tuning_seed": setting.seeds, "moment": setting.moments}
        lengths |= {"seed": setting.report_seeds, "layer": len(setting.widths)}
        if {name: stored.sizes[name] for name in lengths} != lengths:
            raise ValueError(f"its dimensions are not those of {setting.name}")
        netcdf.check_dimensions(stored, {**_DIMENSIONS, **_TUNED, "seconds": ()}, "method")
        found = stored.load()
        first, *others = _identities(found)
        if not all(same_data(first, other) for other in others):
            raise ResultsError(f"{path} has methods trained on different data: move it away")
    return found.assign({name: found[name].copy(data=counted(found[name].values)) for name in _COUNTED})


def one(found: xr.Dataset, method: str) -> xr.Dataset:
    """A method of a setting. Not found.sel(method=...): that is a parameter of `sel` itself."""
    return found.sel({"method": method})


def setting_of(found: xr.Dataset) -> Setting:
    """The setting that results are of."""
    return Setting(**json.loads(found.attrs["setting"]))


def done(folder: Path, setting: Setting) -> list[str]:
    """The methods that are finished; ResultsError if they were compared in another setting of that name."""
    path = path_of(folder, setting)
    if not path.exists():
        return []
    found = load(path)
    _check(path, found, setting)
    return [str(name) for name in found.method.values]


def trial_path(folder: Path, setting: Setting, method: str, trial: int | None) -> Path:
    """Where a trial of a method at work is, or its report."""
    return folder / setting.name / f"{method}.{'report' if trial is None else f'trial-{trial}'}.nc"


def write_trials(folder: Path, trials: Trials, found: Arrays) -> None:
    """Keeps what trials gave when they ended, each in its file."""
    for i, numbers in enumerate(trials.numbers):
        trial = trials.first + i if trials.test_moment is None else None
        path = trial_path(folder, trials.setting, trials.method_name, trial)
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {name: value[i] for name, value in found.items()}
        seconds, weight = (arrays.pop(name, np.full(1, np.nan))[0] for name in ("seconds", "penalty_weight"))
        one = xr.Dataset(
            {name: (_DIMENSIONS[name], value.astype(np.float32)) for name, value in arrays.items()}
            | {"seconds": seconds, "penalty_weight": weight},
            coords={"seed": list(trials.seeds)},
            attrs={
                "setting": json.dumps(trials.setting.configuration()),
                "numbers": json.dumps(asdict(numbers)),
                "test_moment": trials.test_moment or 0,
                "dataset_version": trials.setting.identity,
                **provenance.current(),
            },
        )
        netcdf.write(path, one)


def read_trial(folder: Path, setting: Setting, method: str, trial: int) -> xr.Dataset | None:
    """What `write_trials` kept; None if it has not ended. ResultsError if it was made with other numbers."""
    path = trial_path(folder, setting, method, trial)
    if (found := _read(path, setting)) is not None:
        wanted = asdict(setting.numbers(METHODS[method])[trial])
        check_numbers(path, json.loads(found.attrs["numbers"]), wanted)
    return found


def read_report(folder: Path, setting: Setting, method: str) -> xr.Dataset | None:
    """What `write_trials` kept; None if it has not ended, or is not of the trial and moment that are best."""
    found = _read(trial_path(folder, setting, method, None), setting)
    if found is None or (now_best := tuned(folder, setting, method)) is None:
        return None
    trial, moment = now_best
    best_numbers = json.dumps(asdict(setting.numbers(METHODS[method])[trial]))
    same = (found.attrs["numbers"], found.attrs["test_moment"]) == (best_numbers, moment)
    return found if same else None


def _read(path: Path, setting: Setting) -> xr.Dataset | None:
    if not path.exists():
        return None
    with netcdf.read(path) as stored:
        _check(path, stored, setting)
        return stored.load()


def _check(path: Path, found: xr.Dataset, setting: Setting) -> None:
    """ResultsError if trials or finished methods are of another setting or of other data."""
    check_numbers(path, json.loads(found.attrs.get("setting", "{}")), setting.configuration())
    for identity in _identities(found):
        check_data(path, identity, setting.identity)


def _identities(found: xr.Dataset) -> list[str]:
    """Of the data of a trial, or of each finished method."""
    told = found.attrs.get("dataset_version", found.get("dataset_version", ""))
    return [str(identity) for identity in np.unique(np.asarray(told, str))]


def best(tuning_error: np.ndarray) -> tuple[int, int]:
    """The trial, and how many moments it takes, whose error [trial, seed, moment] is least in the mean; of
    equal ones the one of fewest moments."""
    sums = tuning_error.sum(axis=1).round(9)  # those of as many errors are equal up to rounding
    moment, trial = np.unravel_index(sums.T.argmin(), sums.T.shape)
    return int(trial), int(moment) + 1


def tuned(folder: Path, setting: Setting, method: str) -> tuple[int, int] | None:
    """`best` of a method; None unless all of its trials have ended."""
    trials = _trials(folder, setting, method)
    if len(trials) < setting.trials:
        return None
    return best(counted(np.stack([one.validation_error.values for one in trials])))


def _trials(folder: Path, setting: Setting, method: str) -> list[xr.Dataset]:
    found = [read_trial(folder, setting, method, trial) for trial in range(setting.trials)]
    return [one for one in found if one is not None]


def finish(folder: Path, setting: Setting, method: str) -> None:
    """Adds a method, whose trials and report have ended, to the setting's file."""
    trials, report = _trials(folder, setting, method), read_report(folder, setting, method)
    assert report is not None and len(trials) == setting.trials
    numbers = [json.loads(one.attrs["numbers"]) for one in trials]
    kept = report[[*_DIMENSIONS, "seconds"]].drop_attrs()
    kept = kept.assign(
        {name: ("trial", np.array([each[name] for each in numbers], np.float64)) for name in numbers[0]}
        | {"penalty_weight": ("trial", [float(one.penalty_weight) for one in trials])}
        | {
            "tuning_error": (
                _TUNED["tuning_error"],
                np.stack([one.validation_error.values for one in trials]),
            )
        }
        | {name: report.attrs[name] for name in ("dataset_version", *provenance.NAMES)}
    )
    methods = [kept.assign_coords(method=method)]
    path = path_of(folder, setting)
    if path.exists():
        before = load(path)
        methods += [before.isel(method=i) for i in range(before.sizes["method"])]
    _save(path, setting, methods)
    remove_trials(folder, setting, method)


def remove_trials(folder: Path, setting: Setting, method: str) -> None:
    """Removes what a finished method no longer needs."""
    for trial in (*range(setting.trials), None):
        trial_path(folder, setting, method, trial).unlink(missing_ok=True)
    of_setting = folder / setting.name
    if of_setting.exists() and not any(of_setting.iterdir()):
        of_setting.rmdir()


def in_order(methods: Iterable[str]) -> list[str]:
    """Names of methods as `METHODS` has them; last those that it has no longer."""
    known = list(METHODS)
    return sorted(methods, key=lambda name: known.index(name) if name in known else len(known))


def _save(path: Path, setting: Setting, methods: Iterable[xr.Dataset]) -> None:
    by_name = {str(each.method.values): each for each in methods}
    whole = xr.concat(
        [by_name[name] for name in in_order(by_name)],
        dim="method",
        data_vars="all",
        coords="minimal",
        compat="equals",
        join="exact",
        combine_attrs="drop",
    ).drop_encoding()
    whole.attrs["setting"] = json.dumps(setting.configuration())
    netcdf.write(path, whole, packed={name: {"dtype": "float32"} for name in _COUNTED})
