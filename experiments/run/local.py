"""Work in this process, one piece after the other."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax

from decorr.training.steps import Trainer
from experiments.data.load import Dataset
from experiments.grid.cells import Work
from experiments.run import host


class Training(NamedTuple):
    """Functions that train one kind of work; other processes can import them."""

    trainer: Callable[[Any, Any], Trainer] | None
    """(work, dataset) -> the trainer of its runs, which differ by numbers of their states: tells their memory
    before anything is trained. None: they fit."""
    run: Callable[[Any, Any, Any, float, Sequence[jax.Device]], Iterator[tuple[int, Any]]]
    """(work, dataset, checkpoint or None, least seconds between two, devices) -> an iterator of the number of
    units done, at the start and after each, with what is to be kept, or None."""


def run(
    training: Training,
    work: Sequence[Work],
    dataset: Dataset,
    read: Callable[[Work], Any],
    checkpoint_seconds: float,
) -> Iterator[tuple[Work, int, Any]]:
    """Trains work in this process, one piece after the other, each on as many devices as it has runs.

    Args:
      training: of this kind of work.
      work: the pieces, trained in this order.
      dataset: its data.
      read: the last checkpoint of a piece, None if there is none.
      checkpoint_seconds: least time between two checkpoints of a piece.

    Yields:
      The piece and what `training.run` yields.
    """
    for piece in work:
        for event in training.run(piece, dataset, read(piece), checkpoint_seconds, host.devices()):
            yield piece, *event
