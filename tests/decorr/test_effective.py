"""The mean squared correlation and the effective number of units, against NumPy and against chance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from decorr import correlation_penalty, effective_units, mean_square_correlation

FUNCTIONS = [mean_square_correlation, effective_units]


def activations(m, d, seed=0, common=1.0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=(m, d)) + common * rng.normal(size=(m, 1)), jnp.float32)


@pytest.mark.parametrize(("m", "d"), [(40, 6), (8, 20)])
def test_raw_values(m, d):
    a = activations(m, d)
    rho = np.corrcoef(np.asarray(a, np.float64), rowvar=False)
    eigenvalues = np.linalg.eigvalsh(rho)
    r2 = np.mean(rho[~np.eye(d, dtype=bool)] ** 2)
    assert float(mean_square_correlation(a, debias=False)) == pytest.approx(r2, rel=1e-5)
    participation = eigenvalues.sum() ** 2 / np.sum(eigenvalues**2)
    assert float(effective_units(a, debias=False)) == pytest.approx(participation, rel=1e-5)
    assert participation == pytest.approx(d / (2 * float(correlation_penalty(a))), rel=1e-5)
    adjusted = r2 - (1 - r2) / (m - 2)
    assert float(mean_square_correlation(a)) == pytest.approx(adjusted, rel=1e-4, abs=1e-6)
    assert float(effective_units(a)) == pytest.approx(d / (1 + (d - 1) * max(adjusted, 0)), rel=1e-4)


@pytest.mark.parametrize(("m", "d"), [(10, 5), (10, 60), (200, 30)])
def test_independent_units_show_nothing_on_average(m, d):
    runs = jax.random.normal(jax.random.key(1), (400, m, d))
    found = np.asarray(jax.vmap(mean_square_correlation)(runs))
    assert abs(found.mean()) < 4 * found.std() / 20
    raw = np.asarray(jax.vmap(lambda a: mean_square_correlation(a, debias=False))(runs))
    assert raw.mean() == pytest.approx(1 / (m - 1), rel=0.1)


def test_weights_count_as_effective_samples():
    weights = jnp.asarray(np.random.default_rng(0).exponential(size=40), jnp.float32)
    runs = jax.random.normal(jax.random.key(2), (400, 40, 12))
    found = np.asarray(jax.vmap(lambda a: mean_square_correlation(a, weights=weights))(runs))
    unweighted = np.asarray(
        jax.vmap(lambda a: mean_square_correlation(a, weights=weights, debias=False))(runs)
    )
    n = float(weights.sum() ** 2 / (weights**2).sum())
    assert unweighted.mean() == pytest.approx(1 / (n - 1), rel=0.2)  # an approximation; 1 / 39 is half of it
    assert abs(found.mean()) < 0.2 * unweighted.mean()


def test_identical_units_are_worth_one():
    a = activations(9, 1) * jnp.asarray([[1.0, -2.0, 3.0]])
    assert float(mean_square_correlation(a)) == pytest.approx(1, rel=1e-5)
    assert float(effective_units(a)) == pytest.approx(1, rel=1e-5)


def test_constant_units_do_not_count():
    a = activations(30, 5)
    wider = jnp.concatenate([a, jnp.full((30, 2), 0.1)], axis=1)
    for function in FUNCTIONS:
        assert float(function(wider)) == pytest.approx(float(function(a)), rel=1e-5)


def test_units_are_worth_no_more_than_they_are():
    assert effective_units(activations(8, 40, common=0.0)) <= 40


@pytest.mark.parametrize("function", FUNCTIONS)
def test_nothing_is_known_of_too_few(function):
    a = activations(5, 4)
    assert np.isnan(function(a, where=jnp.arange(5) < 2))
    assert np.isnan(function(a, where=jnp.arange(5) < 1, debias=False))
    assert not np.isnan(function(a, where=jnp.arange(5) < 2, debias=False))
    assert np.isnan(function(jnp.ones((5, 4))))


def test_one_unit():
    a = activations(9, 1)
    assert effective_units(a) == 1 and np.isnan(mean_square_correlation(a))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_masks_weights_and_gradients(function):
    a = activations(20, 4)
    valid = jnp.arange(20) % 3 > 0
    padded = jnp.where(valid[:, None], a, jnp.nan)
    assert float(function(padded, where=valid)) == pytest.approx(float(function(a[valid])), rel=1e-5)
    gradient = jax.grad(function)(padded[:, :], where=valid)
    np.testing.assert_allclose(gradient[valid], jax.grad(function)(a[valid]), rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(gradient[~valid], 0)
