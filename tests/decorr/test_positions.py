"""Which positions of every example are drawn, how often, and their effective number of samples."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from decorr import correlation_penalty, sample_positions

KEY = jax.random.key(0)
SHAPE = (3, 4, 5, 2)
"""Examples, rows, columns, units."""


def numbered(shape=SHAPE):
    """Activations that are all different numbers."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def drawn(samples, shape=SHAPE):
    """Returns the positions [example, position] from which samples of `numbered` were drawn."""
    examples, positions, units = shape[0], int(np.prod(shape[1:-1])), shape[-1]
    index = np.asarray(samples)[..., 0].astype(int) // units - positions * np.arange(examples)[:, None]
    np.testing.assert_array_equal(
        np.asarray(samples) % units, np.broadcast_to(np.arange(units), samples.shape)
    )
    assert ((index >= 0) & (index < positions)).all()  # each sample is from its own example
    return index


@pytest.mark.parametrize(("max_samples", "p"), [(3, 1), (23, 7), (24, 8), (59, 19)])
def test_as_many_of_every_example_without_replacement(max_samples, p):
    samples = sample_positions(jnp.asarray(numbered()), KEY, max_samples)
    assert samples.shape == (3, p, 2)
    index = drawn(samples)
    assert all(len(set(of_example)) == p for of_example in index.tolist())
    if p > 1:
        assert (index[0] != index[1]).any()  # each example has its own draw


@pytest.mark.parametrize("max_samples", [60, 4096])
def test_all_in_stored_order_if_they_fit(max_samples):
    np.testing.assert_array_equal(
        sample_positions(jnp.asarray(numbered()), KEY, max_samples), numbered().reshape(3, 20, 2)
    )
    one = numbered((6, 2))  # a layer without positions
    np.testing.assert_array_equal(sample_positions(jnp.asarray(one), KEY, 6), one[:, None])


def test_every_position_is_as_likely_as_the_others():
    keys = jax.random.split(KEY, 4000)
    a = jnp.asarray(numbered())
    samples = jax.jit(jax.vmap(lambda key: sample_positions(a, key, 3 * 5)))(keys)
    index = np.concatenate([drawn(each) for each in samples])
    count = np.bincount(index.ravel(), minlength=20)
    share, draws = 5 / 20, len(index)
    assert np.abs(count - draws * share).max() < 4.5 * (draws * share * (1 - share)) ** 0.5


WHERE = np.zeros(SHAPE[:-1], bool)
WHERE[0, :2, :3] = WHERE[1, 3, 2] = True  # 6, 1 and no valid positions


def test_valid_positions_are_drawn_first():
    draw = jax.jit(lambda key: sample_positions(numbered(), key, 3 * 4, where=WHERE))
    for seed in range(20):
        samples, where = draw(jax.random.key(seed))
        assert samples.shape == (3, 4, 2) and where.shape == (3, 4)
        np.testing.assert_array_equal(where.sum(axis=1), [4, 1, 0])
        np.testing.assert_array_equal(np.take_along_axis(WHERE.reshape(3, -1), drawn(samples), axis=1), where)


def test_a_mask_of_all_that_fits_and_one_that_is_broadcast():
    a = jnp.asarray(numbered())
    samples, where = sample_positions(a, KEY, 4096, where=WHERE)
    np.testing.assert_array_equal(samples, numbered().reshape(3, 20, 2))
    np.testing.assert_array_equal(where, WHERE.reshape(3, 20))
    columns = np.arange(5) < 2
    samples, where = sample_positions(a, KEY, 3 * 8, where=columns)
    assert where.all() and (drawn(samples) % 5 < 2).all()


def test_invalid_positions_leave_no_trace():
    a = np.where(WHERE[..., None], numbered(), np.nan)

    def total(a):
        samples, where = sample_positions(a, KEY, 3 * 4, where=WHERE)
        return jnp.sum(jnp.where(where[..., None], samples, 0))

    value, gradient = jax.jit(jax.value_and_grad(total))(a)
    assert np.isfinite(value)
    assert set(np.unique(gradient)) == {0, 1} and gradient.sum() == 2 * (4 + 1)
    assert not np.asarray(gradient)[~WHERE].any()


