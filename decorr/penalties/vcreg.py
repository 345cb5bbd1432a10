"""VCReg (Zhu et al., 2023): keeps variances up and covariances down."""

from typing import Any

import jax
import jax.numpy as jnp

from decorr._mesh import over_mesh
from decorr._samples import AxisName, as_samples, centre
from decorr.penalties._gram import Form, pair_matrix, pair_sum
from decorr.penalties.vicreg import hinge


def vcreg_loss(
    a: jax.typing.ArrayLike,
    variance_weight: jax.typing.ArrayLike = 1.0,
    covariance_weight: jax.typing.ArrayLike = 1.0,
    *,
    delta: float | None = None,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Keeps variances up and covariances down in a layer of a supervised network: the VCReg loss.

    L = alpha v(a) + beta / (d (d-1)) sum_i!=j C_ij^2, where v is `variance_penalty` and C is the unbiased
    covariance. With `delta`, each entry x of C for which |x| > delta adds 2 delta |x| - delta^2 instead of
    its square (smooth L1).

        hidden = activations.values()  # one array [..., unit] for each hidden layer
        loss = nll + sum(vcreg_loss(layer, 0.1, 0.01) for layer in hidden)

    Args:
      a: activations [..., unit], floating point; all leading axes together are the m samples. Positions of a
        convolutional map count as samples, like in the paper.
      variance_weight: alpha, a scalar that may be traced.
      covariance_weight: beta, a scalar that may be traced.
      delta: the |x| above which a linear function replaces the square; > 0, in units of a^2. None: all
        entries are squared.
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `pair_penalty`.

    Returns:
      L, a scalar; float32 for half-precision input, else the dtype of `a`. On z-scored units, the gradient of
      the covariance part is 2 / (d - 1) times that of P.

    Raises:
      ValueError, TypeError: as in `pair_penalty`; a delta that is not above 0.

    Numerics:
      As in `pair_penalty` and `variance_penalty`. With `delta`, the loss always uses the d x d matrix.

    Source: Zhu et al., Variance-Covariance Regularization Improves Representation Learning
      (arXiv:2306.13292). No code by its authors was found. Published ports agree with each other on epsilon
      and divisors. The exception is Algomancer/VCReg: its gradient of the covariance part lacks the factor
      1 / (m - 1).
    """
    if delta is not None and not delta > 0:
        raise ValueError(f"delta must be above 0, or None; got {delta}")
    parts: tuple[Any, Any] = over_mesh(_vcreg_loss, (a, where, weights), axis_name, delta)
    variance, covariance = parts
    loss: jax.Array = variance_weight * variance + covariance_weight * covariance
    return loss


def _vcreg_loss(
    axis_name: AxisName, delta: float | None, a: jax.Array, *stat: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Returns the variance term and the covariance term."""
    samples, d = as_samples(axis_name, a, *stat), a.shape[-1]
    c, _ = centre(samples)
    form = Form("covariance", diagonal=False, scale=1 / max(d * (d - 1), 1))
    if delta is None:
        return hinge(samples, c), pair_sum(form, samples)
    size = jnp.abs(pair_matrix(form, samples, c))
    smooth = jnp.where(size <= delta, size * size, 2 * delta * size - delta * delta)
    return hinge(samples, c), form.scale * jnp.sum(smooth)
