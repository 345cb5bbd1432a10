"""A made-up cell and its checkpoints, for tests of the code that stores them."""

import gc

import numpy as np
import pytest

from experiments.disk.errors import ResultsError
from experiments.grid.cells import Block, Cell, Checkpoint
from experiments.grid.networks import Recipe, Variant
from experiments.store import checkpoints, finished

EPOCHS, LAYERS, BINS = 4, 3, 40
CELL = Cell("digits", "tiny", Variant("corr", 0.1), 2, Recipe(epochs=EPOCHS))
BLOCK = Block(CELL, 0, 1)
DATA = "1998 sha256:0123"
PER_LAYER = ("penalty", "mean_correlation", "slope")


def history(epochs=EPOCHS, seed=0):
    rng = np.random.default_rng(seed)
    scalars = ("train_nll", "train_error", "validation_nll", "validation_error")
    shapes = dict.fromkeys(scalars, (2,)) | dict.fromkeys(PER_LAYER, (2, LAYERS))
    return [{name: rng.random(shape, np.float32) for name, shape in shapes.items()} for _ in range(epochs)]


def parameters():
    return {"hidden_1.kernel": np.arange(12, dtype=np.float32).reshape(2, 3, 2), "slope_1": np.ones(2)}


def checkpoint(runs=slice(None), records=None, finished=True):
    """Returns a checkpoint of two runs, or of some of them, after the last epoch or one epoch earlier."""
    rng = np.random.default_rng(1)
    last_epoch = {
        "mean_correlation_minibatch": rng.random((2, LAYERS)),
        "histogram_minibatch": rng.random((2, LAYERS, BINS)),
        "histogram_validation": rng.random((2, LAYERS, BINS)),
        **{f"correlation_{layer}": rng.random((2, 5, 5)) for layer in range(1, LAYERS + 1)},
    }
    state = {f"params.{name}": value for name, value in parameters().items()}
    state["key"] = np.arange(4, dtype=np.uint32).reshape(2, 2)
    records = records or history(EPOCHS if finished else EPOCHS - 1)
    return Checkpoint(
        state=some(state, runs),
        history=[some(record, runs) for record in records],
        last_epoch=some(last_epoch, runs) if finished else {},
        seconds=2.5,
        devices="1 x cpu (cpu), 2 runs each",
    )


def some(arrays, runs):
    return {name: value[runs] for name, value in arrays.items()}


def write(folder, cell=CELL, records=None, data=DATA):
    """Writes a finished cell of one block, and returns its file."""
    checkpoints.write(folder, Block(cell, 0, 1), checkpoint(records=records), data)
    finished.finish(folder, cell, [Block(cell, 0, 1)], data)
    return finished.path_of(folder, cell.network)


def write_checkpoint(folder, block=BLOCK):
    checkpoints.write(folder, block, checkpoint(finished=False), DATA)
    return checkpoints.path_of(folder, block)


def assert_one_line(error, *parts):
    assert "\n" not in str(error.value)
    for part in parts:
        assert part in str(error.value)


def assert_one_line_when_truncated(path, read):
    """Checks that reading a truncated file raises an error of one line, which names the file."""
    whole = path.read_bytes()
    for share in (0.0, 0.01, 0.5, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ResultsError) as error:
            read()
        assert_one_line(error, str(path), "not")
        del error
        gc.collect()  # a file left open would warn here, not in a later test
