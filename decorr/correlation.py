"""Z-scores, Pearson correlations and covariances of a layer's units.

Every function takes activations [..., unit] of ONE network: each leading axis is a sample axis. For several
networks, use `jax.vmap`. All estimates are unbiased (divided by m - 1) unless you ask for another ddof.
"""

import jax
import jax.numpy as jnp

from decorr._checks import check_ddof
from decorr._mesh import over_mesh
from decorr._samples import AxisName, as_samples, centre, standardise


def zscore(
    a: jax.typing.ArrayLike,
    *,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Z-scores every unit over all samples.

    z_i^(k) = (a_i^(k) - mean_i) / sigma_i, with sigma_i^2 = sum_k (a_i^(k) - mean_i)^2 / (m - 1)
    (Section 2.1). A z-score says how unusual sample k is for unit i, whatever the unit's scale.

    Args:
      a: activations [..., unit], floating point, on any scale; m samples in all.
      where: which samples are valid, bool, broadcastable to a.shape[:-1]. Invalid samples are left out, so
        padding may hold anything, even NaN. Default: all.
      weights: the samples' weights, floating, finite, >= 0, broadcastable to a.shape[:-1], like numpy.cov's
        `aweights`. Mean and variance are weighted, and the variance is divided by V1 - V2 / V1 (V1 = sum w,
        V2 = sum w^2). Default: all equal. A sample of weight 0 is not valid. Their scale does not matter, as
        long as the largest weight lies between 1e-30 and 1e30.
      axis_name: one or several mapped axes (of `jax.shard_map`, `jax.pmap` or `jax.vmap`) over which the
        samples are spread. Mean and variance are then taken over the samples of all devices. A device may
        hold a single sample, given as an array [unit], or no valid sample.

    Returns:
      z-scores, in the shape of `a`; float32 for half-precision input, else the dtype of `a`. Invalid samples
      get 0.

    Raises:
      ValueError: fewer than two dimensions or samples, or no unit; `where` or `weights` that cannot be
        broadcast; a valid sample whose weight is below 0 or infinite. If such a weight is traced, there is no
        error. Instead, every nonzero z-score becomes NaN.
      TypeError: a dtype that is not real floating point, a `where` that is not bool.

    Numerics:
      A constant unit has z = 0 and derivative 0. A unit counts as constant if its values span at most 4
      rounding errors (4 eps max|a|). There is no absolute epsilon: a unit that is always 0.1 is constant in
      float32, but a unit that varies on a scale of 1e-30 is not. Units are shifted and scaled onto [0, 1]
      before anything is squared. So large means and extreme scales cost no accuracy beyond the rounding of
      the input. If a unit has a NaN or an infinity, all its z-scores are NaN. Units whose values span less
      than 1e-31 lose digits in float32. With fewer than two valid samples, every unit counts as constant. One
      weight may be larger than all others by any factor, because no step subtracts nearly equal numbers.

    Source: Simon, Decorrelating Neural Network Activations, Sections 2.1 and 3.1.
    """
    return over_mesh(_zscore, (jnp.asarray(a), where, weights), axis_name, specs=lambda spec: spec)


def correlation_matrix(
    a: jax.typing.ArrayLike,
    *,
    undefined: float = 0.0,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Returns the Pearson correlation of every pair of units.

    rho_ij = sum_k z_i^(k) z_j^(k) / (m - 1)   (Section 3.1). If rho_ij is 0, the two units have no linear
    relation over these samples. If rho_ij is +-1, one unit is an affine function of the other.

    Args:
      a: activations [..., unit], floating point; m samples in all.
      undefined: the value of every entry of a constant unit, including its diagonal entry. However, its entry
        with a unit that has a NaN or an infinity is NaN.
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `zscore`.

    Returns:
      rho [unit, unit], symmetric, in [-1, 1] up to rounding; float32 for half-precision input.

    Raises:
      ValueError, TypeError: as in `zscore`.

    Numerics:
      As in `zscore`. The correlations of a constant unit are undefined. By default its entries are 0, so a 0
      on the diagonal shows that a unit is constant. For these entries, numpy.corrcoef gives NaN, and the
      author's code gives 1. On a mesh, every device gets the whole matrix.

    Source: Simon, Section 3.1; the same matrix as numpy.corrcoef(a, rowvar=False).
    """
    rho: jax.Array
    rho, constant = over_mesh(_correlation_matrix, (a, where, weights), axis_name)
    if undefined == 0:
        return rho
    # The entries of a unit with a NaN stay NaN.
    return jnp.where((constant[:, None] | constant[None, :]) & ~jnp.isnan(rho), undefined, rho)


def covariance_matrix(
    a: jax.typing.ArrayLike,
    *,
    ddof: int = 1,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Returns the covariance of every pair of units.

    C_ij = sum_k (a_i^(k) - mean_i) (a_j^(k) - mean_j) / (m - ddof). With weights, C_ij is
    sum_k w_k (a_i^(k) - mean_i) (a_j^(k) - mean_j) / (V1 - ddof V2 / V1), V1 = sum w, V2 = sum w^2.

    Args:
      a: activations [..., unit], floating point; m samples in all.
      ddof: 1 (unbiased) or 0.
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `zscore`.

    Returns:
      C [unit, unit], symmetric, in units of a^2; float32 for half-precision input. On a mesh, every device
      gets the whole matrix.

    Raises:
      ValueError, TypeError: as in `zscore`; a ddof other than 0 or 1.

    Numerics:
      Values are centred before they are squared. Covariances of a constant unit (see `zscore`) are exactly 0.
      With fewer than two valid samples, all covariances are 0.

    Source: the same matrix as numpy.cov(a, rowvar=False, ddof=ddof, aweights=weights).
    """
    check_ddof(ddof)
    return over_mesh(_covariance_matrix, (jnp.asarray(a), where, weights), ddof, axis_name)


def _zscore(axis_name: AxisName, a: jax.Array, *stat: jax.Array | None) -> jax.Array:
    return standardise(as_samples(axis_name, a, *stat)).z.reshape(a.shape)


def _correlation_matrix(
    axis_name: AxisName, a: jax.Array, *stat: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Returns the correlation matrix, and which units are constant."""
    samples = as_samples(axis_name, a, *stat)
    z, _, constant = standardise(samples)
    return samples.moment(z, z) / samples.size(ddof=1), constant


def _covariance_matrix(ddof: int, axis_name: AxisName, a: jax.Array, *stat: jax.Array | None) -> jax.Array:
    samples = as_samples(axis_name, a, *stat)
    c, _ = centre(samples)
    return samples.moment(c, c) / samples.size(ddof)
