"""The penalty against NumPy in float64, against automatic differentiation, and at its corners."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from decorr import correlation_penalty, gradient_terms, penalty_gradient

SHAPES = [(20, 7), (9, 9), (6, 15), (2, 3, 4, 5)]
# Compiled whole: faster than one operation at a time, of which a second derivative has many.
penalty = jax.jit(correlation_penalty)
gradient = jax.jit(jax.grad(correlation_penalty))
hessian = jax.jit(jax.hessian(correlation_penalty))
closed_form = jax.jit(penalty_gradient)


def activations(shape, seed=0):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(*shape[:-1], 1))
    return rng.normal(size=shape) + common


def oracle(a):
    rho = np.corrcoef(a.reshape(-1, a.shape[-1]), rowvar=False)
    return np.sum(rho**2) / (2 * a.shape[-1])


@jax.jit
def naive(a):
    c = a.reshape(-1, a.shape[-1])
    c = c - c.mean(axis=0, keepdims=True)
    covariance = c.T @ c
    variance = jnp.diagonal(covariance)
    return jnp.sum(covariance**2 / (variance[:, None] * variance[None, :])) / (2 * a.shape[-1])


naive_gradient = jax.jit(jax.grad(naive))


@pytest.mark.parametrize("shape", SHAPES)
def test_value_and_gradient(float64, shape):
    a = jnp.asarray(activations(shape))
    np.testing.assert_allclose(penalty(a), oracle(np.asarray(a)), rtol=1e-12)
    wanted = naive_gradient(a)
    scale = {"rtol": 1e-12, "atol": 1e-12 * float(jnp.abs(wanted).max())}
    np.testing.assert_allclose(gradient(a), wanted, **scale)
    np.testing.assert_allclose(closed_form(a), wanted, **scale)
    A, B, C = gradient_terms(a)
    assert A.shape == shape[-1:] and B.shape == C.shape == shape
    np.testing.assert_allclose(np.asarray(A) * np.asarray(B - C), wanted, **scale)


@pytest.mark.parametrize("shape", [(20, 7), (6, 15)])
def test_masks_and_weights(float64, shape):
    """By the gradient of the penalty, of which the contract has it that it is right."""
    m, rng = shape[0], np.random.default_rng(1)
    where, weights = np.arange(m) % 3 > 0, rng.uniform(0.5, 2, m)
    padded = jnp.asarray(np.where(where[:, None], activations(shape), np.nan))
    wanted = gradient(padded, where=where, weights=weights)
    scale = {"rtol": 1e-12, "atol": 1e-12 * float(jnp.abs(wanted).max())}
    np.testing.assert_allclose(closed_form(padded, where=where, weights=weights), wanted, **scale)
    A, B, C = jax.jit(gradient_terms)(padded, where=where, weights=weights)
    np.testing.assert_allclose(np.asarray(A) * np.asarray(B - C), wanted, **scale)


@pytest.mark.parametrize("shape", SHAPES)
def test_derivatives_by_finite_differences(float64, shape):
    check_grads(penalty, (jnp.asarray(activations(shape)),), order=2, modes=["fwd", "rev"])


@pytest.mark.parametrize("shape", [(20, 7), (6, 15)])
def test_a_unit_adds_nothing_to_its_own_gradient(float64, shape):
    m, d = shape
    a = activations(shape)
    sigma = a.std(axis=0, ddof=1)
    z = (a - a.mean(axis=0)) / sigma
    others = np.corrcoef(a, rowvar=False) * (1 - np.eye(d))
    wanted = 2 / (d * (m - 1) * sigma) * (z @ others - z * np.sum(others**2, axis=0))
    np.testing.assert_allclose(closed_form(jnp.asarray(a)), wanted, atol=1e-12 * np.abs(wanted).max())


@pytest.mark.parametrize("shape", [(20, 7), (6, 15)])
def test_directional_derivative(float64, shape):
    a, direction = activations(shape), activations(shape, seed=1)
    primal, tangent = jax.jit(jax.jvp, static_argnums=0)(correlation_penalty, (a,), (direction,))
    assert float(primal) == pytest.approx(oracle(a), rel=1e-12)
    wanted = np.sum(np.asarray(naive_gradient(jnp.asarray(a))) * direction)
    assert float(tangent) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("shape", [(20, 7), (6, 15)])
def test_bounds(float64, shape):
    d = shape[-1]
    alike = activations((shape[0], 1)) * np.arange(1.0, d + 1) * (-1) ** np.arange(d)
    assert float(penalty(jnp.asarray(alike))) == pytest.approx(d / 2, rel=1e-12)
    np.testing.assert_allclose(closed_form(jnp.asarray(alike)), 0, atol=1e-12)
    assert penalty(jnp.asarray(np.random.default_rng(0).normal(size=shape))) >= 0.5
    apart = np.linalg.qr(np.column_stack([np.ones(20), activations((20, 7))]))[0][:, 1:]
    assert float(penalty(jnp.asarray(apart))) == pytest.approx(0.5, rel=1e-12)


@pytest.mark.parametrize("shape", [(6, 3), (3, 5)])
def test_hessian(float64, shape):
    a = jnp.asarray(activations(shape))
    found, wanted = hessian(a), jax.jit(jax.hessian(naive))(a)
    tolerance = 1e-9 * float(jnp.abs(wanted).max())
    np.testing.assert_allclose(found, wanted, atol=tolerance)
    np.testing.assert_allclose(found, found.transpose(2, 3, 0, 1), atol=tolerance)


def test_vmap_is_a_loop():
    a = jnp.asarray(activations((3, 8, 12)), jnp.float32)
    np.testing.assert_allclose(
        jax.jit(jax.vmap(correlation_penalty))(a), [penalty(each) for each in a], rtol=1e-6
    )


@pytest.mark.parametrize("shape", [(50, 20), (20, 50)])
def test_invariant_to_scale_sign_and_shift(shape):
    rng = np.random.default_rng(1)
    a = activations(shape)
    wanted = oracle(a)
    scale = 10.0 ** rng.uniform(-12, 12, shape[-1]) * rng.choice([-1, 1], shape[-1])
    for changed in (a * scale, a + 1e3 * a.std(axis=0) * rng.choice([-1, 1], shape[-1])):
        assert penalty(jnp.asarray(changed, jnp.float32)) == pytest.approx(wanted, rel=1e-4)
    # The gradient is in units of 1 / a.
    with jax.enable_x64(True):
        slope = np.asarray(naive_gradient(jnp.asarray(a)))
    found = np.asarray(gradient(jnp.asarray(a * scale, jnp.float32)), np.float64)
    np.testing.assert_allclose(found * scale, slope, atol=1e-4 * np.abs(slope).max())


@pytest.mark.parametrize("shape", [(20, 7), (6, 15)])
def test_constant_units_are_absent(shape):
    d = shape[-1]
    a = np.concatenate([activations(shape), np.full((shape[0], 2), 0.1)], axis=1).astype(np.float32)
    whole, alone = jnp.asarray(a), jnp.asarray(a[:, :d])
    share = d / (d + 2)
    assert penalty(whole) == pytest.approx(float(penalty(alone)) * share, rel=1e-6)
    np.testing.assert_array_equal(gradient(whole)[:, d:], 0)
    np.testing.assert_allclose(gradient(whole)[:, :d], share * closed_form(alone), rtol=1e-4, atol=1e-7)
    second = np.asarray(hessian(whole))
    assert np.isfinite(second).all()
    np.testing.assert_array_equal(second[:, d:], 0)
    np.testing.assert_array_equal(second[..., d:], 0)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_accumulates_in_float32(dtype):
    a = jnp.asarray(activations((200, 10)), dtype)
    value = penalty(a)
    assert value.dtype == jnp.float32 and gradient(a).dtype == dtype
    assert float(value) == pytest.approx(oracle(np.asarray(a, np.float64)), rel=1e-5)


@pytest.mark.parametrize("function", [correlation_penalty, jax.value_and_grad(correlation_penalty)])
@pytest.mark.parametrize(("m", "d"), [(256, 8192), (8192, 256)])
def test_no_array_of_the_larger_size_squared(function, m, d):
    program = jax.jit(function).lower(jax.ShapeDtypeStruct((m, d), jnp.float32)).compile()
    assert "8192,8192" not in program.as_text()
    assert program.memory_analysis().temp_size_in_bytes < 8192 * 8192 * 4 / 10


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(10, 4), (4, 10), (10, 1)])
def test_what_is_not_finite_makes_the_penalty_nan(bad, shape):
    a = activations(shape).astype(np.float32)
    a[3, 0] = bad
    assert np.isnan(correlation_penalty(jnp.asarray(a)))
    assert np.isnan(gradient(jnp.asarray(a))[:, 0]).all()


def test_one_infinity_is_not_a_constant_unit():
    a = jnp.array([[1, 1], [2, 3], [3, 2], [jnp.inf, 5]], jnp.float32)
    assert np.isnan(correlation_penalty(a)) and np.isnan(gradient(a)).all()


@pytest.mark.parametrize("function", [correlation_penalty, penalty_gradient, gradient_terms])
@pytest.mark.parametrize(
    ("a", "kind", "words"),
    [
        (np.ones(3, np.float32), ValueError, r"\(3,\)"),
        (np.ones((1, 3), np.float32), ValueError, r"\(1, 3\)"),
        (np.ones((4, 3), np.int32), TypeError, "int32"),
    ],
)
def test_bad_input(function, a, kind, words):
    with pytest.raises(kind, match=words):
        function(jnp.asarray(a))


def test_a_deviation_that_underflows_is_no_constant_unit():
    a = activations((1000, 3)).astype(np.float32)
    a[:, 1] = 0
    a[0, 1] = 2e-38  # normal, and its standard deviation is not
    A, _, _ = jax.jit(gradient_terms)(jnp.asarray(a))
    assert np.isinf(A[1])  # 1 / sigma overflows; 0 would say that the unit is constant
