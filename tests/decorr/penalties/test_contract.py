"""What every penalty of the library promises, against formulas as a textbook writes them, in float64.

Nearly all time here is compilation. So one program computes the values and gradients of all penalties. Tests
share two shapes: more samples than units, and fewer.
"""

import functools
import itertools
import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import decorr
from decorr import pair_penalty

KEY, SLICES = jax.random.key(0), 4
"""The number of directions that are drawn."""

# Formulas for activations [..., sample, unit] and weights [..., sample]. They take complex numbers too.


def moments(a, w, ddof):
    """Centred values [sample, unit] and the covariance matrix, as in numpy.cov with aweights."""
    w = w[..., None]
    total = w.sum(axis=-2, keepdims=True)
    c = a - (w * a).sum(axis=-2, keepdims=True) / total
    return c, (w * c).swapaxes(-1, -2) @ c / (total - ddof * (w * w).sum(axis=-2, keepdims=True) / total)


def diagonal_of(matrix):
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def correlation(covariance):
    deviation = np.sqrt(diagonal_of(covariance))
    return covariance / (deviation[..., :, None] * deviation[..., None, :])


def off(matrix):
    return matrix * (1 - np.eye(matrix.shape[-1]))


def total(matrix):
    return matrix.sum(axis=(-2, -1))


def above_zero(x):
    return np.where(x.real > 0, x, 0)


def naive_pairs(a, w, kind, diagonal, normalise, ddof):
    d = a.shape[-1]
    matrix = moments(a, w, ddof)[1]
    matrix = matrix if kind == "covariance" else correlation(matrix)
    scale = {"unit": 1 / (2 * d), "pair": 1 / (d * (d - 1)), "sum": 1}[normalise]
    return scale * total((matrix if diagonal else off(matrix)) ** 2)


def naive_variance(a, w):
    return above_zero(1 - np.sqrt(diagonal_of(moments(a, w, 1)[1]) + 1e-4)).mean(axis=-1)


def naive_covariance(a, w):
    return total(off(moments(a, w, 1)[1]) ** 2) / a.shape[-1]


def naive_vicreg(a, b, w):
    distance = total(w[..., None] * (a - b) ** 2) / (w.sum(axis=-1) * a.shape[-1])
    variance = (naive_variance(a, w) + naive_variance(b, w)) / 2
    return 25 * distance + 25 * variance + naive_covariance(a, w) + naive_covariance(b, w)


def naive_vcreg(a, w, delta=None):
    d, c = a.shape[-1], off(moments(a, w, 1)[1])
    squares = c**2
    if delta is not None:
        size = np.where(c.real < 0, -c, c)
        squares = np.where(size.real <= delta, squares, 2 * delta * size - delta**2)
    return 0.16 * naive_variance(a, w) + 0.01 * total(squares) / (d * (d - 1))


def cross(a, b, w):
    c, other = moments(a, w, 0)[0], moments(b, w, 0)[0]
    return (w[..., None] * c).swapaxes(-1, -2) @ other / w.sum(axis=-1)[..., None, None]


def naive_barlow(a, b, w):
    deviations = [np.sqrt(diagonal_of(moments(x, w, 0)[1])) for x in (a, b)]
    c = cross(a, b, w) / (deviations[0][..., :, None] * deviations[1][..., None, :])
    return ((1 - diagonal_of(c)) ** 2).sum(axis=-1) + 5e-3 * total(off(c) ** 2)


def naive_sigreg(a, w):
    u = np.asarray(jax.random.normal(KEY, (a.shape[-1], SLICES), jnp.float32), np.float64)
    t = np.linspace(0, 3, 17)
    normal, width = np.exp(-t * t / 2), np.full(17, 2 * t[1])
    width[[0, -1]] = t[1]
    angle = t * (a @ (u / np.sqrt((u**2).sum(axis=0))))[..., None]
    share = (w / w.sum(axis=-1)[..., None])[..., None, None]
    real, imaginary = ((share * x).sum(axis=-3) for x in (np.cos(angle), np.sin(angle)))
    n = w.sum(axis=-1) ** 2 / (w**2).sum(axis=-1)
    return n * ((real - normal) ** 2 + imaginary**2).dot(width * normal).mean(axis=-1)


