"""The estimated memory of a block agrees with its compiled programs up to a factor. Blocks are cut to fit."""

import dataclasses
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from decorr.config import Optimisation
from decorr.training.split import Split
from experiments.data.load import Dataset
from experiments.grid.cells import Block, Cell
from experiments.grid.networks import Recipe, Variant
from experiments.run import engine, epochs
from experiments.run.engine import Engine
from experiments.run.layout import Layout
from experiments.run.memory import Room

CELL = Cell("mnist", "huge", Variant("corr", 0.1), 1000, Recipe())


def split(samples, dtype=np.uint8):
    """Returns a split with MNIST's shapes that takes no memory."""
    images = np.broadcast_to(dtype(0), (samples, 784))
    return Split(images, np.broadcast_to(np.int32(0), samples), np.float32(0), np.float32(1))


MNIST = Dataset("mnist", "3.0.1", 10, (28, 28, 1), split(50_000), split(10_000), None, "")


def shape(*sizes, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(sizes, dtype)


def trainer(cell=CELL):
    return epochs.trainer(Block(cell, 0, 0), MNIST)


def total(program):
    """Returns the bytes that a lowered program needs, by the compiler's analysis."""
    memory = program.compile().memory_analysis()
    arguments, results = memory.argument_size_in_bytes, memory.output_size_in_bytes
    return arguments + results + memory.temp_size_in_bytes - memory.alias_size_in_bytes


def compiled(cell, runs):
    """Returns the bytes that training or evaluating `runs` runs takes on one device."""
    trains = Engine(trainer(cell), Layout.of(jax.devices()[:1], lanes=runs))  # like on an accelerator
    splits = MNIST.train, MNIST.validation
    train, validation = jax.tree.map(lambda leaf: shape(*jnp.shape(leaf), dtype=leaf.dtype), splits)
    weights = jax.tree.map(lambda _: shape(runs), cell.variant.regulariser(cell.protocol))
    states = (
        engine.initial(trains, 784).eval_shape(shape(runs, dtype=jnp.int32))._replace(regulariser=weights)
    )
    batch_size = trains.trainer.batch_size
    order = shape(runs, 50_000 // batch_size, batch_size, dtype=jnp.int32)
    training = engine.training(trains).lower(states, order, train, shape(dtype=bool))
    evaluation = engine.evaluate(trains).lower(states.variables, validation)
    return max(total(training), total(evaluation) + MNIST.train.images.size)  # images stay there


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "batch_size"), [("mlp", 50), ("conv", 500)]
)  # mlp: evaluation takes most; conv: training takes most
def test_a_block_takes_what_its_programs_do(family, batch_size):
    protocol = Recipe(family=family, optimisation=Optimisation(batch_size=batch_size))
    cell = dataclasses.replace(CELL, protocol=protocol)
    needed = Room("cuda", 1, math.inf).needed(4, trainer(cell), MNIST)
    taken = compiled(cell, 4)
    assert taken <= needed <= 2.5 * taken


@pytest.mark.parametrize(("platform", "devices"), [("cpu", 1), ("cuda", 1), ("cuda", 8)])
def test_the_largest_blocks_that_fit(platform, devices):
    room = Room(platform, devices, 2**33)
    runs = room.runs(trainer(), MNIST, 1000)
    fits = [room.needed(n, trainer(), MNIST) <= room.bytes for n in (runs, runs + 1)]
    assert runs > 1 and fits == [True, runs == 1000]
    assert room.runs(trainer(), MNIST, 5) == 5
    room.check(Block(CELL, 0, runs - 1), trainer(), MNIST)


def test_whitened_pixels_take_four_times_as_much():
    whitened = MNIST._replace(train=split(50_000, np.float32), validation=split(10_000, np.float32))
    needed = [Room("cuda", 1, math.inf).needed(4, trainer(), dataset) for dataset in (MNIST, whitened)]
    assert needed[1] - needed[0] == 60_000 * 784 * 3


def test_one_run_that_does_not_fit_is_refused():
    room = Room("cuda", 2, 2**20)
    block = Block(CELL, 0, room.runs(trainer(), MNIST, 10) - 1)
    assert block.runs == 1
    taken = room.describe(1, trainer(), MNIST)
    message = f"huge-corr-0.1.seeds-0-0 does not fit into memory: it needs {taken}; use smaller"
    assert taken.endswith(" MiB of 1 MiB on each device")
    with pytest.raises(ValueError, match=re.escape(message)):
        room.check(block, trainer(), MNIST)


def test_devices_of_a_cpu_share_the_machine():
    one, two = (Room.of(jax.devices()[:n]) for n in (1, 2))
    assert two.devices == 2 and two.bytes == one.bytes / 2
    assert 2**28 < one.bytes < math.inf
