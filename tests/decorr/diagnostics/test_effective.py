"""The mean squared correlation and the effective number of units, against NumPy and against chance."""

import jax
import numpy as np
import pytest

from decorr.diagnostics import effective_units, mean_square_correlation

FUNCTIONS = [mean_square_correlation, effective_units]


@jax.jit
def values(a, **stat):
    """The mean square and the number of effective units, debiased and raw, in one program."""
    return [
        (mean_square_correlation(a, debias=debias, **stat), effective_units(a, debias=debias, **stat))
        for debias in (True, False)
    ]


by_run = jax.jit(lambda runs, **stat: jax.vmap(lambda a: values(a, **stat))(runs))


def activations(m, d, seed=0, common=1.0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(m, d)) + common * rng.normal(size=(m, 1))).astype(np.float32)


@pytest.mark.parametrize(("m", "d"), [(40, 6), (8, 20)])
def test_raw_values(m, d):
    a = activations(m, d)
    rho = np.corrcoef(np.asarray(a, np.float64), rowvar=False)
    eigenvalues = np.linalg.eigvalsh(rho)
    r2 = np.mean(rho[~np.eye(d, dtype=bool)] ** 2)
    (mean_square, units), (raw_mean_square, raw_units) = values(a)
    assert float(raw_mean_square) == pytest.approx(r2, rel=1e-5)
    participation = eigenvalues.sum() ** 2 / np.sum(eigenvalues**2)
    assert float(raw_units) == pytest.approx(participation, rel=1e-5)
    adjusted = r2 - (1 - r2) / (m - 2)
    assert float(mean_square) == pytest.approx(adjusted, rel=1e-4, abs=1e-6)
    assert float(units) == pytest.approx(d / (1 + (d - 1) * max(adjusted, 0)), rel=1e-4)


@pytest.mark.parametrize(("m", "d"), [(10, 60), (200, 30)])
def test_independent_units_show_nothing_on_average(m, d):
    runs = jax.random.normal(jax.random.key(1), (400, m, d))
    (found, _), (raw, _) = jax.tree.map(np.asarray, by_run(runs))
    assert abs(found.mean()) < 4 * found.std() / 20
    assert raw.mean() == pytest.approx(1 / (m - 1), rel=0.1)


def test_weights_count_as_effective_samples():
    weights = np.random.default_rng(0).exponential(size=40).astype(np.float32)
    runs = jax.random.normal(jax.random.key(2), (400, 40, 12))
    (found, _), (unweighted, _) = jax.tree.map(np.asarray, by_run(runs, weights=weights))
    n = float(weights.sum() ** 2 / (weights**2).sum())
    assert unweighted.mean() == pytest.approx(1 / (n - 1), rel=0.2)  # approximate; 1 / 39 is half as much
    assert abs(found.mean()) < 0.2 * unweighted.mean()


def test_identical_units_are_worth_one():
    for value in values(activations(30, 1) * np.float32([[1, -2, 3, 1, 0.5]]))[0]:
        assert float(value) == pytest.approx(1, rel=1e-5)


def test_constant_units_do_not_count():
    a = activations(30, 5)
    wider = np.concatenate([a, np.full((30, 2), 0.1, np.float32)], axis=1)
    np.testing.assert_allclose(values(wider)[0], values(a)[0], rtol=1e-5)


def test_units_are_worth_no_more_than_they_are():
    assert values(activations(8, 20, common=0.0))[0][1] <= 20


def test_nothing_is_known_of_too_few():
    a = activations(5, 4)
    one, two = (values(a, where=np.arange(5) < n) for n in (1, 2))
    assert np.isnan(two[0]).all() and np.isnan(one[1]).all() and not np.isnan(two[1]).any()
    assert np.isnan(values(np.ones_like(a))[0]).all()


def test_one_unit():
    mean_square, units = values(activations(9, 1))[0]
    assert units == 1 and np.isnan(mean_square)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_masks_weights_and_gradients(function):
    a, valid = activations(20, 4), np.arange(20) % 3 > 0
    padded = np.where(valid[:, None], a, np.nan)
    by = jax.jit(jax.value_and_grad(function))
    (value, gradient), (wanted, slope) = by(padded, where=valid), by(a[valid])
    assert float(value) == pytest.approx(float(wanted), rel=1e-5)
    np.testing.assert_allclose(gradient[valid], slope, rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(gradient[~valid], 0)


def test_two_samples_of_equal_weight_are_too_few():
    """Rounding may make the effective number of samples a little larger than two."""
    a, weights = np.random.default_rng(0).normal(size=(2, 4)), np.random.default_rng(1).uniform(1, 9, 100)
    of_weights = jax.vmap(lambda weights: mean_square_correlation(a, weights=weights))
    weights = np.repeat(weights[:, None], 2, axis=1).astype(np.float32)
    assert np.isnan(jax.jit(of_weights)(weights)).all()
