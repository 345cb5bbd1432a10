"""Whitening against NumPy, and in corner cases."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from decorr import covariance_matrix, whiten, whitening_matrix

METHODS = ["zca", "cholesky", "newton"]
of_every_method = pytest.mark.parametrize("method", METHODS)


# Each program has all methods, and tests share its shapes, because compilation takes most of the time.


@functools.partial(jax.jit, static_argnames="iterations")
def matrices(c, shrinkage=1e-3, iterations=9):
    """The whitening matrices by method."""
    options = {"shrinkage": shrinkage, "iterations": iterations}
    return {method: whitening_matrix(c, method=method, **options) for method in METHODS}


@functools.partial(jax.jit, static_argnames="iterations")
def derivatives(c, direction, g, shrinkage=1e-3, iterations=9):
    """By method: the matrix, its change along a direction, and the gradient of its product with g."""

    def of(method):
        function = functools.partial(
            whitening_matrix, method=method, shrinkage=shrinkage, iterations=iterations
        )
        value, back = jax.vjp(function, c)
        return value, jax.jvp(function, (c,), (direction,))[1], back(g)[0]

    return {method: of(method) for method in METHODS}


@functools.partial(jax.jit, static_argnames="iterations")
def whitened(a, g, shrinkage=1e-3, iterations=9, **stat):
    """By method: the whitened activations, and the gradient of their product with g."""

    def of(method):
        options = {"method": method, "shrinkage": shrinkage, "iterations": iterations}
        value, back = jax.vjp(lambda a: whiten(a, **options, **stat), a)
        return value, back(g.astype(value.dtype))[0]

    return {method: of(method) for method in METHODS}


def activations(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) @ (np.eye(shape[-1]) + 0.3 * rng.normal(size=(shape[-1], shape[-1]))) + 3


def covariance(d, condition, seed=0):
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))
    return (q * np.geomspace(1, condition, d)) @ q.T


def shrink(c, shrinkage):
    return (1 - shrinkage) * c + shrinkage * np.trace(c) / len(c) * np.eye(len(c))


def oracle(c, shrinkage=0.0):
    """C'^(-1/2) by NumPy."""
    values, vectors = np.linalg.eigh(shrink(c, shrinkage))
    return (vectors / np.sqrt(values)) @ vectors.T


def oracle_change(method, c, direction, shrinkage=0.0):
    """The derivative of W along a direction, computed without differences of eigenvalues."""
    c, e = shrink(c, shrinkage), shrink((direction + direction.T) / 2, shrinkage)
    if method == "cholesky":
        w = np.linalg.inv(np.linalg.cholesky(c))
        inner = w @ e @ w.T
        return -(np.tril(inner, -1) + np.diag(np.diag(inner)) / 2) @ w
    values, q = np.linalg.eigh(c)
    s = np.sqrt(values)
    # Daleckii and Krein: (1/s_i - 1/s_j) / (s_i^2 - s_j^2), without the differences.
    return q @ (-1 / (s[:, None] * s * (s[:, None] + s)) * (q.T @ e @ q)) @ q.T


def oracle_gradient(method, c, g, shrinkage=0.0):
    """The gradient of the sum of W * g."""
    units = np.eye(c.size).reshape(-1, *c.shape)
    return np.reshape([np.sum(g * oracle_change(method, c, e, shrinkage)) for e in units], c.shape)


# The matrix.


@pytest.mark.parametrize("shrinkage", [0.0, 1e-3, 0.5, 1.0])
@pytest.mark.parametrize("d", [1, 4])
def test_the_matrix_whitens_the_shrunk_covariance(float64, shrinkage, d):
    c = covariance(d, 10)
    for method, w in matrices(c, shrinkage, iterations=15).items():
        np.testing.assert_allclose(w @ shrink(c, shrinkage) @ w.T, np.eye(d), atol=1e-12)
        if method == "cholesky":
            np.testing.assert_array_equal(w, np.tril(w))
        else:
            np.testing.assert_allclose(w, oracle(c, shrinkage), atol=1e-12)


@pytest.mark.parametrize(
    ("iterations", "condition", "error"), [(9, 10, 1e-4), (9, 100, 0.01), (15, 100, 1e-4)]
)
def test_newton_approaches_zca(float64, iterations, condition, error):
    c = covariance(64, condition)
    w = whitening_matrix(c, method="newton", shrinkage=0.0, iterations=iterations)
    assert np.max(np.abs(w @ c @ w.T - np.eye(64))) < error


