"""Activations spread over Auto or Explicit mesh axes give the results of one device."""

import contextlib
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import decorr
from decorr import (
    CorrelationState,
    correlation_matrix,
    correlation_penalty,
    penalty_gradient,
    zscore,
)

pytestmark = pytest.mark.mesh


def streamed(a):
    state = CorrelationState.init(a.shape[-1])
    return state.update(a).update(2 * a).correlation()


FUNCTIONS = {
    "zscore": zscore,
    "correlation_matrix": correlation_matrix,
    "undefined": lambda a: correlation_matrix(a, undefined=1.0),
    "correlation_penalty": correlation_penalty,
    "penalty_gradient": penalty_gradient,
    "gradient_terms": decorr.penalties.gradient_terms,
    "streamed": streamed,
    "grad": jax.grad(correlation_penalty),
    "jvp": lambda a: jax.jvp(correlation_penalty, (a,), (jnp.sin(a),)),
    "grad of a sum": jax.grad(lambda a: jnp.sum(correlation_matrix(a) ** 2)),
    "loss": jax.grad(lambda a: jnp.mean(a * a) + 0.1 * correlation_penalty(jnp.tanh(a))),
}


def masked(function):
    """Value and gradient with a mask and weights that have no layout on the mesh."""

    def value(a):
        where, weights = jnp.arange(len(a)) % 4 > 0, jnp.linspace(1, 2, len(a))
        return function(a, where=where, weights=weights)

    return jax.value_and_grad(value)


def of_twins(function):
    return lambda a, **stat: function(a, a * a, **stat)


