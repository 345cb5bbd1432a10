"""Blocks of runs: trained epoch by epoch on this machine's devices, with checkpoints. Touches no disk."""

import time
from collections.abc import Callable, Iterator, Sequence

import jax

from decorr.data import Dataset
from experiments import engine
from experiments.grid import Block
from experiments.results import Checkpoint


def train_block(
    block: Block, dataset: Dataset, checkpoint: Checkpoint | None, checkpoint_seconds: float
) -> Iterator[tuple[int, Checkpoint | None]]:
    """Trains a block, from its checkpoint if there is one.

    A block that goes on from a checkpoint ends, bit for bit, as if it had never stopped, given the same
    number of devices.

    Args:
      block: what to train.
      dataset: its data.
      checkpoint: where it stopped before, if it ever began.
      checkpoint_seconds: least time between two checkpoints; 0 makes one after every epoch.

    Yields:
      The number of epochs done, at the start and after each epoch, with the checkpoint that is due, or
      None. The last epoch's checkpoint is the finished block.
    """
    epochs, started = block.cell.protocol.epochs, time.monotonic()
    mesh = engine.mesh(block.runs)
    train, validation = engine.share((dataset.train, dataset.validation), mesh)
    states, history, before = engine.start(block, dataset, mesh), [], 0.0
    if checkpoint is not None:
        states = engine.from_host(checkpoint.state, states)
        history, before = checkpoint.history, checkpoint.seconds

    yield len(history), None
    saved = time.monotonic()
    while len(history) < epochs:
        last = len(history) + 1 == epochs
        with jax.default_matmul_precision(block.cell.matmul_precision):
            states, record, matrices = engine.epoch(mesh, states, train, validation, last)
        history.append(engine.to_host(record, block))
        now = time.monotonic()
        checkpoint = None
        if last or now - saved >= checkpoint_seconds:
            checkpoint = Checkpoint(
                state=engine.to_host(states, block),
                history=history,
                last_epoch=engine.to_host(engine.summarise(matrices), block) if last else {},
                seconds=before + now - started,
                devices=engine.describe(mesh, states),
            )
            saved = now
        yield len(history), checkpoint


def train(
    blocks: Sequence[Block],
    dataset: Dataset,
    read: Callable[[Block], Checkpoint | None],
    checkpoint_seconds: float,
) -> Iterator[tuple[Block, int, Checkpoint | None]]:
    """Trains blocks one after the other, each from the checkpoint that `read` has of it, if any.

    Yields what `train_block` does, after the block.
    """
    for block in blocks:
        for epoch, checkpoint in train_block(block, dataset, read(block), checkpoint_seconds):
            yield block, epoch, checkpoint
