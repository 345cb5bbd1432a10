"""A whole sweep as one file, small enough to commit."""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from experiments.disk import netcdf
from experiments.disk.errors import ResultsError
from experiments.store import finished
from experiments.store.gathered import identify, with_counted_errors


def load(path: Path) -> xr.Dataset:
    """Reads a sweep from a file that `save` wrote, and returns the sweep in the form of `gather`."""
    with netcdf.read(path) as stored:
        if missing := {*finished.VARIABLES, *finished.ATTRIBUTES} - {*map(str, stored.variables)}:
            raise ResultsError(f"{path} is not a sweep ({sorted(missing)[0]} is missing): move it away")
        netcdf.check_dimensions(stored, finished.DIMENSIONS, "cell")
        sweep = stored.load().drop_encoding()  # the encoding would limit texts to the longest stored one
        networks = [identify(str(stored)) for stored in sweep.configuration.values]
        for network in networks:
            if networks.count(network) > 1:
                raise ValueError(f"it has {network.name} more than once")
    # Older files have the names that users typed, such as corr-3 for corr-3.0.
    named = with_counted_errors(sweep).assign_coords(
        cell=[network.name for network in networks],
        size=("cell", [network.size for network in networks]),
        variant=("cell", [network.variant.name for network in networks]),
    )
    return finished.described(named)


def save(sweep: xr.Dataset, path: Path) -> None:
    """Writes a sweep as one small file: errors exactly, `correlation` to 1e-4, and all else to 4 digits."""
    rounded = {
        name: values.copy(data=_rounded(values.values))
        for name, values in sweep.data_vars.items()
        if values.dtype == np.float32 and name != "correlation" and not str(name).endswith("error")
    }
    packed: dict[str, dict[str, Any]] = {
        "correlation": {"dtype": "int16", "scale_factor": 1e-4, "_FillValue": np.int16(-(2**15))},
        "validation_error": {"dtype": "float32"},
    }
    netcdf.write(path, sweep.assign(rounded), packed)


def _rounded(values: np.ndarray) -> np.ndarray:
    """Rounds float32 to 12 bits after the leading 1. The other bits are noise, which does not compress."""
    dropped = 23 - 12
    rounded = (values.view(np.int32) + (1 << (dropped - 1)) & -(1 << dropped)).view(np.float32)
    return np.where(np.isfinite(values), rounded, values)