def test_newton_is_iterative_normalization_with_another_norm(float64):
    c = covariance(4, 50)
    p, norm = np.eye(4), np.linalg.norm(c)
    for _ in range(4):
        p = (3 * p - p @ p @ p @ (c / norm)) / 2
    w = whitening_matrix(c, method="newton", shrinkage=0.0, iterations=4)
    np.testing.assert_allclose(w, p / np.sqrt(norm), atol=1e-13)


@of_every_method
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_only_the_square_root_of_a_scale_shows(method, scale):
    c = covariance(4, 20)
    w, scaled = (matrices(np.float32(x))[method] for x in (c, c * scale))
    np.testing.assert_allclose(np.asarray(scaled, np.float64) * np.sqrt(scale), w, rtol=1e-4, atol=1e-5)


def partly_repeated():
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))
    return (q * np.array([1.0, 1.0, 3.0, 3.0])) @ q.T


DIRECTION, G = np.random.default_rng(4).normal(size=(2, 4, 4))


@of_every_method
@pytest.mark.parametrize(
    "c", [covariance(4, 20), 2 * np.eye(4), partly_repeated()], ids=["apart", "repeated", "partly"]
)
def test_derivatives(float64, method, c):
    _, change, gradient = derivatives(c, DIRECTION, G, iterations=15)[method]
    np.testing.assert_allclose(change, oracle_change(method, c, DIRECTION, 1e-3), atol=1e-11)
    np.testing.assert_allclose(gradient, oracle_gradient(method, c, G, 1e-3), atol=1e-11)


def test_second_derivatives(float64):
    """Compares with differences of first derivatives."""

    @jax.jit
    def second(c):
        along = lambda c: jax.jvp(whitening_matrix, (c,), (DIRECTION,))[1]  # noqa: E731
        weighted = lambda c: jnp.sum(G * along(c))  # noqa: E731
        return jax.jvp(along, (c,), (G,))[1], jax.grad(weighted)(c)

    c, h = partly_repeated(), 1e-4
    change = lambda c: oracle_change("zca", c, DIRECTION, 1e-3)  # noqa: E731
    by_change, by_gradient = second(c)
    wanted = (change(c + h * (G + G.T) / 2) - change(c - h * (G + G.T) / 2)) / (2 * h)
    np.testing.assert_allclose(by_change, wanted, atol=1e-6)
    along = np.random.default_rng(5).normal(size=(4, 4))
    along += along.T
    wanted = np.sum(G * (change(c + h * along) - change(c - h * along))) / (2 * h)
    assert float(jnp.sum(by_gradient * along)) == pytest.approx(wanted, rel=1e-6)


def test_third_derivatives_at_one_repeated_variance(float64):
    # W((1 + t) I) = (1 + t)^(-1/2) I
    functions = [lambda t: whitening_matrix((1 + t) * jnp.eye(3))[0, 0]]
    for _ in range(3):
        functions.append(jax.grad(functions[-1]))
    found = jax.jit(lambda t: [function(t) for function in functions])(0.0)
    np.testing.assert_allclose(found, [1, -1 / 2, 3 / 4, -15 / 8], rtol=1e-12)


@pytest.mark.parametrize("method", ["zca", "newton"])
def test_nearly_repeated_variances(float64, method):
    q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))
    for gap in (1e-5, 1e-7, 1e-9):  # in float32 the last two gaps are only rounding
        c = (q * np.array([1.0, 1 + gap, 2.0, 3.0])) @ q.T
        wanted = oracle_gradient(method, c, G)
        _, _, gradient = derivatives(c, DIRECTION, G, 0.0, iterations=15)[method]
        np.testing.assert_allclose(gradient, wanted, atol=1e-12)
        _, _, gradient = derivatives(*map(np.float32, (c, DIRECTION, G, 0.0)), iterations=15)[method]
        np.testing.assert_allclose(gradient, wanted, atol=2e-5)


@of_every_method
@pytest.mark.parametrize("shrinkage", [0.0, 1e-3])
def test_nothing_to_whiten_gives_zero(method, shrinkage):
    zeros = np.zeros((4, 4), np.float32)
    for found in derivatives(zeros, np.float32(DIRECTION), np.float32(G), np.float32(shrinkage), 15)[method]:
        np.testing.assert_array_equal(found, 0)


def test_nothing_to_whiten_has_second_derivatives():
    np.testing.assert_array_equal(jax.jit(jax.hessian(whitening_matrix))(jnp.zeros((2, 2))), 0)


@of_every_method
def test_singular_covariances_are_finite(method):
    u = np.random.default_rng(3).normal(size=(2, 60)).astype(np.float32)
    two_samples, constant_unit = u.T @ u, np.diag(np.arange(60.0, dtype=np.float32))
    one = np.ones((60, 60), np.float32)
    for c in (two_samples, constant_unit):
        for found in derivatives(c, one, one)[method]:
            assert np.isfinite(found).all()
    if method == "zca":
        for shrinkage in (1e-7, 1e-9):
            assert np.isfinite(derivatives(two_samples, one, one, shrinkage)[method][0]).all()
        assert np.isnan(derivatives(two_samples, one, one, 0.0)[method][0]).all()


