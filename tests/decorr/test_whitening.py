"""Whitening against NumPy, scikit-learn and finite differences, and at its corners."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.test_util import check_grads

from decorr import covariance_matrix, whiten, whitening_matrix

METHODS = ["zca", "cholesky", "newton"]
# Compiled once for all tests, at one shape where any will do.
MATRIX = {method: jax.jit(functools.partial(whitening_matrix, method=method)) for method in METHODS}
WHITEN = {method: jax.jit(functools.partial(whiten, method=method)) for method in METHODS}


def activations(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) @ (np.eye(shape[-1]) + 0.3 * rng.normal(size=(shape[-1], shape[-1]))) + 3


def covariance(d, condition, seed=0):
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))
    return (q * np.geomspace(1, condition, d)) @ q.T


def oracle(c, shrinkage=0.0):
    """C'^(-1/2) by NumPy."""
    c = (1 - shrinkage) * c + shrinkage * np.trace(c) / len(c) * np.eye(len(c))
    values, vectors = np.linalg.eigh(c)
    return (vectors / np.sqrt(values)) @ vectors.T


@functools.partial(jax.jit, static_argnums=0)
def _with_gradient(function, a, g, stat):
    value, back = jax.vjp(lambda a: function(a, **stat), a)
    return value, back(g)[0]


def with_gradient(function, a, g, **stat):
    """The value, and the gradient of its product with g."""
    return _with_gradient(function, jnp.asarray(a), jnp.asarray(g), jax.tree.map(jnp.asarray, stat))


# The matrix.


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shrinkage", [0.0, 1e-3, 0.5, 1.0])
@pytest.mark.parametrize("d", [1, 4])
def test_the_matrix_whitens_the_shrunk_covariance(float64, method, shrinkage, d):
    c = covariance(d, 10)
    w = np.asarray(whitening_matrix(jnp.asarray(c), method=method, shrinkage=shrinkage, iterations=15))
    shrunk = (1 - shrinkage) * c + shrinkage * np.trace(c) / d * np.eye(d)
    np.testing.assert_allclose(w @ shrunk @ w.T, np.eye(d), atol=1e-12)
    if method == "cholesky":
        np.testing.assert_array_equal(w, np.tril(w))
    else:
        np.testing.assert_allclose(w, oracle(c, shrinkage), atol=1e-12)


@pytest.mark.parametrize(
    ("iterations", "condition", "error"), [(9, 10, 1e-4), (9, 100, 0.01), (15, 100, 1e-4)]
)
def test_newton_approaches_zca(float64, iterations, condition, error):
    c = jnp.asarray(covariance(256, condition))
    w = whitening_matrix(c, method="newton", shrinkage=0.0, iterations=iterations)
    assert jnp.max(jnp.abs(w @ c @ w.T - jnp.eye(256))) < error


def test_newton_is_iterative_normalization_with_another_norm(float64):
    c = covariance(5, 50)
    p, norm = np.eye(5), np.linalg.norm(c)
    for _ in range(4):
        p = (3 * p - p @ p @ p @ (c / norm)) / 2
    w = whitening_matrix(jnp.asarray(c), method="newton", shrinkage=0.0, iterations=4)
    np.testing.assert_allclose(w, p / np.sqrt(norm), atol=1e-13)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_only_the_square_root_of_a_scale_shows(method, scale):
    c = covariance(4, 20)
    w = MATRIX[method](jnp.asarray(c, jnp.float32))
    scaled = MATRIX[method](jnp.asarray(c * scale, jnp.float32))
    np.testing.assert_allclose(np.asarray(scaled, np.float64) * np.sqrt(scale), w, rtol=1e-4, atol=1e-5)


def partly_repeated():
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))
    return (q * np.array([1.0, 1.0, 3.0, 3.0])) @ q.T


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "c", [covariance(4, 20), 2 * np.eye(4), partly_repeated()], ids=["apart", "repeated", "partly"]
)
def test_derivatives_by_finite_differences(float64, method, c):
    check_grads(MATRIX[method], (jnp.asarray(c),), order=1, modes=["fwd", "rev"])


@pytest.mark.parametrize("mode", ["fwd", "rev"])
def test_second_derivatives_by_finite_differences(float64, mode):
    check_grads(MATRIX["zca"], (jnp.asarray(partly_repeated()),), order=2, modes=[mode])


def test_third_derivatives_at_one_repeated_variance(float64):
    # W((1 + t) I) = (1 + t)^(-1/2) I
    function = lambda t: whitening_matrix((1 + t) * jnp.eye(3))[0, 0]  # noqa: E731
    for order, value in enumerate([1, -1 / 2, 3 / 4, -15 / 8]):
        np.testing.assert_allclose(jax.jit(function)(0.0), value, rtol=1e-12, err_msg=str(order))
        function = jax.grad(function)


