"""Computes correlations, covariances, spectra and ranks of a stream of minibatches."""

import functools
from dataclasses import replace
from typing import NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import lax

from decorr._checks import check_ddof, check_scalar_probability
from decorr._eigenvalues import Kind
from decorr._mesh import over_mesh
from decorr._names import check_name
from decorr._samples import AxisName, as_samples, extremes_over, is_constant, pairs_of_shares, root
from decorr.diagnostics.effective import MeanSquare
from decorr.diagnostics.spectra import check_order, rank_of
from decorr.fitted import Whitening, of_covariance


class Sums(NamedTuple):
    """One array for each summed field of a `CorrelationState`: the sums, or their rounding errors."""

    weight: jax.Array
    square: jax.Array
    pairs: jax.Array
    mean: jax.Array
    comoment: jax.Array


class CorrelationState(NamedTuple):
    """Correlations of more samples than fit in memory: a state that is updated batch by batch.

    The state holds the weighted mean and the co-moments M of the samples so far. The co-moments of two sets
    of samples, a and b, are combined by M = M_a + M_b + delta delta^T w_a w_b / (w_a + w_b), where delta =
    mean_b - mean_a, and w_a and w_b are the sums of weights (Chan et al.). This formula never subtracts large
    sums from each other. Sums are compensated: the rounding error of each addition is kept beside the sum. So
    float32 is enough for streams of any length. Unlike `zscore`, the state squares values without scaling
    them first. So in float32, a unit's standard deviation should be between 1e-15 and 1e15. A unit's
    correlations are NaN if squares over- or underflowed, or if a value was not finite. The state is a PyTree,
    and all methods are pure functions. Use the state as a `lax.scan` carry or under `vmap`, and merge states
    across devices. In `jax.shard_map`, JAX treats the state of `init` as equal on all devices. If each device
    scans its own minibatches, start the scan from the state after the first minibatch.

        state = CorrelationState.init(d)
        for a in batches:                 # [..., unit]
            state = state.update(a)
        rho = state.correlation()         # [unit, unit]
        units = state.effective_units()

    Raises:
      ValueError, TypeError: in `init`, fewer than 1 unit, or a dtype that is neither float32 nor float64.
      ValueError, TypeError: in `update`, the errors of `zscore`, and activations with more or fewer units
        than the state.
      ValueError, TypeError: in `merge`, states with different numbers of units or different dtypes.

    Source: Chan, Golub, LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances (1979), in the matrix form. Compensation: Neumaier, Rundungsfehleranalyse einiger Verfahren
    zur Summation endlicher Summen (1974).
    """

    weight: jax.Array
    """[], the sum of the samples' weights; without weights, the number of samples. In float32, this number is
    exact up to 2^24; larger numbers have 7 correct digits."""
    square: jax.Array
    """[], the sum of the squares of the weights."""
    mean: jax.Array
    """[unit], the weighted mean of the samples."""
    comoment: jax.Array
    """[unit, unit], M = sum_k w_k (a - mean)(a - mean)^T."""
    low: jax.Array
    """[unit], the smallest value of each unit. A unit is constant if `low` and `high` are equal up to
    rounding."""
    high: jax.Array
    """[unit], the largest value of each unit."""
    pairs: jax.Array
    """[], the sum of w_k w_l over all pairs of samples k != l with weights w; equals weight^2 - square."""
    rest: Sums
    """The rounding errors of `weight`, `square`, `pairs`, `mean` and `comoment`."""

    @classmethod
    def init(cls, d: int, dtype: jax.typing.DTypeLike = jnp.float32) -> "CorrelationState":
        """Returns the state before any sample, for d units. It accumulates in `dtype`, float32 or float64."""
        if d < 1:
            raise ValueError(f"a correlation state needs at least 1 unit; got d = {d}")
        if not jnp.issubdtype(dtype, jnp.floating) or jnp.finfo(dtype).bits < 32:
            raise TypeError(f"a correlation state accumulates in float32 or float64; got {dtype}")
        # Every array has its own buffer, so that the state can be donated.
        shapes: tuple[tuple[int, ...], ...] = (), (), (), (d,), (d, d)
        sums, rest = (Sums(*(jnp.zeros(shape, dtype) for shape in shapes)) for _ in range(2))
        return _state(sums, rest, low=jnp.full(d, jnp.inf, dtype), high=jnp.full(d, -jnp.inf, dtype))

    def update(
        self,
        a: jax.typing.ArrayLike,
        *,
        where: jax.typing.ArrayLike | None = None,
        weights: jax.typing.ArrayLike | None = None,
        axis_name: AxisName = None,
    ) -> "CorrelationState":
        """Returns the state after more samples [..., unit].

        Arguments are as in `zscore`, but one sample is enough. Give all minibatches weights on the same
        scale. The squares of weights should not over- or underflow.
        """
        a = jnp.asarray(a)
        if a.shape[-1:] != self.mean.shape:
            raise ValueError(f"expected activations of {self.mean.shape[0]} units; got {a.shape}")
        arrays = (a, where, weights)
        return self.merge(over_mesh(_correlation_state, arrays, self.mean.dtype, axis_name))

    def merge(self, other: "CorrelationState") -> "CorrelationState":
        """Combines two states of the same units. Their order affects only rounding."""
        if self.mean.shape != other.mean.shape:
            d, other_d = len(self.mean), len(other.mean)
            raise ValueError(f"states of {d} and of {other_d} units cannot be merged")
        if self.mean.dtype != other.mean.dtype:
            raise TypeError(f"a {self.mean.dtype} state cannot be merged with a {other.mean.dtype} one")
        weight = self.weight + other.weight
        share = other.weight / jnp.where(weight == 0, 1, weight)
        delta = (other.mean - self.mean) + (other.rest.mean - self.rest.mean)
        step = delta * root(self.weight * share)  # 0 if either state is empty, however large delta is
        added = Sums(
            weight=other.weight,
            square=other.square,
            pairs=other.pairs + 2 * self.weight * other.weight,
            mean=delta * share,
            comoment=other.comoment + jnp.outer(step, step),
        )
        added_rest = other.rest._replace(mean=jnp.zeros_like(delta))
        terms = zip(self._sums(), self.rest, added, added_rest, strict=True)
        sums, rest = zip(*(_plus(*term) for term in terms), strict=True)
        low, high = jnp.minimum(self.low, other.low), jnp.maximum(self.high, other.high)
        return _state(Sums(*sums), Sums(*rest), low, high)

    def psum(self, axis_name: str | tuple[str, ...]) -> "CorrelationState":
        """Combines the states of all devices along a mapped axis. Each device gets the same result."""
        everywhere = functools.partial(lax.psum, axis_name=axis_name)
        weight = everywhere(self.weight)
        share = self.weight / jnp.where(weight == 0, 1, weight)
        mean = everywhere(share * self.mean)
        step = (self.mean - mean) * root(self.weight)
        square, pairs, comoment = everywhere((self.square, self.pairs, self.comoment + jnp.outer(step, step)))
        pairs = pairs + weight * weight * pairs_of_shares(share, everywhere)
        sums = Sums(weight, square, pairs, mean, comoment)
        rest = everywhere(self.rest._replace(mean=share * self.rest.mean))
        return _state(sums, rest, *extremes_over(axis_name, self.low, self.high))

    def correlation(self) -> jax.Array:
        """Returns Pearson correlations [unit, unit] of all samples; NaN where they cannot be computed.

        Entries of a constant unit are 0. With fewer than two samples, all entries are 0.
        """
        moment, constant = jnp.diagonal(self.comoment), self._constant()
        # Outside of these limits, squares have over- or underflowed, so a correlation computed from them
        # could be any number.
        limits = jnp.finfo(moment.dtype)
        known = jnp.isfinite(moment) & (moment > self.weight * (limits.tiny / limits.eps))
        inverse = 1 / jnp.sqrt(jnp.where(known, moment, 1))
        inverse = jnp.where(known | constant, inverse, jnp.nan)
        rho = self.comoment * inverse[:, None] * inverse[None, :]
        return jnp.where(constant[:, None] | constant[None, :], 0, rho)

    def covariance(self, ddof: int = 1) -> jax.Array:
        """Returns covariances [unit, unit] of all samples, in units of a^2, as in `covariance_matrix`.

        Entries of a constant unit are 0. With fewer than two samples, all entries are 0.
        """
        check_ddof(ddof)
        constant = self._constant()
        size = self.pairs / jnp.where(self.weight == 0, 1, self.weight) if ddof else self.weight
        covariance = self.comoment / jnp.where(size > 0, size, 1)
        return jnp.where(constant[:, None] | constant[None, :], 0, covariance)

    def mean_square_correlation(self, *, debias: bool = True) -> jax.Array:
        """Returns r2 of all samples, as in `decorr.diagnostics.mean_square_correlation`."""
        return self._mean_square(debias).known_mean()

    def effective_units(self, *, debias: bool = True) -> jax.Array:
        """Returns the effective number of units over all samples, as in `decorr.effective_units`."""
        return self._mean_square(debias).effective_units()

    def spectrum(self, *, kind: Kind = "correlation") -> jax.Array:
        """Returns all d eigenvalues, largest first, of a matrix that `diagnostics.spectrum` describes.

        The samples themselves are gone, so an eigenvalue has an error of a few eps times the largest one.
        Eigenvalues that rounding makes negative are 0. For kind "moment", squares of means should not
        overflow either.
        """
        check_name("kind", kind, get_args(Kind))
        if kind == "moment":
            moment = self.comoment / jnp.where(self.weight == 0, 1, self.weight)
            matrix = moment + jnp.outer(self.mean, self.mean)
        else:
            matrix = self.correlation() if kind == "correlation" else self.covariance()
        finite = jnp.isfinite(matrix).all()
        values = jnp.linalg.eigvalsh(jnp.where(finite, matrix, jnp.eye(len(matrix), dtype=matrix.dtype)))
        return jnp.where(finite, jnp.maximum(values[::-1], 0), jnp.nan)

    def effective_rank(self, *, order: float = 1, power: float = 2, kind: Kind = "covariance") -> jax.Array:
        """Returns how many directions all samples use, as in `decorr.effective_rank` without debiasing.

        An eigenvalue below 2 sqrt(d) eps times the largest counts as 0, because it may be a rounding error.
        So in float32, for 256 units, singular values below 0.002 times the largest do not count. A float64
        state counts smaller ones. This matters most for power 1 and kind "moment", because a large mean of
        the units increases the largest eigenvalue.
        """
        check_order(order, power)
        values = self.spectrum(kind=kind)
        return rank_of(values, order, power, rounding=2 * len(values) ** 0.5 * jnp.finfo(values.dtype).eps)

    def whitening(
        self,
        *,
        method: str = "zca",
        shrinkage: jax.typing.ArrayLike = 1e-3,
        components: int | None = None,
    ) -> Whitening:
        """Fits a whitening map to all samples, as in `fit_whitening`."""
        shrinkage = check_scalar_probability(shrinkage, "shrinkage")
        return of_covariance(method, components, self.mean, self.covariance(), shrinkage)

    def _mean_square(self, debias: bool) -> MeanSquare:
        rho = self.correlation()
        pairs = jnp.where(jnp.eye(len(rho), dtype=bool), 0, jnp.square(rho))
        varying = jnp.sum(~self._constant()).astype(rho.dtype)
        n = self.weight * (self.weight / jnp.where(self.square == 0, 1, self.square))
        return MeanSquare.of(jnp.sum(pairs), varying, n if debias else None)

    def _constant(self) -> jax.Array:
        """Returns which units are constant [unit]. With fewer than two samples, all units are constant."""
        constant: jax.Array = is_constant(self.low, self.high) | (self.low > self.high)
        return constant

    def _sums(self) -> Sums:
        return Sums(self.weight, self.square, self.pairs, self.mean, self.comoment)


