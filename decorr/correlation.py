"""Z-scores and Pearson correlations of a layer's units.

Every function takes activations [..., unit] of ONE network: each leading axis is a sample axis, and
`jax.vmap` adds runs. All estimates are unbiased (divided by m - 1).
"""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from decorr._samples import as_samples, over_mesh, product, standardise


def zscore(a: jax.Array) -> jax.Array:
    """Z-scores every unit over all samples.

    z_i^(k) = (a_i^(k) - mean_i) / sigma_i, with sigma_i^2 = sum_k (a_i^(k) - mean_i)^2 / (m - 1)
    (Section 2.1). A z-score says how unusual sample k is for unit i, whatever the unit's scale.

    Args:
      a: activations [..., unit], floating point, any unit of measure; m samples in all.

    Returns:
      z-scores, the shape of `a`; float32 for half-precision input, else the dtype of `a`.

    Raises:
      ValueError: fewer than two dimensions, two samples or one unit.
      TypeError: a dtype that is not real floating point.

    Numerics:
      A constant unit has z = 0 and derivative 0. Constant means: its values span at most 4 roundings
      (4 eps max|a|), so 0.1 repeated is constant in float32, while a unit of scale 1e-30 is not:
      there is no absolute epsilon. Units are shifted and scaled onto [0, 1] before anything is
      squared, so large means and extreme scales cost no accuracy beyond that of the input itself. A unit
      with a NaN or an infinity, or whose span overflows, is NaN throughout; one whose span is above 8e37
      in float32 may be, for its inverse is denormal. Spans below 1e-31 lose digits in the same way.

    Source: Simon, Decorrelating Neural Network Activations, Sections 2.1 and 3.1.
    """
    return over_mesh(_zscore, a, lambda spec: spec)


def correlation_matrix(a: jax.Array, *, undefined: float = 0.0) -> jax.Array:
    """Pearson correlation of every pair of units.

    rho_ij = sum_k z_i^(k) z_j^(k) / (m - 1)   (Section 3.1). 0: no linear relation between two units
    over these samples; +-1: one unit is an affine function of the other.

    Args:
      a: activations [..., unit], floating point; m samples in all.
      undefined: the value of every entry of a constant unit, its diagonal entry included; beside a unit
        that is NaN it is NaN.

    Returns:
      rho [unit, unit], symmetric, in [-1, 1] up to rounding; float32 for half-precision input.

    Raises:
      ValueError, TypeError: as `zscore`.

    Numerics:
      As `zscore`. A constant unit has no correlation: by default its entries are 0, also on the
      diagonal, which tells it apart. numpy.corrcoef gives NaN there, the author's code counts 1. On a mesh
      the matrix is whole on every device.

    Source: Simon, Section 3.1; the same matrix as numpy.corrcoef(a, rowvar=False).
    """
    rho, constant = over_mesh(_correlation, a, lambda spec: (PartitionSpec(), PartitionSpec()))
    if undefined == 0:
        return rho
    # rho is 0 there, or NaN beside a unit that is NaN.
    return jnp.where(constant[:, None] | constant[None, :], rho + undefined, rho)


def _zscore(a: jax.Array) -> jax.Array:
    return standardise(as_samples(a))[0].reshape(a.shape)


def _correlation(a: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The correlation matrix, and which units are constant."""
    z, _, constant = standardise(as_samples(a))
    return product(z.T, z) / (z.shape[0] - 1), constant
