"""VICReg (Bardes et al., 2022): makes views agree, keeps variances up and covariances down."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from decorr._mesh import over_mesh
from decorr._samples import AxisName, Samples, as_samples, as_views, centre
from decorr.penalties._gram import Form, pair_sum

# The authors' code adds this number to a variance before it takes the square root.
_EPSILON = 1e-4


def variance_penalty(
    a: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Returns VICReg's variance term: how far standard deviations fall short of 1, averaged over units.

    v = 1/d sum_i max(0, 1 - sqrt(var_i + 1e-4)), where the divisor of var_i is m - 1. A penalty of
    covariances alone shrinks the activations. This term keeps their scale.

    Args:
      a: activations [..., unit], floating point; all leading axes together are the m samples.
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `pair_penalty`.

    Returns:
      v, a scalar in [0, 0.99]; float32 for half-precision input, else the dtype of `a`.

    Raises:
      ValueError, TypeError: as in `pair_penalty`.

    Numerics:
      A constant unit (see `zscore`) adds 0.99 to the sum. Its gradient is 0, because the variance rises
      equally whether a sample goes up or down. With fewer than two valid samples, every unit is constant.
      Units with a standard deviation above 1 have gradient 0.

    Source: Bardes et al., VICReg (arXiv:2105.04906), Equation 1, gamma = 1, epsilon = 1e-4.
    """
    return over_mesh(_variance_penalty, (a, where, weights), axis_name)


class VICRegParts(NamedTuple):
    """The terms of `vicreg_loss` before they are multiplied by their weights; all scalars."""

    invariance: jax.Array
    """mean (a - b)^2."""
    variance: jax.Array
    """(v(a) + v(b)) / 2."""
    covariance: jax.Array
    """(K(a) + K(b)) / d."""


def vicreg_parts(
    a: jax.typing.ArrayLike,
    b: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> VICRegParts:
    """Returns the three terms of `vicreg_loss`, so that you can log them or choose other weights.

        parts = vicreg_parts(a, b)
        loss = 25 * parts.invariance + 25 * parts.variance + parts.covariance

    A variance term near 1 means that the embeddings have collapsed, however small the invariance term is.

    Args:
      a, b, where, weights, axis_name: as in `vicreg_loss`.

    Returns:
      VICRegParts(invariance, variance, covariance), scalars; float32 for half-precision input, else the dtype
      of `a`.

    Raises:
      ValueError, TypeError: as in `vicreg_loss`.

    Numerics:
      As in `vicreg_loss`.

    Source: as in `vicreg_loss`.
    """
    return over_mesh(_vicreg_parts, (a, b, where, weights), axis_name)


def vicreg_loss(
    a: jax.typing.ArrayLike,
    b: jax.typing.ArrayLike,
    *,
    coefficients: tuple[jax.typing.ArrayLike, ...] | None = None,
    invariance_weight: jax.typing.ArrayLike = 25.0,
    variance_weight: jax.typing.ArrayLike = 25.0,
    covariance_weight: jax.typing.ArrayLike = 1.0,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Returns the VICReg loss of two views of the same samples, with the constants of the authors' code.

    L = i mean (a - b)^2 + v (v(a) + v(b)) / 2 + c (K(a) + K(b)) / d. Here i, v and c are the weights of
    invariance, variance and covariance. v(.) is `variance_penalty`, and K = sum_i!=j C_ij^2 with the unbiased
    covariance C. The paper's text differs from its code in two terms. The text takes the mean over samples of
    the squared distance, which is d times the code's mean over samples and units. The text also takes v(a) +
    v(b), which the code halves. To log the three terms, use `vicreg_parts`.

        loss = vicreg_loss(a, b)  # embeddings of two views of the same samples

    Args:
      a: embeddings [..., unit] of one view, floating point; all leading axes together are the m samples.
      b: embeddings of the other view, in the shape of `a`.
      invariance_weight, variance_weight, covariance_weight: scalars that may be traced.
      coefficients: a tuple of the three weights, which replaces the three arguments above.
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `pair_penalty`, and the same for both views.

    Returns:
      L, a scalar; float32 for half-precision input, else the dtype of `a`. On z-scored units, the gradient of
      one view's K / d is twice that of P.

    Raises:
      ValueError, TypeError: as in `pair_penalty`; views of different shapes; a number of coefficients other
        than three.

    Numerics:
      As in `pair_penalty` and `variance_penalty`. With fewer than two valid samples, the covariance term is 0
      and the variance term is 0.99, both with gradient 0. The invariance term needs only one valid sample.

    Source: Bardes et al., VICReg (arXiv:2105.04906), and the authors' main_vicreg.py.
    """
    if coefficients is None:
        coefficients = invariance_weight, variance_weight, covariance_weight
    if len(coefficients) != 3:
        raise ValueError(
            f"coefficients must be three: invariance, variance, covariance; got {len(coefficients)}"
        )
    parts: tuple[Any, ...] = vicreg_parts(a, b, where=where, weights=weights, axis_name=axis_name)
    loss: jax.Array = sum(weight * part for weight, part in zip(coefficients, parts, strict=True))
    return loss


def _variance_penalty(axis_name: AxisName, a: jax.Array, *stat: jax.Array | None) -> jax.Array:
    samples = as_samples(axis_name, a, *stat)
    return hinge(samples, centre(samples)[0])


def hinge(samples: Samples, c: jax.Array) -> jax.Array:
    """Returns `variance_penalty` of centred values c [sample, unit]."""
    variance = samples.total(c * c) / samples.size(ddof=1)
    return jnp.mean(jax.nn.relu(1 - jnp.sqrt(variance + _EPSILON)))


def _vicreg_parts(axis_name: AxisName, a: jax.Array, b: jax.Array, *stat: jax.Array | None) -> VICRegParts:
    views = as_views(axis_name, a, b, *stat, same_units=True)
    view, other = views
    distance = jnp.mean(view.total(jnp.square(view.values - other.values))) / view.size()
    variance = sum(hinge(view, centre(view)[0]) for view in views) / 2
    form = Form("covariance", diagonal=False, scale=1 / a.shape[-1])
    covariance = sum(pair_sum(form, view) for view in views)
    return VICRegParts(distance, jnp.asarray(variance), jnp.asarray(covariance))
