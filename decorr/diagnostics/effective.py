"""How correlated the pairs of a layer's units are, and how many effective units the layer has."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from decorr._mesh import over_mesh
from decorr._samples import AxisName, Samples, as_samples, is_constant
from decorr.chance import debiased, participation
from decorr.penalties._gram import Form, pair_sum

_SQUARES = Form("correlation", diagonal=False, scale=1.0)


def mean_square_correlation(
    a: jax.typing.ArrayLike,
    *,
    debias: bool = True,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Measures redundancy: the mean squared correlation over pairs of units, minus what chance adds.

    r2 = 1/(d(d-1)) sum_i!=j rho_ij^2; the debiased value is r2 - (1 - r2) / (n - 2). For independent units,
    the debiased value is about 0 for any m and d, but the raw mean is about 1/(m - 1). Both values are 1 if
    all units are alike. So you can compare debiased values between layers of different widths, and between
    different numbers of samples.

    Args:
      a: activations [..., unit], floating point; m samples in all.
      debias: whether to subtract what chance adds.
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `pair_penalty`. n is the effective number of samples, (sum w)^2 / sum w^2. If all samples are
        valid and have equal weights, n = m.

    Returns:
      r2, a scalar; float32 for half-precision input. The raw value is in [0, 1]; the debiased value may be a
      little below 0.

    Raises:
      ValueError, TypeError: as in `pair_penalty`.

    Numerics:
      As in `pair_penalty`. The mean is over the d units that are not constant (see `zscore`). The mean is NaN
      with fewer than two such units, or with fewer than two samples (three if debiased). Debiasing is exact
      for independent and for identical units. Between these cases, where rho^2 is about 1/2, debiasing
      subtracts up to 1/m too much: with 20 samples, a true r2 of 0.49 becomes 0.46. If weights are very
      unequal, chance adds somewhat less than 1/(n - 1).

    Source: Simon, Section 3.1, for the raw mean. The debiased value is the mean, over pairs of units, of the
      adjusted R^2 for one predictor (Ezekiel, 1930). Its expectation is 0 for independent units, for which
      E[rho^2] = 1/(n - 1).
    """
    return over_mesh(_mean_square, (a, where, weights), debias, axis_name).known_mean()


def effective_units(
    a: jax.typing.ArrayLike,
    *,
    debias: bool = True,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Counts a layer's effective units: how many uncorrelated units would carry as much variation.

    Their number is the participation ratio of the correlation matrix R, (tr R)^2 / tr(R^2) = d / (1 + (d - 1)
    r2), where r2 is `mean_square_correlation`. The result is d if all units are uncorrelated, and 1 if all
    are alike. If no unit is constant, the raw value is d / (2P), where P is `correlation_penalty`.
    `effective_rank` of order 2 gives the same result on the correlation matrix, and offers other ranks too.

        share = effective_units(a) / a.shape[-1]  # 1: all units are uncorrelated

    Args:
      a: activations [..., unit], floating point; m samples in all.
      debias: whether to subtract what chance adds to r2. Without debiasing, the result is at most m - 1.
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `mean_square_correlation`.

    Returns:
      A scalar in [1, d]; float32 for half-precision input.

    Raises:
      ValueError, TypeError: as in `pair_penalty`.

    Numerics:
      As in `mean_square_correlation`, including NaN. If the debiased r2 is below 0, the result is d. Constant
      units count neither in the result nor in d. If only one unit varies, the result is 1.

    Source: the participation ratio. Gao et al., A theory of multineuronal dimensionality, dynamics and
      measurement (2017), compute it from a covariance's eigenvalues. Here it is computed from the correlation
      matrix, so a unit's scale does not matter.
    """
    return over_mesh(_mean_square, (a, where, weights), debias, axis_name).effective_units()


class MeanSquare(NamedTuple):
    """The mean squared correlation over pairs of units."""

    mean: jax.Array
    """The mean; 0 if unknown."""
    known: jax.Array
    """Whether there are enough samples, and a pair of units that vary."""
    varying: jax.Array
    """The number of units that vary."""

    @staticmethod
    def of(total: jax.Array, varying: jax.Array, n: jax.typing.ArrayLike | None) -> "MeanSquare":
        """Returns the mean of squares with a given sum, debiased for n samples, or raw if n is None."""
        pairs = varying * (varying - 1)
        r2, known = total / jnp.where(pairs > 0, pairs, 1), pairs > 0
        if n is not None:
            n = jnp.asarray(n, r2.dtype)
            enough = n > 2 * (1 + 8 * jnp.finfo(r2.dtype).eps)  # n of two samples may be rounded up
            r2, known = debiased(r2, jnp.where(enough, n, 3)), known & enough
        return MeanSquare(jnp.where(known, r2, 0), known, varying)

    def known_mean(self) -> jax.Array:
        """Returns the mean; NaN if unknown."""
        return jnp.where(self.known, self.mean, jnp.nan)

    def effective_units(self) -> jax.Array:
        """Returns the effective number of units; NaN if unknown."""
        # If only one unit varies, it has no pair, and counts as one unit.
        known = self.known | (self.varying == 1)
        return jnp.where(known, participation(self.mean, self.varying), jnp.nan)


def _mean_square(debias: bool, axis_name: AxisName, a: jax.Array, *stat: jax.Array | None) -> MeanSquare:
    return mean_square(as_samples(axis_name, a, *stat), debias)


def mean_square(samples: Samples, debias: bool) -> MeanSquare:
    """Returns the mean of rho^2 over pairs of units."""
    varying = jnp.sum(~is_constant(*samples.extremes())).astype(samples.values.dtype)
    return MeanSquare.of(pair_sum(_SQUARES, samples), varying, samples.effective() if debias else None)
