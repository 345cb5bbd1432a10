"""Checkpoints on disk, one for each block that is being trained: CELL.checkpoint.npz or
CELL.seeds-FIRST-LAST.checkpoint.npz. Reading a checkpoint never unpickles."""

import itertools
import json
import math
import re
from pathlib import Path

import numpy as np

from experiments.disk import npz
from experiments.disk.errors import ResultsError, unreadable
from experiments.disk.files import listed, write_atomically
from experiments.grid.cells import Arrays, Block, Cell, Checkpoint
from experiments.store.configuration import check, check_data


def path_of(folder: Path, block: Block) -> Path:
    return folder / f"{block.name}.checkpoint.npz"


def blocks(folder: Path, cell: Cell, runs: int, done: int = 0) -> list[Block]:
    """Returns a cell's blocks, without the first `done` seeds: the blocks that have checkpoints, and the
    other seeds in equal blocks of at most `runs` seeds."""
    name = re.compile(re.escape(cell.name) + r"(?:\.seeds-(\d+)-(\d+))?\.checkpoint\.npz")
    matches = [match for path in listed(folder, ".npz") if (match := name.fullmatch(path.name))]
    for match in matches:
        if int(match[2] or 0) >= cell.seeds:
            raise ResultsError(
                f"{folder / match[0]} has seeds above {cell.seeds - 1}, the last of this sweep: give the "
                "options with which it was written, or another --out"
            )
    begun = [
        Block(cell, int(match[1] or 0), int(match[2] or cell.seeds - 1))
        for match in matches
        # Checkpoints of finished seeds remain if a sweep was killed just after it wrote their results.
        if int(match[1] or 0) >= done
    ]
    taken = [seed for block in begun for seed in range(block.first, block.last + 1)]
    if len(taken) > len(set(taken)):
        names = ", ".join(str(folder / match[0]) for match in matches)
        raise ResultsError(
            f"checkpoints hold the same seeds more than once ({names}): move the older file away"
        )
    left = sorted(set(range(done, cell.seeds)) - set(taken))
    for _, gap in itertools.groupby(enumerate(left), lambda pair: pair[1] - pair[0]):
        seeds = [seed for _, seed in gap]
        parts = np.array_split(seeds, math.ceil(len(seeds) / runs))
        begun += [Block(cell, int(part[0]), int(part[-1])) for part in parts]
    return sorted(begun, key=lambda block: block.first)


def write(folder: Path, block: Block, checkpoint: Checkpoint, identity: str) -> None:
    """Replaces the checkpoint of a block. `identity` is `Dataset.identity` of the training data."""
    arrays = {f"state/{name}": value for name, value in checkpoint.state.items()}
    arrays |= {f"last_epoch/{name}": value for name, value in checkpoint.last_epoch.items()}
    for name in checkpoint.history[0]:
        arrays[f"history/{name}"] = stacked(checkpoint.history, name, axis=0)
    arrays["seconds"] = np.asarray(checkpoint.seconds)
    arrays["devices"] = np.asarray(checkpoint.devices)
    arrays["dataset_version"] = np.asarray(identity)
    arrays["configuration"] = np.asarray(json.dumps(block.cell.configuration()))
    write_atomically(path_of(folder, block), lambda file: np.savez(file, allow_pickle=False, **arrays))


def read(folder: Path, block: Block, identity: str) -> Checkpoint | None:
    """Returns a block's checkpoint; None if there is none; ResultsError for another configuration or data."""
    path = path_of(folder, block)
    if not path.exists():
        return None
    try:
        arrays = npz.read(path)
        check(path, str(arrays["configuration"]), block.cell)
        check_data(path, str(arrays.get("dataset_version", "")), identity)
        state, history, last_epoch = (
            {name.removeprefix(part): arrays[name] for name in arrays if name.startswith(part)}
            for part in ("state/", "history/", "last_epoch/")
        )
        epochs = range(len(history["train_nll"]))
        records = [{name: history[name][epoch] for name in history} for epoch in epochs]
        return Checkpoint(state, records, last_epoch, float(arrays["seconds"]), str(arrays["devices"]))
    except ResultsError:
        raise
    except Exception as error:  # BadZipFile, ValueError, EOFError, KeyError, NotImplementedError, ...
        raise unreadable(path, error, "checkpoint") from error


def stacked(history: list[Arrays], name: str, axis: int) -> np.ndarray:
    """Returns the records of one name, stacked along a new axis of epochs."""
    return np.stack([record[name] for record in history], axis=axis)
