"""Spectra and ranks, against NumPy's eigenvalues and against the means over all quadruples of samples."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

import decorr
from decorr.diagnostics import effective_rank, rank_above, rank_at, spectrum

KINDS = ("correlation", "covariance", "moment")
TALL, WIDE = (9, 4), (6, 8)
# (kind, order, power) of RankMe, of the other ranks in use, and of some in between.
RANKS = [("moment", 1, 1), ("covariance", 2, 2), ("covariance", 1, 2), ("moment", math.inf, 2)]
RANKS += [("correlation", 0.5, 1)]
# For the other matrix one kind is enough.
PROGRAMS = {TALL: (KINDS, RANKS), WIDE: (("covariance",), RANKS[:2])}


def activations(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) * rng.uniform(0.3, 2, shape[1]) + rng.normal(size=(shape[0], 1)) + 0.5


@functools.partial(jax.jit, static_argnums=0)
def library(shape, a, weights):
    """The library's spectra, effective ranks, and counts."""
    kinds, ranks = PROGRAMS[shape]
    return (
        [spectrum(a, kind=kind, weights=weights) for kind in kinds],
        [effective_rank(a, order=q, power=power, kind=kind, weights=weights) for kind, q, power in ranks],
        [rank_at(a, share=0.9, weights=weights), rank_above(a, threshold=0.9, weights=weights)],
    )


def matrix(kind, a, w):
    """The matrix [unit, unit] of a kind, as in a textbook."""
    if kind == "moment":
        return (w[:, None] * a).T @ a / w.sum()
    covariance = np.cov(a, rowvar=False, aweights=w)
    deviation = np.sqrt(np.diag(covariance))
    return covariance if kind == "covariance" else covariance / np.outer(deviation, deviation)


def hill_number(order, values, power):
    s = values[values > 1e-12 * values.max()] ** (power / 2)
    p = s / s.sum()
    if order in (1, math.inf):
        return np.exp(-np.sum(p * np.log(p))) if order == 1 else 1 / p.max()
    return np.sum(p**order) ** (1 / (1 - order))


def share_reached(s, share):
    return 1 + np.sum(np.cumsum(s) < share * np.sum(s))


@pytest.mark.parametrize("shape", PROGRAMS, ids=["m > d", "m < d"])
@pytest.mark.parametrize("weighted", [False, True])
def test_values(float64, shape, weighted):
    a = activations(shape)
    w = np.random.default_rng(1).uniform(0.5, 2, shape[0]) if weighted else np.ones(shape[0])
    wanted = {kind: np.linalg.eigvalsh(matrix(kind, a, w))[::-1] for kind in KINDS}
    spectra, ranks, counts = library(shape, a, w)
    for kind, found in zip(PROGRAMS[shape][0], spectra, strict=True):
        values = wanted[kind][: min(shape)]
        np.testing.assert_allclose(found, values, rtol=1e-11, atol=1e-13 * values[0])
        assert np.all(found >= 0)
    for (kind, order, power), rank in zip(PROGRAMS[shape][1], ranks, strict=True):
        assert float(rank) == pytest.approx(hill_number(order, wanted[kind], power), rel=1e-10)
    s = np.sqrt(wanted["moment"][: min(shape)])
    np.testing.assert_array_equal(counts, [share_reached(s, 0.9), np.sum(s > 0.9)])
    assert counts[0] > 1 and 1 < counts[1] < min(shape)


def test_gradients_are_central_differences(float64):
    """With fewer samples than units; `test_public_functions.py` tests the other matrix."""
    a, direction = activations(WIDE), np.random.default_rng(2).normal(size=WIDE)

    def total(a):
        return effective_rank(a, power=1, kind="moment") + effective_rank(a, order=2, debias=True)

    program = jax.jit(jax.vmap(jax.value_and_grad(total)))
    h = 1e-5
    values, gradients = program(np.stack([a, a + h * direction, a - h * direction]))
    values, slope = np.asarray(values), np.sum(gradients[0] * direction)
    assert float(slope) == pytest.approx((values[1] - values[2]) / (2 * h), rel=1e-6)


