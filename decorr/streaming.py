"""Correlations streamed over many minibatches."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from decorr._samples import as_samples, is_constant, product


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
        constant = is_constant(self.low, self.high)
        moment = jnp.where(constant, 1, jnp.diagonal(self.comoment))
        inverse = jnp.where(constant, 0, 1 / jnp.sqrt(moment))
        return self.comoment * inverse[:, None] * inverse[None, :]
