"""Finished cells on disk: one netCDF4 file each, CELL.nc, written completely or not at all."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.disk import netcdf
from experiments.disk.errors import ResultsError, unreadable
from experiments.disk.files import listed
from experiments.grid.cells import Block, Cell, Checkpoint
from experiments.grid.networks import Network
from experiments.store import checkpoints, provenance
from experiments.store.configuration import check, check_data, check_together

if TYPE_CHECKING:
    import xarray as xr  # imported where it is used, so that training alone does not wait for it

    from experiments.disk.hdf5 import Header

# Maps the name of each recorded variable to its dimensions, meaning and units. A cell also has the parameters
# after the last epoch, and correlation_1, ...: the hidden layers' matrices over the whole validation set.
VARIABLES = {
    "train_nll": (("seed", "epoch"), "nll over the epoch's minibatches, as trained", "nats"),
    "train_error": (("seed", "epoch"), "error over the epoch's minibatches, as trained", "1"),
    "validation_nll": (("seed", "epoch"), "nll of the validation set", "nats"),
    "validation_error": (("seed", "epoch"), "error of the validation set", "1"),
    "penalty": (
        ("seed", "epoch", "layer"),
        "mean P over validation minibatches of training batch size",
        "1",
    ),
    "mean_correlation": (("seed", "epoch", "layer"), "mean |rho| over pairs, whole validation set", "1"),
    "slope": (("seed", "epoch", "slope_layer"), "PReLU slopes; empty if they are not learned", "1"),
    "mean_correlation_minibatch": (
        ("seed", "layer"),
        "mean |rho| over pairs, rho averaged over the last epoch's training minibatches",
        "1",
    ),
    "histogram_minibatch": (
        ("seed", "layer", "bin"),
        "share of pairs per bin of |rho|, rho averaged over the last epoch's training minibatches, "
        "undefined entries counted as 1 (the author's released code)",
        "1",
    ),
    "histogram_validation": (
        ("seed", "layer", "bin"),
        "share of pairs per bin of |rho|, whole validation set after the last epoch",
        "1",
    ),
    "diverged_epoch": (("seed",), "first epoch with a nll that is not finite; 0: never", "1"),
}

DIMENSIONS = {name: dimensions for name, (dimensions, _, _) in VARIABLES.items()}
"""Maps the name of each variable to its dimensions."""

ATTRIBUTES = ("configuration", "dataset_version", "devices", "seconds", *provenance.NAMES)
"""Names of the texts and numbers that are stored about a whole cell."""

_FURTHER = {
    "correlation": {"long_name": "rho, last hidden layer, first seed", "units": "1"},
    "bin": {"long_name": "left edge of the bin of |rho|", "units": "1"},
    "seconds": {"long_name": "time of training", "units": "s"},
    "cell": {"long_name": "network"},
    "layer": {"long_name": "hidden layer"},
}
"""xarray attributes of variables and coordinates that are not in `VARIABLES` and need an explanation."""


def described(dataset: "xr.Dataset") -> "xr.Dataset":
    """Adds `long_name` and `units` to the variables of a cell or a sweep; xarray's plots write them at the
    axes. Errors, correlations and other pure numbers have the unit 1."""
    attributes = {
        name: {"long_name": meaning, "units": units} for name, (_, meaning, units) in VARIABLES.items()
    } | _FURTHER
    dataset = dataset.copy()
    for name in attributes.keys() & dataset.variables.keys():
        dataset[name].attrs |= attributes[str(name)]
    return dataset


def path_of(folder: Path, network: Network) -> Path:
    """Returns the path of the file that holds a network's cell."""
    return folder / f"{network.name}.nc"


def paths(folder: Path) -> list[Path]:
    """Returns the files of cells in a folder, SIZE-VARIANT.nc. Other files are ignored."""
    return [path for path in listed(folder, ".nc") if _is_network(path.stem)]


def _is_network(name: str) -> bool:
    try:
        Network.parse(name)
    except ValueError:
        return False
    return True


def missing(folder: Path, grid: Sequence[Cell]) -> dict[Cell, int]:
    """Returns the cells of the grid that are unfinished in a folder, each with its number of finished seeds.

    Raises:
      ResultsError: a file in the folder belongs to another sweep.
    """
    done = {cell: seeds_done(folder, cell) for cell in grid}
    for path in sorted({*paths(folder)} - {path_of(folder, cell.network) for cell in grid}):
        with netcdf.header(path) as header:
            check_together(path, configuration_of(path, header), json.dumps(grid[0].configuration()))
    return {cell: seeds for cell, seeds in done.items() if seeds < cell.seeds}


def check_identity(folder: Path, identity: str) -> None:
    """Raises ResultsError if cells in a folder were trained on data with another `Dataset.identity`."""
    for path in paths(folder):
        with netcdf.header(path) as header:
            check_data(path, str(header.attrs.get("dataset_version", "")), identity)


def configuration_of(path: Path, stored: "xr.Dataset | Header") -> str:
    """Returns the configuration of a cell, as JSON; ResultsError if the file does not hold a cell."""
    configuration = stored.attrs.get("configuration")
    if not isinstance(configuration, str) or not {*VARIABLES} <= {*stored.variables}:
        raise ResultsError(f"{path} was not written by a sweep: move it away")
    return configuration


