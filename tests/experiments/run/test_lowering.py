"""The engine's programs for accelerators, made without one: lowered, neither compiled nor run."""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax import export

from decorr.config import Protocol, Variant
from decorr.training.split import Split
from experiments.run import engine, local
from experiments.run.grid import Cell

RUNS, FEATURES = 6, 64  # three runs a device, more than a CPU has side by side


def array(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def split(samples):
    return Split(array(samples, FEATURES, dtype=jnp.uint8), array(samples, dtype=jnp.int32), array(), array())


def programs(family, variant):
    """Every program of a block of huge networks, with its arguments: arrays are shapes."""
    mesh, protocol = engine.mesh(jax.devices()[:2]), Protocol(family=family)
    cell = Cell("digits", "huge", Variant.parse(variant), RUNS, protocol)
    trainer = local.trainer_of(cell, 10, (8, 8, 1))
    keys = jax.eval_shape(lambda: jax.vmap(jax.random.key)(jnp.arange(RUNS)))
    numbers = jax.tree.map(lambda _: array(RUNS), cell.variant.regulariser(protocol))
    states = engine._initial.eval_shape(keys, trainer, FEATURES)._replace(regulariser=numbers)
    order = array(RUNS, 2, 50, dtype=jnp.int32)
    training = mesh, trainer, states, order, split(100), array(dtype=bool)
    *_, minibatch = engine._train("cuda").eval_shape(*training)
    evaluated, _ = engine._evaluate.eval_shape(mesh, trainer, states.params, split(70))
    return {
        "order": (engine._order, (mesh, 100, 50, states.key, states.step)),
        "train": (engine._train("cuda"), training),
        "evaluate": (engine._evaluate, (mesh, trainer, states.params, split(70))),
        "initial": (engine._initial, (keys, trainer, FEATURES)),
        "summarise": (engine.summarise, ((minibatch, evaluated.correlation),)),
    }


@pytest.mark.parametrize("family", ["mlp", "conv"])
@pytest.mark.parametrize("variant", ["vanilla", "drop", "corr-0.1"])
def test_accelerators_have_what_an_epoch_needs(monkeypatch, family, variant):
    monkeypatch.setattr(engine, "_platform", lambda on: "cuda")
    for name, (program, arguments) in programs(family, variant).items():
        if variant == "vanilla" or name == "train":  # the others know no variant
            exported = export.export(program, platforms=["cuda", "tpu"])(*arguments)
            text = exported.mlir_module()
            assert exported.platforms == ("cuda", "tpu") and "custom_call" not in text
            if name == "train":  # all runs of a device in one vmap
                assert f"tensor<{RUNS // 2}x50x{'360' if family == 'mlp' else '4x4x36'}xf32>" in text


def test_compiler_options_are_those_of_the_platform():
    program, arguments = programs("mlp", "vanilla")["train"]
    mesh, trainer, *arrays = arguments
    # Within another program JAX refuses options, and names them.
    jax.eval_shape(functools.partial(program, mesh, trainer), *arrays)
    with pytest.raises(ValueError, match=r"compiler_options=\{'xla_cpu_"):
        jax.eval_shape(functools.partial(engine._train("cpu"), mesh, trainer), *arrays)
