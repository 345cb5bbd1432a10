"""The correlation regulariser P of Section 3.1, its closed-form gradient, and that gradient's terms."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from decorr._samples import as_samples, over_mesh, product, standardise


class GradientTerms(NamedTuple):
    """The terms of Section 3.1: dP/da = A * (B - C). A [unit], B and C [..., unit]."""

    A: jax.Array
    B: jax.Array
    C: jax.Array


def correlation_penalty(a: jax.Array) -> jax.Array:
    """The correlation penalty of one layer: the normalised sum of squared correlations.

    P = 1/(2d) sum_ij rho_ij^2   (Section 3.1), the diagonal included. 1/2: all units uncorrelated;
    d/2: all units alike. Over m samples even independent units have P > 1/2 on average: see
    `independent_penalty`. Add `weight * correlation_penalty(a)` of each layer to a loss. The paper's
    weights 0.1 and 1.0 act as 0.002 and 0.02, for its released code divides the gradient by the 50
    samples of a minibatch: 0.002 is a weight to begin with.

    Args:
      a: activations [..., unit], floating point; all leading axes together are the m samples.

    Returns:
      P, a scalar; float32 for half-precision input, else the dtype of `a`.

    Raises:
      ValueError: fewer than two dimensions, two samples or one unit.
      TypeError: a dtype that is not real floating point.

    Numerics:
      Works on the smaller of the d x d correlation matrix and the m x m Gram matrix of the samples
      (sum rho^2 = ||Z Z^T||_F^2 / (m - 1)^2), chosen by the shape: no array is larger than the input
      or min(d, m)^2. Derivatives are the closed form of `penalty_gradient`, not a trace through the
      z-score; `jit`, `vmap`, `grad`, `jvp` and `hessian` work. P does not change when a unit is
      shifted, scaled or negated. A constant unit (see `zscore`) has rho = 0 with every unit, itself
      included, and gradient 0; to the others it is absent, but counts in d. NaN, an infinity, or a span
      that overflows make P NaN. Samples or units may be spread over a mesh, of Auto or Explicit axes.

    Source: Simon, Decorrelating Neural Network Activations, Section 3.1.
    """
    return over_mesh(_value, a)


def penalty_gradient(a: jax.Array) -> jax.Array:
    """The gradient dP/da of `correlation_penalty` by the paper's closed form.

    dP/da_l^(k) = 2 / (d (m-1) sigma_l) sum_i rho_il (z_i^(k) - z_l^(k) rho_il)   (Section 3.1).
    Large where sample k is unusual in the same way for unit l and the units correlated with it.

    Args:
      a: activations [..., unit], floating point.

    Returns:
      dP/da, shape and dtype of `a`, in units of 1 / a. Equal to `jax.grad(correlation_penalty)(a)`.

    Raises:
      ValueError, TypeError: as `correlation_penalty`.

    Numerics:
      As `correlation_penalty`; exactly 0 for a constant unit. It grows as 1 / sigma_l: half
      precision overflows for units that vary by less than about 1e-5.

    Source: Simon, Section 3.1.
    """
    return over_mesh(_gradient, a, lambda spec: spec)


def gradient_terms(a: jax.Array) -> GradientTerms:
    """The three terms that Section 3.1 reads the gradient by: dP/da = A * (B - C).

    A_l = 2 / (d (m-1) sigma_l): small for a unit that varies a lot.
    B_l^(k) = sum_i z_i^(k) rho_il: large if sample k moves the units correlated with l together.
    C_l^(k) = z_l^(k) sum_i rho_il^2: large if l is correlated with many units and unusual on k.

    Args:
      a: activations [..., unit], floating point.

    Returns:
      GradientTerms(A [unit], B [..., unit], C [..., unit]); float32 for half-precision input.

    Raises:
      ValueError, TypeError: as `correlation_penalty`.

    Numerics:
      As `correlation_penalty`. All three are 0 for a constant unit, where 1 / sigma_l is undefined.

    Source: Simon, Section 3.1.
    """
    return over_mesh(_terms, a, lambda spec: GradientTerms._make((PartitionSpec(spec[-1]), spec, spec)))


def _value(a: jax.Array) -> jax.Array:
    return _penalty(as_samples(a))


def _gradient(a: jax.Array) -> jax.Array:
    A, B, C = _penalty_and_terms(as_samples(a))[1]
    return (A[None] * (B - C)).reshape(a.shape).astype(a.dtype)


def _terms(a: jax.Array) -> GradientTerms:
    A, B, C = _penalty_and_terms(as_samples(a))[1]
    return GradientTerms(A, B.reshape(a.shape), C.reshape(a.shape))


@jax.custom_jvp
def _penalty(samples: jax.Array) -> jax.Array:
    z, *_ = standardise(samples)
    m, d = z.shape
    smaller = product(z.T, z) if d <= m else product(z, z.T)
    return jnp.sum(jnp.square(smaller / (m - 1))) / (2 * d)


@_penalty.defjvp
def _penalty_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    penalty, (A, B, C) = _penalty_and_terms(*primals)
    return penalty, jnp.sum(A[None] * (B - C) * tangents[0])


def _penalty_and_terms(samples: jax.Array) -> tuple[jax.Array, GradientTerms]:
    """P and the terms of its gradient for [sample, unit], from the smaller of the two matrices."""
    z, sigma, constant = standardise(samples)
    m, d = z.shape
    if d <= m:
        rho = product(z.T, z) / (m - 1)
        B = product(z, rho)
        squares = jnp.sum(rho * rho, axis=0)
    else:
        B = product(product(z, z.T) / (m - 1), z)
        squares = jnp.sum(z * B, axis=0) / (m - 1)  # sum_i rho_il^2, without rho
    A = jnp.where(constant, 0, 2 / (d * (m - 1) * jnp.where(constant, 1, sigma)))
    return jnp.sum(squares) / (2 * d), GradientTerms(A, B, z * squares[None])
