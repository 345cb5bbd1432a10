"""Dropout itself, and its laws against Monte Carlo with four standard errors."""

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

from decorr import dropout, dropout_correlation, dropout_estimator
from decorr._dropout import _threefry, _words

KEY = jax.random.key(0)
MASKS = 400
RHO = np.array([[1, 0.8, -0.3], [0.8, 1, 0.1], [-0.3, 0.1, 1]])
PAIRS = np.triu_indices(3, k=1)


def correlated(m, mean):
    rng = np.random.default_rng(0)
    return rng.multivariate_normal(mean, RHO, size=m).astype(np.float32)


drop = jax.jit(dropout)
draw = jax.jit(jax.vmap(dropout, in_axes=(0, None, None)))


def masked(x, rate):
    """x after dropout, drawn `MASKS` times, in float64."""
    return np.asarray(draw(jax.random.split(KEY, MASKS), x, rate), np.float64)


def assert_mean(draws, wanted):
    error = draws.std(axis=0, ddof=1) / len(draws) ** 0.5
    assert (np.abs(draws.mean(axis=0) - wanted) < 4 * error).all()


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.75])
def test_share_and_scale(rate):
    x = np.full((701, 703), 3, np.float32)  # an odd number of elements
    y = np.asarray(drop(KEY, x, rate))
    kept = y != 0
    assert abs(kept.mean() - (1 - rate)) < 4 * (rate * (1 - rate) / y.size) ** 0.5
    np.testing.assert_allclose(y[kept], 3 / (1 - rate), rtol=2e-5)


@jax.jit
def means_of_ones(keys, rate):
    return jax.vmap(lambda key: dropout(key, jnp.ones(10**5), rate).mean())(keys)


@pytest.mark.parametrize("rate", [1e-6, 0.3, 0.999, 1 - 1e-6])
def test_the_mean_is_kept_at_every_rate(rate):
    means = np.asarray(means_of_ones(jax.random.split(KEY, 40), rate), np.float64)
    error = means.std(ddof=1) / len(means) ** 0.5
    assert abs(means.mean() - 1) < 4 * error + 1e-6  # rounding of a mean


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_scaled_in_float32(dtype):
    x = jnp.asarray(np.linspace(1, 2, 4001), dtype)
    y = np.asarray(drop(KEY, x, 0.35), np.float64)
    # 1 / 0.65 is too large by 0.04% in bfloat16, and too small by 0.024% in float16. Products that are
    # rounded only once have no such bias.
    assert abs((y[y > 0] * 0.65 / np.asarray(x, np.float64)[y > 0]).mean() - 1) < 2e-4


@pytest.mark.parametrize("rate", [-0.5, 1.5, 30, np.nan, np.inf, np.float32(2)])
def test_a_rate_that_is_no_probability_is_refused(rate):
    for function in (
        lambda: dropout(KEY, jnp.ones(5), rate),
        lambda: dropout_estimator(0.5, rate),
        lambda: dropout_correlation(0.5, rate),
    ):
        with pytest.raises(ValueError, match=r"^rate must be in \[0, 1\]; got"):
            function()


