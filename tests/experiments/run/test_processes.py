"""Blocks train in several processes at once, like in one. Processes end with their parent."""

import multiprocessing
import os
import time
from contextlib import closing
from typing import NamedTuple

import jax
import numpy as np
import pytest

from experiments.data.load import load
from experiments.grid.cells import Block, Cell
from experiments.grid.networks import Recipe, Variant
from experiments.run import epochs, executor, machine, processes
from experiments.run.local import Training

CELL = Cell("digits", "tiny", Variant("corr", 0.1), 2, Recipe(epochs=2))
BLOCKS = [Block(CELL, 0, 0), Block(CELL, 1, 1)]


class Count(NamedTuple):
    """Work that compiles nothing."""

    name: str
    length: int = 2


def count(work, dataset, checkpoint, checkpoint_seconds, devices):
    for number in range(work.length + 1):
        yield number, number


def count_and_sleep(*arguments):
    for event in count(*arguments):
        yield event
        time.sleep(600)


def count_and_fail(*arguments):
    yield 0, None
    raise ValueError("no such thing")


def started(run, work, read=lambda _: None, processes_=2):
    training = Training(epochs.TRAINING.check, run)
    return closing(processes.run(training, work, load("digits"), read, 0, processes=processes_))


@pytest.mark.slow
def test_blocks_are_trained_as_in_this_process_and_go_on_from_checkpoints():
    with started(epochs.run_block, BLOCKS, processes_=1) as events:
        found = {(block, epoch): checkpoint for block, epoch, checkpoint in events}
    assert found.keys() == {(block, epoch) for block in BLOCKS for epoch in (0, 1, 2)}
    last = found[BLOCKS[1], 2]
    *_, (_, wanted) = epochs.run_block(BLOCKS[1], load("digits"), None, 0, jax.devices()[:1])
    assert last.devices == wanted.devices == "1 x cpu (cpu), 1 runs each"
    for name, value in wanted.state.items():
        np.testing.assert_allclose(last.state[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
    with started(epochs.run_block, BLOCKS[1:], lambda block: found[block, 1]) as events:
        resumed = list(events)
    assert [epoch for _, epoch, _ in resumed] == [1, 2]
    for name, value in last.state.items():
        np.testing.assert_array_equal(resumed[-1][-1].state[name], value, name)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_pieces_are_begun_at_once(monkeypatch, method):
    monkeypatch.setattr(machine, "METHOD", method)
    work, begun, shown = [Count("a"), Count("b"), Count("c")], [], []
    with started(count, work, begun.append) as events:
        for piece, number, _ in events:
            assert len(begun) >= 2  # both begin before either ends
            shown.append((piece, number))
    assert begun == work and not multiprocessing.active_children()
    assert sorted(shown) == [(piece, number) for piece in work for number in (0, 1, 2)]


def test_an_error_in_a_process_is_told():
    with started(count_and_fail, [Count("a")]) as events, pytest.raises(RuntimeError) as error:
        list(events)
    assert str(error.value) == "a: ValueError('no such thing')"
    assert not multiprocessing.active_children()


def test_a_process_that_dies_is_told():
    with started(count_and_sleep, [Count("a")]) as events:
        next(events)
        for process in multiprocessing.active_children():
            process.kill()
        with pytest.raises(RuntimeError, match="a: the process that trained it died"):
            list(events)


def test_who_stops_ends_them():
    with started(count_and_sleep, [Count("a"), Count("b")]) as events:
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
