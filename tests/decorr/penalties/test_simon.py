"""The penalty and its closed-form gradient against NumPy in float64, and in corner cases.

`test_contract.py` tests second derivatives, `vmap` and more.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from decorr.penalties import correlation_penalty, gradient_terms, penalty_gradient

SHAPES = [(2, 3, 4, 5), (9, 9), (6, 15)]
of_every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


@jax.jit
def penalty_and_gradients(a, **stat):
    """The penalty, its gradient by differentiation and in closed form, and its terms, in one program."""
    value, gradient = jax.value_and_grad(functools.partial(correlation_penalty, **stat))(a)
    return value, gradient, penalty_gradient(a, **stat), gradient_terms(a, **stat)


def penalty(a):
    return penalty_and_gradients(a)[0]


def gradient(a):
    return penalty_and_gradients(a)[1]


def activations(shape, seed=0):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(*shape[:-1], 1))
    return rng.normal(size=shape) + common


def oracle(a):
    rho = np.corrcoef(a.reshape(-1, a.shape[-1]), rowvar=False)
    return np.sum(rho**2) / (2 * a.shape[-1])


def oracle_gradient(a):
    """The gradient from the correlations with other units. A unit adds nothing to its own gradient."""
    samples = a.reshape(-1, a.shape[-1])
    m, d = samples.shape
    sigma = samples.std(axis=0, ddof=1)
    z = (samples - samples.mean(axis=0)) / sigma
    others = np.corrcoef(samples, rowvar=False) * (1 - np.eye(d))
    return (2 / (d * (m - 1) * sigma) * (z @ others - z * np.sum(others**2, axis=0))).reshape(a.shape)


def assert_gradients(found, wanted):
    _, by_differentiation, closed_form, (A, B, C) = found
    scale = {"rtol": 1e-12, "atol": 1e-12 * np.abs(wanted).max()}
    np.testing.assert_allclose(by_differentiation, wanted, **scale)
    np.testing.assert_allclose(closed_form, wanted, **scale)
    assert A.shape == wanted.shape[-1:] and B.shape == C.shape == wanted.shape
    np.testing.assert_allclose(np.asarray(A) * (np.asarray(B) - np.asarray(C)), wanted, **scale)


@of_every_shape
def test_value_and_gradient(float64, shape):
    a = activations(shape)
    found = penalty_and_gradients(a)
    np.testing.assert_allclose(found[0], oracle(a), rtol=1e-12)
    assert_gradients(found, oracle_gradient(a))


@pytest.mark.parametrize("shape", [(9, 9), (6, 15)])
def test_masks_and_weights(float64, shape):
    """Compares with the gradient of the penalty, which `test_contract.py` checks."""
    m, rng = shape[0], np.random.default_rng(1)
    where, weights = np.arange(m) % 3 > 0, rng.uniform(0.5, 2, m)
    found = penalty_and_gradients(
        np.where(where[:, None], activations(shape), np.nan), where=where, weights=weights
    )
    assert_gradients(found, np.asarray(found[1]))


@of_every_shape
def test_bounds(float64, shape):
    d = shape[-1]
    alike = activations((*shape[:-1], 1)) * np.arange(1.0, d + 1) * (-1) ** np.arange(d)
    value, _, closed_form, _ = penalty_and_gradients(alike)
    assert float(value) == pytest.approx(d / 2, rel=1e-12)
    np.testing.assert_allclose(closed_form, 0, atol=1e-12)
    m = np.prod(shape[:-1])
    if d < m - 1:
        apart = np.linalg.qr(np.column_stack([np.ones(m), activations((m, d))]))[0][:, 1:]
        assert float(penalty(apart.reshape(shape))) == pytest.approx(0.5, rel=1e-12)


@of_every_shape
def test_invariant_to_scale_sign_and_shift(shape):
    rng = np.random.default_rng(1)
    a = activations(shape)
    wanted = oracle(a)
    scale = 10.0 ** rng.uniform(-12, 12, shape[-1]) * rng.choice([-1, 1], shape[-1])
    spread = a.reshape(-1, shape[-1]).std(axis=0)
    for changed in (a * scale, a + 1e3 * spread * rng.choice([-1, 1], shape[-1])):
        assert penalty(changed.astype(np.float32)) == pytest.approx(wanted, rel=1e-4)
    # The gradient is in units of 1 / a.
    slope = oracle_gradient(a)
    found = np.asarray(gradient((a * scale).astype(np.float32)), np.float64)
    np.testing.assert_allclose(found * scale, slope, atol=1e-4 * np.abs(slope).max())


@pytest.mark.parametrize("shape", [(9, 4), (6, 15)])
def test_constant_units_are_absent(shape):
    d = shape[-1]
    a = activations(shape).astype(np.float32)
    a[:, -2:] = 0.1
    alone, share = a[:, :-2].astype(np.float64), (d - 2) / d
    value, slope, closed_form, _ = penalty_and_gradients(a)
    assert float(value) == pytest.approx(oracle(alone) * share, rel=1e-6)
    for found in (slope, closed_form):
        np.testing.assert_array_equal(found[:, -2:], 0)
        np.testing.assert_allclose(found[:, :-2], share * oracle_gradient(alone), rtol=1e-4, atol=1e-6)
    second = np.asarray(jax.jit(jax.hessian(correlation_penalty))(a))
    assert np.isfinite(second).all()
    np.testing.assert_array_equal(second[:, -2:], 0)
    np.testing.assert_array_equal(second[..., -2:], 0)


def test_half_precision_accumulates_in_float32():
    """`test_contract.py` tests bfloat16."""
    a = jnp.asarray(activations((9, 9)), jnp.float16)
    value, slope, closed_form, terms = penalty_and_gradients(a)
    assert {x.dtype.name for x in (value, *terms)} == {"float32"}
    assert slope.dtype == closed_form.dtype == jnp.float16
    assert float(value) == pytest.approx(oracle(np.asarray(a, np.float64)), rel=1e-5)


@pytest.mark.parametrize(("m", "d"), [(256, 8192), (8192, 256)])
def test_no_array_of_the_larger_size_squared(m, d):
    function = jax.jit(jax.value_and_grad(correlation_penalty))
    program = function.lower(jax.ShapeDtypeStruct((m, d), jnp.float32)).compile()
    assert "8192,8192" not in program.as_text()
    assert program.memory_analysis().temp_size_in_bytes < 8192 * 8192 * 4 / 10


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(9, 9), (6, 15), (10, 1)])
def test_what_is_not_finite_makes_the_penalty_nan(bad, shape):
    a = activations(shape).astype(np.float32)
    a[3, 0] = bad
    assert np.isnan(penalty(a)) and np.isnan(gradient(a)).all()


def test_a_deviation_that_underflows_is_no_constant_unit():
    a = activations((1000, 3)).astype(np.float32)
    a[:, 1] = 0
    a[0, 1] = 2e-38  # normal, and its standard deviation is not
    A, _, _ = jax.jit(gradient_terms)(a)
    assert np.isinf(A[1])  # 1 / sigma overflows; 0 would say that the unit is constant
