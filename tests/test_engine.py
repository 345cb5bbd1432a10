"""Runs on devices: no communication, the same results on any number of them, blocks side by side."""

import dataclasses
import functools
import os
import subprocess
import sys
import threading
from pathlib import Path

import jax
import numpy as np
import pytest

from decorr import data
from decorr.config import PAPER, RELEASED
from experiments import engine, local
from experiments.grid import Block, Cell

ROOT = Path(__file__).parent.parent
SHORT = dataclasses.replace(RELEASED, epochs=2)


@functools.cache
def digits():
    return data.load("digits")


def started(runs, variant="corr-0.1", devices=None):
    """Mesh, states, and training split on the mesh."""
    mesh = engine.mesh((devices or jax.devices())[:runs])
    states = engine.start(Block(Cell("digits", "tiny", variant, runs, SHORT), 0, runs - 1), digits(), mesh)
    return mesh, states, *engine.share((digits().train,), mesh)


def finished(blocks, read=lambda _: None):
    """The last checkpoint of each block, by its name."""
    events = list(local.train(blocks, digits(), read, 1e9))
    assert sorted((block.name, epoch) for block, epoch, _ in events) == sorted(
        (block.name, epoch) for block in blocks for epoch in (0, 1, 2)
    )
    return {block.name: checkpoint for block, _, checkpoint in events if checkpoint is not None}


def program(mesh, states, train):
    order = np.zeros((states.step.shape[0], 2, 50), np.int32)
    return engine._train.lower(mesh, states, order, train, False)


def eight_devices():
    """Run in a process of its own: prints nll and parameters on 8 devices and on 1."""
    engine.LANES = {"cpu": 1}  # the same arithmetic on any number of devices
    assert len(jax.devices()) == 8
    mesh, states, train = started(8)
    programs = [
        program(mesh, states, train),
        engine._order.lower(mesh, 1250, 50, states.key, states.step),
        engine._evaluate.lower(mesh, states.model, 50, states.params, train),
    ]
    for each in programs:
        text = each.compile().as_text()
        assert "num_partitions=8" in text
        for collective in ("all-reduce", "all-gather", "all-to-all", "collective", "reduce-scatter"):
            assert collective not in text, collective
    for devices in (jax.devices(), jax.devices()[:1]):
        on, states, train = started(8, devices=devices)
        states, metrics, _ = engine.train_epoch(on, states, train, False)
        kernel = np.asarray(states.params["hidden_1"]["kernel"])
        print(np.asarray(metrics.nll).tolist(), kernel.sum(dtype=np.float64))


def test_eight_devices_do_not_communicate_and_give_what_one_gives():
    done = subprocess.run(
        [sys.executable, "-c", "from tests.test_engine import eight_devices; eight_devices()"],
        cwd=ROOT,
        env=os.environ | {"JAX_NUM_CPU_DEVICES": "8"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    eight, one = done.stdout.splitlines()
    assert eight == one and eight.count(",") == 7


def test_blocks_of_one_run_are_trained_side_by_side():
    cells = [Cell("digits", "tiny", variant, 1, SHORT) for variant in ("vanilla", "corr-1.0")]
    both = threading.Barrier(2, timeout=60)  # breaks if one waits in vain for the other

    def read(_):
        both.wait()

    last = finished([Block(cell, 0, 0) for cell in cells], read)
    assert {checkpoint.devices for checkpoint in last.values()} == {"1 x cpu (cpu), 1 runs each"}


def test_a_block_of_many_runs_has_all_devices():
    cell = Cell("digits", "tiny", "vanilla", 4, SHORT)
    last = finished([Block(cell, 0, 3)])
    assert last[cell.name].devices == f"{jax.device_count()} x cpu (cpu), 2 runs each"


def test_several_runs_a_device_need_no_learned_slopes():
    cell = Cell("digits", "tiny", "vanilla", 4, dataclasses.replace(PAPER, epochs=2))
    last = finished([Block(cell, 0, 3)])
    assert last[cell.name].history[0]["slope"].shape == (4, 0)


def test_blocks_of_seeds_are_the_cells_seeds():
    cell = Cell("digits", "tiny", "corr-0.1", 4, SHORT)
    whole = finished([Block(cell, 0, 3)])
    halves = finished([Block(cell, 0, 1), Block(cell, 2, 3)])
    for name, value in whole[cell.name].last_epoch.items():
        parts = [halves[f"{cell.name}.seeds-{seeds}"].last_epoch[name] for seeds in ("0-1", "2-3")]
        np.testing.assert_allclose(np.concatenate(parts), value, atol=2e-3, err_msg=name)


def test_an_error_in_one_block_ends_the_sweep():
    def read(block):
        raise ValueError(f"no {block.name}")

    cell = Cell("digits", "tiny", "vanilla", 1, SHORT)
    with pytest.raises(ValueError, match="no tiny-vanilla"):
        list(local.train([Block(cell, 0, 0)], digits(), read, 1e9))


@pytest.mark.parametrize(("precision", "found"), [("float32", "HIGHEST"), ("tensorfloat32", "HIGH")])
def test_the_precision_of_matrix_products(precision, found):
    with jax.default_matmul_precision(precision):
        text = program(*started(2)).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    # The penalty's are always float32.
    kinds = {f"precision = [{kind}, {kind}]" for kind in {found, "HIGHEST"}}
    assert products and {line[line.index("precision = ") :].split("]")[0] + "]" for line in products} == kinds
