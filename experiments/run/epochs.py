"""Trains blocks of a sweep in this process, epoch by epoch, and yields checkpoints. Uses no disk."""

import functools
import time
from collections.abc import Callable, Iterator, Sequence

import jax
import optax

from decorr.config import Optimisation
from decorr.models import MLP, ConvNet
from decorr.penalties import correlation_penalty, decov_loss, vcreg_loss
from decorr.training.schedules import schedule
from decorr.training.steps import Trainer, sgd
from experiments.data.load import Dataset
from experiments.grid.cells import Block, Cell, Checkpoint
from experiments.grid.networks import VARIANT_KINDS, Penalty
from experiments.run import host
from experiments.run.engine import Engine, summarise
from experiments.run.layout import Layout
from experiments.run.local import Training
from experiments.run.memory import Room

PENALTIES: dict[Penalty, Callable[[jax.Array], jax.Array]] = {
    "corr": correlation_penalty,
    "decov": decov_loss,
    "vcreg": vcreg_loss,
}
"""Maps the name of each penalty to its function. By default, both parts of VCReg have the weight 1."""


def trainer_of(cell: Cell, classes: int, image_shape: tuple[int, ...], samples: int) -> Trainer:
    """Returns the trainer of a cell's networks, for a number of training samples. Variants of a size share a
    trainer if they differ only by the dropout rate or by a constant penalty weight."""
    optimisation = cell.protocol.optimisation
    optimiser = {"sgd": sgd, "adamw": adamw}[cell.protocol.optimiser]
    architecture = cell.variant.architecture(cell.protocol, cell.size)
    conv = cell.protocol.family == "conv"
    steps = cell.protocol.epochs * (samples // optimisation.batch_size)
    shrinking = cell.variant.schedule
    return Trainer(
        ConvNet(architecture, classes, image_shape) if conv else MLP(architecture, classes),
        optimiser(optimisation, steps),
        optimisation.batch_size,
        penalty=PENALTIES[VARIANT_KINDS[cell.variant.kind].penalty],
        penalty_schedule=None if shrinking == "constant" else schedule(shrinking, steps),
    )


@functools.cache
def adamw(optimisation: Optimisation, steps: int) -> optax.GradientTransformation:
    """Returns AdamW with the numbers of an `Optimisation`. Like `sgd`, this function returns the same object
    for equal arguments."""
    factor = schedule(optimisation.schedule, steps)
    return optax.adamw(
        lambda step: optimisation.learning_rate * factor(step), weight_decay=optimisation.weight_decay
    )


def trainer(block: Block, dataset: Dataset) -> Trainer:
    """Returns the trainer of a block's networks on a dataset."""
    return trainer_of(block.cell, dataset.classes, dataset.image_shape, len(dataset.train.labels))


def run_block(
    block: Block,
    dataset: Dataset,
    checkpoint: Checkpoint | None,
    checkpoint_seconds: float,
    devices: Sequence[jax.Device],
) -> Iterator[tuple[int, Checkpoint | None]]:
    """Trains a block, from its checkpoint if there is one.

    On the same number of devices, a block that continues from a checkpoint ends with the same bits as an
    uninterrupted one.

    Args:
      block: what to train.
      dataset: the data to train on.
      checkpoint: the last checkpoint; None at the beginning.
      checkpoint_seconds: the least time between two checkpoints; 0 makes one after every epoch.
      devices: the devices that share the block's runs.

    Yields:
      At the start and after each epoch: the number of epochs done, and a checkpoint if one is due, else None.
      The last epoch's checkpoint is the finished block.
    """
    cell, started = block.cell, time.monotonic()
    layout = Layout.of(devices[: block.runs])
    engine = Engine(trainer(block, dataset), layout)
    train, validation = layout.share(dataset.train, dataset.validation)
    seeds, regulariser = range(block.first, block.last + 1), cell.variant.regulariser(cell.protocol)
    states = engine.start(seeds, regulariser, dataset.train.images.shape[1])
    history, before = [], 0.0
    if checkpoint is not None:
        states = host.from_host(checkpoint.state, states)
        history, before = checkpoint.history, checkpoint.seconds

    yield len(history), None
    saved = time.monotonic()
    while len(history) < cell.protocol.epochs:
        last = len(history) + 1 == cell.protocol.epochs
        with jax.default_matmul_precision(cell.matmul_precision):
            states, record, matrices = engine.epoch(states, train, validation, last)
        history.append(host.to_host(record, block.runs))
        now = time.monotonic()
        checkpoint = None
        if last or now - saved >= checkpoint_seconds:
            checkpoint = Checkpoint(
                state=host.to_host(states, block.runs),
                # A copy, because the receiver may be slower than the next epoch.
                history=list(history),
                last_epoch=host.to_host(summarise(matrices), block.runs) if last else {},
                seconds=before + now - started,
                devices=layout.describe(block.runs),
            )
            saved = now
        yield len(history), checkpoint


def _check(room: Room, block: Block, dataset: Dataset) -> None:
    room.check(block, trainer(block, dataset), dataset)


TRAINING = Training(_check, run_block)
"""The functions that check and train blocks of a sweep."""
