"""XCov (Cheung et al., 2014): keeps two layers uncorrelated."""

import jax

from decorr._mesh import over_mesh
from decorr._samples import AxisName, as_views, centre
from decorr.penalties._gram import cross_sum


def xcov_loss(
    a: jax.typing.ArrayLike,
    b: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Keeps two layers uncorrelated: half the sum of squared covariances between their units.

    L = 1/2 sum_ij (1/m sum_k (a_i^(k) - mean) (b_j^(k) - mean))^2. L is 0 if no unit of a is linearly related
    to a unit of b. Use it to separate two latent codes, such as class and style.

    Args:
      a: activations [..., unit], floating point; all leading axes together are the m samples.
      b: activations [..., unit] of the same samples. `a` and `b` may have different numbers of units.
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `pair_penalty`, and the same for both layers.

    Returns:
      L, a scalar; float32 for half-precision input, else the dtype of `a`. For units z-scored by their biased
      standard deviations, L is half the sum of the squared cross-correlations.

    Raises:
      ValueError, TypeError: as in `pair_penalty`; `a` and `b` with different leading axes.

    Numerics:
      The loss uses one d_a x d_b matrix or two m x m matrices, whichever is smaller. Its gradient comes from
      automatic differentiation. A constant unit (see `zscore`) has covariance exactly 0. Otherwise as in
      `pair_penalty`.

    Source: Cheung et al., Discovering Hidden Factors of Variation in Deep Networks (arXiv:1412.6583),
      Equation 3; Chainer's `cross_covariance` gives the same loss.
    """
    return over_mesh(_xcov_loss, (a, b, where, weights), axis_name)


def _xcov_loss(axis_name: AxisName, a: jax.Array, b: jax.Array, *stat: jax.Array | None) -> jax.Array:
    one, other = as_views(axis_name, a, b, *stat)
    return cross_sum(one, centre(one)[0], centre(other)[0]) / 2
