"""The spectrum of a layer, and the numbers that are called its rank."""

import math
from typing import get_args

import jax
import jax.numpy as jnp
from jax import lax

from decorr._checks import check_scalar_probability
from decorr._eigenvalues import Kind, Spectrum, factor, spectrum_of
from decorr._mesh import over_mesh
from decorr._names import check_name
from decorr._samples import AxisName, Samples, as_samples
from decorr.diagnostics._hsic import unbiased_traces
from decorr.diagnostics.effective import mean_square
from decorr.penalties._gram import cross_sum


def spectrum(
    a: jax.typing.ArrayLike,
    *,
    kind: Kind = "correlation",
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Returns the eigenvalues of a layer's matrix, which show how its variation is spread over directions.

    The result is l_1 >= l_2 >= ..., the eigenvalues of the correlation matrix R, of the covariance matrix C,
    or of the second moments 1/m sum_k a^(k) a^(k)T. A few large eigenvalues mean that the units repeat each
    other. Equal eigenvalues mean that all directions vary alike.

    Args:
      a: activations [..., unit], floating point; all leading axes together are the m samples.
      kind: which matrix has the eigenvalues. "correlation" is R, from z-scores. "covariance" is C, from
        values minus their means, with divisor m - 1. "moment" is the matrix of second moments, from values
        that are not centred, with divisor m. The eigenvalues of "moment" are the squared singular values of
        the activations, divided by m.
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `zscore`.

    Returns:
      The min(m, d) largest eigenvalues, largest first; the other eigenvalues are 0. Eigenvalues of
      correlations are dimensionless, and those of the other kinds are in units of a^2. The dtype is float32
      for half-precision input, else that of `a`.

    Raises:
      ValueError, TypeError: as in `zscore`; an unknown kind.

    Numerics:
      The eigenvalues come from the smaller of the d x d and m x m matrices. No eigenvalue is below 0. An
      eigenvalue of the matrix B^T B is computed as |B v|^2, where v is its eigenvector. So a singular value
      of 1e-6 times the largest is still accurate in float32. If several singular values are below 1e-3 of the
      largest, they mix with each other, and only the sum of their squares is accurate. For a constant unit
      (see `zscore`), correlations and covariances are 0. A value that is not finite makes all eigenvalues
      NaN.
      The gradient never divides by a difference of eigenvalues. So the gradient of a sum over all eigenvalues
      is right even if some coincide. In that case, however, second derivatives are NaN.

    Source: numpy.linalg.eigvalsh of numpy.corrcoef(a, rowvar=False), or of numpy.cov.
    """
    check_name("kind", kind, get_args(Kind))
    values, scale = over_mesh(_spectrum, (a, where, weights), kind, axis_name)
    return values * scale * scale


def effective_rank(
    a: jax.typing.ArrayLike,
    *,
    order: float = 1,
    power: float = 2,
    kind: Kind = "covariance",
    debias: bool = False,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Measures how many directions a layer uses: 1 if it collapsed, d if all directions are used alike.

    With shares p_i = l_i^(power/2) / sum_j l_j^(power/2) of the eigenvalues l of `spectrum`:

    - order 1: exp(-sum_i p_i log p_i), the exponential of the entropy;
    - order 2: 1 / sum_i p_i^2, the participation ratio;
    - order inf: 1 / max_i p_i; with power 2 the stable rank;
    - any other order q: (sum_i p_i^q)^(1/(1-q)).

    Several published ranks are special cases. RankMe has `power=1, kind="moment"`. The effective rank of
    Roy and Vetterli has `power=1`, the participation ratio `order=2`, NESum `order=math.inf`, and the stable
    rank `order=math.inf, kind="moment"`. `effective_units` has `order=2, kind="correlation", debias=True`. On
    one layer, these ranks can differ by a factor of ten, mostly because only some subtract the means.

        rankme = effective_rank(a, power=1, kind="moment")
        participation_ratio = effective_rank(a, order=2)

    Args:
      a: activations [..., unit], floating point; all leading axes together are the m samples.
      order: the order of the Hill number, above 0; may be `math.inf`. A larger order gives small shares less
        weight.
      power: the exponent of the singular values, above 0. With 2, p holds shares of eigenvalues. With 1, it
        holds shares of their square roots.
      kind: as in `spectrum`.
      debias: whether to correct for the number of samples: few samples show few directions. Debiasing needs
        order 2, power 2, and kind "covariance" or "correlation".
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `zscore`.

    Returns:
      A scalar in [1, d]; float32 for half-precision input. The rank is 1 if no unit varies.

    Raises:
      ValueError, TypeError: as in `zscore`; an unknown kind; an order or a power that is not above 0; a
        combination that `debias` does not support.

    Numerics:
      As in `spectrum`. Order 2 with power 2 needs no eigenvalues, only the smaller of the d x d and m x m
      matrices. Singular values below min(m, d) eps times the largest count as 0, because rounding can produce
      them. In float32 this limit is 3e-5 for min(m, d) = 256. So a collapsed layer of any width has rank 1
      and a finite gradient. The gradient is 0 if no unit varies. For debiased covariances, the rank is the
      ratio of unbiased estimates of (tr C)^2 and tr(C^2). Both estimates are U-statistics over quadruples of
      different samples. The rank is d if the estimate of tr(C^2) is not above 0, and NaN for fewer than four
      valid samples. Debiased correlations are treated as in `effective_units`.

    Source: Hill, Diversity and Evenness (1973). Roy & Vetterli, The effective rank (2007). Garrido et al.,
      RankMe (arXiv:2210.02885). U-statistic: Song et al., Feature Selection via Dependence Maximization
      (2012).
    """
    check_name("kind", kind, get_args(Kind))
    check_order(order, power)
    if debias and ((order, power) != (2, 2) or kind == "moment"):
        raise ValueError("debias is for order=2, power=2, and covariances or correlations")
    return over_mesh(_effective_rank, (a, where, weights), order, power, kind, debias, axis_name)


def rank_at(
    a: jax.typing.ArrayLike,
    *,
    share: jax.typing.ArrayLike = 0.99,
    power: float = 1,
    kind: Kind = "moment",
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Counts the directions that hold a given share of a layer's spectrum: srank, or the approximate rank.

    The result is the least k with sum_{i<=k} s_i^power >= share sum_i s_i^power, where s are the square roots
    of the eigenvalues of `spectrum`. With kind "moment", power 1 is srank (Kumar et al.), which some code
    calls the stable rank. Power 2 is the approximate rank (Yang et al.).

    Args:
      a: activations [..., unit], floating point; all leading axes together are the m samples.
      share: in [0, 1], may be traced.
      power: the exponent of the singular values, above 0.
      kind: as in `spectrum`.
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `zscore`.

    Returns:
      k, a whole number >= 1 as a floating scalar, with derivative 0; float32 for half-precision input.

    Raises:
      ValueError, TypeError: as in `zscore`; an unknown kind; a power that is not above 0; a share that is not
        in [0, 1].

    Numerics:
      A singular value counts as 0 if it may come from rounding alone, as in `effective_rank`. k is 1 if all
      singular values are 0.

    Source: Kumar et al., Implicit Under-Parameterization (arXiv:2010.14498), delta = 0.01. Yang et al.,
      Harnessing Structures for Value-Based Planning and Reinforcement Learning (arXiv:1909.12255).
    """
    check_name("kind", kind, get_args(Kind))
    if not power > 0:
        raise ValueError(f"power must be above 0; got {power}")
    share = check_scalar_probability(share, "share")
    return over_mesh(_rank_at, (a, where, weights, share), power, kind, axis_name)


def rank_above(
    a: jax.typing.ArrayLike,
    *,
    threshold: jax.typing.ArrayLike = 0.01,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Counts the directions along which a layer's root mean square exceeds a threshold: the feature rank.

    The result is the number of i with s_i / sqrt(m) > threshold, where s are the singular values of the
    activations. The rank depends on the scale of the activations, because the threshold is absolute. A large
    mean counts as a direction, because means are not subtracted.

    Args:
      a: activations [..., unit], floating point; all leading axes together are the m samples.
      threshold: in the units of the activations; may be traced.
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `zscore`. With weights, s_i / sqrt(m) is the square root of an eigenvalue of sum_k w_k a^(k)
        a^(k)T / sum_k w_k.

    Returns:
      A whole number >= 0 as a floating scalar, with derivative 0; float32 for half-precision input.

    Raises:
      ValueError, TypeError: as in `zscore`.

    Numerics:
      A singular value counts as 0 if it may come from rounding alone, as in `effective_rank`.

    Source: Lyle et al., Understanding and Preventing Capacity Loss in Reinforcement Learning
      (arXiv:2204.09560), epsilon = 0.01.
    """
    return over_mesh(_rank_above, (a, where, weights, jnp.asarray(threshold)), axis_name)


def _spectrum(kind: Kind, axis_name: AxisName, a: jax.Array, *stat: jax.Array | None) -> Spectrum:
    return spectrum_of(kind, as_samples(axis_name, a, *stat))


def _effective_rank(
    order: float,
    power: float,
    kind: Kind,
    debias: bool,
    axis_name: AxisName,
    a: jax.Array,
    *stat: jax.Array | None,
) -> jax.Array:
    samples = as_samples(axis_name, a, *stat)
    if debias and kind == "correlation":
        found = mean_square(samples, debias=True)
        return jnp.where(found.varying == 0, jnp.ones_like(found.mean), found.effective_units())
    if order == 2 and power == 2:
        return _participation(kind, debias, samples)
    return rank_of(spectrum_of(kind, samples).values, order, power)


def check_order(order: float, power: float) -> None:
    """Raises ValueError for an order or a power that is not above 0."""
    for what, number in (("order", order), ("power", power)):
        if not number > 0:
            raise ValueError(f"{what} must be above 0; got {number}")


def rank_of(
    values: jax.Array, order: float, power: float, rounding: jax.typing.ArrayLike | None = None
) -> jax.Array:
    """Returns the effective rank for eigenvalues, largest first. `rounding` is as in `_singular_values`."""
    s = _relative(values, rounding) ** power
    total = jnp.sum(s)
    p = s / jnp.where(total == 0, 1, total)
    return jnp.where(total == 0, 1, _hill_number(order, jnp.where(total == 0, 1, p)))


def _hill_number(order: float, p: jax.Array) -> jax.Array:
    if order == math.inf:
        return 1 / p[0]
    present = p > 0
    log = jnp.log(jnp.where(present, p, 1))
    if order == 1:
        return jnp.exp(-jnp.sum(p * log))
    # With r = p / p_1, the number is (sum_i p_i r_i^(q-1))^(1/(1-q)) / p_1. The sum is 1 + sum_i p_i
    # (r_i^(q-1) - 1), which neither underflows for a large order q nor loses digits for an order near 1.
    more = jnp.sum(p * jnp.expm1((order - 1) * jnp.where(present, log - log[0], 0)))
    return jnp.exp(-jnp.log1p(more) / (order - 1)) / p[0]


def _participation(kind: Kind, debias: bool, samples: Samples) -> jax.Array:
    """Returns (tr M)^2 / tr(M^2), without eigenvalues."""
    u, _ = factor(kind, samples)
    trace = jnp.sum(samples.total(u * u)) / samples.size()
    if debias:
        square, squares, known = unbiased_traces(samples, u)
    else:
        square, squares, known = trace * trace, cross_sum(samples, u, u), jnp.asarray(True)
    ratio = square / jnp.where(squares > 0, squares, 1)
    ratio = jnp.where(squares > 0, jnp.clip(ratio, 1, u.shape[1]), u.shape[1])
    ratio = jnp.where(known, ratio, jnp.nan)
    return jnp.where(trace == 0, jnp.ones_like(ratio), jnp.where(jnp.isnan(trace), trace, ratio))


def _singular_values(values: jax.Array, rounding: jax.typing.ArrayLike | None = None) -> jax.Array:
    """Returns the square roots of eigenvalues, largest first. A root becomes 0 if rounding may cause it.

    `rounding` is the largest share of the largest eigenvalue that rounding may cause. Default: as in the
    eigenvalues that `spectrum_of` returns.
    """
    if rounding is None:
        rounding = (len(values) * jnp.finfo(values.dtype).eps) ** 2
    kept = ~(values <= rounding * values[0])  # NaN stays
    return jnp.where(kept, jnp.sqrt(jnp.where(kept, values, 1)), 0)


def _relative(values: jax.Array, rounding: jax.typing.ArrayLike | None = None) -> jax.Array:
    """Returns singular values divided by the largest, so that no power of them overflows."""
    s = _singular_values(values, rounding)
    return s / lax.stop_gradient(jnp.where(s[0] == 0, 1, s[0]))


def _rank_at(
    power: float,
    kind: Kind,
    axis_name: AxisName,
    a: jax.Array,
    where: jax.Array | None,
    weights: jax.Array | None,
    share: jax.Array,
) -> jax.Array:
    samples = as_samples(axis_name, lax.stop_gradient(a), where, weights)
    upto = jnp.cumsum(_relative(spectrum_of(kind, samples).values) ** power)
    least = share.astype(upto.dtype) * upto[-1]
    return _count(upto < least, least) + 1


def _rank_above(
    axis_name: AxisName,
    a: jax.Array,
    where: jax.Array | None,
    weights: jax.Array | None,
    threshold: jax.Array,
) -> jax.Array:
    values, scale = spectrum_of("moment", as_samples(axis_name, lax.stop_gradient(a), where, weights))
    s = scale * _singular_values(values)
    return _count(s > threshold.astype(s.dtype), s)


def _count(true: jax.Array, known: jax.Array) -> jax.Array:
    """Returns how many entries of `true` are True; NaN if an entry of `known` is NaN."""
    return jnp.where(jnp.isnan(known).any(), jnp.nan, jnp.sum(true.astype(known.dtype)))
