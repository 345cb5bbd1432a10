"""The engine's programs are lowered for accelerators, on a machine without one. They are not compiled."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import pytest
from jax import export

from decorr.training.split import Split
from experiments.grid.cells import Cell
from experiments.grid.networks import Recipe, Variant
from experiments.run import engine, epochs
from experiments.run.engine import Engine
from experiments.run.layout import Layout

RUNS, FEATURES = 6, 64  # three runs per device; a CPU has one run in a vmap


def array(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def split(samples):
    return Split(array(samples, FEATURES, dtype=jnp.uint8), array(samples, dtype=jnp.int32), array(), array())


def programs(family, variant, platform="cuda"):
    """Returns every program for a block of huge networks, with its arguments as shapes instead of arrays."""
    layout, protocol = Layout.of(jax.devices()[:2]), Recipe(family=family)
    if platform != "cpu":
        layout = dataclasses.replace(layout, platform=platform, lanes=None)
    cell = Cell("digits", "huge", Variant.parse(variant), RUNS, protocol)
    trains = Engine(epochs.trainer_of(cell, 10, (8, 8, 1), 100), layout)
    numbers = jax.tree.map(lambda _: array(RUNS), cell.variant.regulariser(protocol))
    initial, order = engine.initial(trains, FEATURES), engine.order(layout, 100, 50)
    train, evaluate = engine.training(trains), engine.evaluate(trains)
    seeds = array(RUNS, dtype=jnp.int32)
    states = initial.eval_shape(seeds)._replace(regulariser=numbers)
    training = states, array(RUNS, 2, 50, dtype=jnp.int32), split(100), array(dtype=bool)
    *_, minibatch = train.eval_shape(*training)
    evaluated, _ = evaluate.eval_shape(states.variables, split(70))
    return {
        "order": (order, (states.key, states.step)),
        "train": (train, training),
        "evaluate": (evaluate, (states.variables, split(70))),
        "initial": (initial, (seeds,)),
        "summarise": (engine.summarise, ((minibatch, evaluated.correlation),)),
    }


@pytest.mark.slow
@pytest.mark.parametrize("family", ["mlp", "conv"])
def test_accelerators_have_what_an_epoch_needs(family):
    for name, (program, arguments) in programs(family, "corr-0.1").items():
        exported = export.export(program, platforms=["cuda", "tpu"])(*arguments)
        text = exported.mlir_module()
        assert exported.platforms == ("cuda", "tpu") and "custom_call" not in text
        if name == "train":  # all runs of a device are in one vmap
            assert f"tensor<{RUNS // 2}x50x{'360' if family == 'mlp' else '4x4x36'}xf32>" in text


def test_lanes_are_part_of_a_program():
    devices = jax.devices()[:2]
    for lanes, shape in ((1, "7"), (3, "3x7")):
        layout = Layout.of(devices, lanes)
        text = jax.jit(lambda x: layout.map_runs(jnp.sin, (x,))).lower(array(RUNS, 7)).as_text()  # noqa: B023
        assert re.search(rf"stablehlo\.sine %\w+ : tensor<{shape}xf32>", text)
    assert engine.order(Layout.of(devices, 3), 100, 50) is not engine.order(Layout.of(devices, 1), 100, 50)


def with_options_of_a_cpu(platform):
    """Returns the programs with options of a CPU. Inside another program, JAX refuses and names options."""

    def refused(program, arguments):
        try:
            jax.eval_shape(lambda *arrays: program(*arrays), *arguments)
        except ValueError as error:
            return "'xla_cpu_" in str(error)
        return False

    ours = programs("mlp", "vanilla", platform)
    return {name for name, program in ours.items() if refused(*program)}


@pytest.mark.slow
def test_compiler_options_of_a_cpu_stay_there():
    assert with_options_of_a_cpu("cuda") == set()


@pytest.mark.slow
def test_a_cpu_has_its_compiler_options():
    assert with_options_of_a_cpu("cpu") == {"initial", "order", "train", "evaluate"}
