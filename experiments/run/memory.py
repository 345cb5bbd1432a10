"""Upper bounds on the memory that runs need on a device, estimated before compiling."""

import bisect
import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from decorr.config import Regulariser
from decorr.training import steps
from decorr.training.evaluation import CHUNK
from decorr.training.steps import Trainer
from experiments.data.load import Dataset
from experiments.grid.cells import Work
from experiments.run import machine
from experiments.run.layout import LANES

_COPIES = 3
"""How many arrays are in memory at once for each activation: one before and one after the nonlinearity, and
a gradient or z-score."""
_PATCHES = 1 + 9 / 4
"""In a layer with positions, `_COPIES` is multiplied by this. On average, each position is part of 9/4 of
the next layer's 3 x 3 neighbourhoods."""
_STATES = 3
"""How many states are in memory at once for each run: before a step, after it, and in a checkpoint."""
_LOOSE = 3
"""The estimate may be this many times too high. Only a network that certainly does not fit is
refused."""
_USABLE = 0.8
"""Share of a device's memory for arrays. The rest is for gaps between arrays and for other things."""


class Room(NamedTuple):
    """The devices that train, and how much memory they have."""

    platform: str
    devices: int
    bytes: float
    """Memory of each device for arrays; infinite if unknown."""

    @classmethod
    def of(cls, devices: Sequence[jax.Device], processes: int = 1) -> "Room":
        """Returns the room on these devices. A CPU's devices share the memory with the devices of other
        processes."""
        platform = devices[0].platform
        if platform == "cpu":
            limit = machine.memory() / (len(devices) * processes)
        else:
            limit = (devices[0].memory_stats() or {}).get("bytes_limit", math.inf)
        return cls(platform, len(devices), _USABLE * limit)

    def runs(self, trainer: Trainer, dataset: Dataset, most: int) -> int:
        """Returns how many runs fit, from 1 to `most`. The result is 1 even if a single run does not fit."""
        numbers = range(1, most + 1)
        fitting = bisect.bisect_right(numbers, self.bytes, key=lambda n: self.needed(n, trainer, dataset))
        return max(1, fitting)

    def needed(self, runs: int, trainer: Trainer, dataset: Dataset) -> float:
        """Estimates the bytes that runs need on each device. The estimate may be `_LOOSE` times too high."""
        train, pixels = dataset.train.images.shape
        run, lane = _parts(trainer, train, pixels)
        shared = sum(leaf.nbytes for leaf in jax.tree.leaves((dataset.train, dataset.validation)))
        here = math.ceil(runs / self.devices)
        return shared + here * run + min(here, LANES.get(self.platform, here)) * lane

    def describe(self, runs: int, trainer: Trainer, dataset: Dataset) -> str:
        """Describes the memory that runs need, and the memory that is available."""
        limit = f" of {_mebibytes(self.bytes)}" if math.isfinite(self.bytes) else ""
        return f"{_mebibytes(self.needed(runs, trainer, dataset))}{limit} on each device"

    def check(self, work: Work, trainer: Trainer, dataset: Dataset) -> None:
        """Raises ValueError if a piece of work does not fit. The error says what would help."""
        if self.needed(work.runs, trainer, dataset) > _LOOSE * self.bytes:
            cure = (
                "fewer devices (JAX_NUM_CPU_DEVICES)" if self.platform == "cpu" else "more or larger devices"
            )
            raise ValueError(
                f"{work.name} does not fit into memory: it needs "
                f"{self.describe(work.runs, trainer, dataset)}; "
                f"use smaller sizes, a smaller batch size, or {cure}"
            )


def _mebibytes(number: float) -> str:
    return f"{number / 2**20:,.0f} MiB"


@functools.cache
def _parts(trainer: Trainer, train: int, pixels: int) -> tuple[float, float]:
    """Returns the bytes of each run, and the additional bytes of a run while it is in a vmap."""
    sample = jax.ShapeDtypeStruct((1, pixels), jnp.float32)

    def one_run(x: jax.Array) -> tuple[steps.TrainingState, steps.Activations]:
        state = steps.init(trainer, jax.random.key(0), Regulariser(), x)
        return state, trainer.model.apply(state.variables, x)[1]

    states, layers = jax.eval_shape(one_run, sample)
    state = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(states))
    matrices = 4 * sum(layer.shape[-1] ** 2 for layer in layers)
    units = 4 * _COPIES * sum(layer.shape[-1] for layer in layers)
    maps = 4 * _COPIES * _PATCHES * sum(layer.size for layer in layers)
    positions = any(layer.ndim > 2 for layer in layers)

    run = _STATES * (state + matrices) + 4 * train  # `4 * train` bytes hold the order of samples
    sample = 4 * _COPIES * pixels + (maps if positions else units)
    # Training holds one minibatch at a time, and the evaluation holds one chunk.
    return run, max(state + trainer.batch_size * sample, max(CHUNK, trainer.batch_size) * sample)
