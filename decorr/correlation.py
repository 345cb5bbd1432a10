"""Z-scores and Pearson correlations of a layer's units, over one minibatch or streamed over many.

Every function takes activations [..., unit] of ONE network: each leading axis is a sample axis, and
`jax.vmap` adds runs. All estimates are unbiased (divided by m - 1).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

# A unit is constant if its values span no more than this many roundings of the largest of them.
_ROUNDINGS = 4


def product(x: jax.Array, y: jax.Array) -> jax.Array:
    """The matrix product in full float32, also where the hardware would round to bfloat16 or TF32."""
    return jnp.matmul(x, y, precision=lax.Precision.HIGHEST)


def as_samples(a: jax.Array, minimum: int = 2) -> jax.Array:
    """Checks activations [..., unit]; returns them as [sample, unit], in float32 or better."""
    a = jnp.asarray(a)
    if a.ndim < 2:
        raise ValueError(f"activations must have shape [..., unit] (2-D or more); got {a.shape}")
    if not jnp.issubdtype(a.dtype, jnp.floating):
        raise TypeError(f"activations must have a real floating-point dtype; got {a.dtype}")
    m, d = math.prod(a.shape[:-1]), a.shape[-1]
    if m < minimum or d < 1:
        raise ValueError(f"activations must hold >= {minimum} samples of >= 1 unit; got {a.shape}")
    half = jnp.finfo(a.dtype).bits < 32
    return a.reshape(m, d).astype(jnp.float32 if half else a.dtype)


def _is_constant(low: jax.Array, high: jax.Array) -> jax.Array:
    """Whether values between `low` and `high` differ by rounding only; NaN is not constant."""
    largest = jnp.maximum(jnp.abs(low), jnp.abs(high))
    return high - low <= _ROUNDINGS * jnp.finfo(low.dtype).eps * largest


def standardise(samples: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Z-scores [sample, unit] and standard deviations [unit] of [sample, unit]; both 0 if constant."""
    low, high = samples.min(axis=0, keepdims=True), samples.max(axis=0, keepdims=True)
    constant = _is_constant(low, high)
    # Map every unit onto [0, 1] first, so that no square under- or overflows and a large mean costs
    # no digits. z does not depend on shift and span, so neither do its derivatives of any order.
    shift = lax.stop_gradient(low)
    span = lax.stop_gradient(jnp.where(constant, 1, high - low))
    c = (samples - shift) / span
    c = c - c.mean(axis=0, keepdims=True)
    variance = jnp.sum(c * c, axis=0, keepdims=True) / (samples.shape[0] - 1)
    # Two `where`s: the inner keeps 1 / 0 out of the derivative, the outer sets the value.
    deviation = jnp.sqrt(jnp.where(constant, 1, variance))
    z, sigma = jnp.where(constant, 0, c / deviation), jnp.where(constant, 0, deviation * span)
    return z, sigma[0]


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
      squared, so large means and extreme scales cost no accuracy beyond that of the input itself.

    Source: Simon, Decorrelating Neural Network Activations, Sections 2.1 and 3.1.
    """
    z, _ = standardise(as_samples(a))
    return z.reshape(a.shape)


def correlation_matrix(a: jax.Array, *, undefined: float = 0.0) -> jax.Array:
    """Pearson correlation of every pair of units.

    rho_ij = sum_k z_i^(k) z_j^(k) / (m - 1)   (Section 3.1). 0: no linear relation between two units
    over these samples; +-1: one unit is an affine function of the other.

    Args:
      a: activations [..., unit], floating point; m samples in all.
      undefined: the value of every entry of a constant unit, its diagonal entry included.

    Returns:
      rho [unit, unit], symmetric, in [-1, 1] up to rounding; float32 for half-precision input.

    Raises:
      ValueError, TypeError: as `zscore`.

    Numerics:
      As `zscore`. A constant unit has no correlation: by default its entries are 0, also on the
      diagonal, which tells it apart. numpy.corrcoef gives NaN there, the author's code counts 1.

    Source: Simon, Section 3.1; the same matrix as numpy.corrcoef(a, rowvar=False).
    """
    z, sigma = standardise(as_samples(a))
    rho = product(z.T, z) / (z.shape[0] - 1)
    if undefined == 0:
        return rho
    constant = sigma == 0
    return jnp.where(constant[:, None] | constant[None, :], undefined, rho)


class CorrelationState(NamedTuple):
    """Correlations of more samples than fit in memory: a PyTree that is updated batch by batch.

    Holds the moments of the n samples seen so far and combines two sets of samples by
    M = M_a + M_b + delta delta^T n_a n_b / (n_a + n_b), delta = mean_b - mean_a (Chan et al.), which
    never subtracts large sums from each other. Unlike `zscore` it squares values as they are: in
    float32 a unit's standard deviation should lie between 1e-15 and 1e15. Pure functions throughout:
    use it as a `lax.scan` carry, under `vmap`, and merge states across devices.

        state = CorrelationState.init(d)
        for a in batches:                 # [..., unit]
            state = state.update(a)
        rho = state.correlation()         # [unit, unit]

    Fields: samples [] int32, n; mean [unit]; comoment [unit, unit], M = sum_k (a - mean)(a - mean)^T;
    low, high [unit], the smallest and largest value, which tell a constant unit from a small one.

    Source: Chan, Golub, LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances (1979), in the matrix form.
    """

    samples: jax.Array
    mean: jax.Array
    comoment: jax.Array
    low: jax.Array
    high: jax.Array

    @classmethod
    def init(cls, d: int, dtype: jax.typing.DTypeLike = jnp.float32) -> "CorrelationState":
        """The state of no samples of `d` units, accumulating in `dtype` (float32 or float64)."""
        if d < 1:
            raise ValueError(f"a correlation state needs at least 1 unit; got d = {d}")
        if not jnp.issubdtype(dtype, jnp.floating) or jnp.finfo(dtype).bits < 32:
            raise TypeError(f"a correlation state accumulates in float32 or float64; got {dtype}")
        zero = jnp.zeros(d, dtype)
        return cls(
            samples=jnp.zeros((), jnp.int32),
            mean=zero,
            comoment=jnp.zeros((d, d), dtype),
            low=zero + jnp.inf,
            high=zero - jnp.inf,
        )

    def update(self, a: jax.Array) -> "CorrelationState":
        """The state after the samples [..., unit] too; raises as `zscore`, but takes one sample."""
        batch = as_samples(a, minimum=1).astype(self.mean.dtype)
        if batch.shape[1] != self.mean.shape[0]:
            raise ValueError(f"expected activations of {self.mean.shape[0]} units; got {a.shape}")
        low, high = batch.min(axis=0), batch.max(axis=0)
        mean = low + (batch - low[None]).mean(axis=0)  # exact for a constant unit
        c = batch - mean[None]
        moments = CorrelationState(
            samples=jnp.asarray(batch.shape[0], jnp.int32),
            mean=mean,
            comoment=product(c.T, c),
            low=low,
            high=high,
        )
        return self.merge(moments)

    def merge(self, other: "CorrelationState") -> "CorrelationState":
        """The state of both states' samples; the order of merging changes rounding only."""
        dtype = self.mean.dtype
        n = self.samples + other.samples
        share = other.samples.astype(dtype) / jnp.maximum(n, 1).astype(dtype)
        delta = other.mean - self.mean
        between = jnp.outer(delta, delta) * (self.samples.astype(dtype) * share)
        return CorrelationState(
            samples=n,
            mean=self.mean + delta * share,
            comoment=self.comoment + other.comoment + between,
            low=jnp.minimum(self.low, other.low),
            high=jnp.maximum(self.high, other.high),
        )

    def correlation(self) -> jax.Array:
        """Pearson correlations [unit, unit] of all samples; 0 for a constant unit or n < 2."""
        constant = _is_constant(self.low, self.high)
        moment = jnp.where(constant, 1, jnp.diagonal(self.comoment))
        inverse = jnp.where(constant, 0, 1 / jnp.sqrt(moment))
        return self.comoment * inverse[:, None] * inverse[None, :]
