"""Trains on this machine's cores. Each core has a process, which sends checkpoints to the main process.

Two processes with one core each are faster than one process with two cores, whose threads wait for each
other.
"""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from experiments.grid.cells import Work
from experiments.run import host, machine
from experiments.run.local import Training


def run(
    training: Training,
    work: Sequence[Work],
    dataset: Any,
    read: Callable[[Work], Any],
    checkpoint_seconds: float,
    *,
    processes: int,
) -> Iterator[tuple[Work, int, Any]]:
    """Trains work like `local.run`, but in other processes, which take the pieces one by one. This process
    runs nothing on JAX.

    Args:
      processes: how many processes run at once. The cores that this process may use are divided among them.

    Raises:
      RuntimeError: the training of a piece raised an error, or its process died.
    """
    context, count = machine.begin_processes(), min(processes, len(work))
    waiting, working = iter(work), dict[Connection, Work]()

    def begin(pipe: Connection) -> None:
        if (piece := next(waiting, None)) is not None:
            checkpoint = read(piece)
            working[pipe] = piece
            with suppress(OSError):  # if the process died, the loop below reports that
                pipe.send((piece, checkpoint))

    with ExitStack() as stack:
        for share in _shares(count):
            pipe, its_end = context.Pipe()
            arguments = its_end, share, training, dataset, checkpoint_seconds
            process = context.Process(target=_work, args=arguments)
            process.start()
            stack.callback(_end, process, pipe)
            its_end.close()
            begin(pipe)
        while working:
            ready: list[Any] = wait(list(working))
            for pipe in ready:
                piece = working[pipe]
                try:
                    event = pipe.recv()
                except (EOFError, OSError):
                    raise RuntimeError(
                        f"{piece.name}: the process that trained it died, perhaps because memory ran out; "
                        "run the same command again to continue from the last checkpoint"
                    ) from None
                if isinstance(event, str):
                    raise RuntimeError(f"{piece.name}: {event}")
                if event[0] == piece.length:
                    del working[pipe]
                    begin(pipe)  # the next piece begins before the receiver writes this event's checkpoint
                yield piece, *event


def _shares(count: int) -> list[list[int]]:
    """Divides the cores that this process may use among `count` processes."""
    dealt = machine.cores()
    return [dealt[i::count] or [dealt[i % len(dealt)]] for i in range(count)]


def _work(
    pipe: Connection, share: Sequence[int], training: Training, dataset: Any, checkpoint_seconds: float
) -> None:
    """Trains the pieces that arrive, until the sender closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, share)  # must come before JAX makes its threads
    host.configure(1)
    try:
        while True:
            piece, checkpoint = pipe.recv()
            for event in training.run(piece, dataset, checkpoint, checkpoint_seconds, host.devices()):
                pipe.send(event)
    except (EOFError, ConnectionError):
        pass  # the main process has closed its end, or died
    except Exception as error:
        pipe.send(repr(error))


def _end(process: Any, pipe: Connection) -> None:
    pipe.close()
    process.kill()  # nothing is lost, because the process writes no files
    process.join()
