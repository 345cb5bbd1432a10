"""Cells on disk: one netCDF4 file each, written whole or not at all, and the checkpoints of one at work.

A sweep's folder holds CELL.nc, a finished cell; a checkpoint of each block of a cell at work,
CELL.checkpoint.npz or CELL.seeds-FIRST-LAST.checkpoint.npz; and .lock. Nothing that is read back is pickled.
"""

import io
import itertools
import json
import math
import os
import platform
import re
import subprocess
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
import xarray as xr

from experiments.grid import Block, Cell

Arrays = dict[str, np.ndarray]

# What is recorded, by name: dimensions and meaning. And, of the last epoch: correlation_1, ..., the
# matrices of the hidden layers over the whole validation set, and the parameters.
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
    """A block at work, or finished: all arrays are [run, ...], by name."""

    state: Arrays
    """The training states; the parameters' names begin with `params.`."""
    history: list[Arrays]
    """One record an epoch."""
    last_epoch: Arrays
    """What is known of the last epoch only; empty before."""
    seconds: float
    """Spent on it so far."""
    devices: str
    """What it was trained on."""


def cell_path(folder: Path, cell: Cell) -> Path:
    return folder / f"{cell.name}.nc"


def checkpoint_path(folder: Path, block: Block) -> Path:
    return folder / f"{block.name}.checkpoint.npz"


def blocks(folder: Path, cell: Cell, runs: int) -> list[Block]:
    """A cell's blocks: as the checkpoints have them, the other seeds in equal blocks of at most `runs`."""
    name = re.compile(re.escape(cell.name) + r"(?:\.seeds-(\d+)-(\d+))?\.checkpoint\.npz")
    matches = [match for path in folder.iterdir() if (match := name.fullmatch(path.name))]
    begun = [Block(cell, int(match[1] or 0), int(match[2] or cell.seeds - 1)) for match in matches]
    taken = [seed for block in begun for seed in range(block.first, block.last + 1)]
    if len(taken) > len(set(taken)):
        names = ", ".join(str(folder / match[0]) for match in matches)
        raise ResultsError(f"checkpoints hold the same seeds more than once ({names}): delete the older")
    left = sorted(set(range(cell.seeds)) - set(taken))
    for _, gap in itertools.groupby(enumerate(left), lambda each: each[1] - each[0]):
        seeds = [seed for _, seed in gap]
        parts = np.array_split(seeds, math.ceil(len(seeds) / runs))
        begun += [Block(cell, int(part[0]), int(part[-1])) for part in parts]
    return sorted(begun, key=lambda block: block.first)


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


def finish(folder: Path, cell: Cell, blocks: Sequence[Block], dataset_version: str) -> None:
    """Makes a cell's results of its blocks' checkpoints, once all of them are finished.

    Args:
      folder: the sweep's folder.
      cell: whose results.
      blocks: all its blocks, in the order of their seeds.
      dataset_version: of the data that it was trained on.
    """
    parts = [part for block in blocks if (part := read_checkpoint(folder, block)) and part.last_epoch]
    if len(parts) == len(blocks):
        _write(folder, cell, parts, dataset_version)
        for block in blocks:
            checkpoint_path(folder, block).unlink()


def _write(folder: Path, cell: Cell, parts: Sequence[Checkpoint], dataset_version: str) -> None:
    per_epoch = {name: [_stack(part.history, name, axis=1) for part in parts] for name in parts[0].history[0]}
    last_epoch = {name: [part.last_epoch[name] for part in parts] for name in parts[0].last_epoch}
    values = {name: np.concatenate(blocks) for name, blocks in (per_epoch | last_epoch).items()}
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
            "seed": np.arange(seeds),
            "epoch": np.arange(1, epochs + 1),
            "layer": np.arange(1, layers + 1),
            "bin": ("bin", np.arange(bins) / bins, {"long_name": "left edge of the bin of |rho|"}),
        },
        attrs={
            "configuration": json.dumps(cell.configuration()),
            "dataset_version": dataset_version,
            "devices": "; ".join(sorted({part.devices for part in parts})),
            "seconds": sum(part.seconds for part in parts),
            **_provenance(),
        },
    )
    for name, (_, meaning) in VARIABLES.items():
        dataset[name].attrs["long_name"] = meaning
    write_atomically(cell_path(folder, cell), lambda file: dataset.to_netcdf(file, engine="h5netcdf"))


