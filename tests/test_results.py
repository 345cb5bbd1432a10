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
from experiments.grid import Cell

EPOCHS, LAYERS, BINS = 4, 3, 40
CELL = Cell("digits", "tiny", "corr-0.1", 2, dataclasses.replace(RELEASED, epochs=EPOCHS))
OTHER = dataclasses.replace(CELL, protocol=dataclasses.replace(CELL.protocol, epochs=5))
PER_LAYER = ("penalty", "mean_correlation", "slope")


def history(epochs=EPOCHS):
    rng = np.random.default_rng(0)
    scalars = ("train_nll", "train_error", "validation_nll", "validation_error")
    shapes = dict.fromkeys(scalars, (2,)) | dict.fromkeys(PER_LAYER, (2, LAYERS))
    return [{name: rng.random(shape, np.float32) for name, shape in shapes.items()} for _ in range(epochs)]


def parameters():
    return {"hidden_1.kernel": np.arange(12, dtype=np.float32).reshape(2, 3, 2), "slope_1": np.ones(2)}


def write(folder, cell=CELL, records=None):
    rng = np.random.default_rng(1)
    last_epoch = {
        "mean_correlation_minibatch": rng.random((2, LAYERS)),
        "histogram_minibatch": rng.random((2, LAYERS, BINS)),
        "histogram_validation": rng.random((2, LAYERS, BINS)),
    }
    attributes = {"wall_seconds": 1.5, "device": "cpu: cpu"}
    return results.write(
        folder,
        cell,
        history=records or history(),
        last_epoch=last_epoch,
        parameters=parameters(),
        attributes=attributes,
    )


def write_checkpoint(folder, cell=CELL):
    state = {"params.slope_1": np.float32([0.1, 0.2]), "key": np.arange(4, dtype=np.uint32).reshape(2, 2)}
    results.write_checkpoint(folder, cell, results.Checkpoint(state, history(3), 2.5))
    return results.checkpoint_path(folder, cell), state


def assert_one_line(error, *parts):
    assert "\n" not in str(error.value)
    for part in parts:
        assert part in str(error.value)


def test_results_come_back(tmp_path):
    write_checkpoint(tmp_path)
    path = write(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["tiny-corr-0.1.nc"]  # no checkpoint, no leftovers
    assert results.is_done(tmp_path, CELL)
    with results.read(path) as dataset:
        for name, value in history()[2].items():
            np.testing.assert_array_equal(dataset[name].sel(epoch=3), value)
        np.testing.assert_array_equal(dataset["hidden_1.kernel"], parameters()["hidden_1.kernel"])
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
    assert attributes["commit"] and attributes["wall_seconds"] == 1.5
    assert {"python", "jax", "jaxlib", "flax", "optax", "numpy"} <= json.loads(attributes["versions"]).keys()


def test_the_first_epoch_that_is_not_finite_is_recorded(tmp_path):
    records = history()
    records[2]["train_nll"][1] = np.nan
    records[3]["validation_nll"][1] = np.inf
    with results.read(write(tmp_path, records=records)) as dataset:
        assert dataset.diverged_epoch.values.tolist() == [0, 3]


def test_a_checkpoint_comes_back(tmp_path):
    assert results.read_checkpoint(tmp_path, CELL) is None
    _, state = write_checkpoint(tmp_path)
    found = results.read_checkpoint(tmp_path, CELL)
    assert found.seconds == 2.5 and len(found.history) == 3
    for got, wanted in zip([found.state, *found.history], [state, *history(3)], strict=True):
        assert got.keys() == wanted.keys()
        for name in wanted:
            assert got[name].dtype == wanted[name].dtype
            np.testing.assert_array_equal(got[name], wanted[name])


def test_nothing_is_pickled(tmp_path):
    path, _ = write_checkpoint(tmp_path)
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
        results.write_checkpoint(tmp_path, OTHER, results.Checkpoint(state, history(), 0.0))


def test_results_of_another_configuration_are_refused(tmp_path):
    path = write(tmp_path)
    before = path.read_bytes()
    with pytest.raises(results.ResultsError) as error:
        results.is_done(tmp_path, OTHER)
    assert_one_line(error, str(path), "protocol.epochs is 4 there, not 5")
    assert path.read_bytes() == before


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path):
    path, _ = write_checkpoint(tmp_path)
    with pytest.raises(results.ResultsError) as error:
        results.read_checkpoint(tmp_path, dataclasses.replace(CELL, seeds=3))
    assert_one_line(error, str(path), "seeds is 2 there, not 3")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["results", "checkpoint"])
def test_a_truncated_file_is_one_line(tmp_path, kind, share):
    path = write(tmp_path) if kind == "results" else write_checkpoint(tmp_path)[0]
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    read = results.is_done if kind == "results" else results.read_checkpoint
    with pytest.raises(results.ResultsError) as error:
        read(tmp_path, CELL)
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
        results._write_atomically(path, interrupted)
    assert path.read_bytes() == before
    write(tmp_path)  # whatever the interruption left is not in the way
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
