"""Z-scores and correlations against NumPy in float64, and in corner cases."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from decorr import correlation_matrix, covariance_matrix, whiten, zscore
from decorr.penalties import correlation_penalty, gradient_terms, penalty_gradient

D = 5


def activations(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) + rng.normal(size=(*shape[:-1], 1)) + 3


def oracle(a):
    return np.corrcoef(np.asarray(a, np.float64).reshape(-1, a.shape[-1]), rowvar=False)


@jax.jit
def both(a, **stat):
    """Z-scores and correlations, in one program."""
    return zscore(a, **stat), correlation_matrix(a, **stat)


def z_scores(a):
    c = a - a.mean(axis=-2, keepdims=True)
    return c / np.sqrt((c**2).sum(axis=-2, keepdims=True) / (a.shape[-2] - 1))


@pytest.mark.parametrize("shape", [(6, 15), (2, 3, 4, 5)])
def test_equal_to_numpy(float64, shape):
    a = activations(shape)
    z, rho = both(a)
    wanted = z_scores(a.reshape(-1, shape[-1])).reshape(shape)
    np.testing.assert_allclose(z, wanted, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(rho, oracle(a), rtol=1e-12, atol=1e-14)


def test_masks_and_weights_are_numpys(float64):
    rng = np.random.default_rng(1)
    a, where, weights = activations((3, 8, D)), rng.uniform(size=(3, 8)) < 0.7, rng.uniform(0.5, 2, 8)
    padded = np.where(where[..., None], a, np.nan)
    stat = {"where": where, "weights": weights}
    samples, w = a[where], np.broadcast_to(weights, where.shape)[where]
    biased, covariance = (np.cov(samples, rowvar=False, ddof=ddof, aweights=w) for ddof in (0, 1))
    found = jax.jit(covariance_matrix, static_argnames="ddof")
    np.testing.assert_allclose(found(padded, ddof=0, **stat), biased, rtol=1e-12)
    np.testing.assert_allclose(found(padded, **stat), covariance, rtol=1e-12)
    sigma = np.sqrt(np.diag(covariance))
    rho = covariance / np.outer(sigma, sigma)
    found_z, found_rho = both(padded, **stat)
    np.testing.assert_allclose(found_rho, rho, rtol=1e-12)
    z = np.zeros(a.shape)
    z[where] = (samples - np.average(samples, axis=0, weights=w)) / sigma
    np.testing.assert_allclose(found_z, z, rtol=1e-12, atol=1e-14)


def test_derivatives_of_zscore(float64):
    """First derivatives by complex steps, exact up to rounding; second derivatives by differences of them."""
    a, g, direction = (activations((6, 3), seed) for seed in range(3))

    def wanted(a):
        steps = a + 1e-30j * np.eye(18).reshape(18, 6, 3)
        return (g * z_scores(steps)).sum(axis=(-2, -1)).imag.reshape(6, 3) / 1e-30

    gradient = jax.grad(lambda a: jnp.sum(g * zscore(a)))
    first, second = jax.jit(lambda a: jax.jvp(gradient, (a,), (direction,)))(a)
    np.testing.assert_allclose(first, wanted(a), rtol=1e-10, atol=1e-12)
    h = 1e-5 * direction
    np.testing.assert_allclose(second, (wanted(a + h) - wanted(a - h)) / 2e-5, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("m", [2, 50, 1000])
def test_a_constant_unit_has_no_correlation(m):
    a = activations((m, 4)).astype(np.float32)
    a[:, 1] = 0.1
    z, rho = map(np.asarray, both(a))
    np.testing.assert_array_equal(z[:, 1], 0)
    np.testing.assert_array_equal(rho[1], 0)
    np.testing.assert_array_equal(rho[:, 1], 0)
    marked = np.asarray(jax.jit(functools.partial(correlation_matrix, undefined=1.0))(a))
    assert (marked[1] == 1).all() and (marked[:, 1] == 1).all()
    rest = np.ix_([0, 2, 3], [0, 2, 3])
    np.testing.assert_array_equal(marked[rest], rho[rest])
    np.testing.assert_allclose(rho[rest], oracle(a[:, [0, 2, 3]]), atol=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_a_small_unit_is_not_constant(scale):
    a = activations((40, D))
    np.testing.assert_allclose(both((a * scale).astype(np.float32))[1], oracle(a), atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_gives_float32(dtype):
    a = jnp.asarray(activations((300, 6)), dtype)
    z, rho = both(a)
    assert z.dtype == rho.dtype == jnp.float32
    np.testing.assert_allclose(rho, oracle(a), atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_in_its_unit(bad):
    a = activations((10, 4)).astype(np.float32)
    a[3, 1] = bad
    unknown = np.arange(4) == 1
    z, rho = both(a)
    np.testing.assert_array_equal(np.isnan(z), np.broadcast_to(unknown, a.shape))
    with np.errstate(invalid="ignore"):
        wanted = np.isnan(oracle(a))
    np.testing.assert_array_equal(np.isnan(rho), wanted)


def test_finite_values_may_span_more_than_float32_has():
    a = activations((10, 4)).astype(np.float32)
    a[:, 1] *= 3e38 / np.abs(a[:, 1]).max()
    a[:2, 1] = -3e38, 3e38
    a[:, 2] *= 4e37
    wide = a.astype(np.float64)
    np.testing.assert_allclose(correlation_matrix(a), oracle(wide), atol=1e-5)
    np.testing.assert_allclose(zscore(a), (wide - wide.mean(axis=0)) / wide.std(axis=0, ddof=1), atol=1e-5)
    whitened = np.asarray(whiten(a[:, 1:3], shrinkage=0.0), np.float64)
    np.testing.assert_allclose(np.cov(whitened, rowvar=False), np.eye(2), atol=1e-3)


@pytest.mark.parametrize(
    "function", [zscore, correlation_matrix, correlation_penalty, penalty_gradient, gradient_terms]
)
@pytest.mark.parametrize(
    ("a", "kind", "words"),
    [
        (np.ones(3, np.float32), ValueError, r"\(3,\)"),
        (np.ones((1, 3), np.float32), ValueError, r"\(1, 3\)"),
        (np.ones((5, 0), np.float32), ValueError, r"\(5, 0\)"),
        (np.ones((4, 3), np.int32), TypeError, "int32"),
        (np.ones((4, 3), np.complex64), TypeError, "complex64"),
    ],
)
def test_bad_input(function, a, kind, words):
    with pytest.raises(kind, match=words):
        function(jnp.asarray(a))


def test_only_a_constant_unit_gets_the_value_for_undefined():
    a = activations((6, 4)).astype(np.float32)
    a[:, 0] = 1
    a[:, 1] *= 2e38 / np.ptp(a[:, 1])  # finite, and its span too, but 1 / span is denormal
    a[2, 2] = np.nan
    rho = np.asarray(jax.jit(lambda a: correlation_matrix(a, undefined=1.0))(jnp.asarray(a)))
    np.testing.assert_array_equal(rho[0, [0, 3]], 1)
    assert np.isnan(rho[0, 2])
    assert not (rho[1, [1, 3]] == 1).all()
    with np.errstate(all="ignore"):
        assert np.isnan(rho[1, 3]) or rho[1, 3] == pytest.approx(oracle(a[:, [1, 3]])[0, 1], abs=1e-5)
