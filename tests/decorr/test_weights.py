"""Importance weights, one of which outweighs all others, against float64 and numpy.cov."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from decorr import (
    CorrelationState,
    correlation_matrix,
    correlation_penalty,
    covariance_matrix,
    effective_units,
    merge_units,
    variance_penalty,
    whiten,
    zscore,
)

A = np.random.default_rng(0).normal(size=(20, 3)) * 0.8 + 5
WIDE = A.astype(np.float32).astype(np.float64)


def weights(small):
    return np.where(np.arange(20) == 7, 1, small)


def moments(w):
    """Centred values and unbiased covariance, measured from the sample that outweighs the others."""
    c = WIDE - WIDE[7]
    mean = w @ c / w.sum()
    others = np.delete(w, 7)
    size = (w[7] * others.sum() + others @ (w.sum() - others)) / w.sum()
    return c - mean, (w[:, None] * (c - mean)).T @ (c - mean) / size


def streamed(a, weights):
    state = CorrelationState.init(3)
    for part in (slice(None, 10), slice(10, None)):
        state = state.update(a[part], weights=weights[part])
    return state.covariance()


def over_devices(a, weights):
    def on_a_device(a, weights):
        state = CorrelationState.init(3).update(a, weights=weights).psum("device")
        return state.covariance(), covariance_matrix(a, weights=weights, axis_name="device")

    halves = a.reshape(2, 10, 3), weights.reshape(2, 10)
    return jax.tree.map(lambda x: x[0], jax.vmap(on_a_device, axis_name="device")(*halves))


@jax.jit
def gradients(a, w):
    covariance = lambda a, w: covariance_matrix(a, weights=w)[0, 1]  # noqa: E731
    penalty = lambda a, w: correlation_penalty(a, weights=w)  # noqa: E731
    return [jax.grad(f, argnums=(0, 1))(a, w) for f in (covariance, penalty)]


@jax.jit
def statistics(a, w):
    return {
        "zscore": zscore(a, weights=w),
        "covariance": covariance_matrix(a, weights=w),
        "streamed": streamed(a, w),
        "over devices": over_devices(a, w),
        "variance": variance_penalty(a, weights=w),
        "correlation": correlation_matrix(a, weights=w),
        "whitened": whiten(a, weights=w, shrinkage=0.0),
        "gradients": gradients(a, w),
        "unknown": jnp.isnan(effective_units(a, weights=w)),
    }


@pytest.mark.parametrize("small", [1.0, 1e-2, 1e-4, 1e-6, 1e-7, 1e-8, 1e-12, 1e-20, 1e-30])
def test_one_weight_may_dominate(small):
    w = weights(small).astype(np.float32)
    found = statistics(jnp.asarray(A, jnp.float32), w)
    c, covariance = moments(w.astype(np.float64))
    if small >= 1e-8:  # for smaller weights, NumPy rounds too
        np.testing.assert_allclose(covariance, np.cov(WIDE, rowvar=False, aweights=w), rtol=1e-6)
    sigma = np.sqrt(np.diag(covariance))
    close = dict(rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(found["covariance"], covariance, **close)
    np.testing.assert_allclose(found["streamed"], covariance, **close)
    for merged in found["over devices"]:
        np.testing.assert_allclose(merged, covariance, **close)
    np.testing.assert_allclose(found["zscore"], c / sigma, **close)
    np.testing.assert_allclose(found["zscore"][7], c[7] / sigma, rtol=1e-4)  # this sample is at the mean
    np.testing.assert_allclose(found["variance"], np.maximum(1 - np.sqrt(sigma**2 + 1e-4), 0).mean(), **close)
    np.testing.assert_allclose(found["correlation"], covariance / np.outer(sigma, sigma), **close)
    y = np.asarray(found["whitened"], np.float64)
    size = np.trace((w[:, None] * c).T @ c) / np.trace(covariance)
    np.testing.assert_allclose((w[:, None] * y).T @ y / size, np.eye(3), rtol=1e-3, atol=1e-3)
    if small > 1e-20:  # gradients grow like 1 / small
        with jax.enable_x64(True):
            wanted = jax.tree.leaves(gradients(WIDE, w.astype(np.float64)))
        for x, y in zip(jax.tree.leaves(found["gradients"]), wanted, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4 * np.abs(y).max())
    assert found["unknown"] == (small <= 1e-2)  # effectively at most two samples


def test_merging_units_by_weights_of_which_one_dominates():
    a = np.column_stack([A[:, 0], 2 * A[:, 0] + 3, A[:, 1]])
    for small in (1.0, 1e-12, 1e-30):
        merged = merge_units(a, a, np.eye(3), np.zeros(3), threshold=0.9999, weights=weights(small))
        assert len(merged.kept) == 2 and merged.error < 1e-6
