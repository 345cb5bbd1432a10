"""Barlow Twins (Zbontar et al., 2021)."""

import jax
import jax.numpy as jnp

from decorr._mesh import over_mesh
from decorr._samples import AxisName, as_views, standardise
from decorr.penalties._gram import cross_sum


def barlow_twins_loss(
    a: jax.typing.ArrayLike,
    b: jax.typing.ArrayLike,
    *,
    off_diagonal_weight: jax.typing.ArrayLike = 5e-3,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Returns the Barlow Twins loss of two views of the same samples.

    L = sum_i (1 - C_ii)^2 + weight sum_i!=j C_ij^2, with C = 1/m sum_k z_a^(k) z_b^(k)T. C holds the
    correlations between the units of one view and the units of the other. The z-scores use the biased
    standard deviation. The first sum makes the views agree. The second sum keeps units from repeating each
    other.

        loss = barlow_twins_loss(a, b)  # embeddings of two views of the same samples

    Args:
      a: embeddings [..., unit] of one view, floating point; all leading axes together are the m samples.
      b: embeddings of the other view, in the shape of `a`.
      off_diagonal_weight: the paper's lambda, a scalar that may be traced.
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `pair_penalty`, for both views.

    Returns:
      L, a scalar; float32 for half-precision input, else the dtype of `a`. If both views are the same, L =
      weight (2 d P - d), where P is `correlation_penalty`.

    Raises:
      ValueError, TypeError: as in `pair_penalty`; views of different shapes.

    Numerics:
      The authors' code computes z-scores by a BatchNorm with epsilon 1e-5, but here there is no epsilon. A
      constant unit (see `zscore`) has C_ii = 0, so it adds 1 to the first sum, with gradient 0. With fewer
      than two valid samples, every unit counts as constant. The loss uses one d x d matrix or two m x m
      matrices, whichever is smaller. Derivatives come from automatic differentiation.

    Source: Zbontar et al., Barlow Twins (arXiv:2103.03230), Equations 1 and 2. The authors' main.py has
      lambda 0.0051 and multiplies L by --scale-loss 0.024.
    """
    diagonal, rest = over_mesh(_barlow_twins_loss, (a, b, where, weights), axis_name)
    loss: jax.Array = diagonal + off_diagonal_weight * rest
    return loss


def _barlow_twins_loss(
    axis_name: AxisName, a: jax.Array, b: jax.Array, *stat: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Returns the sum over the diagonal, and the sum over the other entries."""
    view, other = as_views(axis_name, a, b, *stat, same_units=True)
    x, y = standardise(view, ddof=0).z, standardise(other, ddof=0).z
    diagonal = view.total(x * y) / view.size()
    return jnp.sum(jnp.square(1 - diagonal)), cross_sum(view, x, y, diagonal=False)