@pytest.mark.parametrize("method", ["zca", "newton"])
def test_nearly_repeated_variances(float64, method):
    @jax.jit
    @jax.grad
    def gradient(c, g):
        return jnp.sum(whitening_matrix(c, method=method, shrinkage=0.0) * g)

    q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    g = np.random.default_rng(2).normal(size=(3, 3))
    for gap in (1e-5, 1e-7, 1e-9):  # the last two are rounding in float32
        values = np.array([1.0, 1 + gap, 2.0])
        c, s = (q * values) @ q.T, np.sqrt(values)
        # Daleckii and Krein: (1/s_i - 1/s_j) / (s_i^2 - s_j^2), without the differences.
        K = -1 / (s[:, None] * s * (s[:, None] + s))
        wanted = q @ (K * (q.T @ (g + g.T) @ q / 2)) @ q.T
        np.testing.assert_allclose(gradient(jnp.asarray(c), jnp.asarray(g)), wanted, atol=1e-12)
        single = gradient(jnp.asarray(c, jnp.float32), jnp.asarray(g, jnp.float32))
        np.testing.assert_allclose(single, wanted, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_to_whiten_gives_zero(method):
    derivative = jax.jit(jax.jacobian(MATRIX[method]))
    for shrinkage in (0.0, 1e-3):
        zeros = jnp.zeros((4, 4))
        np.testing.assert_array_equal(MATRIX[method](zeros, shrinkage=shrinkage), 0)
        np.testing.assert_array_equal(derivative(zeros, shrinkage=shrinkage), 0)


def test_nothing_to_whiten_has_second_derivatives():
    np.testing.assert_array_equal(jax.jit(jax.hessian(MATRIX["zca"]))(jnp.zeros((2, 2))), 0)


@pytest.mark.parametrize("method", METHODS)
def test_singular_covariances_are_finite(method):
    u = np.random.default_rng(3).normal(size=(2, 60)).astype(np.float32)
    two_samples, constant_unit = jnp.asarray(u.T @ u), jnp.diag(jnp.arange(60.0))
    function = jax.jit(jax.value_and_grad(lambda c: whitening_matrix(c, method=method).sum()))
    for c in (two_samples, constant_unit):
        value, derivative = function(c)
        assert np.isfinite(value) and np.isfinite(derivative).all()
    if method == "zca":
        for shrinkage in (1e-7, 1e-9):
            assert np.isfinite(MATRIX["zca"](two_samples, shrinkage=shrinkage)).all()
        assert np.isnan(MATRIX["zca"](two_samples, shrinkage=0.0)).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_makes_the_matrix_nan(method, bad):
    c = covariance(4, 5).astype(np.float32)
    c[1, 2] = c[2, 1] = bad
    assert np.isnan(MATRIX[method](jnp.asarray(c))).all()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_gives_float32(dtype):
    c = jnp.asarray(covariance(4, 10), dtype)
    w = MATRIX["zca"](c)
    assert w.dtype == jnp.float32
    np.testing.assert_allclose(w, oracle(np.asarray(c, np.float64), 1e-3), atol=1e-5)
    a = jnp.asarray(activations((12, 4)), dtype)
    y = WHITEN["zca"](a)
    assert y.dtype == jnp.float32 and y.shape == a.shape
    np.testing.assert_allclose(y, WHITEN["zca"](a.astype(jnp.float32)), atol=1e-5)
    assert jax.eval_shape(jax.grad(lambda a: whiten(a).sum()), a).dtype == dtype


@pytest.mark.parametrize("method", METHODS)
def test_vmap_and_jit_are_the_eager_loop(method):
    c = np.stack([covariance(4, 5, seed) for seed in range(3)] + [np.zeros((4, 4))]).astype(np.float32)
    many = jax.jit(jax.vmap(MATRIX[method]))(jnp.asarray(c))
    one_by_one = [whitening_matrix(jnp.asarray(one), method=method) for one in c]
    np.testing.assert_allclose(many, jnp.stack(one_by_one), atol=1e-5)


@pytest.mark.parametrize(
    ("c", "arguments", "error", "says"),
    [
        (jnp.zeros((2, 3)), {}, ValueError, r"\[unit, unit\]; got \(2, 3\)"),
        (jnp.zeros((4, 2, 2)), {}, ValueError, r"\[unit, unit\]"),
        (jnp.zeros((0, 0)), {}, ValueError, r"\[unit, unit\]"),
        (jnp.zeros((2, 2), jnp.int32), {}, TypeError, "floating-point"),
        (jnp.eye(2), {"method": "pca"}, ValueError, "zca, cholesky, newton; got 'pca'"),
        (jnp.eye(2), {"shrinkage": 1.5}, ValueError, r"shrinkage must be in \[0, 1\]"),
        (jnp.eye(2), {"shrinkage": jnp.array([0.1, 2])}, ValueError, r"in \[0, 1\]; got 2.0$"),
        (jnp.eye(2), {"shrinkage": jnp.full(2, 0.1)}, ValueError, r"must be a scalar; got shape \(2,\)$"),
        (jnp.eye(2), {"method": "newton", "iterations": 0}, ValueError, "iterations must be >= 1; got 0"),
        (jnp.eye(2), {"method": "newton", "iterations": 2.0}, TypeError, "integer"),
    ],
)
def test_bad_matrices_and_arguments_are_refused(c, arguments, error, says):
    with pytest.raises(error, match=says):
        whitening_matrix(c, **arguments)


# Activations.


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(2, 4, 5, 4)])
def test_whitened_activations_have_the_identity_as_covariance(float64, method, shape):
    a = activations(shape)
    y = np.asarray(whiten(jnp.asarray(a), method=method, shrinkage=0.0, iterations=30))
    assert y.shape == a.shape
    samples = y.reshape(-1, shape[-1])
    np.testing.assert_allclose(np.cov(samples, rowvar=False), np.eye(shape[-1]), atol=1e-9)
    np.testing.assert_allclose(samples.mean(axis=0), 0, atol=1e-10)
    if method != "cholesky":
        c = a.reshape(-1, shape[-1]) - a.reshape(-1, shape[-1]).mean(axis=0)
        wanted = c @ oracle(np.cov(c, rowvar=False))
        np.testing.assert_allclose(samples, wanted, atol=1e-8)