@of_every_method
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_makes_the_matrix_nan(method, bad):
    c = covariance(4, 5).astype(np.float32)
    c[1, 2] = c[2, 1] = bad
    assert np.isnan(matrices(c)[method]).all()


def test_half_precision_gives_float32():
    dtype = jnp.bfloat16
    c = jnp.asarray(covariance(4, 10), dtype)
    w = jax.jit(whitening_matrix)(c)
    assert w.dtype == jnp.float32
    np.testing.assert_allclose(w, oracle(np.asarray(c, np.float64), 1e-3), atol=1e-5)
    a = np.asarray(jnp.asarray(activations((12, 4)), dtype))
    y = jax.jit(whiten)(a)
    assert y.dtype == jnp.float32 and y.shape == a.shape
    wide = np.asarray(a, np.float32)
    np.testing.assert_allclose(y, whitened(wide, wide)["zca"][0], atol=1e-5)
    assert jax.eval_shape(jax.grad(lambda a: whiten(a).sum()), a).dtype == dtype


def test_vmap_and_jit_are_the_eager_loop():
    c = np.stack([covariance(4, 5, seed) for seed in range(3)] + [np.zeros((4, 4))]).astype(np.float32)
    many = jax.jit(jax.vmap(matrices))(c)
    for method in METHODS:
        alone = [whitening_matrix(one, method=method) for one in c]
        np.testing.assert_allclose(many[method], alone, atol=1e-5)


