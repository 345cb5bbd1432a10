"""Blocks of runs: trained epoch by epoch on this machine's devices, with checkpoints. Touches no disk."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

import jax
from jax.sharding import Mesh

from decorr.config import Regulariser
from decorr.models import MLP, ConvNet
from decorr.training.steps import Model, Trainer, sgd
from experiments.data.load import Dataset
from experiments.run import engine
from experiments.run.grid import Block, Cell, Checkpoint


def trainer_of(cell: Cell, classes: int, image_shape: tuple[int, ...]) -> Trainer:
    """What trains a cell's networks, up to the regulariser's numbers: the same for all variants of a size."""
    optimisation, architecture = cell.protocol.optimisation, cell.protocol.architecture(cell.size)
    if cell.protocol.family == "conv":
        model: Model = ConvNet(architecture, classes, image_shape)
    else:
        model = MLP(architecture, classes)
    return Trainer(model, sgd(optimisation), optimisation.batch_size)


def run_blocks(
    blocks: Sequence[Block],
    dataset: Dataset,
    read: Callable[[Block], Checkpoint | None],
    checkpoint_seconds: float,
) -> Iterator[tuple[Block, int, Checkpoint | None]]:
    """Trains blocks, begun in this order, as many side by side as leave a device for each of their runs.

    Args:
      blocks: what to train.
      dataset: their data.
      read: a block's last checkpoint, None if there is none.
      checkpoint_seconds: least time between two checkpoints of a block.

    Yields:
      What `run_block` does, after the block, of all blocks as it comes.
    """
    devices = engine.devices()
    each = min(len(devices), max(block.runs for block in blocks))
    at_once = len(devices) // each
    waiting, events, stop = iter(blocks), SimpleQueue[tuple | Future](), threading.Event()
    ahead, prepared = ThreadPoolExecutor(1), dict[Block, Future]()

    def compile_ahead(some: Sequence[Block]) -> None:
        prepared.update((block, ahead.submit(prepare, block, dataset, devices)) for block in some)

    if at_once == 1:  # where blocks are trained side by side, those that train leave nothing idle
        compile_ahead(blocks[:1])

    def work(mine: Sequence[jax.Device]) -> None:
        for block in waiting:
            if block in prepared:
                prepared[block].result()
            epochs = run_block(block, dataset, read(block), checkpoint_seconds, mine)
            for event, (epoch, checkpoint) in enumerate(epochs):
                events.put((block, epoch, checkpoint))
                if event and len(prepared) == 1:  # not before: to compile would delay the first epoch
                    compile_ahead(blocks[1:])
                if stop.is_set():
                    return

    with ThreadPoolExecutor(at_once) as pool:
        try:
            for i in range(at_once):
                pool.submit(work, devices[i * each : (i + 1) * each]).add_done_callback(events.put)
            while at_once:
                event = events.get()
                if isinstance(event, Future):
                    event.result()  # raises what ended it
                    at_once -= 1
                else:
                    yield event
        finally:
            stop.set()
            ahead.shutdown(cancel_futures=True)


def prepare(block: Block, dataset: Dataset, devices: Sequence[jax.Device]) -> None:
    """Compiles the programs of a block ahead of `run_block`, given the same devices."""
    mesh, trainer, seeds, regulariser = _set_up(block, dataset, devices)
    with jax.default_matmul_precision(block.cell.matmul_precision):
        engine.prepare(trainer, seeds, regulariser, dataset.train, dataset.validation, mesh)


def _set_up(
    block: Block, dataset: Dataset, devices: Sequence[jax.Device]
) -> tuple[Mesh, Trainer, range, Regulariser]:
    """Where a block is trained, by what, its seeds, and what regularises its networks."""
    cell, mesh = block.cell, engine.mesh(devices[: block.runs])
    trainer = trainer_of(cell, dataset.classes, dataset.image_shape)
    return mesh, trainer, range(block.first, block.last + 1), cell.variant.regulariser(cell.protocol)


def run_block(
    block: Block,
    dataset: Dataset,
    checkpoint: Checkpoint | None,
    checkpoint_seconds: float,
    devices: Sequence[jax.Device],
) -> Iterator[tuple[int, Checkpoint | None]]:
    """Trains a block, from its checkpoint if there is one.

    A block that goes on from a checkpoint ends, bit for bit, as if it had never stopped, given the same
    number of devices.

    Args:
      block: what to train.
      dataset: its data.
      checkpoint: where it stopped before, if it ever began.
      checkpoint_seconds: least time between two checkpoints; 0 makes one after every epoch.
      devices: which share its runs.

    Yields:
      The number of epochs done, at the start and after each epoch, with the checkpoint that is due, or
      None. The last epoch's checkpoint is the finished block.
    """
    cell, started = block.cell, time.monotonic()
    mesh, trainer, seeds, regulariser = _set_up(block, dataset, devices)
    train, validation = engine.share((dataset.train, dataset.validation), mesh)
    with jax.default_matmul_precision(cell.matmul_precision):  # as it was compiled ahead
        states = engine.start(trainer, seeds, regulariser, dataset.train.images.shape[1], mesh)
    history, before = [], 0.0
    if checkpoint is not None:
        states = engine.from_host(checkpoint.state, states)
        history, before = checkpoint.history, checkpoint.seconds

    yield len(history), None
    saved = time.monotonic()
    while len(history) < cell.protocol.epochs:
        last = len(history) + 1 == cell.protocol.epochs
        with jax.default_matmul_precision(cell.matmul_precision):
            states, record, matrices = engine.epoch(mesh, trainer, states, train, validation, last)
        history.append(engine.to_host(record, block.runs))
        now = time.monotonic()
        checkpoint = None
        if last or now - saved >= checkpoint_seconds:
            checkpoint = Checkpoint(
                state=engine.to_host(states, block.runs),
                # A copy: whoever gets it may be slower than the next epoch.
                history=list(history),
                last_epoch=engine.to_host(engine.summarise(matrices), block.runs) if last else {},
                seconds=before + now - started,
                devices=engine.describe(mesh, states),
            )
            saved = now
        yield len(history), checkpoint
