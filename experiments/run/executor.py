"""Where work is done: on this machine (in a process for each core, or in one process for all accelerators)
or on a Ray cluster."""

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

from experiments.run import host, local, processes
from experiments.run.memory import Room


class Executor(NamedTuple):
    """A way to train work on devices of this machine or of others."""

    room: Room
    """The devices for one piece of work, and their memory."""
    runs: int
    """The largest number of runs in a piece."""
    run: Callable
    """Trains pieces of work; called like `local.run`."""


@contextmanager
def connect(kind: Literal["local", "ray"], address: str | None, cells: int, seeds: int) -> Iterator[Executor]:
    """Yields an executor, which works until the context ends.

    Args:
      kind: where to train. local is this machine, and ray is a Ray cluster.
      address: the address of the Ray cluster's head; None: Ray starts here.
      cells: number of cells to train.
      seeds: number of runs of each cell.
    """
    if kind == "ray":
        from experiments.run import cluster  # Ray is optional

        with cluster.connect(address) as resources:
            run = functools.partial(cluster.run, resources=resources)
            yield Executor(cluster.room(resources), cluster.runs(resources), run)
        return
    host.configure()
    devices = host.devices()
    if devices[0].platform == "cpu":
        count = len(devices)
        run = functools.partial(processes.run, processes=count)
        yield Executor(Room.of(devices[:1], count), fair_share(count, cells, seeds), run)
    else:
        yield Executor(Room.of(devices), seeds, local.run)


def fair_share(processes: int, cells: int, seeds: int) -> int:
    """Returns the largest number of runs in a piece: all seeds of a cell if there are enough cells for all
    processes, else a part of the seeds."""
    return seeds if cells >= 4 * processes else math.ceil(seeds / processes)
