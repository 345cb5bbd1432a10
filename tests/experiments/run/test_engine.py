"""Runs on devices do not communicate, and give the same results on any number of devices."""

import dataclasses
import functools
import os
import pwd
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from decorr.config import Optimisation, Regulariser
from decorr.models import MLP
from decorr.training import evaluation
from decorr.training.steps import Trainer, sgd
from experiments.data import load as data
from experiments.grid.cells import Block, Cell
from experiments.grid.networks import Recipe, Variant
from experiments.grid.protocols import PAPER
from experiments.run import engine, epochs, host, local
from experiments.run.engine import Engine
from experiments.run.layout import Layout
from tests.decorr.training.test_steps import CLASSES, FEATURES, assert_identical, split

ROOT = Path(__file__).parents[3]
SHORT = Recipe(epochs=2)


@functools.cache
def digits():
    return data.load("digits")


def started(runs, variant="corr-0.1", devices=None):
    """Returns an engine, its first states, and the training split on the devices."""
    layout = Layout.of((devices or jax.devices())[:runs])
    cell = Cell("digits", "tiny", Variant.parse(variant), runs, SHORT)
    engine = Engine(epochs.trainer(Block(cell, 0, runs - 1), digits()), layout)
    states = engine.start(range(runs), cell.variant.regulariser(SHORT), digits().train.images.shape[1])
    return engine, states, *layout.share(digits().train)


def finished(blocks, read=lambda _: None):
    """Trains blocks. Returns the last checkpoint of each block, by the block's name."""
    events = list(local.run(epochs.TRAINING, blocks, digits(), read, 1e9))
    assert sorted((block.name, epoch) for block, epoch, _ in events) == sorted(
        (block.name, epoch) for block in blocks for epoch in (0, 1, 2)
    )
    return {block.name: checkpoint for block, _, checkpoint in events if checkpoint is not None}


CACHES = ["no home", "a file in the way", "a folder"]


@pytest.fixture
def cache(request, tmp_path, monkeypatch):
    """The folder where compiled programs can be kept; None if there is no such folder."""
    (tmp_path / "file").touch()
    for name in ("HOME", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    if request.param != "no home":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ("file" * (request.param != "a folder"))))
    return tmp_path / "decorr" / "compiled" if request.param == "a folder" else None


@pytest.mark.parametrize("cache", CACHES, indirect=True)
def test_the_place_for_compiled_programs(cache, monkeypatch):
    def no_entry(*_):
        raise KeyError("uid not found")

    monkeypatch.setattr(pwd, "getpwuid", no_entry)
    assert host._compiled() == cache


