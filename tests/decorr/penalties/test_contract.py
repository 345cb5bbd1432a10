"""What every penalty of the library promises, against formulas as a textbook writes them, in float64."""

import functools
import itertools
import operator
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import decorr
from decorr import pair_penalty


def moments(a, w, ddof):
    """Centred values [sample, unit] and the covariance matrix, as numpy.cov with aweights."""
    mean = jnp.sum(w[:, None] * a, axis=0) / w.sum()
    c = a - mean[None]
    return c, (w[:, None] * c).T @ c / (w.sum() - ddof * jnp.sum(w * w) / w.sum())


def correlation(covariance):
    deviation = jnp.sqrt(jnp.diagonal(covariance))
    return covariance / (deviation[:, None] * deviation[None])


def off(matrix):
    return matrix - jnp.diag(jnp.diagonal(matrix))


def naive_pairs(a, w, kind, diagonal, normalise, ddof):
    d = a.shape[1]
    matrix = moments(a, w, ddof)[1]
    matrix = matrix if kind == "covariance" else correlation(matrix)
    scale = {"unit": 1 / (2 * d), "pair": 1 / (d * (d - 1)), "sum": 1}[normalise]
    return scale * jnp.sum(jnp.square(matrix if diagonal else off(matrix)))


def naive_variance(a, w):
    variance = jnp.diagonal(moments(a, w, 1)[1])
    return jnp.mean(jnp.maximum(1 - jnp.sqrt(variance + 1e-4), 0))


def naive_covariance(a, w):
    return jnp.sum(jnp.square(off(moments(a, w, 1)[1]))) / a.shape[1]


def naive_vicreg(a, b, w):
    distance = jnp.sum(w[:, None] * (a - b) ** 2) / (w.sum() * a.shape[1])
    variance = (naive_variance(a, w) + naive_variance(b, w)) / 2
    return 25 * distance + 25 * variance + naive_covariance(a, w) + naive_covariance(b, w)


def naive_vcreg(a, w, delta=None):
    d, c = a.shape[1], off(moments(a, w, 1)[1])
    squares = c**2
    if delta is not None:
        squares = jnp.where(jnp.abs(c) <= delta, c**2, 2 * delta * jnp.abs(c) - delta**2)
    return 0.16 * naive_variance(a, w) + 0.01 * jnp.sum(squares) / (d * (d - 1))


def cross(a, b, w):
    return (w[:, None] * moments(a, w, 0)[0]).T @ moments(b, w, 0)[0] / w.sum()


def naive_barlow(a, b, w):
    deviations = [jnp.sqrt(jnp.diagonal(moments(x, w, 0)[1])) for x in (a, b)]
    c = cross(a, b, w) / (deviations[0][:, None] * deviations[1][None])
    return jnp.sum((1 - jnp.diagonal(c)) ** 2) + 5e-3 * jnp.sum(off(c) ** 2)


PAIRS = {
    f"pairs {kind} {'with' if diagonal else 'off'} diagonal by {normalise} ddof {ddof}": dict(
        kind=kind, diagonal=diagonal, normalise=normalise, ddof=ddof
    )
    for kind, diagonal, normalise, ddof in itertools.product(
        ("correlation", "covariance"), (False, True), ("unit", "pair", "sum"), (0, 1)
    )
}
# By name: views, the penalty, the formula.
PENALTIES = {
    name: (1, functools.partial(pair_penalty, **form), functools.partial(naive_pairs, **form))
    for name, form in PAIRS.items()
} | {
    "correlation_penalty": (
        1,
        decorr.correlation_penalty,
        lambda a, w: naive_pairs(a, w, "correlation", True, "unit", 1),
    ),
    "decov_loss": (1, decorr.decov_loss, lambda a, w: naive_pairs(a, w, "covariance", False, "sum", 0) / 2),
    "variance_penalty": (1, decorr.variance_penalty, naive_variance),
    "vcreg_loss": (1, lambda a, **stat: decorr.vcreg_loss(a, 0.16, 0.01, **stat), naive_vcreg),
    "vcreg_loss, smooth": (
        1,
        lambda a, **stat: decorr.vcreg_loss(a, 0.16, 0.01, delta=0.4, **stat),
        functools.partial(naive_vcreg, delta=0.4),
    ),
    "xcov_loss": (2, decorr.xcov_loss, lambda a, b, w: jnp.sum(cross(a, b, w) ** 2) / 2),
    "vicreg_loss": (2, decorr.vicreg_loss, naive_vicreg),
    "barlow_twins_loss": (2, decorr.barlow_twins_loss, naive_barlow),
}
# One of each kind, where all combinations would only take longer.
FEW = [name for name in PENALTIES if name not in PAIRS or "by unit ddof 1" in name]
# Value of no sample, where it is not 0.
FLAT = {
    "variance_penalty": 0.99,
    "vcreg_loss": 0.16 * 0.99,
    "vcreg_loss, smooth": 0.16 * 0.99,
    "vicreg_loss": 25 * 0.99,
    "barlow_twins_loss": 5.0,
}
of_every = pytest.mark.parametrize("name", PENALTIES)
of_few = pytest.mark.parametrize("name", FEW)


