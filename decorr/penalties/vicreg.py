"""VICReg (Bardes et al., 2022) and VCReg (Zhu et al., 2023): variances held up, covariances pressed down."""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from decorr._mesh import over_mesh
from decorr._samples import AxisName, Samples, as_samples, centre
from decorr.penalties._gram import Form, pair_matrix, pair_sum
from decorr.penalties.xcov import as_twins

# Added to a variance before its root, in the authors' code of VICReg and in the ports of VCReg.
_EPSILON = 1e-4


def variance_penalty(
    a: jax.Array,
    *,
    where: jax.Array | None = None,
    weights: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """VICReg's variance term: what the standard deviations of the units lack of 1, on average.

    v = 1/d sum_i max(0, 1 - sqrt(var_i + 1e-4)), var divided by m - 1. Pressing covariances down alone
    shrinks the activations; this holds their scale.

    Args:
      a: activations [..., unit], floating point; all leading axes together are the m samples.
      where, weights, axis_name: as `pair_penalty`.

    Returns:
      v, a scalar in [0, 0.99]; float32 for half-precision input, else the dtype of `a`.

    Raises:
      ValueError, TypeError: as `pair_penalty`.

    Numerics:
      A constant unit (see `zscore`) counts 0.99 with gradient 0: nothing says in which direction to move its
      samples. So does every unit of fewer than two valid samples. Units beyond 1 have gradient 0.

    Source: Bardes et al., VICReg (arXiv:2105.04906), Equation 1, gamma = 1, epsilon = 1e-4.
    """
    penalty: jax.Array = over_mesh(_variance_of, (a, where, weights), axis_name)
    return penalty


def vicreg_loss(
    a: jax.Array,
    b: jax.Array,
    *,
    coefficients: tuple[jax.typing.ArrayLike, ...] = (25.0, 25.0, 1.0),
    where: jax.Array | None = None,
    weights: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """The VICReg loss of two views of the same samples, by the constants of its authors' code.

    L = i mean (a - b)^2 + v (v(a) + v(b)) / 2 + c (K(a) + K(b)) / d, with the coefficients i of the
    invariance, v of the variance, c of the covariance, in that order; v(.) as `variance_penalty`, K =
    sum_i!=j C_ij^2, C the unbiased covariance. The paper's text takes the mean over samples of the squared
    distance, d times the code's mean over samples and units, and v(a) + v(b), which the code halves.

    Args:
      a: embeddings [..., unit] of one view, floating point; all leading axes together are the m samples.
      b: embeddings of the other view, the shape of `a`.
      coefficients: invariance, variance, covariance; scalars that may be traced.
      where, weights, axis_name: as `pair_penalty`, of both views.

    Returns:
      L, a scalar; float32 for half-precision input, else the dtype of `a`. On z-scored units, K / d of one
      view has twice the gradient of P.

    Raises:
      ValueError, TypeError: as `pair_penalty`; views of two shapes, not three coefficients.

    Numerics:
      As `pair_penalty` and `variance_penalty`. Over fewer than two valid samples the covariance is 0 and
      the variance term 0.99, with gradient 0; one valid sample still has its distance.

    Source: Bardes et al., VICReg (arXiv:2105.04906), and the authors' main_vicreg.py.
    """
    if len(coefficients) != 3:
        raise ValueError(f"coefficients are three: invariance, variance, covariance; got {len(coefficients)}")
    parts = over_mesh(_vicreg, (a, b, where, weights), axis_name, specs=lambda _: (PartitionSpec(),) * 3)
    loss: jax.Array = sum(weight * part for weight, part in zip(coefficients, parts, strict=True))
    return loss


def vcreg_loss(
    a: jax.Array,
    variance_weight: jax.typing.ArrayLike,
    covariance_weight: jax.typing.ArrayLike,
    *,
    delta: float | None = None,
    where: jax.Array | None = None,
    weights: jax.Array | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """The VCReg loss of one layer of a supervised network: variances held up, covariances pressed down.

    L = alpha v(a) + beta / (d (d-1)) sum_i!=j C_ij^2, with v as `variance_penalty`, C the unbiased
    covariance. With `delta`, x^2 for |x| <= delta and 2 delta |x| - delta^2 beyond stands for the square of
    an entry (smooth L1).

    Args:
      a: activations [..., unit], floating point; all leading axes together are the m samples. The
        paper pools the positions of a convolutional map as samples: leading axes, as here.
      variance_weight: alpha, a scalar that may be traced.
      covariance_weight: beta, a scalar that may be traced.
      delta: where squares go over into lines, > 0, in units of a^2; None: nowhere.
      where, weights, axis_name: as `pair_penalty`.

    Returns:
      L, a scalar; float32 for half-precision input, else the dtype of `a`. On z-scored units the covariance
      part has 2 / (d - 1) times the gradient of P.

    Raises:
      ValueError, TypeError: as `pair_penalty`; a delta that is not above 0.

    Numerics:
      As `pair_penalty` and `variance_penalty`. With `delta` always by the d x d matrix.

    Source: Zhu et al., Variance-Covariance Regularization Improves Representation Learning
      (arXiv:2306.13292). No code of its authors was found; the ports agree on epsilon and divisors, but
      for Algomancer/VCReg, whose gradient of the covariance part lacks the factor 1 / (m - 1).
    """
    if delta is not None and not delta > 0:
        raise ValueError(f"delta must be above 0, or None; got {delta}")
    parts = over_mesh(_vcreg, (a, where, weights), axis_name, delta, specs=lambda _: (PartitionSpec(),) * 2)
    variance, covariance = parts
    loss: jax.Array = variance_weight * variance + covariance_weight * covariance
    return loss


def _variance_of(axis_name: AxisName, a: jax.Array, *stat: jax.Array | None) -> jax.Array:
    samples = as_samples(axis_name, a, *stat)
    return _hinge(samples, centre(samples)[0])


def _hinge(samples: Samples, c: jax.Array) -> jax.Array:
    variance = samples.total(c * c) / samples.size(ddof=1)
    return jnp.mean(jax.nn.relu(1 - jnp.sqrt(variance + _EPSILON)))


def _vicreg(
    axis_name: AxisName, a: jax.Array, b: jax.Array, *stat: jax.Array | None
) -> tuple[jax.Array, ...]:
    """Invariance, variance, covariance."""
    views = as_twins(axis_name, a, b, *stat)
    one, other = views
    distance = jnp.mean(one.total(jnp.square(one.values - other.values))) / one.size()
    variance = sum(_hinge(view, centre(view)[0]) for view in views) / 2
    form = Form("covariance", diagonal=False, scale=1 / a.shape[-1])
    return distance, jnp.asarray(variance), jnp.asarray(sum(pair_sum(form, view) for view in views))


def _vcreg(
    axis_name: AxisName, delta: float | None, a: jax.Array, *stat: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Variance, covariance."""
    samples, d = as_samples(axis_name, a, *stat), a.shape[-1]
    c, _ = centre(samples)
    form = Form("covariance", diagonal=False, scale=1 / max(d * (d - 1), 1))
    if delta is None:
        return _hinge(samples, c), pair_sum(form, samples)
    size = jnp.abs(pair_matrix(form, samples, c))
    smooth = jnp.where(size <= delta, size * size, 2 * delta * size - delta * delta)
    return _hinge(samples, c), form.scale * jnp.sum(smooth)
