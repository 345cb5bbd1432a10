"""Cells on disk: complete, exact, never of another configuration, and errors of one line."""

import ast
import dataclasses
import gc
import inspect
import json

import numpy as np
import pytest

from decorr.config import RELEASED
from experiments import results
from experiments.grid import Block, Cell

EPOCHS, LAYERS, BINS = 4, 3, 40
CELL = Cell("digits", "tiny", "corr-0.1", 2, dataclasses.replace(RELEASED, epochs=EPOCHS))
OTHER = dataclasses.replace(CELL, protocol=dataclasses.replace(CELL.protocol, epochs=5))
BLOCK = Block(CELL, 0, 1)
PER_LAYER = ("penalty", "mean_correlation", "slope")


def history(epochs=EPOCHS):
    rng = np.random.default_rng(0)
    scalars = ("train_nll", "train_error", "validation_nll", "validation_error")
    shapes = dict.fromkeys(scalars, (2,)) | dict.fromkeys(PER_LAYER, (2, LAYERS))
    return [{name: rng.random(shape, np.float32) for name, shape in shapes.items()} for _ in range(epochs)]


def parameters():
    return {"hidden_1.kernel": np.arange(12, dtype=np.float32).reshape(2, 3, 2), "slope_1": np.ones(2)}


def checkpoint(runs=slice(None), records=None, finished=True):
    """What two runs give, or some of them: after the last epoch, or one before."""
    rng = np.random.default_rng(1)
    last_epoch = {
        "mean_correlation_minibatch": rng.random((2, LAYERS)),
        "histogram_minibatch": rng.random((2, LAYERS, BINS)),
        "histogram_validation": rng.random((2, LAYERS, BINS)),
        "correlation_1": rng.random((2, 5, 5)),
    }
    state = {f"params.{name}": value for name, value in parameters().items()}
    state["key"] = np.arange(4, dtype=np.uint32).reshape(2, 2)
    records = records or history(EPOCHS if finished else EPOCHS - 1)
    return results.Checkpoint(
        state=some(state, runs),
        history=[some(record, runs) for record in records],
        last_epoch=some(last_epoch, runs) if finished else {},
        seconds=2.5,
        devices="1 x cpu (cpu), 2 runs each",
    )


def some(arrays, runs):
    return {name: value[runs] for name, value in arrays.items()}


def write(folder, cell=CELL, records=None):
    """A finished cell of one block."""
    results.write_checkpoint(folder, Block(cell, 0, 1), checkpoint(records=records))
    results.finish(folder, cell, [Block(cell, 0, 1)], "1998")
    return results.cell_path(folder, cell)


def write_checkpoint(folder, block=BLOCK):
    results.write_checkpoint(folder, block, checkpoint(finished=False))
    return results.checkpoint_path(folder, block)


def assert_one_line(error, *parts):
    assert "\n" not in str(error.value)
    for part in parts:
        assert part in str(error.value)


