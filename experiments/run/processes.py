"""Blocks on the cores of this machine: a process on each, whose checkpoints come back to the one that writes.

Two processes of a core each train more than one of two cores, whose threads wait for each other.
"""

import math
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, Literal

from experiments.grid.cells import Work

if TYPE_CHECKING:  # it brings JAX, which is to be imported here while it is where processes are forked
    from experiments.data.load import Dataset


METHOD: Literal["forkserver", "spawn"] = "forkserver" if sys.platform == "linux" else "spawn"
"""How processes begin: elsewhere a fork may break what its parent has imported."""


def prepare() -> Any:
    """Begins to import what trains, once for all processes if they are forks of the one that does.

    Returns:
      What starts them, of multiprocessing.
    """
    context = multiprocessing.get_context(METHOD)
    if METHOD == "spawn":  # each imports for itself
        return context
    from multiprocessing import forkserver

    context.set_forkserver_preload(["experiments.run.local"])
    # Ctrl-C in a terminal reaches all, from the first moment on: who began them ends them.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, handler)
    return context


def cores() -> list[int]:
    """The CPU cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # not on every system
    return sorted(allowed(0)) if allowed else list(range(os.cpu_count() or 1))


def runs(processes: int, cells: int, seeds: int) -> int:
    """How many runs of a cell make a block at most: all where no process will lack cells, else its share."""
    return seeds if cells >= 4 * processes else math.ceil(seeds / processes)


def run_blocks(
    blocks: Sequence[Work],
    dataset: "Dataset",
    read: Callable[[Work], Any],
    checkpoint_seconds: float,
    *,
    processes: int,
) -> Iterator[tuple[Work, int, Any]]:
    """Trains blocks, a process each; this one runs nothing on JAX.

    Args:
      blocks: what to train, begun in this order.
      dataset: their data.
      read: a block's last checkpoint, None if there is none.
      checkpoint_seconds: least time between two checkpoints of a block.
      processes: how many at once, on as many shares of the cores that this process may use.

    Yields:
      What `Work.train` does, after the block, of all blocks as it comes.

    Raises:
      RuntimeError: a block raised an error, or its process died.
    """
    context, count = prepare(), min(processes, len(blocks))
    waiting, working = iter(blocks), dict[Connection, Work]()

    def begin(pipe: Connection) -> None:
        if (block := next(waiting, None)) is not None:
            checkpoint = read(block)
            working[pipe] = block
            with suppress(OSError):  # it died, which is told where its events are awaited
                pipe.send((block, checkpoint))

    with ExitStack() as stack:
        for share in _shares(count):
            pipe, its_end = context.Pipe()
            process = context.Process(target=_work, args=(its_end, share, dataset, checkpoint_seconds))
            process.start()
            stack.callback(_end, process, pipe)
            its_end.close()
            begin(pipe)
        while working:
            ready: list[Any] = wait(list(working))
            for pipe in ready:
                block = working[pipe]
                try:
                    event = pipe.recv()
                except (EOFError, OSError):
                    raise RuntimeError(
                        f"{block.name}: the process that trained it died, as when memory runs out; "
                        "the same command goes on from the last checkpoint"
                    ) from None
                if isinstance(event, str):
                    raise RuntimeError(f"{block.name}: {event}")
                if event[0] == block.length:
                    del working[pipe]
                    begin(pipe)  # before what waits for this event writes
                yield block, *event


def _shares(count: int) -> list[list[int]]:
    """The cores that this process may use, dealt out."""
    dealt = cores()
    return [dealt[i::count] or [dealt[i % len(dealt)]] for i in range(count)]


def _work(pipe: Connection, share: Sequence[int], dataset: "Dataset", checkpoint_seconds: float) -> None:
    """Trains the blocks that come, until nobody is there to send them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, share)  # before JAX makes its threads
    from experiments.run import engine

    engine.configure(1)
    try:
        while True:
            block, checkpoint = pipe.recv()
            for event in block.train(dataset, checkpoint, checkpoint_seconds, engine.devices()):
                pipe.send(event)
    except (EOFError, ConnectionError):
        pass  # the other end has gone, and needs nothing any more
    except Exception as error:
        pipe.send(repr(error))


def _end(process: Any, pipe: Connection) -> None:
    pipe.close()
    process.kill()  # nothing is lost: it writes nothing
    process.join()
