"""Whitening as a fitted map, against scikit-learn and NumPy, and its round trip."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from decorr import CorrelationState, fit_whitening, whitening_matrix

METHODS = ("zca", "pca", "cholesky")
M, D = 12, 4


# One program has all methods, and tests share its shapes, because compilation takes most of the time.
@jax.jit
def fitted(a, shrinkage=1e-3, **stat):
    """By method: the map, the whitened activations, and the activations after the round trip."""

    def of(method):
        whitening = fit_whitening(a, method=method, shrinkage=shrinkage, **stat)
        z = whitening.whiten(a)
        return whitening, z, whitening.unwhiten(z)

    return {method: of(method) for method in METHODS}


def activations(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(M, D)) @ (np.eye(D) + 0.3 * rng.normal(size=(D, D))) + 3


def test_pca_is_scikit_learns(float64):
    PCA = pytest.importorskip("sklearn.decomposition").PCA
    a, other = activations(), activations(1)
    cut = functools.partial(fit_whitening, method="pca", shrinkage=0.0, components=2)
    for components, ours in ((D, fitted(a, 0.0)["pca"][0]), (2, jax.jit(cut)(a))):
        theirs = PCA(components, whiten=True).fit(a)
        sign = np.sign(np.sum(np.asarray(ours.matrix) * theirs.components_, axis=1))
        z, wanted = np.asarray(ours.whiten(other)), theirs.transform(other) * sign
        np.testing.assert_allclose(z, wanted, atol=1e-10)
        np.testing.assert_allclose(ours.unwhiten(z), theirs.inverse_transform(wanted * sign), atol=1e-10)
        np.testing.assert_allclose(ours.mean, theirs.mean_, rtol=1e-12)


def test_others_are_the_whitening_matrix_and_all_have_an_inverse(float64):
    a = activations()
    found, c = fitted(a), np.cov(a, rowvar=False)
    for method in ("zca", "cholesky"):
        wanted = whitening_matrix(c, method=method)
        np.testing.assert_allclose(found[method][0].matrix, wanted, atol=1e-12)
    for method, (whitening, z, back) in found.items():
        mean, matrix, inverse = map(np.asarray, whitening)
        np.testing.assert_allclose(matrix @ inverse, np.eye(D), atol=1e-12, err_msg=method)
        np.testing.assert_allclose(
            inverse @ inverse.T, 0.999 * c + 1e-3 * np.trace(c) / D * np.eye(D), atol=1e-12
        )
        np.testing.assert_allclose(z, (a - mean) @ matrix.T, atol=1e-12)
        np.testing.assert_allclose(back, a, atol=1e-12)


@pytest.mark.parametrize("condition", [1e6, 1e12])
@pytest.mark.parametrize("shrinkage", [0.0, 1e-3])
def test_there_and_back_in_single_precision(condition, shrinkage):
    """Accurate even if the smallest eigenvalues of the covariance are only rounding."""
    rng, d = np.random.default_rng(0), 32
    q, _ = np.linalg.qr(rng.normal(size=(d, d)))
    a = (rng.normal(size=(100, d)) * np.geomspace(1, condition**-0.5, d) @ q.T).astype(np.float32)
    for method, (_, z, back) in fitted(a, shrinkage).items():
        assert np.abs(back - a).max() < 1e-5 * np.abs(a).max(), method
        assert 0.5 < np.std(np.asarray(z), axis=0).max() < 1.5


def test_valid_samples_and_weights(float64):
    a, weights = activations(), np.random.default_rng(1).uniform(0.5, 2, M)
    where = np.arange(M) < 9
    found = fitted(np.where(where[:, None], a, np.nan), where=where, weights=weights)
    c = np.cov(a[:9], rowvar=False, aweights=weights[:9])
    for whitening, *_ in found.values():
        inverse = np.asarray(whitening.inverse)
        np.testing.assert_allclose(whitening.mean, np.average(a[:9], axis=0, weights=weights[:9]), rtol=1e-12)
        np.testing.assert_allclose(
            inverse @ inverse.T, 0.999 * c + 1e-3 * np.trace(c) / D * np.eye(D), atol=1e-12
        )


def test_a_stream_and_a_mapped_axis_give_the_same_map():
    a = activations().astype(np.float32)
    wanted = fitted(a)

    @jax.jit
    def others(halves):
        state = CorrelationState.init(D)
        for half in halves:
            state = state.update(half)
        fit = jax.vmap(functools.partial(fit_whitening, axis_name="data"), axis_name="data")
        return {method: state.whitening(method=method) for method in METHODS}, fit(halves)

    of_stream, of_axis = others(a.reshape(2, M // 2, D))
    for method in METHODS:
        for found, want in zip(of_stream[method], wanted[method][0], strict=True):
            np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)
    for found, want in zip(of_axis, wanted["zca"][0], strict=True):
        np.testing.assert_allclose(found, np.stack([want] * 2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spec", [P("data"), P(None, "data")])
def test_on_an_explicit_mesh_as_on_one_device(spec):
    a = activations().astype(np.float32)
    mesh = jax.make_mesh((2,), ("data",), devices=jax.devices()[:2])
    whitening = fit_whitening(jax.device_put(a, NamedSharding(mesh, spec)))
    z = whitening.whiten(jax.device_put(a, NamedSharding(mesh, spec)))
    np.testing.assert_allclose(z, fitted(a)["zca"][1], atol=1e-5)
    np.testing.assert_allclose(whitening.unwhiten(z), a, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_corners(method):
    a = activations().astype(np.float32)
    a[:, 1] = 0.1
    whitening, z, back = fitted(a)[method]
    assert all(np.isfinite(x).all() for x in whitening)
    np.testing.assert_allclose(back, a, atol=1e-5)
    for x, valid in ((np.full((M, D), 0.1, np.float32), M), (a, 1)):  # nothing to whiten
        whitening, z, back = fitted(x, where=np.arange(M) < valid)[method]
        np.testing.assert_array_equal(z, 0)
        np.testing.assert_array_equal(back, np.broadcast_to(x[0], (M, D)))
    a[2, 0] = np.nan
    assert np.isnan(fitted(a)[method][1]).all()


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_scale_of_activations_does_not_show(scale):
    a = activations()
    for method in METHODS:
        found, wanted = (fitted(x.astype(np.float32))[method][1] for x in (a * scale, a))
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_shapes_dtypes_and_derivatives():
    a = jnp.asarray(activations(), jnp.bfloat16)

    def of(a):
        whitening = fit_whitening(a, method="pca", components=3)
        z = whitening.whiten(a.reshape(3, 4, D))
        return whitening, z, whitening.unwhiten(z), whitening.whiten(a[0])

    shapes = jax.tree.map(lambda x: (x.shape, x.dtype), jax.eval_shape(of, a))
    assert shapes[1:] == tuple((s, jnp.float32) for s in ((3, 4, 3), (3, 4, D), (3,)))
    assert [s for s, _ in shapes[0]] == [(D,), (3, D), (D, 3)]
    constants = jax.jit(jax.grad(lambda a: sum(x.sum() for x in fit_whitening(a))))(activations())
    np.testing.assert_array_equal(constants, 0)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"method": "newton"}, ValueError, "unknown method 'newton': choose from zca, pca, cholesky"),
        ({"components": 2}, ValueError, 'components are for method="pca"'),
        ({"method": "pca", "components": 5}, ValueError, "components must be from 1 to 4, .*; got 5"),
        ({"method": "pca", "components": 2.0}, TypeError, "integer"),
        ({"shrinkage": 2.0}, ValueError, r"shrinkage must be in \[0, 1\]"),
    ],
)
def test_bad_arguments(arguments, error, says):
    with pytest.raises(error, match=says):
        fit_whitening(activations(), **arguments)


def test_another_number_of_units_or_components():
    whitening = jax.eval_shape(functools.partial(fit_whitening, method="pca", components=2), activations())
    with pytest.raises(ValueError, match=r"activations must have shape \[\.\.\., 4\]; got \(3, 5\)"):
        whitening.whiten(np.ones((3, 5)))
    with pytest.raises(ValueError, match=r"whitened activations must have shape \[\.\.\., 2\]; got \(4,\)"):
        whitening.unwhiten(np.ones(4))
