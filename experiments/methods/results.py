"""The networks of a setting on disk, a row each, and what they choose."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from experiments.disk import netcdf
from experiments.disk.errors import ResultsError
from experiments.methods.settings import Setting, Stage
from experiments.store import provenance

Row = Mapping[str, Any]
"""One network: its method, stage, point and seed, and its `measures`."""

FAILURES = 2
"""A finalist of whose networks so many failed is chosen only if all have so many."""


def plan() -> str:
    """A hash of PLAN.md up to its changes: results belong to one plan."""
    text = (Path(__file__).parent / "PLAN.md").read_text(encoding="utf-8")
    return hashlib.sha256(text.partition("\n## Changes\n")[0].encode()).hexdigest()[:16]


def path_of(folder: Path, setting: Setting) -> Path:
    """Where the networks of a setting are: variables [run], NaN where a stage has no such number."""
    return folder / f"{setting.name}.nc"


def load(folder: Path, setting: Setting) -> list[Row]:
    """The networks that are done; ResultsError if they are of another setting or plan."""
    path = path_of(folder, setting)
    return read(path, setting) if path.exists() else []


def setting_of(path: Path) -> dict[str, Any]:
    """The setting of a file, as plain numbers and strings."""
    with netcdf.read(path) as stored:
        setting: dict[str, Any] = json.loads(stored.attrs["setting"])
        return setting


def read(path: Path, setting: Setting | None = None) -> list[Row]:
    """The networks of a file; ResultsError if they are of another plan, or of another setting than asked
    for."""
    with netcdf.read(path) as stored:
        if setting is not None and json.loads(stored.attrs.get("setting", "{}")) != json.loads(
            json.dumps(asdict(setting))
        ):
            raise ResultsError(f"{path} is of another setting of that name: move it away")
        if stored.attrs.get("plan") != plan():
            raise ResultsError(f"{path} was trained by another PLAN.md: move it away")
        columns = {str(name): variable.values.tolist() for name, variable in stored.data_vars.items()}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def write(folder: Path, setting: Setting, rows: Sequence[Row]) -> None:
    """Writes the networks of a setting, in place of what there was."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name, np.nan) for row in rows] for name in names}
    dataset = xr.Dataset({name: ("run", np.asarray(column)) for name, column in columns.items()})
    dataset.attrs = {"setting": json.dumps(asdict(setting)), "plan": plan(), **provenance.current()}
    netcdf.write(path_of(folder, setting), dataset, packed={})


def of(rows: Iterable[Row], method: str, *stages: Stage) -> list[Row]:
    """The networks of a method, in some stages or in all."""
    return [row for row in rows if row["method"] == method and (not stages or row["stage"] in stages)]


def of_stage(rows: Iterable[Row], stage: Stage) -> list[Row]:
    """The networks of a stage, of all methods."""
    return [row for row in rows if row["stage"] == stage]


def finalists(rows: Sequence[Row], count: int) -> list[int]:
    """The points of the least mean tuning error in the search, least first, of one method's networks."""
    errors: dict[int, list[float]] = {}
    for row in rows:
        if row["stage"] == "search":
            errors.setdefault(int(row["point"]), []).append(float(row["tuning_error"]))
    return sorted(sorted(errors), key=lambda point: np.mean(errors[point]))[:count]


def chosen(rows: Sequence[Row], count: int) -> int:
    """The finalist of the least mean + one standard error of the tuning error, of one method's networks.

    One with `FAILURES` failed networks or more is chosen only if all finalists have so many.
    """

    def score(point: int) -> tuple[bool, float]:
        tuned = [row for row in rows if row["stage"] != "report" and row["point"] == point]
        errors = np.array([row["tuning_error"] for row in tuned], float)
        spread = errors.std(ddof=1) / np.sqrt(len(errors)) if len(errors) > 1 else 0.0
        return sum(float(row["failed"]) for row in tuned) >= FAILURES, float(errors.mean() + spread)

    return min(finalists(rows, count), key=score)