def activations(views, shape, seed=0):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(*shape[:-1], 1))
    scale = rng.uniform(0.3, 1.2, shape[-1])  # on both sides of the hinge
    return tuple(scale * (rng.normal(size=shape) + common) + 3 for _ in range(views))


def with_gradient(function, views, **static):
    return jax.jit(jax.value_and_grad(functools.partial(function, **static), argnums=tuple(range(views))))


def assert_close(found, wanted, relative):
    for f, w in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(f, w, rtol=relative, atol=relative * float(np.abs(w).max()) + 1e-300)


def formula(name, arrays, w):
    """Value and gradient by the formula, of flattened samples."""
    views, _, naive = PENALTIES[name]
    flat = [jnp.asarray(a.reshape(-1, a.shape[-1])) for a in arrays]
    return jax.value_and_grad(naive, argnums=tuple(range(views)))(*flat, w=jnp.asarray(w))


def in_float64(name, arrays):
    """Value and gradient by the formula, of [sample, unit] in float64 whatever the type of the arrays."""
    with jax.enable_x64(True):
        doubles = [np.asarray(a, np.float64) for a in arrays]
        return jax.tree.map(np.asarray, formula(name, doubles, np.ones(len(doubles[0]))))


@of_every
@pytest.mark.parametrize("shape", [(5, 4, 5), (4, 9)], ids=str)
def test_value_and_gradient(float64, name, shape):
    views, penalty, _ = PENALTIES[name]
    arrays = activations(views, shape)
    value, gradients = with_gradient(penalty, views)(*arrays)
    wanted, slopes = formula(name, arrays, np.ones(np.prod(shape[:-1])))
    assert_close((value, gradients), (wanted, tuple(s.reshape(shape) for s in slopes)), 1e-11)


@of_few
@pytest.mark.parametrize("shape", [(20, 5), (6, 12)])
def test_weights(float64, name, shape):
    views, penalty, naive = PENALTIES[name]
    arrays = activations(views, shape)
    weights = np.random.default_rng(1).uniform(0.1, 2, shape[0])
    assert_close(
        with_gradient(penalty, views)(*arrays, weights=weights), formula(name, arrays, weights), 1e-11
    )
    # By the weights too; and of one that is 0, what stood there does not matter.
    found = jax.jit(jax.grad(lambda w: penalty(*arrays, weights=w)))(weights)
    assert_close(found, jax.jit(jax.grad(lambda w: naive(*arrays, w=w)))(weights), 1e-9)


@of_few
def test_where_is_a_subset_and_padding_does_not_leak(float64, name):
    views, penalty, _ = PENALTIES[name]
    arrays = activations(views, (3, 8, 5))
    where = np.random.default_rng(2).uniform(size=(3, 8)) < 0.6
    padded = [np.where(where[..., None], a, np.nan) for a in arrays]
    value, gradients = with_gradient(penalty, views)(*padded, where=where)
    wanted, slopes = formula(name, [a[where] for a in arrays], np.ones(where.sum()))
    assert_close((value, tuple(g[where] for g in gradients)), (wanted, slopes), 1e-11)
    for gradient in gradients:
        np.testing.assert_array_equal(gradient[~where], 0)
    # A weight of 0 is the same, and both together are.
    other = with_gradient(penalty, views)(*padded, weights=where.astype(np.float64))
    both = with_gradient(penalty, views)(*padded, where=where, weights=np.ones((3, 1)))
    assert_close((other, both), ((value, gradients),) * 2, 1e-13)


@of_few
@pytest.mark.parametrize("valid", [0, 1])
def test_fewer_than_two_valid_samples_pull_nowhere(name, valid):
    views, penalty, _ = PENALTIES[name]
    arrays = [np.full((6, 5), np.nan, np.float32) for _ in range(views)]
    for a in arrays:
        a[:valid] = np.arange(5)
    value, gradients = with_gradient(penalty, views)(*arrays, where=np.arange(6) < valid)
    assert float(value) == pytest.approx(FLAT.get(name, 0), rel=1e-6)
    for gradient in gradients:
        np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize(
    ("name", "shape"),
    [(name, (3, 5)) for name in FEW] + [(name, (8, 3)) for name in FEW if name in PAIRS],
)
def test_every_derivative(float64, name, shape):
    views, penalty, naive = PENALTIES[name]
    arrays = tuple(map(jnp.asarray, activations(views, shape, seed=3)))
    check_grads(jax.jit(penalty), arrays, order=2, modes=["fwd", "rev"], rtol=1e-5)
    weights = jnp.linspace(0.5, 2, shape[0])
    wanted = jax.jit(jax.hessian(functools.partial(naive, w=weights)))(*arrays)
    assert_close(jax.jit(jax.hessian(functools.partial(penalty, weights=weights)))(*arrays), wanted, 1e-9)