# The normalisation is only a factor, so each combination of the other options is tested with one of them.
PAIRS = {
    f"pairs {kind} {'with' if diagonal else 'off'} diagonal by {normalise} ddof {ddof}": dict(
        kind=kind, diagonal=diagonal, normalise=normalise, ddof=ddof
    )
    for (kind, diagonal, ddof), normalise in zip(
        itertools.product(("correlation", "covariance"), (False, True), (0, 1)),
        itertools.cycle(("unit", "pair", "sum")),
        strict=False,
    )
}
# By name: the number of views, the penalty, the formula.
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
    "sigreg_loss": (
        1,
        lambda a, **stat: decorr.sigreg_loss(a, KEY, slices=SLICES, **stat),
        naive_sigreg,
    ),
    "xcov_loss": (2, decorr.xcov_loss, lambda a, b, w: total(cross(a, b, w) ** 2) / 2),
    "vicreg_loss": (2, decorr.vicreg_loss, naive_vicreg),
    "barlow_twins_loss": (2, decorr.barlow_twins_loss, naive_barlow),
}
EVERY = tuple(PENALTIES)
HAND_ON = ("correlation_penalty", "decov_loss", "vcreg_loss")
"""These penalties hand their arguments to another penalty."""
# One penalty of each other kind. From PAIRS: a correlation without the diagonal, and a covariance with it.
FEW = (*[*PAIRS][:: len(PAIRS) - 1], *(name for name in EVERY if name not in (*PAIRS, *HAND_ON)))
OF_DEVIATIONS = tuple(name for name in FEW if name != "sigreg_loss")
"""Without `sigreg_loss`, which compares with a fixed distribution: there means, constant units and single
samples count."""
# The value without a valid sample, where it is not 0.
FLAT = {
    "variance_penalty": 0.99,
    "vcreg_loss, smooth": 0.16 * 0.99,
    "vicreg_loss": 25 * 0.99,
    "barlow_twins_loss": 7.0,
}
of_few = pytest.mark.parametrize("name", FEW)
of_deviations = pytest.mark.parametrize("name", OF_DEVIATIONS)
TALL, WIDE = (5, 4, 7), (6, 15)
of_both = pytest.mark.parametrize("shape", [TALL, WIDE], ids=["m > d", "m < d"])


