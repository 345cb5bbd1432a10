"""HSIC of linear kernels: how well two layers agree on which samples are near each other.

The samples' weights w_k sum to 1, and X and Y [sample, unit] are centred by their weighted means. With W =
diag(w), K = X X^T, L = Y Y^T, M = X^T W Y and N = X^T W^2 Y, the raw HSIC is |M|^2 = sum_kl w_k w_l K_kl
L_kl. The unbiased HSIC is a mean over all quadruples of different samples, weighted by the products of their
weights. Its terms are

    (x_i - x_j).(x_k - x_l) (y_i - y_j).(y_k - y_l) / 4.

The weighted sum over the quadruples is, with p_n = sum_k w_k^n,

    (1 - p_2) (|M|^2 - sum_k w_k^2 K_kk L_kk) - 2 <M, N> + 2 |N|^2 + sum_k w_k^2 K_kk sum_k w_k^2 L_kk
    - 2 sum_k w_k^2 (L_kk x_k.sum_l w_l^2 x_l + K_kk y_k.sum_l w_l^2 y_l),

and the weights of the quadruples sum to 1 - 6 p_2 + 3 p_2^2 + 8 p_3 - 6 p_4. If all weights are equal, the
unbiased HSIC is HSIC_1 of Song et al., Feature Selection via Dependence Maximization (2012). For X = Y it
estimates tr(C^2), where C is the covariance matrix. With the terms |x_i - x_j|^2 |x_k - x_l|^2 / 4 instead,
the mean estimates (tr C)^2. The weighted sum of these terms is larger than the sum above by

    (1 - p_2) ((tr M)^2 - |M|^2) - 2 (tr M tr N - <M, N>).
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from decorr._samples import Samples, at_most, product

Layers = Sequence[jax.Array]
"""The centred values [sample, unit] of layers, on the same samples."""


def hsic(samples: Samples, xs: Layers, ys: Layers) -> jax.Array:
    """Returns the raw HSIC [layer, other layer] of each layer x with each layer y."""
    return _inner_products(samples, _shares(samples, xs[0]), xs, ys)[0]


def unbiased_hsic(samples: Samples, xs: Layers, ys: Layers) -> tuple[jax.Array, jax.Array]:
    """Returns the unbiased HSIC [layer, other layer] (0 if unknown), and whether it is known.

    The HSIC is unknown if fewer than four samples are valid, or if one sample has all the weight up to
    rounding.
    """
    sums = _sums(samples, xs, ys)
    return _mean(sums, sums.quadruples), sums.known


def unbiased_traces(samples: Samples, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns unbiased estimates of (tr C)^2 and tr(C^2) from centred values, and whether they are known."""
    sums, w = _sums(samples, [x], [x]), _shares(samples, x)
    norms = jnp.sum(x * x, axis=1)
    m, n = (samples.everywhere(jnp.sum(shares * norms)) for shares in (w, w**2))
    more = (1 - sums.pairs_alike) * (m * m - sums.mm) - 2 * (m * n - sums.mn)
    squares, both = _mean(sums, sums.quadruples + more), _mean(sums, sums.quadruples)
    return squares[0, 0], both[0, 0], sums.known[0, 0]


class _Sums(NamedTuple):
    """Sums for each pair of a layer x and a layer y. Arrays are [layer, other layer]."""

    quadruples: jax.Array
    """The weighted sum of the terms of all quadruples."""
    weight: jax.Array
    """A scalar: the sum of the weights of all quadruples."""
    known: jax.Array
    pairs_alike: jax.Array
    """A scalar: p_2, the sum of the squared weights."""
    mm: jax.Array
    mn: jax.Array


def _mean(sums: _Sums, total: jax.Array) -> jax.Array:
    # A total that may be only the rounding error of |M|^2 counts as 0. This happens if all differences
    # between samples are orthogonal.
    rounding = jnp.abs(total) <= 64 * jnp.finfo(total.dtype).eps * sums.mm
    return jnp.where(sums.known & ~rounding, total / jnp.where(sums.known, sums.weight, 1), 0)


