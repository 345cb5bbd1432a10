"""Where work is done: on this machine, a process on each core or all accelerators in one, or on Ray's."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

from experiments.run import engine, local, processes
from experiments.run.memory import Room


class Executor(NamedTuple):
    """What trains work."""

    room: Room
    """Where one piece of it is trained."""
    runs: int
    """How many runs of a piece are best at most."""
    run_blocks: Callable
    """As `local.run_blocks`."""


@contextmanager
def connect(kind: Literal["local", "ray"], address: str | None, cells: int, seeds: int) -> Iterator[Executor]:
    """What there is to train on, until the context ends.

    Args:
      kind: this machine, or a Ray cluster.
      address: of the Ray cluster's head; None: Ray starts here.
      cells: how many there are to train.
      seeds: the runs of each.
    """
    if kind == "ray":
        from experiments.run import cluster

        with cluster.connect(address) as resources:
            run_blocks = functools.partial(cluster.run_blocks, resources=resources)
            yield Executor(cluster.room(resources), cluster.runs(resources), run_blocks)
        return
    engine.configure()
    devices = engine.devices()
    if devices[0].platform == "cpu":
        count = len(devices)
        run_blocks = functools.partial(processes.run_blocks, processes=count)
        yield Executor(Room.of(devices[:1], count), processes.runs(count, cells, seeds), run_blocks)
    else:
        yield Executor(Room.of(devices), seeds, local.run_blocks)
