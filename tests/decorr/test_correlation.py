"""Z-scores and correlations against NumPy in float64, at their corners, and streamed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from decorr import CorrelationState, correlation_matrix, zscore

SHAPES = [(20, 7), (9, 9), (6, 15), (2, 3, 4, 5)]
D = 5


def activations(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) + rng.normal(size=(*shape[:-1], 1)) + 3


def oracle(a):
    return np.corrcoef(np.asarray(a, np.float64).reshape(-1, a.shape[-1]), rowvar=False)


def stream(chunks, dtype=jnp.float32):
    state = CorrelationState.init(D, dtype)
    for chunk in chunks:
        state = state.update(jnp.asarray(chunk, dtype))
    return state


@pytest.mark.parametrize("shape", SHAPES)
def test_equal_to_numpy(float64, shape):
    a = activations(shape)
    samples = a.reshape(-1, shape[-1])
    z = ((samples - samples.mean(axis=0)) / samples.std(axis=0, ddof=1)).reshape(shape)
    np.testing.assert_allclose(zscore(jnp.asarray(a)), z, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(correlation_matrix(jnp.asarray(a)), oracle(a), rtol=1e-12, atol=1e-14)


def test_zscore_by_finite_differences(float64):
    check_grads(jax.jit(zscore), (jnp.asarray(activations((6, 3))),), order=2, modes=["rev"])


@pytest.mark.parametrize("m", [2, 50, 1000])
def test_a_constant_unit_has_no_correlation(m):
    a = activations((m, 4)).astype(np.float32)
    a[:, 1] = 0.1
    z, rho = zscore(jnp.asarray(a)), np.asarray(correlation_matrix(jnp.asarray(a)))
    np.testing.assert_array_equal(z[:, 1], 0)
    np.testing.assert_array_equal(rho[1], 0)
    np.testing.assert_array_equal(rho[:, 1], 0)
    marked = np.asarray(correlation_matrix(jnp.asarray(a), undefined=1.0))
    assert (marked[1] == 1).all() and (marked[:, 1] == 1).all()
    rest = np.ix_([0, 2, 3], [0, 2, 3])
    np.testing.assert_array_equal(marked[rest], rho[rest])
    np.testing.assert_allclose(rho[rest], oracle(a[:, [0, 2, 3]]), atol=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_a_small_unit_is_not_constant(scale):
    a = activations((40, D))
    np.testing.assert_allclose(correlation_matrix(jnp.asarray(a * scale, jnp.float32)), oracle(a), atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_gives_float32(dtype):
    a = jnp.asarray(activations((300, 6)), dtype)
    rho = correlation_matrix(a)
    assert zscore(a).dtype == rho.dtype == jnp.float32
    np.testing.assert_allclose(rho, oracle(a), atol=1e-6)


def test_nan_stays_in_its_unit():
    a = activations((10, 4)).astype(np.float32)
    a[3, 1] = np.nan
    bad = np.arange(4) == 1
    np.testing.assert_array_equal(np.isnan(zscore(jnp.asarray(a))), np.broadcast_to(bad, a.shape))
    np.testing.assert_array_equal(np.isnan(correlation_matrix(jnp.asarray(a))), bad[:, None] | bad)


@pytest.mark.parametrize("function", [zscore, correlation_matrix])
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


def test_streamed_as_at_once(float64):
    a = activations((60, D))
    cuts = np.sort(np.random.default_rng(1).choice(np.arange(1, 60), 6, replace=False))
    state = stream(np.split(a, [1, *cuts[cuts > 1]]), jnp.float64)
    assert state.samples == 60
    np.testing.assert_allclose(state.mean, a.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(state.comoment, 59 * np.cov(a, rowvar=False), rtol=1e-12)
    np.testing.assert_allclose(state.correlation(), oracle(a), rtol=1e-12)


def test_merging_is_associative(float64):
    a, b, c = (stream([activations((m, D), seed=m)], jnp.float64) for m in (1, 7, 30))
    for one, other in zip(a.merge(b).merge(c), c.merge(b.merge(a)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_streamed_by_scan_and_vmap():
    runs = activations((3, 4, 8, D)).astype(np.float32)  # [run, minibatch, sample, unit]

    def whole(batches):
        add = lambda state, batch: (state.update(batch), None)  # noqa: E731
        return jax.lax.scan(add, CorrelationState.init(D), batches)[0].correlation()

    found = jax.jit(jax.vmap(whole))(jnp.asarray(runs))
    np.testing.assert_allclose(found, [oracle(run) for run in runs], atol=1e-5)


def test_streamed_corners():
    a = activations((400, D))
    far = (a + 1e3 * a.std(axis=0)).astype(np.float32)
    far[:, 2] = 0.1
    rho = np.asarray(stream(np.split(far, 8)).correlation())
    np.testing.assert_array_equal(rho[2], 0)
    np.testing.assert_array_equal(rho[:, 2], 0)
    rest = np.ix_([0, 1, 3, 4], [0, 1, 3, 4])
    np.testing.assert_allclose(rho[rest], oracle(far[:, [0, 1, 3, 4]]), atol=1e-4)


@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_streamed_small_and_large_units(scale):
    a = activations((40, D))
    found = stream(np.split(a * scale, 4)).correlation()
    np.testing.assert_allclose(found, oracle(a), atol=1e-5)


def test_too_few_samples_have_no_correlation():
    for state in (stream([]), stream([np.ones((1, D))])):
        np.testing.assert_array_equal(state.correlation(), np.zeros((D, D)))


def test_streamed_bad_input():
    state = CorrelationState.init(D)
    with pytest.raises(ValueError, match=r"5 units; got \(4, 3\)"):
        state.update(jnp.ones((4, 3)))
    with pytest.raises(ValueError, match=r"\(0, 5\)"):
        state.update(jnp.ones((0, D)))
    with pytest.raises(ValueError, match="d = 0"):
        CorrelationState.init(0)
    for dtype in (jnp.bfloat16, jnp.int32):
        with pytest.raises(TypeError, match="float32 or float64"):
            CorrelationState.init(D, dtype)
