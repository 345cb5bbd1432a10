"""Work in this process, one piece after the other."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax

from experiments.grid.cells import Work
from experiments.run import host
from experiments.run.memory import Room


class Training(NamedTuple):
    """Functions that train one kind of work; other processes can import them."""

    check: Callable[[Room, Any, Any], None]
    """(room, work, data): ValueError if the work does not fit into the room."""
    run: Callable[[Any, Any, Any, float, Sequence[jax.Device]], Iterator[tuple[int, Any]]]
    """(work, data, checkpoint or None, least seconds between two checkpoints, devices) -> an iterator. It
    gives the number of steps done so far (see `Work.unit`), and a checkpoint or None: first at the start,
    then as steps are finished."""


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
      dataset: its data, in the form that `training` takes.
      read: the last checkpoint of a piece, None if there is none.
      checkpoint_seconds: least time between two checkpoints of a piece.

    Yields:
      The piece and what `training.run` yields.
    """
    for piece in work:
        for event in training.run(piece, dataset, read(piece), checkpoint_seconds, host.devices()):
            yield piece, *event
