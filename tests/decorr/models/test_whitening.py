"""The whitening layer against `whiten`, NumPy and flax.linen.BatchNorm."""

import functools
import warnings

import flax.linen as nn
import flax.nnx as nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from decorr import MLP, BatchWhitening, whiten
from decorr.config import Architecture
from decorr.models.nnx import BatchWhitening as NNXBatchWhitening

KEY = jax.random.key(0)


def activations(shape, seed=0):
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=shape) @ (np.eye(shape[-1]) + 0.3 * rng.normal(size=(shape[-1], shape[-1])))
    return (mixed + 3).astype(np.float32)


@functools.partial(jax.jit, static_argnums=0)
def init(layer, x):
    return layer.init(KEY, x, use_running_average=True)


@functools.partial(jax.jit, static_argnums=0)
def apply(layer, variables, x, **arguments):
    return layer.apply(variables, x, mutable=["batch_stats"], **arguments)


@functools.partial(jax.jit, static_argnums=0)
def _train(layer, variables, x, arguments):
    return layer.apply(variables, x, use_running_average=False, mutable=["batch_stats"], **arguments)


def train(layer, variables, x, **arguments):
    y, updates = _train(layer, variables, x, arguments)
    return y, variables | updates


def test_training_whitens_by_the_batch_and_moves_the_running_statistics():
    layer = BatchWhitening(momentum=0.8, groups=2)
    batches = [activations((3, 8, 6), seed) for seed in range(3)]
    variables = init(layer, batches[0])
    mean, covariance = np.zeros(6), np.stack([np.eye(3)] * 2)
    whitened = jax.jit(functools.partial(whiten, groups=2))
    for batch in batches:
        y, variables = train(layer, variables, batch)
        np.testing.assert_allclose(y, whitened(batch), atol=1e-5)
        samples = batch.reshape(-1, 6).astype(np.float64)
        mean = 0.8 * mean + 0.2 * samples.mean(axis=0)
        blocks = [np.cov(samples[:, i : i + 3], rowvar=False) for i in (0, 3)]
        covariance = 0.8 * covariance + 0.2 * np.stack(blocks)
    np.testing.assert_allclose(variables["batch_stats"]["mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(variables["batch_stats"]["covariance"], covariance, rtol=1e-4, atol=1e-5)

    one = activations((1, 6))  # one sample is enough now
    y = jax.jit(functools.partial(layer.apply, use_running_average=True))(variables, one)
    for i, block in enumerate(covariance):
        shrunk = 0.999 * block + 0.001 * np.trace(block) / 3 * np.eye(3)
        values, vectors = np.linalg.eigh(shrunk)
        wanted = (one - mean)[:, 3 * i : 3 * i + 3] @ (vectors / np.sqrt(values)) @ vectors.T
        np.testing.assert_allclose(y[:, 3 * i : 3 * i + 3], wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("d", "groups"), [(64, 4), (12, 1), (90, 6), (17, 17)])
def test_groups_are_small_by_default(d, groups):
    shapes = jax.eval_shape(BatchWhitening(use_running_average=True).init, KEY, jnp.ones((2, d)))
    assert shapes["batch_stats"]["covariance"].shape == (groups, d // groups, d // groups)


def test_a_batch_that_is_small_for_its_groups_is_warned_of():
    layer, local = (BatchWhitening(groups=2, axis_name=axis_name) for axis_name in (None, "data"))
    few, enough = jnp.ones((31, 16)), jnp.ones((32, 16))
    variables = jax.eval_shape(functools.partial(layer.init, use_running_average=True), KEY, few)

    def shapes(layer, variables, x, running=False):
        return layer.apply(variables, x, use_running_average=running, mutable=["batch_stats"])

    says = r"BatchWhitening: 31 samples are few for groups of 8 units\. Take at least 32"
    with pytest.warns(UserWarning, match=says):
        jax.eval_shape(functools.partial(shapes, layer), variables, few)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jax.eval_shape(functools.partial(layer.init, use_running_average=False), KEY, few)
        jax.eval_shape(functools.partial(shapes, layer, running=True), variables, few)
        jax.eval_shape(functools.partial(shapes, layer), variables, enough)
        lanes = jax.vmap(functools.partial(shapes, local), in_axes=(None, 0), axis_name="data")
        jax.eval_shape(lanes, variables, enough.reshape(32, 1, 16))


def test_the_nnx_layer_is_the_linen_one():
    """In training under `nnx.jit`, with a mask, and in evaluation."""
    x, where = activations((12, 3)), np.arange(12) < 9
    linen, layer = BatchWhitening(momentum=0.8), NNXBatchWhitening(3, momentum=0.8)
    variables = init(linen, x)
    wanted, variables = train(linen, variables, x, where=where)
    y = nnx.jit(lambda layer, x: layer(x, where=where))(layer, x)
    np.testing.assert_allclose(y, wanted, atol=1e-6)
    for name, statistic in variables["batch_stats"].items():
        np.testing.assert_allclose(getattr(layer, name)[...], statistic, rtol=1e-6)
    layer.eval()
    wanted = jax.jit(functools.partial(linen.apply, use_running_average=True))(variables, x)
    np.testing.assert_allclose(nnx.jit(lambda layer, x: layer(x))(layer, x), wanted, atol=1e-6)
    params = nnx.to_pure_dict(nnx.state(layer, nnx.Param))
    assert jax.tree.map(jnp.shape, params) == {"bias": (3,), "scale": (3,)}
    plain = NNXBatchWhitening(3, use_bias=False, use_scale=False)
    assert not jax.tree.leaves(nnx.state(plain, nnx.Param))
    with pytest.raises(ValueError, match=r"activations must have 3 units; got shape \(4, 5\)"):
        layer(np.ones((4, 5), np.float32))


def test_a_unit_a_group_is_batch_normalisation():
    m, x = 40, activations((40, 5))
    ours = BatchWhitening(use_running_average=False, groups=5, shrinkage=0.0)
    theirs = nn.BatchNorm(use_running_average=False, epsilon=0.0)
    variables, other = (jax.jit(layer.init)(KEY, x) for layer in (ours, theirs))
    assert jax.tree.map(jnp.shape, variables["params"]) == jax.tree.map(jnp.shape, other["params"])
    params = {"scale": np.arange(1, 6, dtype=np.float32), "bias": np.arange(5, dtype=np.float32)}
    y, updates = apply(ours, variables | {"params": params}, x)
    wanted, theirs_updates = apply(theirs, other | {"params": params}, x)
    wanted = np.asarray(wanted)
    unbiased = np.sqrt((m - 1) / m)  # BatchNorm divides the variance by m
    np.testing.assert_allclose(
        y, (wanted - params["bias"][None]) * unbiased + params["bias"][None], atol=1e-3
    )
    found, known = (jax.tree.map(np.asarray, u["batch_stats"]) for u in (updates, theirs_updates))
    np.testing.assert_allclose(found["mean"], known["mean"], rtol=1e-5)
    moved = (known["var"] - 0.99) * m / (m - 1) + 0.99
    np.testing.assert_allclose(found["covariance"][:, 0, 0], moved, rtol=1e-4)


def test_initialising_moves_nothing_and_looks_at_no_axis():
    layer = BatchWhitening(use_running_average=False, axis_name="data")
    for x in (activations((8, 3)), np.ones((1, 3), np.float32)):
        variables = jax.jit(layer.init)(KEY, x)
        np.testing.assert_array_equal(variables["batch_stats"]["mean"], 0)
        np.testing.assert_array_equal(variables["batch_stats"]["covariance"], np.eye(3)[None])


@pytest.mark.parametrize("running", [False, True])
def test_samples_that_are_not_valid_are_zero_and_move_nothing(running):
    layer = BatchWhitening(use_running_average=running)
    x, where = activations((12, 3)), np.arange(12) < 7
    x[~where] = np.nan
    variables = jax.jit(layer.init)(KEY, np.ones((4, 3), np.float32))
    variables = variables | {"params": {"scale": np.ones(3, np.float32), "bias": np.ones(3, np.float32)}}
    y, updates = apply(layer, variables, x, where=where)
    wanted, wanted_updates = apply(layer, variables, x[where])
    y = np.asarray(y)
    np.testing.assert_array_equal(y[~where], 0)
    np.testing.assert_allclose(y[where], wanted, atol=1e-5)
    jax.tree.map(lambda f, w: np.testing.assert_allclose(f, w, atol=1e-6), updates, wanted_updates)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(apply(layer, variables, x, where=where)[0] ** 3)))(x)
    gradient = np.asarray(gradient)
    np.testing.assert_array_equal(gradient[~where], 0)
    assert np.isfinite(gradient).all()


def test_fewer_than_two_valid_samples_move_nothing():
    layer = BatchWhitening(use_running_average=False)
    x = np.full((4, 3), 7, np.float32)
    variables = jax.jit(layer.init)(KEY, x)
    y, updates = apply(layer, variables, x, where=np.arange(4) < 1)
    np.testing.assert_array_equal(y, 0)
    jax.tree.map(np.testing.assert_array_equal, updates["batch_stats"], variables["batch_stats"])


def test_over_a_mapped_axis_as_on_one_device():
    x, where = activations((2, 6, 3)), np.arange(6)[None] < np.array([[6], [2]])
    one, local = BatchWhitening(), BatchWhitening(axis_name="data")
    variables = init(one, x)
    wanted, updates = train(one, variables, x, where=where)
    function = jax.vmap(lambda x, where: train(local, variables, x, where=where), axis_name="data")
    y, found = jax.jit(function)(x, where)
    np.testing.assert_allclose(y, wanted, atol=1e-5)
    for name, statistic in updates["batch_stats"].items():
        np.testing.assert_allclose(found["batch_stats"][name], np.stack([statistic] * 2), atol=1e-5)


def test_on_an_explicit_mesh_as_on_one_device():
    x, layer = activations((8, 4)), BatchWhitening()
    variables = init(layer, x)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Explicit,), devices=jax.devices()[:2])
    with jax.set_mesh(mesh):
        spread = jax.device_put(x, NamedSharding(mesh, P("data")))
        y, updates = train(layer, variables, spread)
    wanted, wanted_updates = train(layer, variables, x)
    np.testing.assert_allclose(y, wanted, atol=1e-5)
    jax.tree.map(lambda f, w: np.testing.assert_allclose(f, w, atol=1e-5), updates, wanted_updates)


