"""Work in this process: how it is trained, and one piece after the other."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax

from decorr.training.steps import Trainer
from experiments.data.load import Dataset
from experiments.grid.cells import Work
from experiments.run import host


class Training(NamedTuple):
    """How work of a kind is trained: functions that other processes can import."""

    trainer: Callable[[Any, Dataset], Trainer]
    """(work, dataset) -> what trains its runs, up to their numbers."""
    run: Callable[[Any, Dataset, Any, float, Sequence[jax.Device]], Iterator[tuple[int, Any]]]
    """(work, dataset, checkpoint or None, least seconds between two, devices) -> how many units are done, at
    the start and after each, and what is to be kept, or None."""


def run(
    training: Training,
    work: Sequence[Work],
    dataset: Dataset,
    read: Callable[[Work], Any],
    checkpoint_seconds: float,
) -> Iterator[tuple[Work, int, Any]]:
    """Trains work in this process, one piece after the other, each on as many devices as it has runs.

    Args:
      training: how.
      work: what to train, in this order.
      dataset: its data.
      read: the last checkpoint of a piece, None if there is none.
      checkpoint_seconds: least time between two checkpoints of a piece.

    Yields:
      What `training.run` does, after the piece.
    """
    for piece in work:
        for event in training.run(piece, dataset, read(piece), checkpoint_seconds, host.devices()):
            yield piece, *event
