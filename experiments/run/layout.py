"""The layout of runs on devices: how many runs each device has, and how many of its runs share a vmap."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from decorr.training import evaluation
from decorr.training.split import Split

# Compiler options on a CPU, for programs of many small loops, such as those that draw random bits. Without
# fusions, such programs compile in half the time and run as fast.
_UNFUSED = {"xla_cpu_use_fusion_emitters": False}

LANES = {"cpu": 1}
"""Maps a platform to the largest number of a device's runs in one vmap. On other platforms, all runs are in
one vmap. A CPU's cache holds the parameters of one large network at most, as `--sections scaling` of the
benchmark shows."""

_PER_RUN, _SHARED = PartitionSpec("run"), PartitionSpec()


@dataclass(frozen=True)
class Layout:
    """Devices that share the runs of a program. Each device has its own runs, and devices do not
    communicate."""

    mesh: Mesh
    """The devices, along an axis `run`."""
    platform: str
    """Platform of the devices: cpu, cuda, ..."""
    lanes: int | None
    """The largest number of a device's runs in one vmap; more runs take several vmaps, in turn. None: all
    runs are in one vmap."""

    @classmethod
    def of(cls, devices: Sequence[jax.Device], lanes: int | None = None) -> "Layout":
        """Returns the layout on these devices, with `lanes` lanes. Default: the fastest number of lanes."""
        mesh = jax.make_mesh((len(devices),), ("run",), axis_types=(AxisType.Auto,), devices=devices)
        return cls(mesh, devices[0].platform, lanes or LANES.get(devices[0].platform))

    def describe(self, runs: int) -> str:
        """Describes the devices, and how many runs each device trains."""
        kind = self.mesh.devices[0].device_kind
        return f"{self.mesh.size} x {self.platform} ({kind}), {math.ceil(runs / self.mesh.size)} runs each"

    def share(self, *splits: Split) -> tuple[Split, ...]:
        """Copies splits to every device."""
        return jax.device_put(splits, NamedSharding(self.mesh, _SHARED))

    def per_run(self, number: Any, runs: int) -> jax.Array:
        """Puts each run's value on the run's device, as float32. `number` is an array [run], or one value for
        all runs."""
        # Uses NumPy, because each call of JAX outside of a program compiles another program.
        numbers = np.broadcast_to(np.asarray(number, np.float32), runs)
        return jax.device_put(self.filled(numbers), NamedSharding(self.mesh, _PER_RUN))

    def filled(self, values: np.ndarray) -> np.ndarray:
        """Returns values [run] with the last one repeated, so that devices have equal numbers of runs."""
        return filled(values, self.mesh.size * math.ceil(len(values) / self.mesh.size))

    def map_runs(self, function: Callable, per_run: tuple, *shared: object) -> Any:
        """Computes function(*per_run, *shared) for every run; call it within a compiled program."""

        def on_one_device(*arguments):
            own, shared = arguments[: len(per_run)], arguments[len(per_run) :]
            runs = jax.tree.leaves(own)[0].shape[0]
            lanes = evaluation.largest_divisor(runs, self.lanes or runs)  # so that no lane is empty
            if lanes == 1:
                return jax.lax.map(lambda run: function(*run, *shared), own)
            vectorised = jax.vmap(lambda *run: function(*run, *shared))
            batches = jax.tree.map(lambda leaf: leaf.reshape(runs // lanes, lanes, *leaf.shape[1:]), own)
            # Not lax.map's batch_size, which fails on empty arrays, such as the slopes of a leaky ReLU.
            results = jax.lax.map(lambda batch: vectorised(*batch), batches)
            return jax.tree.map(lambda leaf: leaf.reshape(runs, *leaf.shape[2:]), results)

        return jax.shard_map(
            on_one_device,
            mesh=self.mesh,
            in_specs=(_PER_RUN,) * len(per_run) + (_SHARED,) * len(shared),
            out_specs=_PER_RUN,
            check_vma=False,  # devices exchange nothing
        )(*per_run, *shared)

    def unfused(self) -> dict[str, bool]:
        """Returns compiler options for programs of many small loops."""
        return _UNFUSED if self.platform == "cpu" else {}


def filled(values: np.ndarray, runs: int) -> np.ndarray:
    """Returns values [run], with the last one repeated up to `runs` runs."""
    return values[np.minimum(np.arange(runs), len(values) - 1)]