def seeds_done(folder: Path, cell: Cell) -> int:
    """Returns how many of the cell's seeds are done, from seed 0 on; ResultsError for another
    configuration."""
    path = path_of(folder, cell.network)
    if not path.exists():
        return 0
    with netcdf.header(path) as header:
        seeds = header.variables["seed"].shape[0]
        check(path, configuration_of(path, header), replace(cell, seeds=seeds))
    return min(seeds, cell.seeds)


def parameters(dataset: "xr.Dataset") -> list[dict[str, Any]]:
    """Returns the parameters of each seed's network after the last epoch, nested like the model's."""
    recorded = {*VARIABLES} | {f"correlation_{layer}" for layer in dataset.layer.values}
    arrays = {name: dataset[name].values for name in map(str, dataset.data_vars) if name not in recorded}
    networks = []
    for seed in range(dataset.sizes["seed"]):
        nested: dict[str, Any] = {}
        for name, values in arrays.items():
            *modules, last = name.split(".")
            inner = nested
            for module in modules:
                inner = inner.setdefault(module, {})
            inner[last] = values[seed]
        networks.append(nested)
    return networks


def finish(folder: Path, cell: Cell, blocks: Sequence[Block], identity: str) -> None:
    """Turns the checkpoints of a cell's blocks into the cell's results, once all blocks are finished.

    Args:
      folder: the sweep's folder.
      cell: the cell.
      blocks: all blocks that were missing, in the order of their seeds. The results of earlier seeds are
        stored already.
      identity: `Dataset.identity` of the data that the cell was trained on.
    """
    parts = [
        part for block in blocks if (part := checkpoints.read(folder, block, identity)) and part.last_epoch
    ]
    if len(parts) == len(blocks):
        try:
            results = _results(cell, blocks[0].first, parts, identity)
        except (KeyError, ValueError) as error:  # the checkpoints lack records, or their shapes do not fit
            raise unreadable(checkpoints.path_of(folder, blocks[0]), error, "checkpoint") from error
        path = path_of(folder, cell.network)
        if blocks[0].first:
            results = _added(path, results)
        netcdf.write(path, results)
        for block in blocks:
            checkpoints.path_of(folder, block).unlink()


def _results(cell: Cell, first: int, parts: Sequence[Checkpoint], identity: str) -> "xr.Dataset":
    """Returns the results of the seeds from `first` on."""
    import xarray as xr

    per_epoch = {
        name: [checkpoints.stacked(part.history, name, axis=1) for part in parts]
        for name in parts[0].history[0]
    }
    last_epoch = {name: [part.last_epoch[name] for part in parts] for name in parts[0].last_epoch}
    values = {name: np.concatenate(arrays) for name, arrays in (per_epoch | last_epoch).items()}
    finite = np.isfinite(values["train_nll"]) & np.isfinite(values["validation_nll"])
    values["diverged_epoch"] = np.where(finite.all(axis=1), 0, finite.argmin(axis=1) + 1)
    parameters = {
        name.removeprefix("params."): np.concatenate([part.state[name] for part in parts])
        for name in parts[0].state
        if name.startswith("params.")
    }
    bins = values["histogram_validation"].shape[-1]
    seeds, epochs, layers = values["penalty"].shape
    dataset = xr.Dataset(
        {name: (_dimensions(name, value), value) for name, value in (values | parameters).items()},
        coords={
            "seed": np.arange(first, first + seeds),
            "epoch": np.arange(1, epochs + 1),
            "layer": np.arange(1, layers + 1),
            "bin": np.arange(bins) / bins,
        },
        attrs={
            "configuration": json.dumps(cell.configuration()),
            "dataset_version": identity,
            "devices": "; ".join(sorted({part.devices for part in parts})),
            "seconds": sum(part.seconds for part in parts),
            **provenance.current(),
        },
    )
    return described(dataset)


def _added(path: Path, results: "xr.Dataset") -> "xr.Dataset":
    """Returns the results in a file, with those of further seeds appended. Notes that differ are joined."""
    import xarray as xr

    with netcdf.read(path) as stored:
        before = stored.load().drop_encoding()
        whole = xr.concat([before, results], "seed", compat="equals", join="exact", combine_attrs="override")
        notes = {
            name: "; ".join(dict.fromkeys((before.attrs[name], results.attrs[name])))
            for name in ("dataset_version", "devices", *provenance.NAMES)
        }
        seconds = before.attrs["seconds"] + results.attrs["seconds"]
    return whole.assign_attrs(results.attrs | notes | {"seconds": seconds})


def _dimensions(name: str, value: np.ndarray) -> tuple[str, ...]:
    """Returns a variable's dimensions in `VARIABLES`. Parameters and correlation_LAYER, which are not there,
    get dimensions of their own."""
    own = ("seed", *(f"{name}.{axis}" for axis in range(1, value.ndim)))
    return VARIABLES[name][0] if name in VARIABLES else own