def _sums(samples: Samples, xs: Layers, ys: Layers) -> _Sums:
    w = _shares(samples, xs[0])

    def everywhere(z: jax.Array) -> jax.Array:
        return samples.everywhere(jnp.sum(z, axis=0))

    def squares(u: jax.Array, v: jax.Array) -> jax.Array:
        """Returns sum_k w_k^2 u_k v_k for u [sample, layer] and v [sample, other layer]."""
        return samples.everywhere(product((w[:, None] ** 2 * u).T, v))

    p2, p3, p4 = everywhere(w**2), everywhere(w**3), everywhere(w**4)
    weight = 1 - 6 * p2 + 3 * p2 * p2 + 8 * p3 - 6 * p4
    known = (everywhere((w > 0).astype(w.dtype)) >= 4) & (weight > 16 * jnp.finfo(w.dtype).eps)
    mm, mn, nn = _inner_products(samples, w, xs, ys)
    of_x, of_y = (jnp.stack([jnp.sum(z * z, axis=1) for z in zs], axis=1) for zs in (xs, ys))
    total = (1 - p2) * (mm - squares(of_x, of_y)) - 2 * mn + 2 * nn
    total = total + jnp.outer(everywhere(w[:, None] ** 2 * of_x), everywhere(w[:, None] ** 2 * of_y))
    if samples.weights is not None:  # else sum_l w_l^2 x_l is 0
        along_x, along_y = (jnp.stack([_along(samples, w**2, z) for z in zs], axis=1) for zs in (xs, ys))
        total = total - 2 * (squares(along_x, of_y) + squares(of_x, along_y))
    # If a value is not finite, the result is NaN instead of unknown.
    return _Sums(total, weight, known | ~jnp.isfinite(mm), p2, mm, mn)


def _along(samples: Samples, weights: jax.Array, z: jax.Array) -> jax.Array:
    """Returns z_k.sum_l weights_l z_l for each sample k [sample]."""
    return product(z, samples.everywhere(product(weights[None], z)).T)[:, 0]


def _shares(samples: Samples, x: jax.Array) -> jax.Array:
    """Returns each sample's share of the total weight [sample]."""
    ones = jnp.ones_like(x[:, 0]) if samples.weights is None else samples.weights
    return ones / jnp.asarray(samples.size(), x.dtype)


def _inner_products(
    samples: Samples, w: jax.Array, xs: Layers, ys: Layers
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns |M|^2, <M, N> and |N|^2 [layer, other layer].

    They come from matrices [unit, unit] of each pair of layers, or from a matrix [sample, sample] of each
    layer, whichever is cheaper.
    """
    of_pairs = sum(x.shape[1] for x in xs) * sum(y.shape[1] for y in ys)
    if at_most(2 * of_pairs, (len(xs) + len(ys)) * samples.number**2):
        found = jnp.array([[_of_pair(samples, w, x, y) for y in ys] for x in xs])
        mm, mn, nn = jnp.moveaxis(found, 2, 0)
        return mm, mn, nn
    # [sample of this device, layer, every sample]
    of_x, of_y = (jnp.stack([product(z, samples.gathered(z).T) for z in zs], axis=1) for zs in (xs, ys))
    if samples.weights is None:
        size = samples.size()  # by which both are divided first, because their product may overflow
        of_sample = product(of_x / size, (of_y / size).swapaxes(1, 2))
        return _of_equal_weights(samples, samples.everywhere(jnp.sum(of_sample, axis=0)))
    every = samples.gathered(w)
    by_w, by_square = (
        product(of_x * weights[None, None], of_y.swapaxes(1, 2)) for weights in (every, every**2)
    )
    terms = ((w, by_w), (w, by_square), (w**2, by_square))
    sums = [jnp.sum(weights[:, None, None] * of_sample, axis=0) for weights, of_sample in terms]
    mm, mn, nn = samples.everywhere(jnp.stack(sums))
    return mm, mn, nn


def _of_pair(
    samples: Samples, w: jax.Array, x: jax.Array, y: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns |M|^2, <M, N> and |N|^2 of two layers, from M and N [unit, unit]."""
    if samples.weights is None:
        m = samples.moment(x, y) / samples.size()
        return _of_equal_weights(samples, jnp.sum(m * m))
    m = samples.everywhere(product((x * w[:, None]).T, y))
    n = samples.everywhere(product((x * (w**2)[:, None]).T, y))
    return jnp.sum(m * m), jnp.sum(m * n), jnp.sum(n * n)


def _of_equal_weights(samples: Samples, mm: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns |M|^2, <M, N> and |N|^2 for equal weights; `mm` is |M|^2.

    With equal weights, N is M divided by the number of samples.
    """
    size = samples.size()
    return mm, mm / size, mm / size / size