@pytest.mark.parametrize("rate", [-0.5, 1.5, np.nan, np.inf])
def test_a_traced_rate_that_is_no_probability_gives_nan(rate):
    assert np.isnan(jax.jit(dropout)(KEY, jnp.ones(50), rate)).all()


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int32, jnp.bool_, jnp.complex64])
def test_only_floating_point_is_dropped_from(dtype):
    with pytest.raises(TypeError, match=f"floating-point dtype; got {jnp.dtype(dtype)}"):
        dropout(KEY, jnp.ones(5, dtype), 0.5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_shape_and_dtype(dtype):
    y = jax.eval_shape(dropout, KEY, jnp.ones((2, 3, 5), dtype), 0.5)
    assert y.shape == (2, 3, 5) and y.dtype == dtype


def test_the_ends_of_the_rate():
    x = jnp.asarray(correlated(1000, np.ones(3)))
    np.testing.assert_array_equal(dropout(KEY, x, 0), x)
    np.testing.assert_array_equal(dropout(KEY, x, 1), 0)
    gradient = jax.jit(jax.grad(lambda *a: dropout(*a).sum(), argnums=(1, 2)))
    for end in (0.0, 1.0):
        for by in gradient(KEY, x, end):
            assert np.isfinite(by).all()


def test_the_random_bits_are_jaxs():
    key = jnp.asarray([0x12345678, 0x9ABCDEF0], jnp.uint32)
    counters = jax.random.bits(KEY, (2, 100), jnp.uint32)
    found = np.concatenate(_threefry(key, *counters))
    np.testing.assert_array_equal(found, jax.extend.random.threefry_2x32(key, counters.reshape(-1)))


@pytest.mark.parametrize("blocks", [1, 2, 7])
def test_words_are_those_of_a_counter(blocks):
    key = jnp.asarray([1, 2], jnp.uint32)
    counter = jnp.arange(blocks, dtype=jnp.uint32)
    wanted = np.concatenate(_threefry(key, counter, jnp.zeros_like(counter)))
    np.testing.assert_array_equal(_words(key, blocks), wanted)  # by this platform's branch


def test_vmap_over_keys_and_rates_is_a_loop():
    x, keys, rates = jnp.ones((5, 7)), jax.random.split(KEY, 3), jnp.array([0.2, 0.5, 0.9])
    found = jax.jit(jax.vmap(dropout, in_axes=(0, None, 0)))(keys, x, rates)
    for each, key, rate in zip(found, keys, rates, strict=True):
        np.testing.assert_allclose(each, drop(key, x, rate), rtol=1e-6)
    assert (found[0] != found[1]).any()


def test_masks_of_elements_are_independent():
    keep = 0.7
    kept = masked(np.ones(8, np.float32), 1 - keep) != 0
    pairs = kept[:, :, None] & kept[:, None, :]
    off = ~np.eye(8, dtype=bool)
    error = (keep**2 * (1 - keep**2) / MASKS) ** 0.5
    assert (np.abs(pairs.mean(axis=0) - keep**2)[off] < 4 * error).all()


@pytest.mark.parametrize("rate", [0.25, 0.5])
def test_law_of_the_estimator(rate):
    a = correlated(50, np.zeros(3))
    z = (a - a.mean(axis=0)) / a.std(axis=0, ddof=1)
    y = masked(z, rate) * (1 - rate)  # the law is for unscaled masks
    draws = np.einsum("rki,rkj->rij", y, y)[:, *PAIRS] / (len(a) - 1)
    assert_mean(draws, np.asarray(dropout_estimator(np.corrcoef(a, rowvar=False)[PAIRS], rate)))


@pytest.mark.parametrize("mean", [np.zeros(3), np.array([2, -1, 0.5])])
@pytest.mark.parametrize("rate", [0.3, 0.7])
def test_law_of_the_correlation(mean, rate):
    a = correlated(4000, mean)
    if not mean.any():
        a = (a - a.mean(axis=0)) / a.std(axis=0)
    draws = np.stack([np.corrcoef(y, rowvar=False)[PAIRS] for y in masked(a, rate)])
    rho, ratio = np.corrcoef(a, rowvar=False)[PAIRS], a.mean(axis=0) / a.std(axis=0)
    i, j = PAIRS
    assert_mean(draws, np.asarray(dropout_correlation(rho, rate, ratio[i], ratio[j])))
    if not mean.any():
        np.testing.assert_allclose(dropout_correlation(rho, rate), (1 - rate) * rho, rtol=1e-6)


@pytest.mark.parametrize("law", [dropout_estimator, dropout_correlation])
@pytest.mark.parametrize("rate", [-0.5, 3, np.nan])
def test_laws_of_a_traced_rate_that_is_no_probability_are_nan(law, rate):
    assert np.isnan(jax.jit(law)(0.5, rate))


@pytest.mark.parametrize("rate", [[0.1, 0.2], np.array([0.5])])
def test_a_rate_is_one_number(rate):
    with pytest.raises(ValueError, match="rate must be a scalar"):
        dropout(KEY, jnp.ones((3, 2)), jnp.asarray(rate))


def test_means_far_from_zero_do_not_overflow():
    assert dropout_correlation(0.5, 0.5, 1e10, 1e10) == pytest.approx(0.5e-20, rel=1e-5, abs=0)


def test_the_scale_is_as_precise_as_the_activations(float64):
    y = np.asarray(drop(KEY, jnp.ones(100), 0.3))
    keep = round(0.7 * 2**16) / 2**16
    np.testing.assert_allclose(y[y > 0], 1 / keep, rtol=1e-15)
