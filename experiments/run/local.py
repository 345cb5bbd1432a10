"""Trains work in this process, one piece after the other."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax

from experiments.grid.cells import Work
from experiments.run import host
from experiments.run.memory import Room


class Training(NamedTuple):
    """Functions that train one kind of work; other processes can import them."""

    check: Callable[[Room, Any, Any], None]
    """(room, work, data): raises ValueError if the work does not fit into the room."""
    run: Callable[[Any, Any, Any, float, Sequence[jax.Device]], Iterator[tuple[int, Any]]]
    """(work, data, checkpoint or None, least seconds between two checkpoints, devices) -> an iterator of
    (number of steps done so far, checkpoint or None). The first item comes at the start, the others as steps
    are finished. `Work.unit` names the steps."""


def run(
    training: Training,
    work: Sequence[Work],
    dataset: Any,
    read: Callable[[Work], Any],
    checkpoint_seconds: float,
) -> Iterator[tuple[Work, int, Any]]:
    """Trains work in this process, one piece after the other, each on at most as many devices as it has runs.

    Args:
      training: the functions for this kind of work.
      work: the pieces, trained in this order.
      dataset: the data, in the form that `training` takes.
      read: a function that returns the last checkpoint of a piece, or None.
      checkpoint_seconds: the least time between two checkpoints of a piece.

    Yields:
      For each item that `training.run` yields: the piece, the number of steps done so far, and the checkpoint
      or None.
    """
    for piece in work:
        for event in training.run(piece, dataset, read(piece), checkpoint_seconds, host.devices()):
            yield piece, *event
