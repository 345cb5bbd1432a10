"""Activity and dormant units, against the score of dopamine's code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from decorr.diagnostics import activity, dormant_units


def activations(shape=(6, 2, 5), seed=0):
    """Activations after a ReLU. One unit is silent, and one nearly so."""
    a = np.maximum(np.random.default_rng(seed).normal(size=shape), 0)
    return (a * np.array([1, 0, 0.02, 3, 1])).astype(np.float32)


def dopamines(a):
    """The score in dopamine's code, for activations [sample, unit]."""
    score = np.mean(np.abs(a), axis=0)
    return score / (np.mean(score) + 1e-9)


@jax.jit
def both(a, **stat):
    return activity(a, **stat), dormant_units(a, **stat), dormant_units(-a, threshold=0.1, **stat)


def test_the_score_is_dopamines():
    a = activations()
    wanted = dopamines(a.reshape(-1, 5))
    s, dormant, more = both(a)
    np.testing.assert_allclose(s, wanted, rtol=1e-6)
    assert float(s.mean()) == pytest.approx(1, rel=1e-6)
    np.testing.assert_array_equal(dormant, wanted <= 0.025)
    np.testing.assert_array_equal(more, wanted <= 0.1)
    assert dormant[1] and dormant[2] and dormant.sum() == 2


def test_masks_and_weights():
    a, valid = activations((12, 5)), np.arange(12) % 3 > 0
    weights = np.random.default_rng(1).uniform(0.5, 2, 12).astype(np.float32)
    padded = np.where(valid[:, None], a, np.nan)
    s, *_ = both(padded, where=valid, weights=weights)
    mean = np.average(a[valid], axis=0, weights=weights[valid])
    np.testing.assert_allclose(s, mean / mean.mean(), rtol=1e-6)
    none, dormant, _ = both(padded, where=np.zeros(12, bool), weights=weights)
    np.testing.assert_array_equal(none, 0)
    assert dormant.all()


def test_a_silent_layer_a_scale_and_what_is_not_finite():
    """The scale does not matter: dopamine's 1e-9 calls a layer of scale 1e-12 dormant."""
    a = activations()
    runs = np.stack([0 * a, 1e-12 * a, 1e30 * a, np.where(a == a.max(), np.nan, a)])
    (s, dormant, _), gradients = jax.jit(
        lambda a: (jax.vmap(both)(a), jax.vmap(jax.grad(lambda a: activity(a)[0]))(a))
    )(runs)
    np.testing.assert_array_equal(s[0], 0)
    assert dormant[0].all() and not dormant[3].any() and np.isnan(s[3]).all()
    np.testing.assert_allclose(s[1:3], np.stack([both(a)[0]] * 2), rtol=1e-5)
    np.testing.assert_array_equal(gradients[0], 0)
    assert np.isfinite(gradients[1:3]).all() and np.all(gradients[2] != 0, where=a > 0)


def test_half_precision_in_a_loop_over_minibatches_and_seeds():
    """In a `scan`, under `vmap`: [seed, minibatch, sample, unit] of bfloat16."""
    a = jnp.asarray(
        [[activations((8, 5), seed=10 * i + j) for j in range(3)] for i in range(2)], jnp.bfloat16
    )
    of_seed = lambda a: jax.lax.scan(lambda n, a: (n + dormant_units(a).sum(), activity(a)), 0, a)  # noqa: E731
    dormant, s = jax.jit(jax.vmap(of_seed))(a)
    assert s.dtype == jnp.float32 and s.shape == (2, 3, 5)
    scores = np.stack([dopamines(batch) for batch in np.float32(a).reshape(6, 8, 5)])
    np.testing.assert_array_equal(dormant, (scores <= 0.025).reshape(2, -1).sum(axis=1))
    np.testing.assert_allclose(s.reshape(6, 5), scores, rtol=1e-6)


def test_one_sample_is_enough_and_integers_are_none():
    np.testing.assert_array_equal(activity(np.float32([[1, -3]])), [0.5, 1.5])
    with pytest.raises(TypeError, match="int32"):
        activity(np.ones((3, 2), np.int32))


def test_sizes_whose_sum_overflows():
    a = np.random.default_rng(0).uniform(1, 2, size=(4, 512)).astype(np.float32)
    np.testing.assert_allclose(activity(a * np.float32(1e37)), activity(a), rtol=1e-5)
