"""Measurements of the networks of finished cells. Each measurement is one file, small enough to commit."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import xarray as xr

from experiments.disk import netcdf
from experiments.disk.errors import ResultsError
from experiments.grid.cells import Cell
from experiments.store import finished, provenance
from experiments.store.configuration import check, check_numbers


def save(measured: xr.Dataset, path: Path, folder: Path, grid: Sequence[Cell]) -> None:
    """Writes a measurement, compressed, with its origin and the configurations of the measured cells."""
    cells = []
    for cell in grid:
        with netcdf.read(finished.path_of(folder, cell.network)) as stored:
            cells.append(dict(stored.attrs))
    notes = {
        "configurations": json.dumps([cell.configuration() for cell in grid]),
        "dataset_version": cells[0]["dataset_version"],
        "trained_by_commit": "; ".join(sorted({str(cell["commit"]) for cell in cells})),
        **provenance.current(),  # the origin of the measurement, not of the cells
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    netcdf.write(path, measured.assign_attrs(notes), packed={})


def load(path: Path, dimensions: Mapping[str, tuple[str, ...]]) -> xr.Dataset:
    """Reads a measurement from a file that `save` wrote. The variables must have the given dimensions."""
    with netcdf.read(path) as stored:
        if "configurations" not in stored.attrs:
            raise ResultsError(f"{path} is not a measurement: move it away")
        netcdf.check_dimensions(stored, dimensions)
        return stored.load().drop_encoding()


def is_done(path: Path, grid: Sequence[Cell]) -> bool:
    """Returns whether a measurement of these cells is stored; ResultsError if it is of other cells."""
    if not path.exists():
        return False
    with netcdf.read(path) as stored:
        measured = json.loads(stored.attrs["configurations"])
        names = ", ".join(f"{cell['size']}-{cell['variant']}" for cell in measured)
        check_numbers(path, {"grid": names}, {"grid": ", ".join(cell.name for cell in grid)})
        for configuration, cell in zip(measured, grid, strict=True):
            check(path, json.dumps(configuration), cell)
    return True