@pytest.mark.parametrize("running", [False, True])
def test_dtypes(running):
    x = jnp.asarray(activations((12, 4)), jnp.bfloat16)
    for dtype, wanted in ((None, jnp.float32), (jnp.bfloat16, jnp.bfloat16)):
        layer = BatchWhitening(use_running_average=running, dtype=dtype)
        y, variables = jax.eval_shape(layer.init_with_output, KEY, x)
        _, updates = jax.eval_shape(functools.partial(layer.apply, mutable=["batch_stats"]), variables, x)
        assert y.dtype == wanted
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves((variables, updates)))
    plain = BatchWhitening(use_running_average=running, use_bias=False, use_scale=False)
    assert "params" not in jax.eval_shape(plain.init, KEY, x)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"groups": 2}, "groups must divide the 3 units; got 2"),
        ({"groups": 0}, "groups must divide the 3 units; got 0"),
        (
            {"method": "zac"},
            r"unknown method 'zac' \(did you mean 'zca'\?\): choose from zca, cholesky, newton",
        ),
        ({"shrinkage": 2.0}, "shrinkage must be in"),
    ],
)
@pytest.mark.parametrize("running", [False, True])
def test_bad_attributes_are_refused(arguments, says, running):
    with pytest.raises(ValueError, match=says):
        BatchWhitening(use_running_average=running, **arguments).init(KEY, jnp.ones((4, 3)))