def _state(sums: Sums, rest: Sums, low: jax.Array, high: jax.Array) -> CorrelationState:
    return CorrelationState(**sums._asdict(), low=low, high=high, rest=rest)


def _plus(
    total: jax.Array, rest: jax.Array, added: jax.Array, added_rest: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Adds two numbers, each given with its rounding error. Returns the sum and its rounding error."""
    plain = total + added
    part = plain - total
    left = (total - (plain - part)) + (added - part) + (rest + added_rest)
    left = lax.stop_gradient(jnp.where(jnp.isfinite(plain), left, 0))
    return plain + left, left - ((plain + left) - plain)


def _correlation_state(
    dtype: jax.typing.DTypeLike, axis_name: AxisName, a: jax.Array, *stat: jax.Array | None
) -> CorrelationState:
    """Returns the state of one batch of activations. It accumulates in the given dtype."""
    samples = as_samples(axis_name, a, *stat, minimum=1)
    samples = replace(
        samples,
        values=samples.values.astype(dtype),
        weights=None if samples.weights is None else samples.weights.astype(dtype),
    )
    ones = jnp.ones(samples.values.shape[0], dtype) if samples.weights is None else samples.weights
    weight, square = samples.everywhere(ones.sum()), samples.everywhere(jnp.square(ones).sum())
    divisor = jnp.where(weight == 0, 1, weight)
    shares = ones / divisor
    pairs = weight * weight * pairs_of_shares(shares, samples.everywhere)
    low, high = samples.extremes()
    # One of a unit's values is subtracted before its mean is taken, so the mean of a constant unit is exact.
    origin = samples.origin(low)
    c = samples.select(samples.values - origin)
    offset = samples.total(c) / divisor
    c = samples.select(c - offset)
    sums = Sums(weight, square, pairs, (origin + offset)[0], samples.moment(c, c))
    none = weight == 0
    extremes = jnp.where(none, jnp.inf, low[0]), jnp.where(none, -jnp.inf, high[0])
    return _state(sums, jax.tree.map(jnp.zeros_like, sums), *extremes)