def _dimensions(name: str, value: np.ndarray) -> tuple[str, ...]:
    """As recorded; parameters and correlation_LAYER, whose sizes are the network's, have their own."""
    own = ("seed", *(f"{name}.{axis}" for axis in range(1, value.ndim)))
    return VARIABLES[name][0] if name in VARIABLES else own


def _stack(history: list[Arrays], name: str, axis: int) -> np.ndarray:
    return np.stack([record[name] for record in history], axis=axis)


def write_checkpoint(folder: Path, block: Block, checkpoint: Checkpoint) -> None:
    """Replaces the checkpoint of a block."""
    arrays = {f"state/{name}": value for name, value in checkpoint.state.items()}
    arrays |= {f"last_epoch/{name}": value for name, value in checkpoint.last_epoch.items()}
    for name in checkpoint.history[0]:
        arrays[f"history/{name}"] = _stack(checkpoint.history, name, axis=0)
    arrays["seconds"] = np.asarray(checkpoint.seconds)
    arrays["devices"] = np.asarray(checkpoint.devices)
    arrays["configuration"] = np.asarray(json.dumps(block.cell.configuration()))
    write_atomically(
        checkpoint_path(folder, block), lambda file: np.savez(file, allow_pickle=False, **arrays)
    )


def read_checkpoint(folder: Path, block: Block) -> Checkpoint | None:
    """A block's checkpoint, None if it has none; ResultsError if it is of another configuration."""
    path = checkpoint_path(folder, block)
    if not path.exists():
        return None
    try:
        # Opened here, for np.load does not close what it cannot read.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = dict(file)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise ResultsError(f"{path} is not a readable checkpoint ({error}): delete it") from error
    _check(path, str(arrays["configuration"]), block.cell)
    state, history, last_epoch = (
        {name.removeprefix(part): arrays[name] for name in arrays if name.startswith(part)}
        for part in ("state/", "history/", "last_epoch/")
    )
    records = [{name: history[name][epoch] for name in history} for epoch in range(len(history["train_nll"]))]
    return Checkpoint(state, records, last_epoch, float(arrays["seconds"]), str(arrays["devices"]))


def _check(path: Path, found: object, cell: Cell) -> None:
    if different := differences(json.loads(found) if isinstance(found, str) else {}, cell):
        raise ResultsError(
            f"{path} was made with other options ({different}): give the same ones, or another --out"
        )


def differences(found: dict, cell: Cell) -> str:
    """In which numbers and strings a stored configuration is not the cell's; empty if in none."""
    wanted = json.loads(json.dumps(cell.configuration()))  # tuples become lists
    return "; ".join(_differences(found, wanted))


def _differences(found: object, wanted: object, name: str = "") -> list[str]:
    """`name is FOUND there, not WANTED` for every number or string in which two configurations differ."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return [
            line
            for key in wanted | found
            for line in _differences(found.get(key), wanted.get(key), f"{name}.{key}".strip("."))
        ]
    return [] if found == wanted else [f"{name} is {found} there, not {wanted}"]


def write_atomically(path: Path, write_to: Callable[[io.BufferedRandom], object]) -> None:
    """Writes a file of which a reader, or a crash, sees all or nothing."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb+") as file:
        write_to(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _git(*arguments: str) -> str:
    """What git says of this code; nothing if it is not in a checkout."""
    done = subprocess.run(
        ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _provenance() -> dict[str, str]:
    packages = ("jax", "jaxlib", "flax", "optax", "numpy")
    # The reference run writes beside the code, which it does not change.
    changed = _git(
        "status", "--porcelain", "--untracked-files=no", ":/", ":(top,exclude)experiments/reference"
    )
    return {
        "commit": (_git("rev-parse", "HEAD") or "unknown") + ("-dirty" if changed else ""),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.platform(),
        "versions": json.dumps(
            {"python": platform.python_version()} | {name: version(name) for name in packages}
        ),
    }
