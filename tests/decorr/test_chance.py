"""What independent units show by chance, against simulation."""

import jax
import numpy as np
import pytest

from decorr import correlation_penalty, independent_penalty


@pytest.mark.parametrize(("m", "d"), [(50, 20), (10, 40)])
def test_independent_units(m, d):
    draws = jax.random.normal(jax.random.key(0), (2000, m, d))
    values = np.asarray(jax.jit(jax.vmap(correlation_penalty))(draws), np.float64)
    error = values.std(ddof=1) / len(values) ** 0.5
    assert abs(values.mean() - independent_penalty(m, d)) < 4 * error
    assert independent_penalty(m, 1) == 0.5


@pytest.mark.parametrize(("m", "d"), [(1, 3), (1.9, 3), (5, 0), (float("inf"), 3)])
def test_independent_penalty_refuses(m, d):
    with pytest.raises(ValueError, match=f"m = {m}, d = {d}"):
        independent_penalty(m, d)


@pytest.mark.parametrize(("m", "d"), [(float("nan"), 3), (5, 2.5), (5, float("nan")), (5, float("inf"))])
def test_units_are_whole_numbers(m, d):
    with pytest.raises(TypeError, match=f"d must be a whole number.*m = {m}, d = {d}"):
        independent_penalty(m, d)


def test_weighted_samples_have_an_effective_number():
    weights = np.random.default_rng(0).uniform(size=40).astype(np.float32)
    draws = jax.random.normal(jax.random.key(1), (1000, 40, 15))
    penalties = jax.jit(jax.vmap(lambda a: correlation_penalty(a, weights=weights)))(draws)
    n = float(weights.sum() ** 2 / (weights**2).sum())
    assert n < 35 and float(penalties.mean()) == pytest.approx(independent_penalty(n, 15), rel=0.02)
