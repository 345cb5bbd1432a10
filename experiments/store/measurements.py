"""What was measured of the networks of finished cells: one small file a measurement, fit to be committed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import xarray as xr

from experiments.disk.files import write_atomically
from experiments.grid.cells import Cell
from experiments.store import cells, provenance
from experiments.store.configuration import check, check_numbers
from experiments.store.errors import ResultsError


def save(measured: xr.Dataset, path: Path, folder: Path, grid: Sequence[Cell]) -> None:
    """Writes a measurement, compressed, with the cells of a folder that it is of and what made them."""
    made = []
    for cell in grid:
        with cells.read(cells.path_of(folder, cell.network)) as stored:
            made.append(dict(stored.attrs))
    said = {
        "configurations": json.dumps([cell.configuration() for cell in grid]),
        "dataset_version": made[0]["dataset_version"],
        "trained_by_commit": "; ".join(sorted({str(each["commit"]) for each in made})),
        **provenance.current(),  # of the measuring
    }
    encoding = {
        name: {"zlib": True, "complevel": 9, "shuffle": True}
        for name in map(str, measured.data_vars)
        if measured[name].ndim
    }
    dataset = measured.assign_attrs(said)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: dataset.to_netcdf(file, engine="h5netcdf", encoding=encoding))


def load(path: Path, dimensions: Mapping[str, tuple[str, ...]]) -> xr.Dataset:
    """A measurement of variables with these dimensions, as it was made, from a file that `save` wrote."""
    with cells.read(path) as stored:
        if "configurations" not in stored.attrs:
            raise ResultsError(f"{path} is no measurement: move it away")
        cells.check_dimensions(stored, dimensions)
        return stored.load().drop_encoding()


def is_done(path: Path, grid: Sequence[Cell]) -> bool:
    """Whether a measurement of these cells is there; ResultsError if it is of others."""
    if not path.exists():
        return False
    with cells.read(path) as stored:
        found = json.loads(stored.attrs["configurations"])
        there, wanted = [f"{each['size']}-{each['variant']}" for each in found], [cell.name for cell in grid]
        check_numbers(path, {"grid": ", ".join(there)}, {"grid": ", ".join(wanted)})
        for each, cell in zip(found, grid, strict=True):
            check(path, json.dumps(each), cell)
    return True
