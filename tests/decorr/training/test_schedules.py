"""The factors by which numbers shrink over training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from decorr.config import Optimisation
from decorr.training.schedules import schedule
from decorr.training.steps import sgd

STEPS = 8
TIMES = np.arange(STEPS)
FACTORS = {
    "constant": np.ones(STEPS),
    "cosine": (1 + np.cos(np.pi * TIMES / STEPS)) / 2,
    "exponential": 0.01 ** (TIMES / STEPS),
}


@pytest.mark.parametrize("kind", FACTORS)
def test_factors(kind):
    factors = jax.jit(jax.vmap(schedule(kind, STEPS)))(jnp.arange(STEPS))
    assert factors.dtype == jnp.float32
    np.testing.assert_allclose(factors, FACTORS[kind], rtol=1e-5, atol=1e-6)
    assert schedule(kind, STEPS) is schedule(kind, STEPS)


def test_what_is_no_schedule():
    message = r"unknown schedule 'cosinus' \(did you mean 'cosine'\?\): choose from constant, cosine, exp"
    with pytest.raises(ValueError, match=message):
        schedule("cosinus", STEPS)
    with pytest.raises(ValueError, match="at least one step; got 0"):
        schedule("cosine", 0)
    with pytest.raises(ValueError, match=r"shrinks \(cosine\) needs the number of steps"):
        sgd(Optimisation(schedule="cosine"))