def test_equal_to_scikit_learn_up_to_a_rotation(float64):
    PCA = pytest.importorskip("sklearn.decomposition").PCA
    a = activations((40, 4))
    pca = PCA(whiten=True).fit(a)
    theirs = pca.transform(a)
    projection = pca.components_ / np.sqrt(pca.explained_variance_)[:, None]
    for method in METHODS:
        ours = np.asarray(whiten(jnp.asarray(a), method=method, shrinkage=0.0, iterations=30))
        np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=1e-9)
        w = np.asarray(
            whitening_matrix(
                jnp.asarray(np.cov(a, rowvar=False)), method=method, shrinkage=0.0, iterations=30
            )
        )
        np.testing.assert_allclose(w.T @ w, projection.T @ projection, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_the_gradient_of_whitening_by_finite_differences(float64, method):
    check_grads(WHITEN[method], (jnp.asarray(activations((7, 4))),), order=1, modes=["rev"])


def test_groups_are_whitened_each_for_itself():
    a = jnp.asarray(activations((3, 4, 8)), jnp.float32)
    y = jax.jit(lambda a: whiten(a, groups=2))(a)
    for group in (np.s_[..., :4], np.s_[..., 4:]):
        np.testing.assert_allclose(y[group].reshape(12, 4), WHITEN["zca"](a[group].reshape(12, 4)), atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_samples_that_are_not_valid_never_leak(method):
    a = activations((2, 10, 4)).astype(np.float32)
    where = (np.arange(20) % 5 < 3).reshape(2, 10)
    a[~where] = np.nan
    a[0][~where[0]] = np.inf
    g = np.sin(9 * activations(a.shape, 1)).astype(np.float32)
    y, gradient = with_gradient(WHITEN[method], a, g, where=where)
    wanted, wanted_gradient = with_gradient(WHITEN[method], a[where], g[where], where=np.ones(12, bool))
    np.testing.assert_array_equal(y[~where], 0)
    np.testing.assert_array_equal(gradient[~where], 0)
    np.testing.assert_allclose(y[where], wanted, atol=2e-5)
    np.testing.assert_allclose(gradient[where], wanted_gradient, atol=2e-5)


def test_weights_are_those_of_numpy(float64):
    a, weights = activations((30, 4)), np.random.default_rng(1).uniform(size=30)
    weights[:3] = 0
    y = np.asarray(whiten(jnp.asarray(a), shrinkage=0.0, weights=jnp.asarray(weights)))
    np.testing.assert_array_equal(y[:3], 0)
    np.testing.assert_allclose(np.cov(y, rowvar=False, aweights=weights), np.eye(4), atol=1e-11)
    np.testing.assert_allclose(np.average(y, axis=0, weights=weights), 0, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_corners_are_finite(method):
    a = activations((12, 4)).astype(np.float32)
    g, every = np.cos(a), np.ones(12, bool)
    for count in (0, 1):  # nothing to whiten
        where = np.arange(12) < count
        y, gradient = with_gradient(WHITEN[method], a, g, where=where)
        np.testing.assert_array_equal(y, 0)
        np.testing.assert_array_equal(gradient, 0)
    for count in (2, 4):  # fewer than units, or as many
        for found in with_gradient(WHITEN[method], a, g, where=np.arange(12) < count):
            assert np.isfinite(found).all()
    a[:, 1] = 0.1
    y, gradient = with_gradient(WHITEN[method], a, g, where=every)
    np.testing.assert_allclose(y[:, 1], 0, atol=2e-5)
    np.testing.assert_allclose(gradient[:, 1], 0, atol=2e-5)
    assert np.isfinite(y).all() and np.isfinite(gradient).all()
    constant = np.full((12, 4), 0.1, np.float32)
    for found in with_gradient(WHITEN[method], constant, g, where=every):
        np.testing.assert_array_equal(found, 0)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_scale_of_activations_does_not_show(scale):
    a = activations((12, 4))
    y = WHITEN["zca"](jnp.asarray(a * scale, jnp.float32))
    np.testing.assert_allclose(y, WHITEN["zca"](jnp.asarray(a, jnp.float32)), atol=1e-5)


@pytest.mark.parametrize("how", ["vmap", "shard_map"])
def test_over_a_mapped_axis_as_on_one_device(how):
    a = activations((2, 12, 4)).astype(np.float32)
    g = np.sin(9 * a)
    where = np.arange(12)[None] < np.array([[12], [3]])  # as uneven as can be

    def one(a):
        return whiten(a, groups=2, where=jnp.asarray(where))

    def local(a, where):
        return whiten(a, groups=2, where=where, axis_name="data")

    def spread(a):
        if how == "vmap":
            return jax.vmap(local, axis_name="data")(a, jnp.asarray(where))
        mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
        return jax.shard_map(local, mesh=mesh, in_specs=P("data"), out_specs=P("data"))(a, jnp.asarray(where))

    for found, wanted in zip(with_gradient(spread, a, g), with_gradient(one, a, g), strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-5)


@pytest.mark.parametrize("method", METHODS)
def test_each_device_may_whiten_its_own(method):
    a = activations((2, 12, 4)).astype(np.float32)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
    local = lambda a: jax.vmap(lambda a: whiten(a, method=method))(a)  # noqa: E731
    spread = jax.shard_map(local, mesh=mesh, in_specs=P("data"), out_specs=P("data"))
    for found, wanted in zip(with_gradient(spread, a, a), with_gradient(local, a, a), strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-5)


@pytest.mark.parametrize("spec", [P("data"), P(None, "data")])
def test_on_an_explicit_mesh_as_on_one_device(spec):
    a = activations((12, 4)).astype(np.float32)
    mesh = jax.make_mesh((2,), ("data",), devices=jax.devices()[:2])
    spread = jax.device_put(a, NamedSharding(mesh, spec))
    np.testing.assert_allclose(whiten(spread), WHITEN["zca"](jnp.asarray(a)), atol=1e-5)
    c = covariance_matrix(jnp.asarray(a))
    wanted = MATRIX["zca"](c)
    found = jax.jit(lambda a: whitening_matrix(covariance_matrix(a)))(spread)
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    np.testing.assert_allclose(
        whitening_matrix(jax.device_put(c, NamedSharding(mesh, spec))), wanted, atol=2e-5
    )


def test_a_large_mean_costs_no_digits_beyond_the_inputs():
    a = (np.round(activations((12, 4)) * 64) / 64 + 2.0**16).astype(np.float32)
    a64 = a.astype(np.float64)
    wanted = (a64 - a64.mean(axis=0)) @ oracle(np.cov(a64, rowvar=False), 1e-3)
    np.testing.assert_allclose(WHITEN["zca"](jnp.asarray(a)), wanted, atol=2e-5)


@pytest.mark.parametrize(
    ("a", "arguments", "error", "says"),
    [
        (jnp.zeros(3), {}, ValueError, r"\[..., unit\]"),
        (jnp.zeros((1, 3)), {}, ValueError, ">= 2 samples"),
        (jnp.zeros((4, 3), jnp.int32), {}, TypeError, "floating-point"),
        (jnp.zeros((4, 6)), {"groups": 4}, ValueError, "groups must divide the 6 units; got 4"),
        (jnp.zeros((4, 6)), {"groups": 0}, ValueError, "groups must divide the 6 units; got 0"),
        (jnp.zeros((4, 6)), {"method": "pca"}, ValueError, "zca, cholesky, newton"),
        (jnp.zeros((4, 6)), {"shrinkage": -1.0}, ValueError, "shrinkage"),
        (jnp.zeros((4, 6)), {"where": jnp.ones(4)}, TypeError, "where must be bool"),
    ],
)
def test_bad_activations_and_arguments_are_refused(a, arguments, error, says):
    with pytest.raises(error, match=says):
        whiten(a, **arguments)
