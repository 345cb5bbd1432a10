"""Checkpoints on disk are exact and not pickled. Repeated seeds and other configurations are refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from experiments.disk.errors import ResultsError
from experiments.grid.cells import Block
from experiments.grid.networks import Variant
from experiments.store import checkpoints
from tests.experiments.store.made_up_cell import (
    BLOCK,
    CELL,
    DATA,
    assert_one_line,
    assert_one_line_when_truncated,
    checkpoint,
    write_checkpoint,
)


@pytest.mark.parametrize(
    ("begun", "runs", "done", "expected"),
    [
        ([], 10, 0, [(0, 9)]),
        ([], 8, 0, [(0, 4), (5, 9)]),  # not 8 and 2
        ([(0, 9)], 4, 0, [(0, 9)]),
        ([(3, 4)], 8, 0, [(0, 2), (3, 4), (5, 9)]),
        ([(3, 4)], 2, 0, [(0, 1), (2, 2), (3, 4), (5, 6), (7, 8), (9, 9)]),
        ([(3, 4)], 8, 2, [(2, 2), (3, 4), (5, 9)]),
        ([(0, 4)], 8, 5, [(5, 9)]),  # left behind by a killed sweep
    ],
)
def test_blocks_are_as_begun_and_the_rest_anew(tmp_path, begun, runs, done, expected):
    cell = dataclasses.replace(CELL, seeds=10)
    for other in (
        cell,
        dataclasses.replace(cell, variant=Variant("corr", 0.15)),
    ):  # checkpoints of another cell do not count
        for first, last in begun if other is cell else [(0, 1)]:
            write_checkpoint(tmp_path, Block(other, first, last))
    found = checkpoints.blocks(tmp_path, cell, runs, done)
    assert [(block.first, block.last) for block in found] == expected


def test_a_seed_in_two_checkpoints_is_refused(tmp_path):
    cell = dataclasses.replace(CELL, seeds=10)
    paths = [write_checkpoint(tmp_path, Block(cell, *seeds)) for seeds in ((0, 4), (4, 9))]
    with pytest.raises(ResultsError) as error:
        checkpoints.blocks(tmp_path, cell, 8)
    assert_one_line(error, *map(str, paths))


def test_a_checkpoint_comes_back(tmp_path):
    assert checkpoints.read(tmp_path, BLOCK, DATA) is None
    wanted = checkpoint()
    checkpoints.write(tmp_path, BLOCK, wanted, DATA)
    found = checkpoints.read(tmp_path, BLOCK, DATA)
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
    with pytest.raises(ValueError, match="allow_pickle=False"):
        state = {"x": np.array([{}], object)}
        checkpoints.write(tmp_path, BLOCK, checkpoint()._replace(state=state), DATA)


def test_what_a_stranger_pickled_is_not_executed(tmp_path):
    path = write_checkpoint(tmp_path)
    with np.load(path) as file:
        arrays = dict(file)

    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    np.savez(path, **arrays | {"state/key": np.array([Trap()], object)})
    with pytest.raises(ResultsError):
        checkpoints.read(tmp_path, BLOCK, DATA)
    assert not (tmp_path / "executed").exists()


def test_a_checkpoint_of_another_configuration_or_other_data_is_refused(tmp_path):
    path = write_checkpoint(tmp_path)
    other = dataclasses.replace(CELL, seeds=3)
    with pytest.raises(ResultsError) as error:
        checkpoints.read(tmp_path, *checkpoints.blocks(tmp_path, other, 8), DATA)
    assert_one_line(error, str(path), "seeds is 2 there, not 3")
    with pytest.raises(ResultsError) as error:
        checkpoints.read(tmp_path, BLOCK, "1998 sha256:4567")
    assert_one_line(error, str(path), f"other data ({DATA}, not 1998 sha256:4567)")


def test_a_truncated_file_is_one_line(tmp_path):
    path = write_checkpoint(tmp_path)
    assert_one_line_when_truncated(path, lambda: checkpoints.read(tmp_path, BLOCK, DATA))
