"""What a block takes of a device's memory, estimated before anything is compiled, and how many runs fit."""

import bisect
import functools
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from decorr.config import Regulariser
from decorr.training import steps
from decorr.training.evaluation import CHUNK
from decorr.training.steps import Trainer
from experiments.data.load import Dataset
from experiments.grid.cells import Block, Cell, Work
from experiments.run import engine

_COPIES = 3
"""Of each activation, at once: before the nonlinearity and after, and what is passed back or standardised."""
_PATCHES = 1 + 9 / 4
"""Of a layer with positions: each is in 9/4 of the 3 x 3 neighbourhoods that the next layer multiplies."""
_STATES = 3
"""Of each run: before a step and after, and a checkpoint's."""
_LOOSE = 3
"""How many times too high the estimate may be: one network is refused only if it surely does not fit."""
_USABLE = 0.8
"""Of a device's memory: the rest is for what is no array, and for gaps between arrays."""


class Room(NamedTuple):
    """The devices that train, and how much memory there is."""

    platform: str
    devices: int
    bytes: float
    """On each device, for arrays; infinite if nobody knows."""

    @classmethod
    def of(cls, devices: Sequence[jax.Device], processes: int = 1) -> "Room":
        """That of devices; on a CPU they share the machine's with those of other processes."""
        platform = devices[0].platform
        if platform == "cpu":
            limit = _machine() / (len(devices) * processes)
        else:
            limit = (devices[0].memory_stats() or {}).get("bytes_limit", math.inf)
        return cls(platform, len(devices), _USABLE * limit)

    def runs(self, cell: Cell, dataset: Dataset, most: int) -> int:
        """How many runs of a cell can be a block, at most so many; 1 if even that does not fit."""
        sizes = range(1, min(most, cell.seeds) + 1)
        fitting = bisect.bisect_right(
            sizes, self.bytes, key=lambda runs: self.needed(Block(cell, 0, runs - 1), dataset)
        )
        return max(1, fitting)

    def needed(self, block: Work, dataset: Dataset) -> float:
        """What a block takes of each device, in bytes: an estimate, up to `_LOOSE` times too high."""
        train, pixels = dataset.train.images.shape
        run, lane = _parts(block.trainer(dataset), train, pixels)
        shared = sum(leaf.nbytes for leaf in jax.tree.leaves((dataset.train, dataset.validation)))
        runs = math.ceil(block.runs / self.devices)
        return shared + runs * run + min(runs, engine.LANES.get(self.platform, runs)) * lane

    def describe(self, block: Work, dataset: Dataset) -> str:
        """What a block takes of what there is, in words."""
        there = f" of {_mebibytes(self.bytes)}" if math.isfinite(self.bytes) else ""
        return f"{_mebibytes(self.needed(block, dataset))}{there} on each device"

    def check(self, block: Work, dataset: Dataset) -> None:
        """ValueError for a block that does not fit, and what would help."""
        if self.needed(block, dataset) > _LOOSE * self.bytes:
            cure = (
                "fewer devices (JAX_NUM_CPU_DEVICES)" if self.platform == "cpu" else "more or larger devices"
            )
            raise ValueError(
                f"{block.name} does not fit: its {block.runs} runs take {self.describe(block, dataset)}; "
                f"give smaller sizes, a smaller batch size, or {cure}"
            )


def _mebibytes(number: float) -> str:
    return f"{number / 2**20:,.0f} MiB"


def _machine() -> float:
    """Memory of this machine, or what its control group leaves to this process."""
    if not hasattr(os, "sysconf"):  # as on Windows
        return math.inf
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        if Path(path).exists() and (limit := Path(path).read_text().strip()).isdecimal():  # or "max"
            limits.append(int(limit))
    return min(limits)


@functools.cache
def _parts(trainer: Trainer, train: int, pixels: int) -> tuple[float, float]:
    """Bytes of each run, and of each that is side by side with others."""
    one = jax.ShapeDtypeStruct((1, pixels), jnp.float32)
    states, layers = jax.eval_shape(functools.partial(_one_run, trainer), one)
    state = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(states))
    matrices = 4 * sum(layer.shape[-1] ** 2 for layer in layers)
    units = 4 * _COPIES * sum(layer.shape[-1] for layer in layers)
    maps = 4 * _COPIES * _PATCHES * sum(layer.size for layer in layers)
    positions = any(layer.ndim > 2 for layer in layers)

    run = _STATES * (state + matrices) + 4 * train  # which is the order of the training samples
    sample = 4 * _COPIES * pixels + (maps if positions else units)
    # Of a minibatch in training, of a chunk in the evaluation.
    return run, max(state + trainer.batch_size * sample, max(CHUNK, trainer.batch_size) * sample)


def _one_run(trainer: Trainer, x: jax.Array) -> tuple[steps.TrainingState, steps.Activations]:
    """Its state, and its activations of one sample."""
    state = steps.init(trainer, jax.random.key(0), Regulariser(), x)
    _, activations = trainer.model.apply(state.variables, x)
    return state, activations
