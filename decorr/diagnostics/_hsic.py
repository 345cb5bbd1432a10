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

from typing import NamedTuple

import jax
import jax.numpy as jnp

from decorr._samples import Samples, at_most, product


def hsic(samples: Samples, x: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the raw HSIC of the centred values x and y [sample, unit] of two layers on the same samples."""
    return _inner_products(samples, _shares(samples, x), x, y)[0]


def unbiased_hsic(samples: Samples, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the unbiased HSIC of centred values [sample, unit] (0 if unknown), and whether it is known.

    The HSIC is unknown if fewer than four samples are valid, or if one sample has all the weight up to
    rounding.
    """
    sums = _sums(samples, x, y)
    return _mean(sums, sums.quadruples), sums.known


def unbiased_traces(samples: Samples, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns unbiased estimates of (tr C)^2 and tr(C^2) from centred values, and whether they are known."""
    sums, w = _sums(samples, x, x), _shares(samples, x)
    norms = jnp.sum(x * x, axis=1)
    m, n = (samples.everywhere(jnp.sum(shares * norms)) for shares in (w, w**2))
    more = (1 - sums.pairs_alike) * (m * m - sums.mm) - 2 * (m * n - sums.mn)
    return _mean(sums, sums.quadruples + more), _mean(sums, sums.quadruples), sums.known


class _Sums(NamedTuple):
    quadruples: jax.Array
    """The weighted sum of the terms of all quadruples."""
    weight: jax.Array
    """The sum of the weights of all quadruples."""
    known: jax.Array
    pairs_alike: jax.Array
    """p_2, the sum of the squared weights."""
    mm: jax.Array
    mn: jax.Array


def _mean(sums: _Sums, total: jax.Array) -> jax.Array:
    # A total that may be only the rounding error of |M|^2 counts as 0. This happens if all differences
    # between samples are orthogonal.
    rounding = jnp.abs(total) <= 64 * jnp.finfo(total.dtype).eps * sums.mm
    return jnp.where(sums.known & ~rounding, total / jnp.where(sums.known, sums.weight, 1), 0)


def _sums(samples: Samples, x: jax.Array, y: jax.Array) -> _Sums:
    w = _shares(samples, x)

    def everywhere(z: jax.Array) -> jax.Array:
        return samples.everywhere(jnp.sum(z))

    p2, p3, p4 = everywhere(w**2), everywhere(w**3), everywhere(w**4)
    weight = 1 - 6 * p2 + 3 * p2 * p2 + 8 * p3 - 6 * p4
    known = (everywhere((w > 0).astype(w.dtype)) >= 4) & (weight > 16 * jnp.finfo(w.dtype).eps)
    mm, mn, nn = _inner_products(samples, w, x, y)
    of_x, of_y = jnp.sum(x * x, axis=1), jnp.sum(y * y, axis=1)
    total = (1 - p2) * (mm - everywhere(w**2 * of_x * of_y)) - 2 * mn + 2 * nn
    total = total + everywhere(w**2 * of_x) * everywhere(w**2 * of_y)
    if samples.weights is not None:  # else sum_l w_l^2 x_l is 0
        along_x, along_y = (product(z, samples.everywhere(product((w**2)[None], z)).T)[:, 0] for z in (x, y))
        total = total - 2 * everywhere(w**2 * (of_y * along_x + of_x * along_y))
    # If a value is not finite, the result is NaN instead of unknown.
    return _Sums(total, weight, known | ~jnp.isfinite(mm), p2, mm, mn)


def _shares(samples: Samples, x: jax.Array) -> jax.Array:
    """Returns each sample's share of the total weight [sample]."""
    ones = jnp.ones_like(x[:, 0]) if samples.weights is None else samples.weights
    return ones / jnp.asarray(samples.size(), x.dtype)


def _inner_products(
    samples: Samples, w: jax.Array, x: jax.Array, y: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns |M|^2, <M, N>, |N|^2, from matrices [unit, unit] or [sample, sample], whichever are smaller."""
    if at_most(x.shape[1] * y.shape[1], samples.number**2):
        if samples.weights is None:
            m = samples.moment(x, y) / samples.size()
            return _of_equal_weights(samples, jnp.sum(m * m))
        m = samples.everywhere(product((x * w[:, None]).T, y))
        n = samples.everywhere(product((x * (w**2)[:, None]).T, y))
        return jnp.sum(m * m), jnp.sum(m * n), jnp.sum(n * n)
    of_x = product(x, samples.gathered(x).T)  # [sample of this device, every sample]
    of_y = product(y, samples.gathered(y).T)
    if samples.weights is None:
        size = samples.size()  # by which both are divided first, because their product may overflow
        return _of_equal_weights(samples, samples.everywhere(jnp.sum((of_x / size) * (of_y / size))))
    both, every = of_x * of_y, samples.gathered(w)
    by_w, by_square = product(both, every[:, None])[:, 0], product(both, (every**2)[:, None])[:, 0]
    mm, mn, nn = samples.everywhere(
        jnp.stack([jnp.sum(w * by_w), jnp.sum(w * by_square), jnp.sum(w**2 * by_square)])
    )
    return mm, mn, nn


def _of_equal_weights(samples: Samples, mm: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns |M|^2, <M, N> and |N|^2 for equal weights; `mm` is |M|^2.

    With equal weights, N is M divided by the number of samples.
    """
    size = samples.size()
    return mm, mm / size, mm / size / size
