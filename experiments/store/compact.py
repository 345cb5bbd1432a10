"""A whole sweep as one small file, fit to be committed."""

from pathlib import Path
from typing import Any

import h5netcdf
import numpy as np
import xarray as xr
from xarray.backends import H5NetCDFStore

from experiments.disk.files import write_atomically
from experiments.store import cells
from experiments.store.errors import ResultsError
from experiments.store.sweep import identify


def load(path: Path) -> xr.Dataset:
    """A sweep, as `sweep.gather` gives it, from a file that `save` wrote."""
    with cells.read(path) as stored:
        if missing := {*cells.VARIABLES, *cells.ATTRIBUTES} - {*map(str, stored.variables)}:
            raise ResultsError(f"{path} is no sweep ({sorted(missing)[0]} is missing): move it away")
        cells.check_dimensions(stored, cells.DIMENSIONS, "cell")
        sweep = stored.load().drop_encoding()  # has the longest text, to which a longer one would be cut
        networks = [identify(str(stored)) for stored in sweep.configuration.values]
        for network in networks:
            if networks.count(network) > 1:
                raise ValueError(f"it has {network.name} more than once")
    # Names were once stored as they were typed: corr-3 for corr-3.0.
    return sweep.assign_coords(
        cell=[network.name for network in networks],
        size=("cell", [network.size for network in networks]),
        variant=("cell", [network.variant.name for network in networks]),
    )


def save(sweep: xr.Dataset, path: Path) -> None:
    """Writes a sweep as one small file: errors exactly, `correlation` to 1e-4, all else to 4 digits."""
    small, encoding = sweep.copy(), {}
    for name in [str(name) for name in sweep if sweep[name].dtype.kind in "if"]:
        values = sweep[name]
        if not values.size:  # slopes of a leaky ReLU
            continue
        encoding[name] = {"zlib": True, "complevel": 9, "shuffle": True, "chunksizes": values.shape}
        if name == "correlation":
            encoding[name] |= {"dtype": "int16", "scale_factor": 1e-4, "_FillValue": np.int16(-(2**15))}
        elif values.dtype == np.float32 and not name.endswith("error"):
            small[name] = values.copy(data=_rounded(values.values))

    def write_to(file: Any) -> None:
        # In the format of HDF5 1.10 an array of one chunk has no index; by default it has one of 2 kB.
        with h5netcdf.File(file, "w", libver=("v110", "v110")) as written:
            small.dump_to_store(H5NetCDFStore(written, autoclose=False), encoding=encoding)

    write_atomically(path, write_to)


def _rounded(values: np.ndarray) -> np.ndarray:
    """float32 to 12 bits behind the leading one; the others would be noise to the compression."""
    dropped = 23 - 12
    rounded = (values.view(np.int32) + (1 << (dropped - 1)) & -(1 << dropped)).view(np.float32)
    return np.where(np.isfinite(values), rounded, values)