def test_results_come_back(tmp_path):
    path = write(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["tiny-corr-0.1.nc"]  # no checkpoint, no leftovers
    assert results.is_done(tmp_path, CELL)
    with results.read(path) as dataset:
        for name, value in history()[2].items():
            np.testing.assert_array_equal(dataset[name].sel(epoch=3), value)
        np.testing.assert_array_equal(dataset["hidden_1.kernel"], parameters()["hidden_1.kernel"])
        np.testing.assert_array_equal(dataset["correlation_1"], checkpoint().last_epoch["correlation_1"])
        assert dataset.epoch.values.tolist() == [1, 2, 3, 4] and dataset.seed.values.tolist() == [0, 1]
        assert dataset.bin[1] == 0.025
        assert all(dataset[name].attrs["long_name"] for name in results.VARIABLES)


def test_results_say_where_they_come_from(tmp_path):
    with results.read(write(tmp_path)) as dataset:
        attributes = dataset.attrs
    configuration = json.loads(attributes["configuration"])
    assert configuration == json.loads(json.dumps(CELL.configuration()))
    assert configuration["widths"] == [40, 20, 10]
    assert configuration["regulariser"]["penalty_weight"] == 0.1 / 50
    assert attributes["commit"] and attributes["seconds"] == 2.5 and attributes["dataset_version"] == "1998"
    assert attributes["devices"] == "1 x cpu (cpu), 2 runs each"
    assert {"python", "jax", "jaxlib", "flax", "optax", "numpy"} <= json.loads(attributes["versions"]).keys()


def test_the_first_epoch_that_is_not_finite_is_recorded(tmp_path):
    records = history()
    records[2]["train_nll"][1] = np.nan
    records[3]["validation_nll"][1] = np.inf
    with results.read(write(tmp_path, records=records)) as dataset:
        assert dataset.diverged_epoch.values.tolist() == [0, 3]


def test_blocks_make_the_cell_that_one_block_would(tmp_path):
    with results.read(write(tmp_path)) as dataset:
        whole = dataset.load()
    (folder := tmp_path / "blocks").mkdir()
    blocks = [Block(CELL, 0, 0), Block(CELL, 1, 1)]
    for block in blocks:
        assert not results.is_done(folder, CELL)
        runs = slice(block.first, block.last + 1)
        results.write_checkpoint(folder, block, checkpoint(runs))
        results.finish(folder, CELL, blocks, "1998")
    with results.read(results.cell_path(folder, CELL)) as dataset:
        assert dataset.equals(whole) and dataset.attrs["seconds"] == 5
    assert [file.name for file in folder.iterdir()] == ["tiny-corr-0.1.nc"]


def test_a_cell_with_a_block_at_work_is_not_finished(tmp_path):
    path = write_checkpoint(tmp_path)
    results.finish(tmp_path, CELL, [BLOCK], "1998")
    assert path.exists() and not results.is_done(tmp_path, CELL)


@pytest.mark.parametrize(
    ("begun", "runs", "expected"),
    [
        ([], 10, [(0, 9)]),
        ([], 8, [(0, 4), (5, 9)]),  # not 8 and 2
        ([(0, 9)], 4, [(0, 9)]),
        ([(3, 4)], 8, [(0, 2), (3, 4), (5, 9)]),
        ([(3, 4)], 2, [(0, 1), (2, 2), (3, 4), (5, 6), (7, 8), (9, 9)]),
    ],
)
def test_blocks_are_as_begun_and_the_rest_anew(tmp_path, begun, runs, expected):
    cell = dataclasses.replace(CELL, seeds=10)
    for other in (cell, dataclasses.replace(cell, variant="corr-0.10")):  # another cell's do not count
        for first, last in begun if other is cell else [(0, 1)]:
            write_checkpoint(tmp_path, Block(other, first, last))
    found = results.blocks(tmp_path, cell, runs)
    assert [(block.first, block.last) for block in found] == expected


def test_a_seed_in_two_checkpoints_is_refused(tmp_path):
    cell = dataclasses.replace(CELL, seeds=10)
    paths = [write_checkpoint(tmp_path, Block(cell, *seeds)) for seeds in ((0, 4), (4, 9))]
    with pytest.raises(results.ResultsError) as error:
        results.blocks(tmp_path, cell, 8)
    assert_one_line(error, *map(str, paths))


@pytest.mark.parametrize("finished", [False, True])
def test_a_checkpoint_comes_back(tmp_path, finished):
    assert results.read_checkpoint(tmp_path, BLOCK) is None
    wanted = checkpoint(finished=finished)
    results.write_checkpoint(tmp_path, BLOCK, wanted)
    found = results.read_checkpoint(tmp_path, BLOCK)
    assert (found.seconds, found.devices) == (wanted.seconds, wanted.devices)
    pairs = zip(
        [found.state, found.last_epoch, *found.history],
        [wanted.state, wanted.last_epoch, *wanted.history],
        strict=True,
    )
    for got, given in pairs:
        assert got.keys() == given.keys()
        for name in given:
            assert got[name].dtype == given[name].dtype
            np.testing.assert_array_equal(got[name], given[name])


def test_nothing_is_pickled(tmp_path):
    path = write_checkpoint(tmp_path)
    with np.load(path, allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file)
    calls = [
        node for node in ast.walk(ast.parse(inspect.getsource(results))) if isinstance(node, ast.keyword)
    ]
    allowed = [node.value for node in calls if node.arg == "allow_pickle"]
    assert allowed and not any(ast.literal_eval(value) for value in allowed)
    assert not hasattr(results, "pickle")
    with pytest.raises(ValueError, match="allow_pickle=False"):
        state = {"x": np.array([{}], object)}
        results.write_checkpoint(tmp_path, BLOCK, checkpoint()._replace(state=state))


def test_results_of_another_configuration_are_refused(tmp_path):
    path = write(tmp_path)
    before = path.read_bytes()
    with pytest.raises(results.ResultsError) as error:
        results.is_done(tmp_path, OTHER)
    assert_one_line(error, str(path), "protocol.epochs is 4 there, not 5")
    assert path.read_bytes() == before


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path):
    path = write_checkpoint(tmp_path)
    other = dataclasses.replace(CELL, seeds=3)
    with pytest.raises(results.ResultsError) as error:
        results.read_checkpoint(tmp_path, *results.blocks(tmp_path, other, 8))
    assert_one_line(error, str(path), "seeds is 2 there, not 3")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["results", "checkpoint"])
def test_a_truncated_file_is_one_line(tmp_path, kind, share):
    path = write(tmp_path) if kind == "results" else write_checkpoint(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(results.ResultsError) as error:
        if kind == "results":
            results.is_done(tmp_path, CELL)
        else:
            results.read_checkpoint(tmp_path, BLOCK)
    assert_one_line(error, str(path), "not")
    del error
    gc.collect()  # a file left open warns here, not in a later test


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = write(tmp_path)
    before = path.read_bytes()

    def interrupted(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        results.write_atomically(path, interrupted)
    assert path.read_bytes() == before
    write(tmp_path)  # whatever the interruption left is not in the way
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
