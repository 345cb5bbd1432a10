"""Streams longer than float32 can count: each minibatch is small compared with all before it."""

import jax
import jax.numpy as jnp
import numpy as np

from decorr import CorrelationState


def test_small_minibatches_after_many_samples():
    a = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32) + 2

    @jax.jit
    def stream(a):
        one = CorrelationState.init(2).update(a)
        shifted = CorrelationState.init(2).update(a + 1, weights=np.full(50, 1.5, np.float32))
        many = jax.lax.fori_loop(0, 20, lambda _, state: state.merge(state), one)
        state = jax.lax.fori_loop(0, 400_000, lambda _, state: state.merge(shifted), many)
        return state, state.covariance(0), state.covariance(1), state.correlation()

    state, *covariances, correlation = stream(a)
    before, after = 50 * 2.0**20, 75.0 * 400_000
    mean = np.average([a.mean(axis=0, dtype=np.float64)] * 2, axis=0)
    share = after / (before + after)
    covariance = np.cov(a.astype(np.float64), rowvar=False, ddof=0) + share * (1 - share)
    assert state.weight == before + after
    np.testing.assert_allclose(state.square, before + 1.5 * after, rtol=1e-6)
    np.testing.assert_allclose(state.pairs, (before + after) ** 2, rtol=1e-6)
    np.testing.assert_allclose(state.mean, mean + share, rtol=1e-6)
    for found in covariances:
        np.testing.assert_allclose(found, covariance, rtol=1e-5)
    assert (np.abs(correlation) <= 1 + 1e-6).all()


def test_devices_that_saw_the_same_have_its_mean():
    """A mean's rounding error is averaged over devices, like the mean, and not summed."""

    @jax.jit
    def alone_and_of_both():
        state = CorrelationState.init(2).update(jnp.array([[1.0, 2.0], [3.0, 5.0]]))
        state = state._replace(rest=state.rest._replace(mean=jnp.array([1e-8, -2e-8])))
        alike = jax.tree.map(lambda x: jnp.stack([x, x]), state)
        return state, jax.vmap(lambda state: state.psum("device"), axis_name="device")(alike)

    state, both = alone_and_of_both()
    np.testing.assert_allclose(both.mean[0], state.mean)
    np.testing.assert_allclose(both.rest.mean[0], state.rest.mean, rtol=1e-6)
