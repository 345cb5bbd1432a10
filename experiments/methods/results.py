"""The networks of a setting on disk, a row each, and what is to be trained next."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import xarray as xr

from experiments.disk import netcdf
from experiments.disk.errors import ResultsError
from experiments.methods.recipes import METHODS
from experiments.methods.trials import Identity, Runs, Setting, Stage
from experiments.store import provenance

FAILURES = 2
"""A finalist of whose networks so many failed is not chosen."""


def path_of(folder: Path, setting: Setting) -> Path:
    """Where the networks of a setting are: variables [run], by the names of `measures`, NaN where a stage has none;
    and of each run its method, stage, point and seed."""
    return folder / f"{setting.name}.nc"


def load(folder: Path, setting: Setting, plan: str) -> xr.Dataset:
    """The networks that are done; ResultsError if they are of another setting or plan."""
    path = path_of(folder, setting)
    if not path.exists():
        names = ("method", "stage", "point", "seed")
        return xr.Dataset(
            {name: ("run", np.array([], "U1" if i < 2 else int)) for i, name in enumerate(names)}
        )
    with netcdf.read(path) as stored:
        if json.loads(stored.attrs.get("setting", "{}")) != json.loads(json.dumps(asdict(setting))):
            raise ResultsError(f"{path} is of another setting of that name: move it away")
        if stored.attrs.get("plan") != plan:
            raise ResultsError(
                f"{path} was trained by another plan ({stored.attrs.get('plan')}): move it away"
            )
        return stored.load()


def add(folder: Path, runs: Runs, numbers: Sequence[Mapping[str, float]], first: int, plan: str) -> None:
    """Adds networks that have been trained: those of `runs` from place `first` on."""
    before = load(folder, runs.setting, plan)
    identities = runs.identities[first : first + len(numbers)]
    new = xr.Dataset(
        {
            "method": ("run", [runs.method] * len(numbers)),
            "stage": ("run", [runs.stage] * len(numbers)),
            "point": ("run", [identity.point for identity in identities]),
            "seed": ("run", [identity.seed for identity in identities]),
        }
        | {name: ("run", [each[name] for each in numbers]) for name in numbers[0]}
    )
    whole = xr.concat([before, new], dim="run", data_vars="all", join="outer", combine_attrs="drop")
    whole.attrs = {"setting": json.dumps(asdict(runs.setting)), "plan": plan, **provenance.current()}
    netcdf.write(path_of(folder, runs.setting), whole, packed={})


def missing(done: xr.Dataset, setting: Setting, methods: Sequence[str]) -> list[Runs]:
    """The networks that can be trained now: of each method those of its first stage that is not whole."""
    waiting = []
    for method in methods:
        for stage in ("search", "selection", "report"):
            points = _points(done, setting, method, stage)  # type: ignore[arg-type]
            seeds = setting.budget.tuning_seeds(stage)  # type: ignore[arg-type]
            there = of(done, method, stage)  # type: ignore[arg-type]
            known = set(zip(there.point.values.tolist(), there.seed.values.tolist(), strict=True))
            lacking = tuple(
                Identity(point, seed) for point in points for seed in seeds if (point, seed) not in known
            )
            if lacking:
                waiting.append(Runs(setting, method, stage, lacking))  # type: ignore[arg-type]
                break
    return waiting


def of(done: xr.Dataset, method: str, stage: Stage) -> xr.Dataset:
    """The networks of a method and stage."""
    return done.isel(run=np.flatnonzero((done.method.values == method) & (done.stage.values == stage)))


def _points(done: xr.Dataset, setting: Setting, method: str, stage: Stage) -> Sequence[int]:
    if stage == "search":
        return range(setting.budget.points)
    if stage == "selection":
        return finalists(of(done, method, "search"), setting.budget.finalists)
    return [chosen(done, setting, method)]


def finalists(search: xr.Dataset, count: int) -> list[int]:
    """The points of the least mean tuning error, least first."""
    points = np.unique(search.point.values)
    means = [search.tuning_error.values[search.point.values == point].mean() for point in points]
    return [int(point) for point in points[np.argsort(means, kind="stable")[:count]]]


def chosen(done: xr.Dataset, setting: Setting, method: str) -> int:
    """The finalist of the least mean + one standard error of the tuning error over all of its networks.

    One with `FAILURES` failed networks or more is chosen only if all finalists have so many.
    """
    tried = [of(done, method, stage) for stage in ("search", "selection")]  # type: ignore[arg-type]
    scores = {}
    for point in finalists(tried[0], setting.budget.finalists):
        mine = [each.isel(run=np.flatnonzero(each.point.values == point)) for each in tried]
        errors = np.concatenate([each.tuning_error.values for each in mine])
        failures = sum(float(each.failed.sum()) for each in mine)
        spread = errors.std(ddof=1) / np.sqrt(len(errors)) if len(errors) > 1 else 0.0
        scores[point] = (failures >= FAILURES, errors.mean() + spread)
    return min(scores, key=lambda point: scores[point])


def check_methods(methods: Sequence[str]) -> None:
    """ValueError for a name that no method has."""
    if unknown := sorted(set(methods) - set(METHODS)):
        raise ValueError(f"unknown method {unknown[0]!r}; the methods are {', '.join(METHODS)}")
