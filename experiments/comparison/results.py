"""Reads and writes networks: a file for each setting, a row for each network. Chooses the best point."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from experiments.comparison.settings import Setting, Stage
from experiments.disk import netcdf
from experiments.disk.errors import ResultsError
from experiments.disk.files import load_all
from experiments.store import provenance
from experiments.store.configuration import check_form

Row = Mapping[str, Any]
"""One network: its method, stage, point and seed, and its `measures`."""

REFERENCE = Path(__file__).parent / "reference"
"""The folder of the plan's networks, in the repository."""

FAILURES = 2
"""A finalist with at least this many failed networks is chosen only if all finalists have at least this
many."""


def plan() -> str:
    """Returns a hash of PLAN.md without its list of changes. Results store the hash, to tell plans apart."""
    text = (Path(__file__).parent / "PLAN.md").read_text(encoding="utf-8")
    return hashlib.sha256(text.partition("\n## Changes\n")[0].encode()).hexdigest()[:16]


def path_of(folder: Path, setting: Setting) -> Path:
    """Returns the path of a setting's file. In the file, a variable [run] is NaN for networks whose stage
    does not measure the variable."""
    return folder / f"{setting.name}.nc"


class Stored(NamedTuple):
    """The contents of a setting's file."""

    name: str
    setting: Mapping[str, Any]
    """The setting as plain numbers and strings."""
    reported: list[Row]
    """The report's networks, for methods whose report is complete."""
    searched: list[Row]
    """The search's networks, for methods whose report is complete."""


def stored(folder: Path = REFERENCE) -> list[Stored]:
    """Returns all settings of a folder. Files without a setting of this plan are left out, with a warning."""
    return list(load_all(folder, ".nc", _stored).values())


def _stored(path: Path) -> Stored:
    setting, rows = _contents(path)
    counts = Counter(row["method"] for row in of_stage(rows, "report"))
    wanted = setting["budget"]["report_seeds"]
    whole = [row for row in rows if counts[row["method"]] == wanted]
    return Stored(path.stem, setting, of_stage(whole, "report"), of_stage(whole, "search"))


def load(folder: Path, setting: Setting) -> list[Row]:
    """Returns a setting's finished networks; ResultsError if they belong to another setting or plan."""
    path = path_of(folder, setting)
    if not path.exists():
        return []
    found, rows = _contents(path)
    if found != json.loads(json.dumps(asdict(setting))):
        raise ResultsError(f"{path} holds another setting with the same name: move it away")
    return rows


_FORM = {"pool": "", "rows": 0, "title": "", "plain": {"steps": 0}, "budget": {"report_seeds": 0}}
"""A setting with values of the right types, to check the form of stored settings."""


def _contents(path: Path) -> tuple[dict[str, Any], list[Row]]:
    """Returns the setting in a file, as plain numbers and strings; and the file's networks."""
    with netcdf.read(path) as dataset:
        if dataset.attrs.get("plan") != plan():
            raise ResultsError(f"{path} belongs to another PLAN.md: move it away")
        setting = json.loads(dataset.attrs["setting"])
        check_form(setting, _FORM)
        names = ("method", "stage", "point", "seed", "failed", *map(str, dataset.data_vars))
        netcdf.check_dimensions(dataset, {name: ("run",) for name in names})
        columns = {str(name): _decoded(variable) for name, variable in dataset.data_vars.items()}
    return setting, [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def write(folder: Path, setting: Setting, rows: Sequence[Row]) -> None:
    """Writes the networks of a setting to its file, and replaces an older file."""
    names = dict.fromkeys(name for row in rows for name in row)
    dataset = xr.Dataset({name: _coded([row.get(name, np.nan) for row in rows]) for name in names})
    dataset.attrs = {"setting": json.dumps(asdict(setting)), "plan": plan(), **provenance.current()}
    numbers = [name for name, array in dataset.data_vars.items() if array.dtype.kind == "f"]
    packed = {str(name): {"dtype": "float32"} for name in numbers}
    netcdf.write(path_of(folder, setting), dataset, packed=packed)


def _coded(column: list[Any]) -> tuple:
    """Returns a column for xarray. Words become integers, with their meanings in an attribute (CF
    convention), because strings of variable length are not compressed."""
    if not isinstance(column[0], str):
        return "run", np.asarray(column)
    words = list(dict.fromkeys(column))
    return (
        "run",
        np.array([words.index(word) for word in column], np.int8),
        {"flag_meanings": " ".join(words)},
    )


def _decoded(column: xr.DataArray) -> list[Any]:
    values: list[Any] = column.values.tolist()
    words = column.attrs.get("flag_meanings", "").split()
    return [words[value] for value in values] if words else values


def of(rows: Iterable[Row], method: str, *stages: Stage) -> list[Row]:
    """Returns the networks of a method, from the given stages. Without `stages`, all stages are included."""
    return [row for row in rows if row["method"] == method and (not stages or row["stage"] in stages)]


def failed(rows: Iterable[Row]) -> int:
    """Returns how many networks failed."""
    return sum(bool(row["failed"]) for row in rows)


def of_stage(rows: Iterable[Row], stage: Stage) -> list[Row]:
    """Returns the networks of a stage, from all methods."""
    return [row for row in rows if row["stage"] == stage]


def finalists(rows: Sequence[Row], count: int) -> list[int]:
    """Returns the points with the smallest mean tuning errors in the search, smallest first. `rows` are the
    networks of one method."""
    errors: dict[int, list[float]] = {}
    for row in rows:
        if row["stage"] == "search":
            errors.setdefault(int(row["point"]), []).append(float(row["tuning_error"]))
    return sorted(sorted(errors), key=lambda point: _rounded(float(np.mean(errors[point]))))[:count]


def _rounded(error: float) -> float:
    """Rounds an error, so that points with equal errors still tie after storage as float32."""
    return round(float(error), 6)


def chosen(rows: Sequence[Row], count: int) -> int:
    """Returns a method's finalist for which mean tuning error + standard error is smallest.

    A finalist with at least `FAILURES` failed networks is chosen only if all finalists have at least
    this many.
    """

    def score(point: int) -> tuple[bool, float]:
        tuned = [row for row in rows if row["stage"] != "report" and row["point"] == point]
        errors = np.array([row["tuning_error"] for row in tuned], float)
        spread = errors.std(ddof=1) / np.sqrt(len(errors)) if len(errors) > 1 else 0.0
        return failed(tuned) >= FAILURES, _rounded(errors.mean() + spread)

    return min(finalists(rows, count), key=score)
