"""SIGReg beyond the contract of all penalties: its size, its gradient at collapse, its options."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from decorr import sigreg_loss

KEY = jax.random.key(0)


def test_a_standard_normal_sample_has_about_1_and_others_more():
    """The expected loss is the integral of exp(-t^2 / 2) (1 - exp(-t^2))."""
    a = jax.random.normal(KEY, (64, 32, 4))

    @jax.jit
    def means(*samples):
        of_runs = jax.vmap(functools.partial(sigreg_loss, key=KEY, slices=16))
        return [of_runs(x).mean() for x in samples]

    normal, wide, shifted, signs = means(a, 1.5 * a, a + 0.5, jnp.sign(a))
    t = np.linspace(-3, 3, 33)
    expected = np.trapezoid(np.exp(-(t**2) / 2) * (1 - np.exp(-(t**2))), t)
    assert expected == pytest.approx(1.05, abs=0.01)
    assert float(normal) == pytest.approx(expected, rel=0.1)
    assert min(float(x) for x in (wide, shifted, signs)) > 1.2 * expected


def test_of_a_collapse_the_gradient_pulls_to_0_and_not_apart():
    alike = jnp.broadcast_to(jnp.array([0.3, -0.2, 0.1]), (6, 3))
    gradient = jax.jit(jax.grad(sigreg_loss))
    pull = np.asarray(gradient(alike, KEY))
    np.testing.assert_allclose(pull, pull[:1].repeat(6, axis=0), rtol=1e-5)
    assert (np.sum(pull * np.asarray(alike), axis=1) > 0).all()
    np.testing.assert_array_equal(gradient(0 * alike, KEY), 0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"slices": 0}, "slices must be at least 1; got 0"),
        ({"knots": 1}, "knots must be at least 2; got 1"),
        ({"t_max": 0.0}, "t_max must be above 0; got 0.0"),
    ],
)
def test_bad_options(options, words):
    with pytest.raises(ValueError, match=words):
        sigreg_loss(jnp.ones((4, 2)), KEY, **options)


def test_single_precision_stays_single_under_x64(float64):
    a = jax.ShapeDtypeStruct((8, 3), jnp.float32)
    assert jax.eval_shape(lambda a: sigreg_loss(a, jax.random.key(0), slices=4), a).dtype == jnp.float32
