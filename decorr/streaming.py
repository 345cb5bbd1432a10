"""Correlations streamed over many minibatches."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from decorr._samples import as_samples, is_constant, over_mesh, product


class CorrelationState(NamedTuple):
    """Correlations of more samples than fit in memory: a PyTree that is updated batch by batch.

    Holds the moments of the n samples seen so far and combines two sets of samples by
    M = M_a + M_b + delta delta^T n_a n_b / (n_a + n_b), delta = mean_b - mean_a (Chan et al.), which
    never subtracts large sums from each other. Unlike `zscore` it squares values as they are: in
    float32 a unit's standard deviation should lie between 1e-15 and 1e15, and its correlations are NaN
    where squares over- or underflowed, or a value was not finite. More than a billion samples want
    float64, for a small minibatch adds nothing to so large a sum. Pure functions throughout: use it as a
    `lax.scan` carry, under `vmap`, and merge states across devices.

        state = CorrelationState.init(d)
        for a in batches:                 # [..., unit]
            state = state.update(a)
        rho = state.correlation()         # [unit, unit]

    Source: Chan, Golub, LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances (1979), in the matrix form.
    """

    samples: jax.Array
    """[], n, in the dtype of the sums: exact in float32 up to 2^24, beyond to 7 digits."""
    mean: jax.Array
    """[unit]."""
    comoment: jax.Array
    """[unit, unit], M = sum_k (a - mean)(a - mean)^T."""
    low: jax.Array
    """[unit], the smallest value: with `high` it tells a constant unit from a small one."""
    high: jax.Array
    """[unit], the largest value."""

    @classmethod
    def init(cls, d: int, dtype: jax.typing.DTypeLike = jnp.float32) -> "CorrelationState":
        """The state of no samples of `d` units, accumulating in `dtype` (float32 or float64)."""
        if d < 1:
            raise ValueError(f"a correlation state needs at least 1 unit; got d = {d}")
        if not jnp.issubdtype(dtype, jnp.floating) or jnp.finfo(dtype).bits < 32:
            raise TypeError(f"a correlation state accumulates in float32 or float64; got {dtype}")
        zero = jnp.zeros(d, dtype)
        return cls(
            samples=jnp.zeros((), dtype),
            mean=zero,
            comoment=jnp.zeros((d, d), dtype),
            low=zero + jnp.inf,
            high=zero - jnp.inf,
        )

    def update(self, a: jax.Array) -> "CorrelationState":
        """The state after the samples [..., unit] too; raises as `zscore`, but takes one sample."""
        a = jnp.asarray(a)
        if a.shape[-1:] != self.mean.shape:
            raise ValueError(f"expected activations of {self.mean.shape[0]} units; got {a.shape}")
        return self.merge(over_mesh(_moments_in(self.mean.dtype), a, lambda _: _EVERYWHERE))

    def merge(self, other: "CorrelationState") -> "CorrelationState":
        """The state of both states' samples, of the same units; the order changes rounding only."""
        chex.assert_trees_all_equal_shapes_and_dtypes(self, other)
        n = self.samples + other.samples
        share = other.samples / jnp.maximum(n, 1)
        delta = other.mean - self.mean
        step = delta * jnp.sqrt(self.samples * share)  # 0 into an empty state, however far from zero
        return CorrelationState(
            samples=n,
            mean=self.mean + delta * share,
            comoment=self.comoment + other.comoment + jnp.outer(step, step),
            low=jnp.minimum(self.low, other.low),
            high=jnp.maximum(self.high, other.high),
        )

    def correlation(self) -> jax.Array:
        """Pearson correlations [unit, unit] of all samples; 0 for a constant unit or n < 2; NaN: unknown."""
        constant = is_constant(self.low, self.high) | (self.samples < 2)
        moment = jnp.diagonal(self.comoment)
        # Outside, squares over- or underflowed, and their quotient might be any number.
        limits = jnp.finfo(moment.dtype)
        known = jnp.isfinite(moment) & (moment > self.samples * (limits.tiny / limits.eps))
        inverse = jnp.where(known, 1 / jnp.sqrt(jnp.where(known, moment, 1)), jnp.nan)
        rho = self.comoment * inverse[:, None] * inverse[None, :]
        return jnp.where(constant[:, None] | constant[None, :], 0, rho)


_EVERYWHERE = CorrelationState._make(PartitionSpec() for _ in CorrelationState._fields)


@functools.cache
def _moments_in(dtype: jnp.dtype) -> Callable[[jax.Array], CorrelationState]:
    """What makes a state of activations, accumulating in a dtype."""

    def moments(a: jax.Array) -> CorrelationState:
        batch = as_samples(a, minimum=1).astype(dtype)
        low, high = batch.min(axis=0), batch.max(axis=0)
        mean = low + (batch - low[None]).mean(axis=0)  # exact for a constant unit
        c = batch - mean[None]
        return CorrelationState(jnp.asarray(batch.shape[0], dtype), mean, product(c.T, c), low, high)

    return moments
