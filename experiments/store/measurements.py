"""What was measured of the networks of finished cells: one small file a measurement, fit to be committed."""

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
    """Writes a measurement, compressed, with the cells of a folder that it is of and what made them."""
    made = []
    for cell in grid:
        with netcdf.read(finished.path_of(folder, cell.network)) as stored:
            made.append(dict(stored.attrs))
    said = {
        "configurations": json.dumps([cell.configuration() for cell in grid]),
        "dataset_version": made[0]["dataset_version"],
        "trained_by_commit": "; ".join(sorted({str(each["commit"]) for each in made})),
        **provenance.current(),  # of the measuring
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    netcdf.write(path, measured.assign_attrs(said), packed={})


def load(path: Path, dimensions: Mapping[str, tuple[str, ...]]) -> xr.Dataset:
    """A measurement of variables with these dimensions, as it was made, from a file that `save` wrote."""
    with netcdf.read(path) as stored:
        if "configurations" not in stored.attrs:
            raise ResultsError(f"{path} is no measurement: move it away")
        netcdf.check_dimensions(stored, dimensions)
        return stored.load().drop_encoding()


def is_done(path: Path, grid: Sequence[Cell]) -> bool:
    """Whether a measurement of these cells is there; ResultsError if it is of others."""
    if not path.exists():
        return False
    with netcdf.read(path) as stored:
        found = json.loads(stored.attrs["configurations"])
        there, wanted = [f"{each['size']}-{each['variant']}" for each in found], [cell.name for cell in grid]
        check_numbers(path, {"grid": ", ".join(there)}, {"grid": ", ".join(wanted)})
        for each, cell in zip(found, grid, strict=True):
            check(path, json.dumps(each), cell)
    return True
