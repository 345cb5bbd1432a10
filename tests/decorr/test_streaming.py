"""Streamed correlations against NumPy on all samples at once, and in corner cases."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from decorr import CorrelationState, effective_rank, effective_units
from decorr.diagnostics import mean_square_correlation, spectrum

D = 5


def activations(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) + rng.normal(size=(*shape[:-1], 1)) + 3


def oracle(a):
    return np.corrcoef(np.asarray(a, np.float64).reshape(-1, a.shape[-1]), rowvar=False)


update = jax.jit(CorrelationState.update)


def stream(chunks, dtype=np.float32):
    state = CorrelationState.init(D, dtype)
    for chunk in chunks:
        state = update(state, np.asarray(chunk, dtype))
    return state


def test_streamed_as_at_once(float64):
    a = activations((54, D))
    state = stream(np.split(a, [1, 20, 27, 28, 47]), np.float64)
    assert state.weight == 54
    np.testing.assert_allclose(state.mean, a.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(state.comoment, 53 * np.cov(a, rowvar=False), rtol=1e-12)
    np.testing.assert_allclose(state.correlation(), oracle(a), rtol=1e-12)


def test_masks_and_weights_are_numpys(float64):
    rng = np.random.default_rng(1)
    a, where, weights = activations((60, D)), rng.uniform(size=60) < 0.7, rng.uniform(0.5, 2, 60)
    where[:20] = False  # a minibatch without a valid sample
    state = CorrelationState.init(D, jnp.float64)
    for i in range(0, 60, 20):
        batch = slice(i, i + 20)
        padded = np.where(where[batch, None], a[batch], np.nan)
        state = update(state, padded, where=where[batch], weights=weights[batch])
    for ddof in (0, 1):
        wanted = np.cov(a[where], rowvar=False, ddof=ddof, aweights=weights[where])
        np.testing.assert_allclose(state.covariance(ddof), wanted, rtol=1e-12)
    sigma = np.sqrt(np.diag(wanted))
    np.testing.assert_allclose(state.correlation(), wanted / np.outer(sigma, sigma), rtol=1e-12)


KINDS = ("correlation", "covariance", "moment")


def measured(effective_units, mean_square_correlation, spectrum, effective_rank):
    """What a state measures, computed by its methods or by the functions of the same names."""
    measures = (effective_units, mean_square_correlation)
    return {
        "pairs": [measure(debias=debias) for measure in measures for debias in (True, False)],
        "spectra": [spectrum(kind=kind) for kind in KINDS],
        "ranks": [effective_rank(order=0.1, power=1, kind=kind) for kind in KINDS],
    }


@jax.jit
def measured_by_state(state):
    return measured(
        state.effective_units, state.mean_square_correlation, state.spectrum, state.effective_rank
    )


@jax.jit
def measured_at_once(a, weights=None):
    functions = effective_units, mean_square_correlation, spectrum, effective_rank
    return measured(*(functools.partial(function, a, weights=weights) for function in functions))


def test_measures_are_the_functions(float64):
    a, weights = activations((40, D)), np.random.default_rng(1).uniform(0.5, 2, 40)
    a[:, 3] = 0.1  # a constant unit
    state = CorrelationState.init(D, jnp.float64)
    for batch in (slice(0, 13), slice(13, 40)):
        state = state.update(a[batch], weights=weights[batch])
    found, wanted = measured_by_state(state), measured_at_once(a, weights)
    for name, tolerance in (("pairs", 0), ("ranks", 0), ("spectra", 1e-13)):
        for f, w in zip(found[name], wanted[name], strict=True):
            np.testing.assert_allclose(f, w, rtol=1e-12, atol=tolerance)


def test_rounding_errors_are_no_directions():
    a = activations((40, 2)) @ np.random.default_rng(1).normal(size=(2, D))  # two directions of five
    found = measured_by_state(stream(np.split(a, 4)))
    assert all((values >= 0).all() for values in found["spectra"])
    assert max(found["ranks"]) <= 2


def test_measures_of_too_few_samples_and_of_nan():
    for state in (stream([]), stream([np.ones((1, D))])):
        found = measured_by_state(state)
        assert np.isnan(found["pairs"]).all() and (np.asarray(found["ranks"]) == 1).all()
    found = measured_by_state(stream([np.full((9, D), np.nan)]))
    assert np.isnan(jnp.concatenate([jnp.atleast_1d(x) for x in jax.tree.leaves(found)])).all()


def test_measures_with_bad_options():
    state = CorrelationState.init(D)
    with pytest.raises(ValueError, match="unknown kind 'gram': choose from correlation"):
        state.spectrum(kind="gram")
    with pytest.raises(ValueError, match="order must be above 0; got 0"):
        state.effective_rank(order=0)


def test_merging_is_associative(float64):
    a, b, c = (stream([activations((m, D), seed=m)], np.float64) for m in (1, 7, 19))
    for one, other in zip(a.merge(b).merge(c)[:-1], c.merge(b.merge(a))[:-1], strict=True):  # up to rounding
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
    rho = np.asarray(stream(np.split(far, 40)).correlation())
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


def test_the_count_never_overflows():
    a = activations((64, D))
    state = stream([a])
    merge = jax.jit(CorrelationState.merge)
    for _ in range(25):
        state = merge(state, state)
    state = update(state, a.astype(np.float32))
    assert float(state.weight) == pytest.approx(64 * 2**25, rel=1e-6)
    np.testing.assert_allclose(state.correlation(), oracle(a), atol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("sizes", [[1] * 9, [4, 5], [9]])
def test_what_is_not_finite_stays_in_its_unit(bad, sizes):
    a = activations((9, D))
    a[4, 2] = bad
    found = stream(np.split(a, np.cumsum(sizes)[:-1])).correlation()
    unknown = np.arange(D) == 2
    np.testing.assert_array_equal(np.isnan(found), unknown[:, None] | unknown)


@pytest.mark.parametrize("scale", [1e-25, 1e-21, 1e19, 1e25])
def test_squares_that_leave_the_range_make_a_correlation_unknown(scale):
    a = activations((40, D))
    a[:, 2] *= scale
    found = np.asarray(stream(np.split(a, 4)).correlation())
    right = np.isclose(found, oracle(a), atol=1e-4)
    assert (right | np.isnan(found)).all() and np.isnan(found[2]).any()
    assert right[np.ix_([0, 1, 3, 4], [0, 1, 3, 4])].all()


def test_states_of_other_units_or_precision_are_not_merged():
    state = stream([activations((4, D))])
    for other in (CorrelationState.init(1), CorrelationState.init(D + 1)):
        with pytest.raises(ValueError, match=rf"states of 5 and of {len(other.mean)} units"):
            state.merge(other)
    with jax.enable_x64(True), pytest.raises(TypeError, match=r"a float32 state .* a float64 one"):
        state.merge(CorrelationState.init(D, jnp.float64))


def test_a_first_minibatch_may_lie_far_from_zero():
    a = (activations((10, D)) * 1e15 + 3e19).astype(np.float32)  # the mean's square overflows
    np.testing.assert_allclose(stream([a]).correlation(), oracle(a), atol=1e-5)


# Longer than float32 can count: each minibatch is small compared with all before it.
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
