"""SIGReg (Balestriero & LeCun, 2025): makes embeddings standard normal along random directions."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from decorr._mesh import over_mesh
from decorr._samples import AxisName, as_samples, product

_BLOCK = 64
"""The largest number of directions that are computed together."""


def sigreg_loss(
    a: jax.typing.ArrayLike,
    key: jax.Array,
    *,
    slices: int = 1024,
    knots: int = 17,
    t_max: float = 3.0,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Measures how far embeddings are from a standard normal distribution: SIGReg, the regulariser of LeJEPA.

    L = n mean_u sum_k w_k exp(-t_k^2 / 2) ((mean cos(t_k x) - exp(-t_k^2 / 2))^2 + (mean sin(t_k x))^2),
    where x = a . u is the coordinate along a random direction u, and both inner means are over the n samples.
    L is the Epps-Pulley statistic, a distance between characteristic functions, which is integrated from
    -t_max to t_max by the trapezoidal rule. The knots t_k are evenly spaced on [0, t_max]. The weight w_k is
    twice the spacing of the knots, but at the first and the last knot, it is the spacing itself. For a
    standard normal sample of any size, L is about 1. Unlike decorrelation, L also depends on means, scales
    and the shape of the distribution. LeJEPA adds the distance between the views to L: see
    `docs/conversion.md`.

    Args:
      a: embeddings [..., unit], floating point; all leading axes together are the samples.
      key: a JAX random key. Use a new key in each step. Otherwise, training sees the same few directions in
        every step. Use the same key on every device of an `axis_name`.
      slices: the number of directions; static.
      knots: the number of t_k, at least 2; static.
      t_max: the largest t_k; static. A larger t_max shows finer details of the distribution, but also more
        noise.
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `pair_penalty`. n is the effective number of samples, (sum w)^2 / sum w^2. If all samples are
        valid and have equal weights, n is their number.

    Returns:
      L, a scalar >= 0; float32 for half-precision input, else the dtype of `a`.

    Raises:
      ValueError, TypeError: as in `pair_penalty`; fewer than one slice; fewer than two knots; a t_max that is
        not above 0.

    Numerics:
      The directions are the columns of jax.random.normal(key, (unit, slices)), each divided by its length.
      They are drawn in float32, whatever the dtype of `a`. Directions are processed in equal blocks, each of
      gcd(`slices`, 64) directions. So no array is larger than [knot, sample, 64], not even in the derivative.
      Embeddings are not shifted or scaled, so a phase t x of 1e4 loses four digits in float32. Without a
      valid sample, L is 0. If all embeddings are equal, they all have the same gradient, which moves them
      towards 0, but never apart. With an `axis_name`, 2 * (knots - 1) * slices numbers are summed over
      devices.

    Source: Balestriero & LeCun, LeJEPA (arXiv:2511.08544), and the authors' EppsPulley and
      SlicingUnivariateTest. Epps & Pulley, A test for normality based on the empirical characteristic
      function (1983).
    """
    for what, number, least in (("slices", slices, 1), ("knots", knots, 2)):
        if number < least:
            raise ValueError(f"{what} must be at least {least}; got {number}")
    if not t_max > 0:
        raise ValueError(f"t_max must be above 0; got {t_max}")
    return over_mesh(_sigreg_loss, (a, where, weights, key), slices, knots, t_max, axis_name)


def _sigreg_loss(
    slices: int,
    knots: int,
    t_max: float,
    axis_name: AxisName,
    a: jax.Array,
    where: jax.Array | None,
    weights: jax.Array | None,
    key: jax.Array,
) -> jax.Array:
    samples = as_samples(axis_name, a, where, weights)
    values = samples.values
    u = jax.random.normal(key, (values.shape[1], slices), jnp.float32).astype(values.dtype)
    u = u / jnp.linalg.norm(u, axis=0, keepdims=True)
    t = np.linspace(0, t_max, knots)[1:]  # at t = 0 both characteristic functions are 1
    normal = np.exp(-t * t / 2)
    share = normal * 2 * t[0]
    share[-1] /= 2

    def sums(u: jax.Array) -> list[jax.Array]:
        """Returns the sums [knot, slice] of cos(t x) and sin(t x) over the samples of this device."""
        angle = float(t[0]) * product(values, u)
        sine, less = jnp.sin(angle), 2 * jnp.square(jnp.sin(angle / 2))  # less = 1 - cos, to full precision

        def turn(point: tuple[jax.Array, jax.Array], _: None) -> Any:
            """Goes to the next knot by a rotation, which is cheaper than cos and sin at every knot."""
            x, y = point
            next_point = x - (less * x + sine * y), y - (less * y - sine * x)
            return next_point, [samples.weighted(each).sum(axis=0) for each in point]

        local: list[jax.Array] = lax.scan(turn, (1 - less, sine), length=len(t))[1]
        return local

    # Directions are processed in blocks, and each block is computed again for the derivative. All directions
    # at once would need an array [knot, sample, slice].
    blocks = u.reshape(len(u), -1, math.gcd(slices, _BLOCK)).swapaxes(0, 1)
    local = lax.map(jax.checkpoint(sums, prevent_cse=False), blocks)
    real, imaginary = (samples.everywhere(x) / samples.size() for x in local)
    wanted, width = (jnp.asarray(x[None, :, None], values.dtype) for x in (normal, share))
    statistic = jnp.sum(width * (jnp.square(real - wanted) + jnp.square(imaginary)), axis=1)
    return jnp.asarray(samples.effective(), values.dtype) * jnp.mean(statistic)
