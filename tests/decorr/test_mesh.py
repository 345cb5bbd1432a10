"""Activations spread over devices: on Auto and Explicit axes, what one device gives."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from decorr import (
    CorrelationState,
    correlation_matrix,
    correlation_penalty,
    gradient_terms,
    penalty_gradient,
    zscore,
)


def streamed(a):
    state = CorrelationState.init(a.shape[-1])
    return state.update(a).update(2 * a).correlation()


FUNCTIONS = {
    "zscore": zscore,
    "correlation_matrix": correlation_matrix,
    "undefined": lambda a: correlation_matrix(a, undefined=1.0),
    "correlation_penalty": correlation_penalty,
    "penalty_gradient": penalty_gradient,
    "gradient_terms": gradient_terms,
    "streamed": streamed,
    "grad": jax.grad(correlation_penalty),
    "jvp": lambda a: jax.jvp(correlation_penalty, (a,), (jnp.sin(a),)),
    "grad of a sum": jax.grad(lambda a: jnp.sum(correlation_matrix(a) ** 2)),
    "loss": jax.grad(lambda a: jnp.mean(a * a) + 0.1 * correlation_penalty(jnp.tanh(a))),
}


def activations(shape):
    rng = np.random.default_rng(0)
    a = rng.normal(size=shape) + rng.normal(size=(*shape[:-1], 1))
    a[..., 1] = 0.1  # constant
    return a.astype(np.float32)


SETTINGS = {  # axes, compiled, in a mesh context
    "explicit, jit": (AxisType.Explicit, True, False),
    "explicit, jit, set_mesh": (AxisType.Explicit, True, True),
    "explicit, eager, set_mesh": (AxisType.Explicit, False, True),
    "explicit, eager": (AxisType.Explicit, False, False),
    "auto, jit": (AxisType.Auto, True, False),
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("spec", [P("data"), P(None, "data")], ids=["samples", "units"])
@pytest.mark.parametrize("shape", [(12, 4), (6, 16)], ids=["d < m", "d > m"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_mesh_gives_what_one_device_gives(name, shape, spec, setting):
    if setting == "explicit, eager" and name in ("grad", "grad of a sum", "loss"):
        pytest.skip("JAX itself asks for a context: its eager gradients begin on one device")
    kind, compiled, in_context = SETTINGS[setting]
    function, a = FUNCTIONS[name], activations(shape)
    wanted = function(jnp.asarray(a))
    mesh = jax.make_mesh((2,), ("data",), axis_types=(kind,), devices=jax.devices()[:2])
    with jax.set_mesh(mesh) if in_context else contextlib.nullcontext():
        spread = jax.device_put(a, NamedSharding(mesh, spec))
        found = (jax.jit(function) if compiled else function)(spread)
    scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(wanted))
    jax.tree.map(lambda f, w: np.testing.assert_allclose(f, w, atol=1e-6 * scale), found, wanted)


@pytest.mark.parametrize("spec", [P("data"), P(None, "data"), P(None, None, "data")])
def test_every_leading_axis_may_be_spread(spec):
    a = activations((4, 6, 8))
    mesh = jax.make_mesh((2,), ("data",), devices=jax.devices()[:2])
    spread = jax.device_put(a, NamedSharding(mesh, spec))
    found = jax.jit(jax.value_and_grad(correlation_penalty))(spread)
    wanted = jax.value_and_grad(correlation_penalty)(jnp.asarray(a))
    jax.tree.map(lambda f, w: np.testing.assert_allclose(f, w, rtol=1e-5, atol=1e-6), found, wanted)


def test_the_gradient_lies_as_the_activations_do():
    mesh = jax.make_mesh((2,), ("data",), devices=jax.devices()[:2])
    spread = jax.device_put(activations((12, 4)), NamedSharding(mesh, P("data")))
    for function in (penalty_gradient, zscore, jax.grad(correlation_penalty)):
        assert jax.jit(function)(spread).sharding.spec[0] == "data"


def test_samples_are_never_gathered_where_units_are_fewer():
    mesh = jax.make_mesh((2,), ("data",), devices=jax.devices()[:2])
    shape = jax.ShapeDtypeStruct((512, 16), jnp.float32, sharding=NamedSharding(mesh, P("data")))
    text = jax.jit(jax.value_and_grad(correlation_penalty)).lower(shape).compile().as_text()
    assert "all-reduce" in text and "all-gather" not in text and "f32[512,16]" not in text