@of_few
def test_vmap_is_a_loop(name):
    views, penalty, _ = PENALTIES[name]
    arrays = [
        np.stack(runs).astype(np.float32)
        for runs in zip(*(activations(views, (8, 6), s) for s in range(3)), strict=True)
    ]
    where = np.random.default_rng(0).uniform(size=(3, 8)) < 0.7
    stat = {"where": where}
    found = jax.jit(jax.vmap(lambda arrays, stat: with_gradient(penalty, views)(*arrays, **stat)))(
        arrays, stat
    )
    for run in range(3):
        of_run = functools.partial(jax.tree.map, operator.itemgetter(run))
        assert_close(of_run(found), with_gradient(penalty, views)(*of_run(arrays), **of_run(stat)), 1e-4)


@of_few
def test_half_precision_accumulates_in_float32(name):
    views, penalty, _ = PENALTIES[name]
    arrays = [jnp.asarray(a, jnp.bfloat16) for a in activations(views, (200, 10))]
    value, gradients = with_gradient(penalty, views)(*arrays)
    wanted, _ = in_float64(name, arrays)
    assert value.dtype == jnp.float32 and float(value) == pytest.approx(float(wanted), rel=2e-5)
    assert all(gradient.dtype == jnp.bfloat16 for gradient in gradients)


@of_few
@pytest.mark.parametrize("shape", [(20, 7), (6, 15)])
def test_a_constant_unit_pulls_nowhere_and_adds_no_pair(name, shape):
    views, penalty, _ = PENALTIES[name]
    arrays = [a.astype(np.float32) for a in activations(views, shape)]
    for a in arrays:
        a[:, 2] = 0.1
    _, gradients = with_gradient(penalty, views)(*arrays)
    for gradient in gradients:
        if name == "vicreg_loss":  # its invariance pulls
            continue
        np.testing.assert_array_equal(gradient[:, 2], 0)
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
    if name not in FLAT:
        moved = [a + np.float32(5) * (np.arange(shape[1]) == 2) for a in arrays]  # another constant
        assert float(penalty(*moved)) == float(penalty(*arrays))


@of_few
@pytest.mark.parametrize(("bad", "shape"), [(np.nan, (20, 7)), (np.inf, (6, 15))])
def test_what_is_not_finite_shows(name, bad, shape):
    views, penalty, _ = PENALTIES[name]
    arrays = [a.astype(np.float32) for a in activations(views, shape)]
    arrays[-1][3, 0] = bad
    assert np.isnan(penalty(*arrays))


@of_few
def test_large_means_cost_no_digits(name):
    views, penalty, _ = PENALTIES[name]
    arrays = [(a + 3e3).astype(np.float32) for a in activations(views, (50, 8))]
    wanted, _ = in_float64(name, arrays)
    assert float(penalty(*arrays)) == pytest.approx(float(wanted), rel=1e-4)


@of_few
@pytest.mark.parametrize("shape", [(50, 8), (40, 70)])
def test_a_unit_of_another_scale_costs_no_digits(name, shape):
    """Of covariances most of K is then what the diagonal takes away again."""
    views, penalty, _ = PENALTIES[name]
    arrays = [a.astype(np.float32) for a in activations(views, shape)]
    for a in arrays:
        a[:, 3] *= 1e4
    wanted = in_float64(name, arrays)
    found = with_gradient(penalty, views)(*arrays)
    assert_close(found, wanted, 1e-4)
    for gradient, slope in zip(found[1], wanted[1], strict=True):
        np.testing.assert_allclose(gradient[:, 3], slope[:, 3], atol=1e-4 * np.abs(slope[:, 3]).max())
    assert float(penalty(*arrays)) == pytest.approx(float(wanted[0]), rel=1e-4)


def test_a_pair_needs_two_units():
    a = jnp.asarray(activations(1, (9, 1))[0])
    for normalise in ("unit", "pair", "sum"):
        assert pair_penalty(a, normalise=normalise) == 0


