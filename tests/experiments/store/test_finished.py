"""Cells on disk are complete and exact. Other configurations are refused, with errors of one line."""

import dataclasses
import json

import numpy as np
import pytest

from experiments.disk import netcdf
from experiments.disk.errors import ResultsError
from experiments.grid.cells import Block
from experiments.store import checkpoints, finished
from experiments.store.configuration import check_data
from tests.experiments.store.made_up_cell import (
    BLOCK,
    CELL,
    DATA,
    assert_one_line,
    assert_one_line_when_truncated,
    checkpoint,
    history,
    parameters,
    write,
    write_checkpoint,
)


def test_results_come_back(tmp_path):
    path = write(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["tiny-corr-0.1.nc"]  # nothing else
    assert not finished.missing(tmp_path, [CELL])
    with netcdf.read(path) as dataset:
        for name, value in history()[2].items():
            np.testing.assert_array_equal(dataset[name].sel(epoch=3), value)
        np.testing.assert_array_equal(dataset["hidden_1.kernel"], parameters()["hidden_1.kernel"])
        np.testing.assert_array_equal(dataset["correlation_1"], checkpoint().last_epoch["correlation_1"])
        assert dataset.epoch.values.tolist() == [1, 2, 3, 4] and dataset.seed.values.tolist() == [0, 1]
        networks = finished.parameters(dataset)
        assert len(networks) == 2 and {*networks[1]} == {"hidden_1", "slope_1"}
        kernel = networks[1]["hidden_1"]["kernel"]
        np.testing.assert_array_equal(kernel, parameters()["hidden_1.kernel"][1])
        assert dataset.bin[1] == 0.025
        assert all(dataset[name].attrs.keys() >= {"long_name", "units"} for name in finished.VARIABLES)
        assert dataset.validation_nll.attrs["units"] == "nats" and dataset.bin.attrs["units"] == "1"


def test_results_say_where_they_come_from(tmp_path):
    with netcdf.read(write(tmp_path)) as dataset:
        attributes = dataset.attrs
    configuration = json.loads(attributes["configuration"])
    assert configuration == json.loads(json.dumps(CELL.configuration()))
    assert configuration["widths"] == [40, 20, 10]
    assert configuration["regulariser"]["penalty_weight"] == 0.1 / 50
    assert attributes["commit"] and attributes["seconds"] == 2.5 and attributes["dataset_version"] == DATA
    assert attributes["devices"] == "1 x cpu (cpu), 2 runs each"
    assert {"python", "jax", "jaxlib", "flax", "optax", "numpy"} <= json.loads(attributes["versions"]).keys()


def test_the_first_epoch_that_is_not_finite_is_recorded(tmp_path):
    records = history()
    records[2]["train_nll"][1] = np.nan
    records[3]["validation_nll"][1] = np.inf
    with netcdf.read(write(tmp_path, records=records)) as dataset:
        assert dataset.diverged_epoch.values.tolist() == [0, 3]


def test_blocks_make_the_cell_that_one_block_would(tmp_path):
    with netcdf.read(write(tmp_path)) as dataset:
        whole = dataset.load()
    (folder := tmp_path / "blocks").mkdir()
    blocks = [Block(CELL, 0, 0), Block(CELL, 1, 1)]
    for block in blocks:
        assert finished.missing(folder, [CELL])
        runs = slice(block.first, block.last + 1)
        checkpoints.write(folder, block, checkpoint(runs), DATA)
        finished.finish(folder, CELL, blocks, DATA)
    with netcdf.read(finished.path_of(folder, CELL.network)) as dataset:
        assert dataset.equals(whole) and dataset.attrs["seconds"] == 5
    assert [file.name for file in folder.iterdir()] == ["tiny-corr-0.1.nc"]


def test_further_seeds_are_added_to_those_that_are_there(tmp_path):
    with netcdf.read(write(tmp_path)) as dataset:
        before = dataset.load()
    four = dataclasses.replace(CELL, seeds=4)
    assert finished.seeds_done(tmp_path, four) == 2
    block = Block(four, 2, 3)
    made = checkpoint(records=history(seed=5))._replace(devices="1 x gpu (H200), 2 runs each")
    checkpoints.write(tmp_path, block, made, DATA)
    finished.finish(tmp_path, four, [block], DATA)
    assert not finished.missing(tmp_path, [four])
    with netcdf.read(finished.path_of(tmp_path, four.network)) as dataset:
        assert dataset.seed.values.tolist() == [0, 1, 2, 3]
        assert dataset.isel(seed=slice(2)).equals(before)
        for name, value in history(seed=5)[2].items():
            np.testing.assert_array_equal(dataset[name].sel(epoch=3)[2:], value)
        assert dataset.attrs["devices"] == "1 x cpu (cpu), 2 runs each; 1 x gpu (H200), 2 runs each"
        assert dataset.attrs["seconds"] == 5 and dataset.attrs["dataset_version"] == DATA
    assert not finished.missing(tmp_path, [CELL])  # it has more seeds than are asked for


def test_a_cell_with_a_block_at_work_is_not_finished(tmp_path):
    path = write_checkpoint(tmp_path)
    finished.finish(tmp_path, CELL, [BLOCK], DATA)
    assert path.exists() and finished.missing(tmp_path, [CELL])


def test_results_of_another_configuration_are_refused(tmp_path):
    path = write(tmp_path)
    before, other = path.read_bytes(), dataclasses.replace(CELL.protocol, epochs=5)
    with pytest.raises(ResultsError) as error:
        finished.missing(tmp_path, [dataclasses.replace(CELL, protocol=other)])
    assert_one_line(error, str(path), "protocol.epochs is 4 there, not 5")
    assert path.read_bytes() == before


def test_nothing_is_added_to_results_of_other_data(tmp_path):
    path = write(tmp_path)
    finished.check_identity(tmp_path, DATA)
    for other in ("1998 sha256:4567", "2.0.0 sha256:0123"):
        with pytest.raises(ResultsError) as error:
            finished.check_identity(tmp_path, other)
        assert_one_line(error, str(path), f"other data ({DATA}, not {other})")
    write(tmp_path, data="1998")  # like older results, without a hash
    with pytest.raises(ResultsError):
        finished.check_identity(tmp_path, "2.0.0 sha256:0123")
    with pytest.warns(
        UserWarning, match=f"^{path} records the version of its data .1998. but not their content"
    ):
        finished.check_identity(tmp_path, DATA)
    with pytest.raises(ResultsError):  # seeds with and without a hash
        check_data("cell", f"1998; {DATA}", "1998 sha256:4567")


def test_a_truncated_file_is_one_line(tmp_path):
    assert_one_line_when_truncated(write(tmp_path), lambda: finished.missing(tmp_path, [CELL]))