@pytest.mark.slow
@pytest.mark.parametrize("cache", CACHES, indirect=True)
def test_the_sweep_works_without_a_place_for_compiled_programs(cache):
    code = """
import pwd
def no_entry(*_): raise KeyError("uid not found")
pwd.getpwuid = no_entry
import jax; from experiments.data.load import load; from experiments.run import host
host.configure(1); jax.block_until_ready(jax.jit(lambda x: x + 1)(load().train.scale))
print(jax.config.jax_compilation_cache_dir)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert (done.stdout.strip(), done.stderr) == (str(cache), "")
    assert cache is None or list(cache.iterdir())


def program(trains, states, train):
    order = np.zeros((states.step.shape[0], 2, 50), np.int32)
    return engine.training(trains).lower(states, order, train, False)


def eight_devices():
    """Prints nll and parameters of training on 8 devices and on 1. A test runs this in a new process."""
    assert len(jax.devices()) == 8
    trains, states, train = started(8)
    programs = [
        program(trains, states, train),
        engine.order(trains.layout, 1250, 50).lower(states.key, states.step),
        engine.evaluate(trains).lower(states.variables, train),
    ]
    for each in programs:
        text = each.compile().as_text()
        assert "num_partitions=8" in text
        for collective in ("all-reduce", "all-gather", "all-to-all", "collective", "reduce-scatter"):
            assert collective not in text, collective
    for devices in (jax.devices(), jax.devices()[:1]):
        trains, states, train = started(8, devices=devices)
        states, metrics, _ = trains.train_epoch(states, train, False)
        kernel = np.asarray(states.params["hidden_1"]["kernel"])
        print(np.asarray(metrics.nll).tolist(), kernel.sum(dtype=np.float64))


@pytest.mark.slow
def test_eight_devices_do_not_communicate_and_give_what_one_gives():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from tests.experiments.run.test_engine import eight_devices; eight_devices()",
        ],
        cwd=ROOT,
        env=os.environ | {"JAX_NUM_CPU_DEVICES": "8"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    eight, one = done.stdout.splitlines()
    assert eight == one and eight.count(",") == 7


@pytest.mark.slow
def test_convolutional_networks_are_trained_as_the_others():
    protocol = dataclasses.replace(SHORT, family="conv")
    cells = [Cell("digits", "tiny", Variant.parse(name), 1, protocol) for name in ("corr-0", "corr-1.0")]
    last = finished([Block(cell, 0, 0) for cell in cells])
    for checkpoint in last.values():
        assert checkpoint.state["params.hidden_2.kernel"].shape == (1, 3, 3, 4, 8)
        nll, slope = (
            np.stack([record[name] for record in checkpoint.history]) for name in ("train_nll", "slope")
        )
        assert (nll[1] < nll[0]).all() and slope.shape == (2, 1, 3)
        shapes = [checkpoint.last_epoch[f"correlation_{layer}"].shape for layer in (1, 2, 3)]
        assert shapes == [(1, 4, 4), (1, 8, 8), (1, 16, 16)]
        np.testing.assert_allclose(checkpoint.last_epoch["histogram_minibatch"].sum(-1), 1, rtol=1e-5)
    penalties = [last[cell.name].history[-1]["penalty"] for cell in cells]
    assert (penalties[1] < penalties[0]).all()


@pytest.mark.slow
def test_several_runs_a_device_share_all_of_them_and_need_no_learned_slopes():
    cell = Cell("digits", "tiny", Variant("vanilla"), 4, dataclasses.replace(PAPER, epochs=2))
    last = finished([Block(cell, 0, 3)])[cell.name]
    assert last.history[0]["slope"].shape == (4, 0)
    assert last.devices == f"{jax.device_count()} x cpu (cpu), 2 runs each"


@pytest.mark.slow
def test_blocks_of_seeds_are_the_cells_seeds():
    cell = Cell("digits", "tiny", Variant("corr", 0.1), 4, SHORT)
    whole = finished([Block(cell, 0, 3)])
    halves = finished([Block(cell, 0, 1), Block(cell, 2, 3)])
    for name, value in whole[cell.name].last_epoch.items():
        parts = [halves[f"{cell.name}.seeds-{seeds}"].last_epoch[name] for seeds in ("0-1", "2-3")]
        np.testing.assert_allclose(np.concatenate(parts), value, atol=2e-3, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "found"), [("float32", "HIGHEST"), ("tensorfloat32", "HIGH")])
def test_the_precision_of_matrix_products(precision, found):
    with jax.default_matmul_precision(precision):
        text = program(*started(2)).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    # The products of the penalty are always in float32.
    kinds = {f"precision = [{kind}, {kind}]" for kind in {found, "HIGHEST"}}
    assert products and {line[line.index("precision = ") :].split("]")[0] + "]" for line in products} == kinds


@pytest.mark.real_data
@pytest.mark.parametrize("variant", ["vanilla", "corr-1.0"])
def test_half_of_the_minibatches_give_the_penalty_of_all_to_a_percent(variant, monkeypatch):
    mnist = data.load("mnist")
    cell = Cell("mnist", "tiny", Variant.parse(variant), 2, SHORT)
    trains = Engine(epochs.trainer(Block(cell, 0, 1), mnist), Layout.of(jax.devices()))
    states = trains.start(range(2), cell.variant.regulariser(SHORT), 784)
    train, validation = trains.layout.share(mnist.train, mnist.validation)
    for _ in range(2):
        states, *_ = trains.train_epoch(states, train, False)

    def penalties(minibatches):
        monkeypatch.setattr(evaluation, "MINIBATCHES", minibatches)
        engine.evaluate.cache_clear()
        return np.asarray(engine.evaluate(trains)(states.variables, validation)[0].penalty)

    half, every = penalties(evaluation.MINIBATCHES), penalties(200)
    engine.evaluate.cache_clear()
    assert (half != every).all()
    np.testing.assert_allclose(half, every, rtol=0.01)


class Runs:
    """Three runs on two devices. A fourth run, a copy of the third, fills the second device."""

    def __init__(self):
        self.validation = split(20, seed=2)
        layout = Layout.of(jax.devices()[:2])
        self.splits = layout.share(split(40), self.validation)
        optimisation = Optimisation(batch_size=10)
        self.protocol = Recipe(optimisation=optimisation)
        trainer = Trainer(MLP(self.protocol.architecture("tiny"), CLASSES), sgd(optimisation), 10)
        self.engine = Engine(trainer, layout)

    def start(self, variant="corr-0.1"):
        regulariser = Variant.parse(variant).regulariser(self.protocol)
        return self.engine.start(range(3), regulariser, FEATURES)

    def epoch(self, states, last=False):
        return self.engine.epoch(states, *self.splits, last)

    def host(self, tree):
        return host.to_host(tree, 3)


@pytest.fixture(scope="module")
def runs():
    return Runs()


@pytest.mark.slow
def test_weights_share_one_program_and_variants_the_evaluation(runs):
    order = engine.order(runs.engine.layout, len(runs.splits[0].labels), 10)
    programs = order, engine.training(runs.engine), engine.evaluate(runs.engine)
    runs.start()  # JAX describes the layout of the first keys differently
    for program in programs:
        program.clear_cache()
    finals = [runs.host(runs.epoch(runs.start(v), v == "corr-1.0")[0]) for v in ("corr-0.1", "corr-1.0")]
    runs.epoch(runs.start("vanilla"))
    assert [program._cache_size() for program in programs] == [1, 2, 1]
    assert (finals[0]["params.hidden_1.kernel"] != finals[1]["params.hidden_1.kernel"]).any()


def test_a_round_trip_through_memory_changes_nothing(runs):
    straight, record, _ = runs.epoch(runs.epoch(runs.start())[0])
    stored = runs.host(runs.epoch(runs.start())[0])
    assert stored["step"].tolist() == [4, 4, 4]
    resumed, again, _ = runs.epoch(host.from_host(stored, runs.start()))
    assert_identical(runs.host(resumed), runs.host(straight))
    assert_identical(runs.host(again), runs.host(record))


@pytest.mark.parametrize(
    "change",
    [
        {"step": np.zeros(3)},
        {"step": np.int32(0)},
        {"step": np.empty(0, np.int32)},
        {"key": np.zeros((3, 3), np.uint32)},
    ],
)
def test_a_checkpoint_of_other_networks_is_refused(runs, change):
    states = runs.start()
    with pytest.raises(ValueError, match=f"the checkpoint has no {next(iter(change))} of .*: move it away"):
        host.from_host(runs.host(states) | change, states)


@pytest.mark.parametrize("lane", [0, 1])
def test_a_run_that_blows_up_leaves_the_others_alone(runs, lane):
    def results(spoil):
        states = runs.start()
        if spoil == "nan":
            params = jax.tree.map(lambda leaf: leaf.at[lane].set(jnp.nan), states.params)
            states = states._replace(params=params)
        elif spoil == "weight":
            weight = states.regulariser.penalty_weight.at[lane].set(1e30)
            states = states._replace(regulariser=Regulariser(penalty_weight=weight))
        states = jax.device_put(states, jax.tree.map(lambda leaf: leaf.sharding, runs.start()))
        states, record, _ = runs.epoch(states)
        return runs.host((states.params, record))

    wanted = results(None)
    for spoil in ("nan", "weight"):
        found = results(spoil)
        assert not np.isfinite(found["1.validation_nll"][lane])
        # Verdicts rely on this: a network that diverged has the error of always guessing the first class.
        guessing = np.mean(np.asarray(runs.validation.labels) != 0)
        assert found["1.validation_error"][lane] == pytest.approx(guessing)
        for name in wanted:
            np.testing.assert_array_equal(*(np.delete(r[name], lane, 0) for r in (found, wanted)), name)


def test_adamw_takes_the_rate_its_schedule_and_the_decay():
    optimisation = Optimisation(learning_rate=0.001, weight_decay=0.1, schedule="cosine", batch_size=10)
    recipe = Recipe(epochs=1, optimiser="adamw", optimisation=optimisation)
    cell = Cell("digits", "tiny", Variant.parse("vanilla"), 1, recipe)
    optimiser, one = epochs.trainer_of(cell, 10, (8, 8, 1), samples=20).optimiser, jnp.ones(())
    assert optimiser is epochs.trainer_of(cell, 10, (8, 8, 1), samples=20).optimiser
    with jax.numpy_dtype_promotion("standard"):  # optax computes float ** step
        first, state = optimiser.update(one, optimiser.init(one), one)
        second, _ = optimiser.update(one, state, one)  # in the second of two steps, the rate is half
    np.testing.assert_allclose([first, second], [-0.0011, -0.00055], rtol=1e-5)