OTHERS = {
    "covariance_matrix": decorr.covariance_matrix,
    "mean_square_correlation": decorr.diagnostics.mean_square_correlation,
    "effective_units": decorr.effective_units,
    "effective_rank": masked(functools.partial(decorr.effective_rank, power=1)),
    "spectrum": decorr.diagnostics.spectrum,
    "ranks": lambda a: decorr.diagnostics.rank_at(a) + decorr.diagnostics.rank_above(a),
    "activity": decorr.diagnostics.activity,
    # Debiasing cancels digits, and in float32 one digit is rounding. test_axis_name.py tests it in float64.
    "linear_cka, raw": masked(of_twins(functools.partial(decorr.diagnostics.linear_cka, debias=False))),
    "decov_loss": masked(decorr.decov_loss),
    "vcreg_loss": masked(lambda a, **stat: decorr.vcreg_loss(a, 1.0, 2.0, delta=0.3, **stat)),
    "masked": masked(correlation_penalty),
    "sigreg_loss": masked(lambda a, **stat: decorr.sigreg_loss(a, jax.random.key(0), slices=4, **stat)),
    "xcov_loss": masked(of_twins(decorr.xcov_loss)),
    "vicreg_loss": masked(of_twins(decorr.vicreg_loss)),
    "barlow_twins_loss": masked(of_twins(decorr.barlow_twins_loss)),
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


# All settings for some functions only, because the others share their code for meshes.
FEW = {name: FUNCTIONS[name] for name in ("zscore", "correlation_penalty", "gradient_terms", "grad")}
IN_SETTING = {
    "explicit, jit": FUNCTIONS,
    "explicit, jit, set_mesh": FEW,
    "explicit, eager, set_mesh": FEW,
    # JAX itself asks for a context: its eager gradients begin on one device.
    "explicit, eager": {name: function for name, function in FEW.items() if name != "grad"},
    "auto, jit": FUNCTIONS,
}


@pytest.mark.parametrize("spec", [P("data"), P(None, "data")], ids=["samples", "units"])
@pytest.mark.parametrize("shape", [(12, 4), (6, 16)], ids=["d < m", "d > m"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_mesh_gives_what_one_device_gives(setting, shape, spec):
    """All functions are in one program, because nearly all time is compilation."""
    assert_a_mesh_gives_what_one_device_gives(IN_SETTING[setting], *SETTINGS[setting], shape, spec)


@pytest.mark.parametrize(
    ("shape", "spec"), [((12, 4), P("data")), ((6, 16), P(None, "data"))], ids=["samples", "units"]
)
def test_a_mesh_gives_of_other_functions_what_one_device_gives(shape, spec):
    """The larger axis is spread, samples or units. It is the axis that is summed over."""
    assert_a_mesh_gives_what_one_device_gives(OTHERS, *SETTINGS["explicit, jit"], shape, spec)


def assert_a_mesh_gives_what_one_device_gives(functions, kind, compiled, in_context, shape, spec):
    a = activations(shape)
    of_all = lambda a: {name: function(a) for name, function in functions.items()}  # noqa: E731
    wanted = jax.jit(of_all)(a)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(kind,), devices=jax.devices()[:2])
    with jax.set_mesh(mesh) if in_context else contextlib.nullcontext():
        spread = jax.device_put(a, NamedSharding(mesh, spec))
        found = (jax.jit(of_all) if compiled else of_all)(spread)
    for name in functions:
        leaves = jax.tree.leaves(wanted[name])
        scale = max(float(np.abs(leaf).max()) for leaf in leaves)
        for f, w in zip(jax.tree.leaves(found[name]), leaves, strict=True):
            np.testing.assert_allclose(f, w, atol=1e-6 * scale, err_msg=name)


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


def exchanged(function, spec, shape, kind):
    """What a compiled program sends between devices, as pairs (operation, shape of its result)."""
    n = jax.device_count()
    sizes = (n // 2, 2) if len(spec) == 2 and None not in spec else (n,)
    axes = ("data", "model")[: len(sizes)]
    mesh = jax.make_mesh(sizes, axes, axis_types=(kind,) * len(sizes))
    argument = jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, spec))
    text = jax.jit(function).lower(argument).compile().as_text()
    text = re.sub(r"/\*.*?\*/", "", text)  # HLO numbers the parts of a result if there are more than five
    sent = re.findall(
        r"= ([^=]*?) (all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute)\(", text
    )
    return [(kind, result) for results, kind in sent for result in re.findall(r"f32\[[\d,]*\]", results)]


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        (AxisType.Auto, P("data")),
        (AxisType.Explicit, P("data")),
        (AxisType.Explicit, P(None, "data")),
        (AxisType.Explicit, P("data", "model")),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["correlation_penalty", "decov_loss"])
def test_nothing_is_gathered_where_units_are_fewer(name, kind, spec):
    """Devices sum one d x d matrix and vectors of units, and exchange spread units for samples."""
    sent = exchanged(jax.value_and_grad(getattr(decorr, name)), spec, (512, 16), kind)
    sums = [result for operation, result in sent if operation == "all-reduce"]
    assert sums.count("f32[16,16]") == 1 and set(sums) <= {"f32[16,16]", "f32[16]", "f32[1,16]", "f32[]"}
    others = {operation for operation, _ in sent} - {"all-reduce"}
    assert others <= {"all-to-all", "collective-permute"} and bool(others) == (len(spec) > 1)


def test_of_more_units_than_samples_spread_units_are_not_gathered():
    """Devices sum one m x m matrix and scalars."""
    sent = exchanged(jax.value_and_grad(correlation_penalty), P(None, "data"), (16, 512), AxisType.Auto)
    assert sorted(sent) == [("all-reduce", "f32[16,16]"), ("all-reduce", "f32[]")]


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_of_more_units_than_samples_spread_samples_are_gathered(kind):
    """Devices gather the z-scores twice. Otherwise they only sum vectors of units."""
    sent = exchanged(jax.value_and_grad(correlation_penalty), P("data"), (16, 512), kind)
    gathered = [result for operation, result in sent if operation == "all-gather"]
    assert sorted(gathered) == ["f32[16,512]", "f32[512,16]"]
    assert {each for each in sent if each[0] != "all-gather"} == {("all-reduce", "f32[512]")}
