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


@pytest.mark.parametrize(("m", "d"), [(1, 3), (5, 0)])
def test_independent_penalty_refuses(m, d):
    with pytest.raises(ValueError, match=f"m = {m}, d = {d}"):
        independent_penalty(m, d)


@pytest.mark.parametrize(("m", "d"), [(float("nan"), 3), (2.5, 3), (5, float("nan")), (float("inf"), 3)])
def test_samples_and_units_are_whole_numbers(m, d):
    with pytest.raises(TypeError, match=f"whole numbers.*m = {m}, d = {d}"):
        independent_penalty(m, d)
