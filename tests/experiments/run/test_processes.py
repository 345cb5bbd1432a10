"""Blocks in processes: at once, as in this one, ended with it, and what is said when one fails."""

import multiprocessing
import os
from contextlib import closing

import jax
import numpy as np
import pytest

from experiments.data.load import load
from experiments.grid.cells import Block, Cell
from experiments.grid.networks import Recipe, Variant
from experiments.run import epochs, executor, machine, processes

CELL = Cell("digits", "tiny", Variant("corr", 0.1), 3, Recipe(epochs=2))
BLOCKS = [Block(CELL, 0, 0), Block(CELL, 1, 1), Block(CELL, 2, 2)]


def started(blocks, read=lambda _: None, count=2):
    return closing(processes.run(epochs.TRAINING, blocks, load("digits"), read, 0, processes=count))


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_blocks_are_trained_at_once_and_as_in_this_process(monkeypatch, method):
    monkeypatch.setattr(machine, "METHOD", method)
    begun, last, shown = [], {}, []
    with started(BLOCKS, begun.append) as events:
        for block, epoch, checkpoint in events:
            assert len(begun) >= 2  # neither waits for the other's end
            shown.append((block.name, epoch))
            last[block] = checkpoint
    assert begun == BLOCKS and not multiprocessing.active_children()
    assert sorted(shown) == [(block.name, epoch) for block in BLOCKS for epoch in (0, 1, 2)]
    *_, (_, wanted) = epochs.run_block(BLOCKS[1], load("digits"), None, 0, jax.devices()[:1])
    found = last[BLOCKS[1]]
    assert found.devices == wanted.devices == "1 x cpu (cpu), 1 runs each"
    for name, value in wanted.state.items():
        np.testing.assert_allclose(found.state[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_process_goes_on_from_a_checkpoint():
    with started(BLOCKS[:1], count=1) as events:
        checkpoints = [checkpoint for *_, checkpoint in events]
    with started(BLOCKS[:1], lambda _: checkpoints[1], count=1) as events:
        resumed = list(events)
    assert [epoch for _, epoch, _ in resumed] == [1, 2]
    for name, value in checkpoints[-1].state.items():
        np.testing.assert_array_equal(resumed[-1][-1].state[name], value, name)


def test_an_error_in_a_process_is_told():
    with started(BLOCKS, lambda _: "nonsense") as events, pytest.raises(RuntimeError) as error:
        list(events)
    assert str(error.value).startswith("tiny-corr-0.1.seeds-")
    assert str(error.value).endswith(""": AttributeError("'str' object has no attribute 'state'")""")
    assert not multiprocessing.active_children()


def test_a_process_that_dies_is_told():
    with started(BLOCKS) as events:
        next(events)
        for process in multiprocessing.active_children():
            process.kill()
        with pytest.raises(RuntimeError, match=r"tiny-corr-0.1.seeds-\d-\d: the process .* died"):
            list(events)


def test_who_stops_ends_them():
    with started(BLOCKS) as events:
        next(events)
        assert len(multiprocessing.active_children()) == 2
    assert not multiprocessing.active_children()


def test_processes_share_the_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 2, 0, 3}, raising=False)
    assert processes._shares(2) == [[0, 3], [2, 5]]
    assert processes._shares(5) == [[0], [2], [3], [5], [0]]


@pytest.mark.parametrize(
    ("count", "cells", "runs"), [(1, 1, 10), (2, 20, 10), (2, 1, 5), (2, 7, 5), (4, 20, 10), (64, 20, 1)]
)
def test_blocks_are_cut_where_a_process_would_lack_one(count, cells, runs):
    assert executor.fair_share(count, cells, 10) == runs
