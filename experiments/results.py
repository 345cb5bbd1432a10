"""Cells on disk: one netCDF4 file each, written whole or not at all, and the checkpoint of one at work.

A sweep's folder holds CELL.nc, a finished cell; CELL.checkpoint.npz, a cell at work; and .lock. Nothing
that is read back is pickled.
"""

import io
import json
import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
import xarray as xr

from experiments.grid import Cell

Arrays = dict[str, np.ndarray]

# What is recorded, by name: dimensions and meaning.
VARIABLES = {
    "train_nll": (("seed", "epoch"), "nll over the epoch's minibatches, as trained (nats)"),
    "train_error": (("seed", "epoch"), "error over the epoch's minibatches, as trained"),
    "validation_nll": (("seed", "epoch"), "nll of the validation set (nats)"),
    "validation_error": (("seed", "epoch"), "error of the validation set, in [0, 1]"),
    "penalty": (("seed", "epoch", "layer"), "mean P over validation minibatches of training size"),
    "mean_correlation": (("seed", "epoch", "layer"), "mean |rho| over pairs, whole validation set"),
    "slope": (("seed", "epoch", "slope_layer"), "PReLU slopes; no layer if they are not learned"),
    "mean_correlation_minibatch": (
        ("seed", "layer"),
        "mean |rho| over pairs, rho averaged over the last epoch's training minibatches",
    ),
    "histogram_minibatch": (
        ("seed", "layer", "bin"),
        "share of pairs per bin of |rho|, rho averaged over the last epoch's training minibatches, "
        "undefined entries counted as 1 (the author's released code)",
    ),
    "histogram_validation": (
        ("seed", "layer", "bin"),
        "share of pairs per bin of |rho|, whole validation set after the last epoch",
    ),
    "diverged_epoch": (("seed",), "first epoch with a nll that is not finite; 0: never"),
}


class ResultsError(Exception):
    """What is on disk is not what was asked for: one line that says what was found and what to do."""


class Checkpoint(NamedTuple):
    """A cell at work: arrays of its states, one record per epoch, and the seconds spent so far."""

    state: Arrays
    history: list[Arrays]
    seconds: float


def cell_path(folder: Path, cell: Cell) -> Path:
    return folder / f"{cell.name}.nc"


def checkpoint_path(folder: Path, cell: Cell) -> Path:
    return folder / f"{cell.name}.checkpoint.npz"


def is_done(folder: Path, cell: Cell) -> bool:
    """Whether the cell's results are there; ResultsError if they are of another configuration."""
    path = cell_path(folder, cell)
    if not path.exists():
        return False
    with read(path) as dataset:
        _check(path, dataset.attrs.get("configuration"), cell)
    return True


def read(path: Path) -> xr.Dataset:
    """Opens a finished cell lazily; use it as a context, or close it."""
    try:
        return xr.open_dataset(path, engine="h5netcdf")
    except (OSError, ValueError, KeyError) as error:
        raise ResultsError(f"{path} is not readable as netCDF4 ({error}): move it away") from error