@pytest.mark.parametrize(
    ("c", "arguments", "error", "says"),
    [
        (jnp.zeros((2, 3)), {}, ValueError, r"\[unit, unit\]; got \(2, 3\)"),
        (jnp.zeros((4, 2, 2)), {}, ValueError, r"\[unit, unit\]"),
        (jnp.zeros((0, 0)), {}, ValueError, r"\[unit, unit\]"),
        (jnp.zeros((2, 2), jnp.int32), {}, TypeError, "floating-point"),
        (jnp.eye(2), {"method": "pca"}, ValueError, "unknown method 'pca'.* from zca, cholesky, newton"),
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


POSITIONS = (2, 4, 5, 4)


@of_every_method
def test_whitened_activations_have_the_identity_as_covariance(float64, method):
    a = activations(POSITIONS)
    y = np.asarray(whitened(a, a, 0.0, 15)[method][0])
    assert y.shape == a.shape
    rows, known = y.reshape(-1, 4), a.reshape(-1, 4)
    np.testing.assert_allclose(np.cov(rows, rowvar=False), np.eye(4), atol=1e-9)
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-10)
    c, covariances = known - known.mean(axis=0), np.cov(known, rowvar=False)
    w = np.linalg.inv(np.linalg.cholesky(covariances)) if method == "cholesky" else oracle(covariances)
    np.testing.assert_allclose(rows, c @ w.T, atol=1e-8)


@of_every_method
def test_the_gradient_of_whitening(float64, method):
    """Compares along a direction in which mean, covariance and matrix change too."""
    a, g, e = (activations(POSITIONS, seed) for seed in range(3))
    found = np.sum(np.asarray(whitened(a, g, 1e-3, 15)[method][1]) * e)
    rows, g, e = (x.reshape(-1, 4) for x in (a, g, e))
    c, dc = rows - rows.mean(axis=0), e - e.mean(axis=0)
    covariances, change = np.cov(c, rowvar=False), (c.T @ dc + dc.T @ c) / (len(c) - 1)
    shrunk = shrink(covariances, 1e-3)
    w = np.linalg.inv(np.linalg.cholesky(shrunk)) if method == "cholesky" else oracle(shrunk)
    wanted = np.sum(g * (dc @ w.T + c @ oracle_change(method, covariances, change, 1e-3).T))
    assert found == pytest.approx(wanted, rel=1e-9)


def test_groups_are_whitened_each_for_itself():
    a = activations((3, 4, 8)).astype(np.float32)
    y = jax.jit(lambda a: whiten(a, groups=2))(a)
    for group in (np.s_[..., :4], np.s_[..., 4:]):
        alone = a[group].reshape(12, 4)
        np.testing.assert_allclose(y[group].reshape(12, 4), whitened(alone, alone)["zca"][0], atol=1e-5)


@of_every_method
def test_samples_that_are_not_valid_never_leak(method):
    a = activations((2, 10, 4)).astype(np.float32)
    where = (np.arange(20) % 5 < 3).reshape(2, 10)
    a[~where] = np.nan
    a[0][~where[0]] = np.inf
    g = np.sin(9 * activations(a.shape, 1)).astype(np.float32)
    y, gradient = whitened(a, g, where=where)[method]
    wanted, wanted_gradient = whitened(a[where], g[where], where=np.ones(12, bool))[method]
    np.testing.assert_array_equal(y[~where], 0)
    np.testing.assert_array_equal(gradient[~where], 0)
    np.testing.assert_allclose(y[where], wanted, atol=2e-5)
    np.testing.assert_allclose(gradient[where], wanted_gradient, atol=2e-5)


def test_weights_are_those_of_numpy(float64):
    a, weights = activations((30, 4)), np.random.default_rng(1).uniform(size=30)
    weights[:3] = 0
    y = np.asarray(jax.jit(functools.partial(whiten, shrinkage=0.0))(a, weights=weights))
    np.testing.assert_array_equal(y[:3], 0)
    np.testing.assert_allclose(np.cov(y, rowvar=False, aweights=weights), np.eye(4), atol=1e-11)
    np.testing.assert_allclose(np.average(y, axis=0, weights=weights), 0, atol=1e-12)


@of_every_method
def test_corners_are_finite(method):
    a = activations((12, 4)).astype(np.float32)
    g, every = np.cos(a), np.ones(12, bool)
    for count in (0, 1):  # nothing to whiten
        for found in whitened(a, g, where=np.arange(12) < count)[method]:
            np.testing.assert_array_equal(found, 0)
    for count in (2, 4):  # fewer samples than units, or as many
        for found in whitened(a, g, where=np.arange(12) < count)[method]:
            assert np.isfinite(found).all()
    a[:, 1] = 0.1
    for found in whitened(a, g, where=every)[method]:
        np.testing.assert_allclose(found[:, 1], 0, atol=2e-5)
        assert np.isfinite(found).all()
    constant = np.full((12, 4), 0.1, np.float32)
    for found in whitened(constant, g, where=every)[method]:
        np.testing.assert_array_equal(found, 0)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_scale_of_activations_does_not_show(scale):
    a = activations((12, 4))
    y, wanted = (whitened(x, x)["zca"][0] for x in map(np.float32, (a * scale, a)))
    np.testing.assert_allclose(y, wanted, atol=1e-5)


@functools.partial(jax.jit, static_argnums=0)
def with_gradient(function, a, g):
    value, back = jax.vjp(function, a)
    return value, back(g)[0]


@pytest.mark.parametrize("how", ["vmap", "shard_map"])
def test_over_a_mapped_axis_as_on_one_device(how):
    a = activations((2, 12, 4)).astype(np.float32)
    g = np.sin(9 * a)
    where = np.arange(12)[None] < np.array([[12], [3]])  # as uneven as possible

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


@pytest.mark.slow
def test_each_device_may_whiten_its_own():
    a = activations((2, 12, 4)).astype(np.float32)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])

    def local(a):
        return [jax.vmap(functools.partial(whiten, method=method))(a) for method in METHODS]

    spread = jax.shard_map(local, mesh=mesh, in_specs=P("data"), out_specs=P("data"))
    for found, wanted in zip(
        *(jax.tree.leaves(with_gradient(function, a, [a] * 3)) for function in (spread, local)), strict=True
    ):
        np.testing.assert_allclose(found, wanted, atol=2e-5)


@pytest.mark.parametrize("spec", [P("data"), P(None, "data")])
def test_on_an_explicit_mesh_as_on_one_device(spec):
    a = activations((12, 4)).astype(np.float32)
    mesh = jax.make_mesh((2,), ("data",), devices=jax.devices()[:2])
    spread = jax.device_put(a, NamedSharding(mesh, spec))
    np.testing.assert_allclose(whiten(spread), whitened(a, a)["zca"][0], atol=1e-5)
    c = np.cov(a, rowvar=False).astype(np.float32)
    wanted = matrices(c)["zca"]
    found = jax.jit(lambda a: whitening_matrix(covariance_matrix(a)))(spread)
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    np.testing.assert_allclose(
        whitening_matrix(jax.device_put(c, NamedSharding(mesh, spec))), wanted, atol=2e-5
    )


def test_a_large_mean_costs_no_digits_beyond_the_inputs():
    a = (np.round(activations((12, 4)) * 64) / 64 + 2.0**16).astype(np.float32)
    a64 = a.astype(np.float64)
    wanted = (a64 - a64.mean(axis=0)) @ oracle(np.cov(a64, rowvar=False), 1e-3)
    np.testing.assert_allclose(whitened(a, a)["zca"][0], wanted, atol=2e-5)


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