@of_few
@pytest.mark.parametrize(
    ("stat", "kind", "words"),
    [
        ({"where": np.ones(6)}, TypeError, "where must be bool"),
        ({"where": np.ones(5, bool)}, ValueError, r"where must be broadcastable .*\(6,\).*\(5,\)"),
        ({"weights": np.ones((6, 3), np.float32)}, ValueError, r"weights must be broadcastable"),
        ({"weights": np.arange(6)}, TypeError, "weights must have a real floating-point"),
        ({"weights": np.float32([1, 1, -2, 1, 1, 1])}, ValueError, "weights must be finite and >= 0; got -2"),
        ({"weights": np.float32([1, 1, np.nan, 1, 1, 1])}, ValueError, ">= 0; got nan"),
        ({"weights": np.float32([1, 1, np.inf, 1, 1, 1])}, ValueError, ">= 0; got inf"),
    ],
)
def test_bad_samples(name, stat, kind, words):
    views, penalty, _ = PENALTIES[name]
    with pytest.raises(kind, match=words):
        penalty(*(jnp.asarray(a, jnp.float32) for a in activations(views, (6, 3))), **stat)


@of_few
@pytest.mark.parametrize("bad", [-2, np.inf])
def test_a_traced_weight_that_is_none_shows(name, bad):
    views, penalty, _ = PENALTIES[name]
    arrays = [jnp.asarray(a, jnp.float32) for a in activations(views, (6, 3))]
    assert np.isnan(jax.jit(lambda w: penalty(*arrays, weights=w))(jnp.float32([1, 1, bad, 1, 1, 1])))


@of_few
@pytest.mark.parametrize(
    ("a", "kind", "words"),
    [
        (np.ones(3, np.float32), ValueError, r"\(3,\).*axis_name"),
        (np.ones((1, 3), np.float32), ValueError, r"\(1, 3\)"),
        (np.ones((4, 3), np.int32), TypeError, "int32"),
        (np.ones((4, 3), np.complex64), TypeError, "complex64"),
    ],
)
def test_bad_activations(name, a, kind, words):
    views, penalty, _ = PENALTIES[name]
    with pytest.raises(kind, match=words):
        penalty(*(jnp.asarray(a),) * views)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda a: pair_penalty(a, kind="cosine"),
            "kind must be one of correlation, covariance; got 'cosine'",
        ),
        (lambda a: pair_penalty(a, normalise="mean"), "normalise must be one of unit, pair, sum; got 'mean'"),
        (lambda a: pair_penalty(a, ddof=2), "ddof must be 0 or 1; got 2"),
        (lambda a: decorr.covariance_matrix(a, ddof=-1), "ddof must be 0 or 1; got -1"),
        (lambda a: decorr.vcreg_loss(a, 1.0, 1.0, delta=0.0), "delta must be above 0, or None; got 0.0"),
        (lambda a: decorr.vicreg_loss(a, a, coefficients=(1.0, 1.0)), "three.*got 2"),
        (lambda a: decorr.vicreg_loss(a, a[:, 1:]), r"same units; got shapes \(6, 3\) and \(6, 2\)"),
        (lambda a: decorr.barlow_twins_loss(a, a[1:]), r"same samples; got shapes \(6, 3\) and \(5, 3\)"),
        (lambda a: decorr.xcov_loss(a, a[1:]), r"same samples; got shapes \(6, 3\) and \(5, 3\)"),
    ],
)
def test_bad_options(call, words):
    with pytest.raises(ValueError, match=words):
        call(jnp.asarray(activations(1, (6, 3))[0], jnp.float32))


def test_two_layers_may_differ_in_units():
    a, _ = activations(2, (20, 5))
    b = activations(1, (20, 3), seed=1)[0]
    wanted = np.sum(np.cov(a, b, rowvar=False, ddof=0)[:5, 5:] ** 2) / 2
    assert float(decorr.xcov_loss(jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32))) == pytest.approx(
        wanted, rel=1e-5
    )


@of_few
@pytest.mark.parametrize(("m", "d"), [(37, 5), (41, 43)])
def test_masks_and_weights_that_are_not_given_are_not_in_the_program(name, m, d):
    """A number for each sample is nothing else's."""
    views, penalty, _ = PENALTIES[name]
    shapes = [jax.ShapeDtypeStruct((m, d), jnp.float32)] * views

    def of_each_sample(**stat):
        text = with_gradient(penalty, views).lower(*shapes, **stat).as_text()
        return re.findall(rf"tensor<{m}(?:x1)*x(?:i1|f32)>", text)

    assert of_each_sample() == [] and of_each_sample(where=np.ones(m, bool))


@pytest.mark.parametrize(("m", "d"), [(256, 4096), (4096, 256)])
@pytest.mark.parametrize("name", [name for name in FEW if name != "vcreg_loss, smooth"])
def test_no_array_of_the_larger_size_squared(name, m, d):
    views, penalty, _ = PENALTIES[name]
    shapes = [jax.ShapeDtypeStruct((m, d), jnp.float32)] * views
    assert "4096,4096" not in with_gradient(penalty, views).lower(*shapes).compile().as_text()