def write(
    folder: Path,
    cell: Cell,
    *,
    history: list[Arrays],
    last_epoch: Arrays,
    parameters: Arrays,
    attributes: Mapping[str, object],
) -> Path:
    """Writes a finished cell, with provenance, and removes its checkpoint.

    Args:
      folder: the sweep's folder.
      cell: whose results.
      history: one record per epoch, [seed, ...] by name.
      last_epoch: what is known of the last epoch only, [seed, ...] by name.
      parameters: final parameters [seed, ...] by name.
      attributes: provenance that the caller knows.

    Returns:
      The path of the file.
    """
    values = {name: np.stack([record[name] for record in history], axis=1) for name in history[0]}
    values |= last_epoch
    finite = np.isfinite(values["train_nll"]) & np.isfinite(values["validation_nll"])
    values["diverged_epoch"] = np.where(finite.all(axis=1), 0, finite.argmin(axis=1) + 1)
    bins = values["histogram_validation"].shape[-1]
    layers = values["penalty"].shape[-1]
    dataset = xr.Dataset(
        {name: (VARIABLES[name][0], value) for name, value in values.items()}
        | {
            name: (("seed", *(f"{name}.{axis}" for axis in range(1, value.ndim))), value)
            for name, value in parameters.items()
        },
        coords={
            "seed": np.arange(cell.seeds),
            "epoch": np.arange(1, len(history) + 1),
            "layer": np.arange(1, layers + 1),
            "bin": ("bin", np.arange(bins) / bins, {"long_name": "left edge of the bin of |rho|"}),
        },
        attrs={"configuration": json.dumps(cell.configuration()), **attributes, **_provenance()},
    )
    for name, (_, meaning) in VARIABLES.items():
        dataset[name].attrs["long_name"] = meaning
    path = cell_path(folder, cell)
    _write_atomically(path, lambda file: dataset.to_netcdf(file, engine="h5netcdf"))
    checkpoint_path(folder, cell).unlink(missing_ok=True)
    return path


def write_checkpoint(folder: Path, cell: Cell, checkpoint: Checkpoint) -> None:
    """Replaces the checkpoint of a cell at work."""
    arrays = {f"state/{name}": value for name, value in checkpoint.state.items()}
    for name in checkpoint.history[0]:
        arrays[f"history/{name}"] = np.stack([record[name] for record in checkpoint.history])
    arrays["seconds"] = np.asarray(checkpoint.seconds)
    arrays["configuration"] = np.asarray(json.dumps(cell.configuration()))
    _write_atomically(
        checkpoint_path(folder, cell), lambda file: np.savez(file, allow_pickle=False, **arrays)
    )


def read_checkpoint(folder: Path, cell: Cell) -> Checkpoint | None:
    """A cell's checkpoint, None if it has none; ResultsError if it is of another configuration."""
    path = checkpoint_path(folder, cell)
    if not path.exists():
        return None
    try:
        # Opened here, for np.load does not close what it cannot read.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = dict(file)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise ResultsError(f"{path} is not a readable checkpoint ({error}): delete it") from error
    _check(path, str(arrays["configuration"]), cell)
    parts = {
        part: {name.removeprefix(part): arrays[name] for name in arrays if name.startswith(part)}
        for part in ("state/", "history/")
    }
    epochs = len(parts["history/"]["train_nll"])
    history = [{name: v[epoch] for name, v in parts["history/"].items()} for epoch in range(epochs)]
    return Checkpoint(parts["state/"], history, float(arrays["seconds"]))


def _check(path: Path, found: object, cell: Cell) -> None:
    wanted = json.loads(json.dumps(cell.configuration()))  # tuples become lists
    stored = json.loads(found) if isinstance(found, str) else {}
    if differences := _differences(stored, wanted):
        raise ResultsError(
            f"{path} was made with other options ({'; '.join(differences)}): "
            "give the same ones, or another --out"
        )


def _differences(found: object, wanted: object, name: str = "") -> list[str]:
    """`name is FOUND there, not WANTED` for every number or string in which two configurations differ."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return [
            line
            for key in wanted | found
            for line in _differences(found.get(key), wanted.get(key), f"{name}.{key}".strip("."))
        ]
    return [] if found == wanted else [f"{name} is {found} there, not {wanted}"]


def _write_atomically(path: Path, write_to: Callable[[io.BufferedRandom], object]) -> None:
    """Writes a file of which a reader, or a crash, sees all or nothing."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb+") as file:
        write_to(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _provenance() -> dict[str, str]:
    packages = ("jax", "jaxlib", "flax", "optax", "numpy")
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "commit": git.stdout.strip() or "unknown",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.platform(),
        "versions": json.dumps(
            {"python": platform.python_version()} | {name: version(name) for name in packages}
        ),
    }
