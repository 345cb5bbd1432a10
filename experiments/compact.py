"""A whole sweep as one Dataset [cell, seed, epoch, ...]: gathered from its folder, or from one small file."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from decorr.config import SIZES
from experiments import results
from experiments.results import ResultsError

PROVENANCE = (
    "configuration",
    "dataset_version",
    "devices",
    "seconds",
    "commit",
    "created",
    "machine",
    "versions",
)


def load(path: Path, cells: Sequence[str] | None = None) -> xr.Dataset:
    """A sweep from its folder of cells or from a file that `save` wrote.

    Args:
      path: the folder or the file.
      cells: names of those that are wanted of a folder; None: all.

    Returns:
      All `results.VARIABLES` with a leading axis `cell` (names as SIZE-VARIANT; coordinates size and
      variant), ordered as in Table 1; `correlation` [cell, unit, other_unit], rho of the last hidden
      layer of the first seed over the validation set, NaN beyond the layer's width (dropped from the
      committed scans); and of each cell the provenance.

    Raises:
      ResultsError: nothing is there, or cells of different numbers of seeds or epochs.
    """
    if path.is_file():
        with results.read(path) as dataset:
            return dataset.load().drop_encoding()  # has the longest text, to which a longer one would be cut
    paths = path.glob("*.nc") if cells is None else [path / f"{name}.nc" for name in cells]
    found = [_cell(each) for each in paths]
    if not found:
        raise ResultsError(f"{path} holds no results: give a sweep's folder")
    for name in ("seed", "epoch"):
        if len({cell.sizes[name] for cell in found}) > 1:
            raise ResultsError(
                f"{path} holds cells of different numbers of {name}s: keep them in folders apart"
            )
    return concatenate(found)


def concatenate(cells: Iterable[xr.Dataset]) -> xr.Dataset:
    """Cells as one Dataset [cell, ...], in order; a layer of fewer units is filled up with NaN."""
    return xr.concat(
        sorted(cells, key=_order),
        dim="cell",
        data_vars="all",
        coords=["size", "variant"],
        compat="equals",
        join="outer",
        combine_attrs="drop",
    )


def split(sweep: xr.Dataset) -> list[xr.Dataset]:
    """The cells of a sweep: what `concatenate` makes a sweep of."""
    return [sweep.isel(cell=i) for i in range(sweep.sizes["cell"])]


def save(dataset: xr.Dataset, path: Path) -> None:
    """Writes a sweep as one small file: errors exactly, `correlation` to 1e-4, all else to 4 digits."""
    small, encoding = dataset.copy(), {}
    for name in [str(name) for name in dataset if dataset[name].dtype.kind in "if"]:
        values = dataset[name]
        if not values.size:  # slopes of a leaky ReLU
            continue
        encoding[name] = {"zlib": True, "complevel": 9, "shuffle": True, "chunksizes": values.shape}
        if name == "correlation":
            encoding[name] |= {"dtype": "int16", "scale_factor": 1e-4, "_FillValue": np.int16(-(2**15))}
        elif values.dtype == np.float32 and not name.endswith("error"):
            small[name] = values.copy(data=_rounded(values.values))
    results.write_atomically(path, lambda file: small.to_netcdf(file, engine="h5netcdf", encoding=encoding))


def _rounded(values: np.ndarray) -> np.ndarray:
    """float32 to 12 bits behind the leading one; the others would be noise to the compression."""
    dropped = 23 - 12
    rounded = (values.view(np.int32) + (1 << (dropped - 1)) & -(1 << dropped)).view(np.float32)
    return np.where(np.isfinite(values), rounded, values)


def names(dataset: xr.Dataset, sizes: Sequence[str], variants: Sequence[str]) -> list[str]:
    """Those cells of sizes x variants that the sweep has."""
    wanted = (f"{size}-{variant}" for size in sizes for variant in variants)
    return [name for name in wanted if name in dataset.cell.values]


def error(sweep: xr.Dataset) -> xr.DataArray:
    """Validation error [..., seed, epoch], NaN from the epoch in which a network diverged."""
    diverged = sweep.diverged_epoch
    return sweep.validation_error.where((diverged == 0) | (sweep.epoch < diverged))


def diverged(sweep: xr.Dataset, by: int | None = None) -> dict[str, tuple[int, int]]:
    """Cells with networks that diverged by an epoch (default: the last): how many, and of how many."""
    epoch = sweep.diverged_epoch
    counts = ((epoch > 0) & (epoch <= (by or sweep.sizes["epoch"]))).sum("seed").values
    return {
        str(name): (int(count), sweep.sizes["seed"])
        for name, count in zip(sweep.cell.values, counts, strict=True)
        if count
    }


def configuration(dataset: xr.Dataset) -> dict:
    """The configuration of the first cell; dataset and protocol are those of all."""
    return json.loads(str(dataset.configuration.values[0]))


def _cell(path: Path) -> xr.Dataset:
    with results.read(path) as found:
        kept = found[list(results.VARIABLES)].load()
        rho = found[f"correlation_{kept.sizes['layer']}"][0].values
    configured = json.loads(found.attrs["configuration"])
    units = np.arange(len(rho))
    kept = kept.assign(
        {name: found.attrs[name] for name in PROVENANCE}
        | {"correlation": (("unit", "other_unit"), rho, {"long_name": "rho, last hidden layer, first seed"})}
    )
    names = {name: configured[name] for name in ("size", "variant")}
    return kept.assign_coords(names | {"cell": path.stem, "unit": units, "other_unit": units})


def _order(cell: xr.Dataset) -> tuple:
    """Sizes as in Table 1; vanilla, drop, corr; then by rate or weight."""
    kind, _, number = str(cell.variant.values).partition("-")
    return [*map(str, SIZES)].index(str(cell["size"].values)), "vdc".index(kind[0]), float(number or 0)