def test_the_gradient_is_scattered_back():
    a = jnp.asarray(numbered())
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(3, 7, 2)), jnp.float32)
    gradient = jax.jit(jax.grad(lambda a: jnp.sum(weights * sample_positions(a, KEY, 23))))(a)
    wanted = np.zeros((3, 20, 2), np.float32)
    np.put_along_axis(wanted, drawn(sample_positions(a, KEY, 23))[..., None], weights, axis=1)
    np.testing.assert_array_equal(gradient, wanted.reshape(SHAPE))


def test_under_jit_and_vmap_it_is_the_same():
    a, keys = jnp.stack([jnp.asarray(numbered()), -jnp.asarray(numbered())]), jax.random.split(KEY, 2)
    for where in (None, WHERE):
        draw = functools.partial(sample_positions, max_samples=12, where=where)
        alone = [draw(a[i], keys[i]) for i in range(2)]
        many = jax.tree.map(np.asarray, jax.jit(jax.vmap(draw))(a, keys))
        for i in range(2):
            jax.tree.map(lambda f, w, i=i: np.testing.assert_array_equal(f[i], w), many, alone[i])


def test_half_precision_stays():
    a = jnp.asarray(numbered(), jnp.bfloat16)
    samples = sample_positions(a, KEY, 12)
    assert samples.dtype == jnp.bfloat16
    np.testing.assert_array_equal(
        samples.astype(jnp.float32), sample_positions(a.astype(jnp.float32), KEY, 12)
    )


@pytest.mark.parametrize(
    ("kind", "compiled", "masked"),
    [
        (AxisType.Auto, False, False),
        (AxisType.Auto, True, True),
        (AxisType.Explicit, False, True),
        (AxisType.Explicit, True, False),
    ],
)
def test_a_mesh_gives_what_one_device_gives(kind, compiled, masked):
    a, where = numbered((4, 4, 5, 2)), (np.arange(20).reshape(4, 5) < 2 if masked else None)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(kind,), devices=jax.devices()[:2])
    spread = jax.device_put(a, NamedSharding(mesh, PartitionSpec("data")))
    draw = functools.partial(sample_positions, key=KEY, max_samples=12, where=where)
    found = (jax.jit(draw) if compiled else draw)(spread)
    jax.tree.map(np.testing.assert_array_equal, found, draw(jnp.asarray(a)))
    if kind == AxisType.Explicit:
        assert jax.tree.leaves(found)[0].sharding.spec[0] == "data"
        loss = lambda a: correlation_penalty(draw(a))  # noqa: E731
        if compiled:
            np.testing.assert_allclose(
                jax.jit(jax.grad(loss))(spread), jax.jit(jax.grad(loss))(a), rtol=1e-4, atol=1e-6
            )


def test_the_effective_number_of_samples():
    """The effective number is 1 / E[rho^2] of independent units. If each example has its own level, it lies
    between examples and samples. If positions are independent, it is the number of samples."""

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(None, 0))
    def squared(shared, key):
        level, noise, draw = jax.random.split(key, 3)
        a = jax.random.normal(noise, (16, 6, 6, 2))
        a = shared * jax.random.normal(level, (16, 1, 1, 2)) + jnp.sqrt(1 - shared**2) * a
        return 2 * correlation_penalty(sample_positions(a, draw, 16 * 9)) - 1  # rho^2 of two units

    def effective(shared):
        return 1 / np.mean(squared(shared, jax.random.split(KEY, 1000))) + 1

    assert effective(0.0) == pytest.approx(144, rel=0.2)
    assert 20 < effective(0.7) < 100
    assert effective(0.999) == pytest.approx(16, rel=0.2)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"max_samples": 2}, ValueError, "max_samples must be at least 3, one per example; got 2"),
        ({"max_samples": 2.5}, TypeError, "float"),
        ({"a": np.zeros(3, np.float32)}, ValueError, r"\[example, ..., unit\].*got \(3,\)"),
        ({"a": np.zeros((0, 4, 2), np.float32)}, ValueError, r"no axis of length 0; got \(0, 4, 2\)"),
        ({"a": np.zeros((3, 4, 2), np.int32)}, TypeError, "real floating-point dtype; got int32"),
        ({"where": np.ones((3, 4, 5))}, TypeError, "where must be bool, True for a valid sample; got float"),
        (
            {"where": np.ones((3, 4), bool)},
            ValueError,
            r"broadcastable to the samples' axes \(3, 4, 5\) .*; got \(3, 4\)",
        ),
    ],
)
def test_what_cannot_be_is_refused(change, error, message):
    with pytest.raises(error, match=message):
        sample_positions(**({"a": numbered(), "key": KEY, "max_samples": 12} | change))
