"""Correlations and covariances streamed over many minibatches."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax import lax

from decorr._mesh import over_mesh
from decorr._samples import AxisName, as_samples, check_ddof, extremes_over, is_constant


class CorrelationState(NamedTuple):
    """Correlations of more samples than fit in memory: a PyTree that is updated batch by batch.

    Holds the weighted moments of the samples seen so far and combines two sets of samples by
    M = M_a + M_b + delta delta^T w_a w_b / (w_a + w_b), delta = mean_b - mean_a, w the sums of weights
    (Chan et al.), which never subtracts large sums from each other. Unlike `zscore` it squares values as
    they are: in float32 a unit's standard deviation should lie between 1e-15 and 1e15, and its correlations
    are NaN where squares over- or underflowed, or a value was not finite. More than a billion samples want
    float64, for a small minibatch adds nothing to so large a sum. Pure functions throughout: use it as a
    `lax.scan` carry, under `vmap`, and merge states across devices.

        state = CorrelationState.init(d)
        for a in batches:                 # [..., unit]
            state = state.update(a)
        rho = state.correlation()         # [unit, unit]

    Raises:
      ValueError, TypeError: in `update`, as `zscore`, and activations of another number of units; in `init`,
        no units, or a dtype that is neither float32 nor float64.
      AssertionError: states of other units or dtypes that are merged.

    Source: Chan, Golub, LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances (1979), in the matrix form.
    """

    weight: jax.Array
    """[], the sum of the samples' weights: without weights their number, exact in float32 up to 2^24,
    beyond to 7 digits."""
    square: jax.Array
    """[], the sum of the squares of the weights."""
    mean: jax.Array
    """[unit]."""
    comoment: jax.Array
    """[unit, unit], M = sum_k w_k (a - mean)(a - mean)^T."""
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
        none, zero = jnp.zeros((), dtype), jnp.zeros(d, dtype)
        return cls(none, none, zero, jnp.zeros((d, d), dtype), low=zero + jnp.inf, high=zero - jnp.inf)

    def update(
        self,
        a: jax.Array,
        *,
        where: jax.Array | None = None,
        weights: jax.Array | None = None,
        axis_name: AxisName = None,
    ) -> "CorrelationState":
        """The state after the samples [..., unit] too; as `zscore`, but takes one sample.

        The scale of the weights matters, between minibatches; their squares should not over- or underflow.
        """
        a = jnp.asarray(a)
        if a.shape[-1:] != self.mean.shape:
            raise ValueError(f"expected activations of {self.mean.shape[0]} units; got {a.shape}")
        arrays = (a, where, weights)
        return self.merge(over_mesh(_moments, arrays, self.mean.dtype, axis_name))

    def merge(self, other: "CorrelationState") -> "CorrelationState":
        """The state of both states' samples, of the same units; the order changes rounding only."""
        chex.assert_trees_all_equal_shapes_and_dtypes(self, other)
        weight = self.weight + other.weight
        share = other.weight / jnp.where(weight == 0, 1, weight)
        delta = other.mean - self.mean
        step = delta * jnp.sqrt(self.weight * share)  # 0 into an empty state, however far from zero
        return CorrelationState(
            weight=weight,
            square=self.square + other.square,
            mean=self.mean + delta * share,
            comoment=self.comoment + other.comoment + jnp.outer(step, step),
            low=jnp.minimum(self.low, other.low),
            high=jnp.maximum(self.high, other.high),
        )

    def psum(self, axis_name: str | tuple[str, ...]) -> "CorrelationState":
        """The state of the samples of all devices of a mapped axis, the same on each: one merge of all."""
        weight = lax.psum(self.weight, axis_name)
        share = self.weight / jnp.where(weight == 0, 1, weight)
        mean = lax.psum(share * self.mean, axis_name)
        step = (self.mean - mean) * jnp.sqrt(self.weight)
        square, comoment = lax.psum((self.square, self.comoment + jnp.outer(step, step)), axis_name)
        return CorrelationState(
            weight, square, mean, comoment, *extremes_over(axis_name, self.low, self.high)
        )

    def correlation(self) -> jax.Array:
        """Pearson correlations [unit, unit] of all samples; NaN: unknown.

        0 for a constant unit, and everywhere for fewer than two samples.
        """
        moment, constant = jnp.diagonal(self.comoment), self._constant()
        # Outside, squares over- or underflowed, and their quotient might be any number.
        limits = jnp.finfo(moment.dtype)
        known = jnp.isfinite(moment) & (moment > self.weight * (limits.tiny / limits.eps))
        inverse = jnp.where(known, 1 / jnp.sqrt(jnp.where(known, moment, 1)), jnp.nan)
        rho = self.comoment * inverse[:, None] * inverse[None, :]
        return jnp.where(constant[:, None] | constant[None, :], 0, rho)

    def covariance(self, ddof: int = 1) -> jax.Array:
        """Covariances [unit, unit] of all samples, in units of a^2, as `covariance_matrix`.

        0 for a constant unit, and everywhere for fewer than two samples.
        """
        check_ddof(ddof)
        constant = self._constant()
        size = self.weight - ddof * self.square / jnp.where(self.weight == 0, 1, self.weight)
        covariance = self.comoment / jnp.where(size > 0, size, 1)
        return jnp.where(constant[:, None] | constant[None, :], 0, covariance)

    def _constant(self) -> jax.Array:
        """Which units are constant [unit]: all of them, of fewer than two samples."""
        return is_constant(self.low, self.high) | (self.low > self.high)


def _moments(
    dtype: jax.typing.DTypeLike, axis_name: AxisName, a: jax.Array, *stat: jax.Array | None
) -> CorrelationState:
    """The state of activations, accumulating in a dtype."""
    samples = as_samples(axis_name, a, *stat, minimum=1)
    samples = samples._replace(
        values=samples.values.astype(dtype),
        weights=None if samples.weights is None else samples.weights.astype(dtype),
    )
    ones = jnp.ones(len(samples.values), dtype) if samples.weights is None else samples.weights
    weight, square = samples.everywhere(ones.sum()), samples.everywhere(jnp.square(ones).sum())
    low, high = samples.extremes()
    # From the lowest, for the mean of a constant unit to be exact.
    c = samples.select(samples.values - low)
    offset = samples.total(c) / samples.size()
    c = samples.select(c - offset)
    comoment = samples.moment(c, c)
    none = weight == 0
    extremes = jnp.where(none, jnp.inf, low[0]), jnp.where(none, -jnp.inf, high[0])
    return CorrelationState(weight, square, (low + offset)[0], comoment, *extremes)