def test_second_derivatives_are_those_of_the_matrix(float64):
    """Differentiates the gradient of the entropy, where no eigenvalues coincide."""
    a, direction = activations((6, 3)), np.random.default_rng(2).normal(size=(6, 3))
    gradient = jax.jit(jax.grad(functools.partial(effective_rank, power=1)))
    h = 1e-5
    wanted = (gradient(a + h * direction) - gradient(a - h * direction)) / (2 * h)
    found = jax.jit(lambda a: jax.jvp(gradient, (a,), (direction,))[1])(a)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)


# Where eigenvalues coincide --------------------------------------------------------------------------------


@jax.jit
@jax.vmap
def extremes(a):
    """Values and gradients."""
    options = [dict(power=1), dict(order=math.inf), dict(order=2, debias=True)]
    return [jax.value_and_grad(functools.partial(effective_rank, **each))(a) for each in options]


def test_collapsed_layers_have_rank_one_and_isotropic_ones_all_units():
    """Samples lie on one line, at one point, on as many lines as units, or at 0. Gradients are finite."""
    rng = np.random.default_rng(0)
    line = rng.normal(size=(16, 1)) * rng.normal(size=(1, 8))
    point = np.broadcast_to(rng.normal(size=(1, 8)), (16, 8))
    isotropic = np.kron([[1], [-1]], np.eye(8))
    runs = np.stack([line, point, isotropic, 0 * line]).astype(np.float32)
    entropy, largest, unbiased = extremes(runs)
    for value, gradient in (entropy, largest, unbiased):
        assert np.isfinite(gradient).all()
        np.testing.assert_array_equal(gradient[1::2], 0)
        np.testing.assert_allclose([value[0], value[1], value[3]], 1, rtol=1e-5)
        assert float(value[2]) == pytest.approx(8, rel=1e-5)
    assert np.abs(entropy[1][2]).max() < 1e-5


def test_a_wholly_collapsed_layer_of_thousands_of_units():
    rng = np.random.default_rng(0)
    a = (rng.normal(size=(20, 1)) * rng.normal(size=(1, 8192)) + 1).astype(np.float32)
    ranks = jax.jit(lambda a: [effective_rank(a, order=0.1, power=1), rank_at(a - 1), rank_above(0 * a + 1)])(
        a
    )
    np.testing.assert_allclose(ranks, 1, rtol=1e-4)


def test_small_singular_values_keep_their_size_in_single_precision():
    """Accurate to 1e-5 of the largest. Roots of a Gram matrix's eigenvalues in float32 are only rounding
    below 3e-4."""
    rng = np.random.default_rng(0)
    s = np.logspace(0, -5, 8)
    left, right = (np.linalg.qr(rng.normal(size=(n, 8)))[0] for n in (16, 8))
    a = (left * s @ right.T).astype(np.float32)
    found = np.sqrt(16 * jax.jit(functools.partial(spectrum, kind="moment"))(a))
    np.testing.assert_allclose(found[:5], s[:5], rtol=1e-2)
    assert np.sum(found[5:] ** 2) == pytest.approx(np.sum(s[5:] ** 2), rel=0.1)


# Debiased --------------------------------------------------------------------------------------------------


def of_quadruples(a, w):
    """Means over all quadruples of different samples: of (tr C)^2 and of tr(C^2)."""
    squares = traces = weight = 0
    for i, j, k, l in itertools.permutations(range(len(a)), 4):  # noqa: E741
        one, other, each = a[i] - a[j], a[k] - a[l], w[i] * w[j] * w[k] * w[l]
        squares += each * (one @ other) ** 2 / 4
        traces += each * (one @ one) * (other @ other) / 4
        weight += each
    return traces / weight, squares / weight


debiased = jax.jit(functools.partial(effective_rank, order=2, debias=True))


@pytest.mark.parametrize("shape", [(7, 3), (6, 8)])
@pytest.mark.parametrize("weighted", [False, True])
def test_debiased_are_means_over_quadruples(float64, shape, weighted):
    a = activations(shape)
    w = np.random.default_rng(1).uniform(0.2, 2, shape[0]) if weighted else np.ones(shape[0])
    traces, squares = of_quadruples(a, w)
    wanted = traces / squares if squares > 0 else np.inf
    found = debiased(a, weights=w) if weighted else debiased(a)
    assert float(found) == pytest.approx(np.clip(wanted, 1, shape[1]), rel=1e-10)