def test_one_sample_is_too_few_to_train():
    layer = BatchWhitening(use_running_average=False)
    x = np.ones((1, 3), np.float32)
    variables = jax.eval_shape(layer.init, KEY, x)
    with pytest.raises(ValueError, match=">= 2 samples"):
        jax.eval_shape(functools.partial(layer.apply, mutable=["batch_stats"]), variables, x)


@pytest.mark.slow
def test_single_examples_as_batch_norm_takes_them():
    """Inputs: [unit], no example, and one example per lane of a mapped axis; at initialisation and after."""
    x = jnp.asarray(activations((5, 6)))
    layer, norm = (kind(axis_name="batch") for kind in (BatchWhitening, nn.BatchNorm))
    variables = layer.init(KEY, x[0], use_running_average=False)
    other = norm.init(KEY, x[0], use_running_average=False)
    for of in (x, x[0], x[:0]):
        y = layer.apply(variables, of, use_running_average=True)
        # Running statistics at the start are 0 and the identity.
        np.testing.assert_allclose(y, norm.apply(other, of, use_running_average=True), atol=1e-4)

    def lane(x):
        return layer.apply(variables, x, use_running_average=False, mutable=["batch_stats"])

    y, updates = jax.vmap(lane, axis_name="batch")(x)
    np.testing.assert_allclose(y, whiten(x), atol=1e-3)
    after = jax.tree.map(lambda leaf: leaf[0], updates)
    evaluated = jax.vmap(lambda x: layer.apply({**variables, **after}, x, True), axis_name="batch")(x)
    np.testing.assert_allclose(evaluated, layer.apply({**variables, **after}, x, True), atol=1e-6)


def test_a_whitened_network_takes_one_example():
    model = MLP(Architecture((4, 3), "prelu", 0.25, "torch", False, normalisation="whiten"), classes=2)

    @jax.jit
    def logits(x):
        variables = model.init(KEY, x[0])
        return model.apply(variables, x[0])[0], model.apply(variables, x)[0]

    one, both = logits(activations((2, 5)))
    np.testing.assert_allclose(one, both[0], atol=1e-6)
