"""One cell: train all its seeds, epoch by epoch, with checkpoints, and store what was seen."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from decorr.data import Dataset
from experiments import engine, results
from experiments.grid import Cell


def run(
    cell: Cell,
    dataset: Dataset,
    folder: Path,
    *,
    checkpoint_seconds: float,
    on_epoch: Callable[[int], None],
) -> Path:
    """Trains a cell, from its checkpoint if there is one, and writes its results.

    A killed cell goes on from its checkpoint and ends, bit for bit, as if it had not been killed, given
    the same number of devices.

    Args:
      cell: what to train.
      dataset: its data.
      folder: the sweep's folder, which must exist.
      checkpoint_seconds: least time between two checkpoints; 0 writes one after every epoch.
      on_epoch: called with the number of epochs done, at the start and after each epoch.

    Returns:
      The path of the results.
    """
    epochs, started, before = cell.protocol.epochs, time.monotonic(), 0.0
    mesh = engine.mesh(cell.seeds)
    train, validation = engine.share((dataset.train, dataset.validation), mesh)
    states = engine.start(cell, dataset, mesh)
    history: list[dict[str, np.ndarray]] = []
    if (checkpoint := results.read_checkpoint(folder, cell)) is not None:
        states = engine.from_host(checkpoint.state, states)
        history, before = checkpoint.history, checkpoint.seconds

    on_epoch(len(history))
    saved = time.monotonic()
    while len(history) < epochs:
        last = len(history) + 1 == epochs
        states, record, matrices = engine.epoch(mesh, states, train, validation, last)
        history.append(engine.to_host(record, cell))
        on_epoch(len(history))
        now = time.monotonic()
        if not last and now - saved >= checkpoint_seconds:
            state = engine.to_host(states, cell)
            checkpoint = results.Checkpoint(state, history, before + now - started)
            results.write_checkpoint(folder, cell, checkpoint)
            saved = now

    device = mesh.devices[0]
    return results.write(
        folder,
        cell,
        history=history,
        last_epoch=engine.to_host(engine.summarise(matrices), cell),
        parameters=engine.to_host(states.params, cell),
        attributes={
            "dataset_version": dataset.version,
            "device": f"{device.platform}: {device.device_kind}",
            "devices": mesh.size,
            "runs_per_device": states.step.shape[0] // mesh.size,
            "wall_seconds": before + time.monotonic() - started,
        },
    )