def activations(shape, seed=0):
    """Two views."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(*shape[:-1], 1))
    scale = rng.uniform(0.3, 1.2, shape[-1])  # on both sides of the hinge
    return tuple(scale * (rng.normal(size=shape) + common) + 3 for _ in range(2))


def views(name, arrays):
    return arrays[: PENALTIES[name][0]]


def samples(array):
    return array.reshape(-1, array.shape[-1])


class Result(NamedTuple):
    value: jax.Array
    gradients: tuple[jax.Array, ...]
    by_weights: jax.Array | None = None


def penalty(name, arrays, weights=None, where=None):
    return PENALTIES[name][1](*arrays, where=where, weights=weights)


@functools.partial(jax.jit, static_argnums=0)
def library(names, arrays, weights=None, where=None):
    """By name: the value, and the gradients with respect to the views and, if given, the weights."""

    def result(name):
        function = functools.partial(penalty, name, where=where)
        value, gradients = jax.value_and_grad(function, argnums=(0, 1))(views(name, arrays), weights)
        return Result(value, *gradients)

    return {name: result(name) for name in names}


def derivative(function, arguments, i):
    """The derivative with respect to argument i, exact up to rounding: the imaginary part of a complex
    step."""
    x, step = arguments[i], 1e-30
    steps = x + 1j * step * np.eye(x.size).reshape(-1, *x.shape)
    return function(*arguments[:i], steps, *arguments[i + 1 :]).imag.reshape(x.shape) / step


def formula(name, arrays, weights=None):
    """The same by the formula, in float64 by NumPy, whatever the type of the arrays."""
    arrays = [np.asarray(a, np.float64) for a in views(name, arrays)]
    weights = np.ones(arrays[0].shape[:-1]) if weights is None else weights
    arguments = [*map(samples, arrays), weights.ravel()]
    by = [derivative(PENALTIES[name][2], arguments, i) for i in range(len(arguments))]
    gradients = tuple(g.reshape(a.shape) for g, a in zip(by[:-1], arrays, strict=True))
    return Result(PENALTIES[name][2](*arguments), gradients, by[-1].reshape(weights.shape))


def assert_close(found, wanted, relative):
    for f, w in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(f, w, rtol=relative, atol=relative * float(np.abs(w).max()) + 1e-300)


@pytest.mark.parametrize("name", PENALTIES)
@of_both
def test_value_and_gradient(float64, name, shape):
    arrays = activations(shape)
    assert_close(library(EVERY, arrays)[name][:2], formula(name, arrays)[:2], 1e-11)


@of_few
def test_weights(float64, name):
    arrays, weights = activations(TALL), np.random.default_rng(1).uniform(0.1, 2, TALL[:-1])
    assert_close(library(FEW, arrays, weights)[name], formula(name, arrays, weights), 1e-10)


@pytest.mark.parametrize("name", FEW + HAND_ON)
def test_weights_of_some_samples(float64, name):
    rng, arrays = np.random.default_rng(1), activations(WIDE)
    weights, where = rng.uniform(0.1, 2, WIDE[:-1]), np.arange(6) != 4
    padded = [np.where(where[..., None], a, np.nan) for a in arrays]
    found = library(FEW + HAND_ON, padded, weights, where)[name]
    wanted = formula(name, arrays, weights * where)
    assert_close(found[:2], wanted[:2], 1e-10)
    assert_close(found.by_weights[where], wanted.by_weights[where], 1e-10)


@jax.jit
@jax.vmap
def of_each_mask(arrays, where):
    return library(FEW, arrays, where=where)


@pytest.fixture(scope="module")
def masked():
    """The same arrays four times, with two masks, one sample, and none; NaN where no sample is valid.

    Values are below 0, so that an invalid sample counted as 0 would show.
    """
    where = np.random.default_rng(2).uniform(size=(4, *TALL[:-1])) < 0.6
    where[2:] = np.arange(20).reshape(5, 4) < np.array([1, 0])[:, None, None]
    whole = [a - 9 for a in activations(TALL)]
    arrays = [np.where(where[..., None], a, np.nan) for a in whole]
    with jax.enable_x64(True):
        return whole, arrays, where, of_each_mask(arrays, where)


@of_few
def test_where_is_a_subset_and_padding_does_not_leak(float64, name, masked):
    """The masks are mapped by `vmap`, which must give what a loop gives."""
    whole, arrays, where, found = masked
    for run in range(2):
        one = jax.tree.map(lambda leaf, run=run: leaf[run], found[name])
        weights = where[run].astype(np.float64)
        assert_close(one[:2], formula(name, whole, weights)[:2], 1e-11)
        # A weight of 0 has the same effect.
        assert_close(library(FEW, [a[run] for a in arrays], weights)[name][:2], one[:2], 1e-13)
    for gradient in found[name].gradients:
        np.testing.assert_array_equal(gradient[~where], 0)


@of_deviations
def test_fewer_than_two_valid_samples_pull_nowhere(name, masked):
    found = masked[3][name]
    if name == "vicreg_loss":  # the views of one sample differ
        assert float(found.value[3]) == pytest.approx(FLAT[name], rel=1e-6)
    else:
        np.testing.assert_allclose(found.value[2:], FLAT.get(name, 0), rtol=1e-6)
        for gradient in found.gradients:
            np.testing.assert_array_equal(gradient[2:], 0)


@functools.partial(jax.jit, static_argnums=0)
def second_derivatives(names, arrays, direction, weights=None):
    """By name: the Hessian times a direction. For `pair_penalty`, in every order of the two modes."""

    def result(name):
        at, along = views(name, arrays), views(name, direction)
        function = functools.partial(penalty, name, weights=weights)
        gradient = jax.grad(function)
        yield jax.jvp(gradient, (at,), (along,))[1]
        if name in PAIRS:
            slope = lambda a: jax.jvp(function, (a,), (along,))[1]  # noqa: E731
            yield jax.grad(slope)(at)
            yield jax.grad(lambda a: sum(map(jnp.vdot, gradient(a), along)))(at)
            yield jax.jvp(slope, (at,), (along,))[1]

    return {name: list(result(name)) for name in names}


@of_few
@pytest.mark.parametrize(
    ("shape", "weights"), [((8, 3), None), ((3, 5), np.linspace(0.5, 2, 3))], ids=["m > d", "m < d, weights"]
)
def test_every_derivative(float64, name, shape, weights):
    """Along a random direction, so that any wrong second derivative shows."""
    arrays, direction = activations(shape, 3), tuple(a - 3 for a in activations(shape, 4))
    # A fourth-order difference of exact gradients.
    h, wanted = 1e-3, 0
    for step, factor in {1: 8, -1: -8, 2: -1, -2: 1}.items():
        moved = [a + step * h * e for a, e in zip(arrays, direction, strict=True)]
        wanted = wanted + factor / (12 * h) * np.stack(formula(name, moved, weights).gradients)
    found = second_derivatives(FEW, arrays, direction, weights)[name]
    for product in found[:3]:
        assert_close(np.stack(product), wanted, 1e-8)
    for twice in found[3:]:
        assert float(twice) == pytest.approx(np.sum(wanted * np.stack(views(name, direction))), rel=1e-8)


@of_few
def test_half_precision_accumulates_in_float32(name):
    arrays = [jnp.asarray(a, jnp.bfloat16) for a in activations(TALL)]
    found, wanted = library(FEW, arrays)[name], formula(name, arrays)
    assert found.value.dtype == jnp.float32 and float(found.value) == pytest.approx(
        float(wanted.value), rel=2e-5
    )
    assert all(gradient.dtype == jnp.bfloat16 for gradient in found.gradients)


def single(shape):
    return [a.astype(np.float32) for a in activations(shape)]


@of_deviations
@of_both
def test_a_constant_unit_pulls_nowhere_and_adds_no_pair(name, shape):
    arrays = single(shape)
    for a in arrays:
        a[..., 2] = 0.1
    found = library(FEW, arrays)[name]
    for gradient in found.gradients:
        np.testing.assert_array_equal(gradient[..., 2], 0)
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
    for a in arrays:
        a[..., 2] += 5  # another constant
    assert library(FEW, arrays)[name].value == found.value


@pytest.mark.slow  # compiles each operation by itself
@of_few
def test_nothing_on_the_way_is_nan(name):
    """Runs operation by operation: even values that `where` discards must be numbers, for
    `jax_debug_nans`."""
    arrays = single(TALL)
    for a in arrays:
        a[..., 2] = 0.1
    with jax.debug_nans(True):
        for valid in (1, 14):
            function = functools.partial(penalty, name, where=np.arange(20).reshape(5, 4) < valid)
            for leaf in jax.tree.leaves(jax.value_and_grad(function)(views(name, arrays))):
                assert np.isfinite(leaf).all()


@of_few
@pytest.mark.parametrize(("bad", "shape"), [(np.nan, TALL), (np.inf, WIDE)])
def test_what_is_not_finite_shows(name, bad, shape):
    arrays = single(shape)
    samples(arrays[PENALTIES[name][0] - 1])[3, 0] = bad
    assert np.isnan(library(FEW, arrays)[name].value)


@of_deviations
@of_both
def test_large_means_cost_no_digits(name, shape):
    arrays = [(a + 3e3).astype(np.float32) for a in activations(shape)]
    wanted = formula(name, arrays)
    assert float(library(FEW, arrays)[name].value) == pytest.approx(float(wanted.value), rel=1e-4)


@of_deviations
@of_both
def test_a_unit_of_another_scale_costs_no_digits(name, shape):
    """For covariances, subtracting the diagonal then cancels most of K."""
    arrays = single(shape)
    for a in arrays:
        a[..., 3] *= 1e4
    found, wanted = library(FEW, arrays)[name], formula(name, arrays)
    assert_close(found[:2], wanted[:2], 1e-4)
    for gradient, slope in zip(found.gradients, wanted.gradients, strict=True):
        np.testing.assert_allclose(gradient[..., 3], slope[..., 3], atol=1e-4 * np.abs(slope[..., 3]).max())
    assert float(found.value) == pytest.approx(float(wanted.value), rel=1e-4)


def test_a_pair_needs_two_units():
    a = single((9, 1))[0]
    for value in jax.jit(lambda a: [pair_penalty(a, normalise=n) for n in ("unit", "pair", "sum")])(a):
        assert value == 0


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
    with pytest.raises(kind, match=words):
        penalty(name, views(name, single((6, 3))), **stat)


@of_few
@pytest.mark.parametrize("bad", [-2, np.inf])
def test_a_traced_weight_that_is_none_shows(float64, name, bad):
    weights = np.ones(TALL[:-1])
    weights[0, 2] = bad
    assert np.isnan(library(FEW, activations(TALL), weights)[name].value)


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
    with pytest.raises(kind, match=words):
        penalty(name, views(name, (a, a)))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda a: pair_penalty(a, kind="corelation"),
            r"unknown kind 'corelation' \(did you mean 'correlation'\?\): choose from correlation, cov",
        ),
        (
            lambda a: pair_penalty(a, normalise="mean"),
            "unknown normalisation 'mean': choose from unit, pair, sum",
        ),
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
        call(single((6, 3))[0])


def test_a_keyword_for_each_coefficient():
    a, b = (0.3 * x for x in single((6, 3)))
    named = decorr.vicreg_loss(a, b, invariance_weight=2.0, variance_weight=3.0, covariance_weight=4.0)
    np.testing.assert_array_equal(named, decorr.vicreg_loss(a, b, coefficients=(2.0, 3.0, 4.0)))
    default = decorr.vicreg_loss(a, b, coefficients=(25.0, 25.0, 1.0))
    np.testing.assert_array_equal(decorr.vicreg_loss(a, b), default)
    np.testing.assert_array_equal(decorr.vcreg_loss(a, 1.0, 1.0), decorr.vcreg_loss(a))
    alone = decorr.vcreg_loss(a, covariance_weight=0.0)
    np.testing.assert_allclose(alone, decorr.variance_penalty(a), rtol=1e-6)
    parts = decorr.penalties.vicreg_parts(a, b)
    for part, one in zip(parts, np.eye(3, dtype=np.float32), strict=True):
        np.testing.assert_allclose(part, decorr.vicreg_loss(a, b, coefficients=tuple(one)), rtol=1e-6)
    np.testing.assert_allclose(parts.invariance, np.mean((a - b) ** 2), rtol=1e-6)


def test_two_layers_may_differ_in_units():
    a, b = single((20, 5))[0], single((20, 3))[0]
    wanted = np.sum(np.cov(a, b, rowvar=False, ddof=0)[:5, 5:] ** 2) / 2
    assert float(jax.jit(decorr.xcov_loss)(a, b)) == pytest.approx(wanted, rel=1e-5)


@of_few
@pytest.mark.parametrize(("m", "d"), [(37, 5), (41, 43)])
def test_what_is_not_in_the_program(name, m, d):
    """Programs have no operations for masks and weights that are not given, and no array of the larger size
    squared. This is the program as the library writes it. `test_simon.py` checks one that XLA compiled.
    """

    def program(**stat):
        return str(library.trace((name,), [jax.ShapeDtypeStruct((m, d), jnp.float32)] * 2, **stat).jaxpr)

    of_each_sample = re.compile(rf"\b(bool|f32)\[{m}(,1)*\]")
    text = program()
    assert not of_each_sample.search(text)
    assert name == "vcreg_loss, smooth" or f"[{max(m, d)},{max(m, d)}]" not in text
    if (name, m) == (FEW[0], 37):
        assert of_each_sample.search(program(where=np.ones(m, bool)))
