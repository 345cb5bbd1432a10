"""Whitening agrees with Chainer's decorrelated batch normalisation, in value and gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from decorr import whiten
from tests.oracles import engines


@pytest.mark.oracle
@pytest.mark.parametrize(("groups", "eps"), [(1, 0.1), (1, 1e-12), (2, 1e-12)])
def test_zca_is_chainers(float64, groups, eps):
    """Chainer uses (C_b + eps I)^(-1/2), with the biased C_b. Ours differs only in shrinkage and scale."""
    chainer = engines.chainer()
    rng = np.random.default_rng(0)
    m, d = 30, 6
    a = rng.normal(size=(m, d)) @ (np.eye(d) + 0.3 * rng.normal(size=(d, d))) + 3
    cotangent = rng.normal(size=(m, d))
    theirs = chainer.Variable(a)
    y = chainer.functions.decorrelated_batch_normalization(theirs, groups=groups, eps=eps)
    y.grad = cotangent
    y.backward()

    def ours(a):
        biased = jnp.mean(jnp.var(a, axis=0))
        shrinkage = eps / (eps + biased) if groups == 1 else 0.0
        return whiten(a, shrinkage=shrinkage, groups=groups) * jnp.sqrt((1 - shrinkage) * m / (m - 1))

    value, back = jax.vjp(ours, jnp.asarray(a))
    np.testing.assert_allclose(value, y.array, atol=1e-8)
    np.testing.assert_allclose(back(jnp.asarray(cotangent))[0], theirs.grad, atol=1e-8)