def test_debiased_do_not_depend_on_the_number_of_samples():
    """For 12 directions with variances 1/i. Compares the inverse of the mean inverse over runs."""
    deviation = 1 / np.sqrt(np.arange(1, 13))
    wanted = np.sum(deviation**2) ** 2 / np.sum(deviation**4)
    runs = jax.random.normal(jax.random.key(0), (400, 16, 12)) * deviation[None, None].astype(np.float32)
    raw, found = (
        1 / jax.jit(jax.vmap(functools.partial(effective_rank, order=2, debias=debias)))(runs)
        for debias in (False, True)
    )
    assert 1 / raw.mean() < 0.8 * wanted
    assert float(1 / found.mean()) == pytest.approx(wanted, rel=0.1)


def test_debiased_correlations_are_effective_units():
    a = activations(TALL).astype(np.float32)
    both = jax.jit(
        lambda a: [effective_rank(a, order=2, kind="correlation", debias=True), decorr.effective_units(a)]
    )(a)
    assert both[0] == both[1]


def test_nothing_is_known_of_too_few():
    a, valid = activations(TALL).astype(np.float32), np.arange(9) < np.array([[3], [4]])
    three, four = jax.vmap(lambda where: debiased(a, where=where))(valid)
    assert np.isnan(three) and np.isfinite(four)


# What is not finite, and options ---------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_shows(float64, bad):
    a = activations(TALL)
    a[2, 1] = bad
    assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(library(TALL, a, np.ones(9))))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda a: spectrum(a, kind="gram"),
            "unknown kind 'gram': choose from correlation, covariance, moment",
        ),
        (lambda a: effective_rank(a, order=0), "order must be above 0; got 0"),
        (lambda a: effective_rank(a, power=-1), "power must be above 0; got -1"),
        (lambda a: effective_rank(a, debias=True), "debias is for order=2, power=2"),
        (lambda a: effective_rank(a, order=2, kind="moment", debias=True), "covariances or correlations"),
        (lambda a: rank_at(a, power=0), "power must be above 0"),
        (lambda a: rank_at(a, share=99), r"share must be in \[0, 1\]; got 99"),
    ],
)
def test_bad_options(call, words):
    with pytest.raises(ValueError, match=words):
        call(jnp.ones((4, 3)))


LAYER = np.random.default_rng(7).normal(size=(30, 8)) * np.linspace(1, 2, 8)


@pytest.mark.parametrize("order", [1 + 1e-6, 30, 1000])
def test_orders_near_1_and_large(order):
    p = np.linalg.svd(LAYER - LAYER.mean(axis=0), compute_uv=False) ** 2
    wanted = np.exp(special.logsumexp(order * np.log(p / p.sum())) / (1 - order))
    rank = jax.jit(jax.value_and_grad(functools.partial(effective_rank, power=2, order=order)))
    value, gradient = rank(LAYER.astype(np.float32))
    assert float(value) == pytest.approx(wanted, rel=1e-4)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_large_powers():
    s = np.linalg.svd(LAYER, compute_uv=False)
    p = (s / s[0]) ** 400 / np.sum((s / s[0]) ** 400)
    found = effective_rank(LAYER.astype(np.float32), power=400, kind="moment")
    assert float(found) == pytest.approx(np.exp(special.entr(p).sum()), rel=1e-3)


def test_the_largest_activations():
    a = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    rank = jax.jit(functools.partial(effective_rank, power=1, kind="moment"))
    assert float(rank(8e37 * a)) == pytest.approx(float(rank(a)), rel=1e-5)
    assert float(rank_at(8e37 * a)) == float(rank_at(a)) == 5


def test_a_weight_that_is_none_makes_the_rank_nan():
    weights = np.where(np.arange(30) == 3, -1, 1).astype(np.float32)
    rank = jax.jit(lambda w: effective_rank(LAYER.astype(np.float32), power=1, kind="moment", weights=w))
    assert np.isnan(rank(weights)) and np.isnan(rank(np.full(30, np.nan, np.float32)))
    assert np.isfinite(rank(np.ones(30, np.float32)))
