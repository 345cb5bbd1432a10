"""Whitens activations: decorrelates the units and gives them variance 1. Also computes whitening matrices."""

import functools
import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from decorr._checks import check_floating, check_scalar_probability
from decorr._inverse_root import inverse_root, newton_inverse_root
from decorr._mesh import over_mesh
from decorr._names import check_name
from decorr._samples import AxisName, as_samples, centre_in_spans, product, widen

METHODS = ("zca", "cholesky", "newton")


def whitening_matrix(
    c: jax.typing.ArrayLike,
    *,
    method: str = "zca",
    shrinkage: jax.typing.ArrayLike = 1e-3,
    iterations: int = 9,
) -> jax.Array:
    """Returns the matrix W that whitens activations with covariance C: W C' W^T = I.

    C' = (1 - shrinkage) C + shrinkage mean_i(C_ii) I. So W exists even if C is singular, as C always is for m
    <= d samples. The whitened activations are (a - mean) W^T. The methods differ by a rotation of the result:

    - "zca": W = C'^(-1/2), symmetric. The whitened activations stay as near as possible to the centred
      activations, so unit i stays unit i. This method uses an eigendecomposition.
    - "cholesky": W = L^(-1), with C' = L L^T. Whitened unit i depends on the first i units only, so the order
      of the units matters. This is the cheapest exact method.
    - "newton": approximates C'^(-1/2) by Newton-Schulz iterations, which need only matrix products.
      Directions of small variance converge last. For 256 units and 9 iterations, max |W C' W^T - I| is below
      1e-4 at condition number 10. At condition number 100 it may be 0.2, and is below 1e-4 after 15
      iterations.

    Args:
      c: covariances [unit, unit], floating point; only the symmetric part counts. For several matrices, use
        `jax.vmap`.
      method: "zca", "cholesky" or "newton".
      shrinkage: in [0, 1], may be traced. With 0, C is used as it is. With 1, units are only divided by their
        common scale.
      iterations: the number of iterations of "newton", >= 1.

    Returns:
      W [unit, unit], in units of 1 / a; float32 for half-precision input, else the dtype of `c`.

    Raises:
      ValueError: a shape that is not [unit, unit], an unknown method, a shrinkage outside [0, 1] (if traced,
        W is NaN instead), fewer than one iteration.
      TypeError: a dtype that is not real floating point, iterations that are not an integer.

    Numerics:
      C is divided by its mean variance first, so the matrix for s C is W / sqrt(s), for every s > 0 with
      which the sum of the variances does not overflow. In C', a constant unit has only the variance that
      shrinkage adds. C = 0 gives W = 0, with derivative 0. An entry that is NaN or infinite makes all of W
      NaN. For every other covariance, a shrinkage > 0 makes "zca" and "newton" finite. "cholesky" is finite
      if shrinkage exceeds the rounding error, about d eps. With shrinkage 0 and a C that is singular up to
      rounding, "zca" is NaN. "cholesky" is then NaN or consists of rounding errors; "newton" is finite but
      does not whiten. The derivatives of "zca" divide by sums of roots of eigenvalues, never by differences
      of eigenvalues. So derivatives of every order are right at repeated and nearly repeated eigenvalues. For
      such eigenvalues, the derivatives of `jnp.linalg.eigh` are NaN or wrong.

    Source: "zca" and "cholesky": Kessy, Lewin & Strimmer, Optimal Whitening and Decorrelation. "newton":
      Huang et al., Iterative Normalization (IterNorm), in the coupled form of Higham, Functions of Matrices,
      Section 6.7. Here, C' is divided by its Frobenius norm. IterNorm divides C' by its trace, which is never
      smaller than that norm, so IterNorm needs more iterations.
    """
    c = check_floating(c, "a covariance matrix")
    if c.ndim != 2 or c.shape[0] != c.shape[1] or c.shape[0] < 1:
        raise ValueError(f"a covariance matrix must have shape [unit, unit]; got {c.shape}")
    check_method(method, iterations)
    w: jax.Array = over_mesh(
        _whitening_matrix, (widen(c), check_scalar_probability(shrinkage, "shrinkage")), method, iterations
    )
    return w


def whiten(
    a: jax.typing.ArrayLike,
    *,
    method: str = "zca",
    shrinkage: jax.typing.ArrayLike = 1e-3,
    iterations: int = 9,
    groups: int = 1,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Whitens activations by their own mean and covariance.

    y = (a - mean) W^T, with W the `whitening_matrix` of C = 1/(m-1) sum_k (a^(k) - mean)(a^(k) - mean)^T. At
    shrinkage 0, the units of y are uncorrelated, with variance 1. With more shrinkage, directions of small
    variance keep a variance below 1: a variance l becomes l / ((1 - shrinkage) l + shrinkage mean_i(C_ii)).
    Published whitening layers do not shrink C, but add 1e-5 to the diagonal of the biased covariance. Here C
    is unbiased, like in `covariance_matrix`.

        y = whiten(a)  # uncorrelated units of variance 1

    Args:
      a: activations [..., unit], floating point; all leading axes together are the m samples.
      method, shrinkage, iterations: as in `whitening_matrix`.
      groups: the number of groups, a divisor of d. Each group has d / groups consecutive units, and is
        whitened separately. More groups are cheaper and need fewer samples: m should be a few times d /
        groups.
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `zscore`. Mean and covariance are weighted.

    Returns:
      y, in the shape of `a`, dimensionless; 0 for invalid samples. The dtype is float32 for half-precision
      input, else that of `a`.

    Raises:
      ValueError, TypeError: as in `zscore` and `whitening_matrix`; a number of groups that does not divide d.

    Numerics:
      As in `whitening_matrix`. y does not change if all units are multiplied by the same number > 0, or if a
      constant is added to a unit. Invalid samples are left out of value and gradient, rather than multiplied
      by 0, so they may be NaN. For a constant unit (see `zscore`), y and its derivative are 0 up to rounding.
      With fewer than two valid samples, y is 0. A NaN in a valid sample makes the whole group of its unit
      NaN.

    Source: Huang et al., Decorrelated Batch Normalization, for "zca" and for the groups.
    """
    check_method(method, iterations)
    arrays = (jnp.asarray(a), where, weights, check_scalar_probability(shrinkage, "shrinkage"))
    return over_mesh(whiten_by_batch, arrays, Form(method, iterations, groups), axis_name, specs=specs).y


def check_method(method: str, iterations: int) -> None:
    """Raises ValueError for an unknown method, or for fewer than one iteration."""
    check_name("method", method, METHODS)
    if operator.index(iterations) < 1:
        raise ValueError(f"iterations must be >= 1; got {iterations}")


def check_groups(d: int, groups: int) -> None:
    """Raises ValueError unless d units can be divided into this many groups of equal size."""
    if operator.index(groups) < 1 or d % groups:
        raise ValueError(f"groups must divide the {d} units; got {groups}")


class Form(NamedTuple):
    """The options of whitening. They are hashable, so that they can be static under `jit`."""

    method: str
    iterations: int
    groups: int
    minimum: int = 2
    """The fewest samples that may be whitened by their own statistics."""


class Whitened(NamedTuple):
    """Activations whitened by their own statistics, and these statistics."""

    y: jax.Array
    """[..., unit]"""
    mean: jax.Array
    """[unit]"""
    covariance: jax.Array
    """[group, unit, unit], unbiased"""
    number: jax.Array
    """The effective number of samples."""


def specs(spec: PartitionSpec) -> Whitened:
    """Returns the layout of a result on a mesh: y is spread like the activations, the rest replicated."""
    return Whitened._make((spec, PartitionSpec(), PartitionSpec(), PartitionSpec()))


def whiten_by_batch(
    form: Form,
    axis_name: AxisName,
    a: jax.Array,
    where: jax.Array | None,
    weights: jax.Array | None,
    shrinkage: jax.Array,
) -> Whitened:
    """Whitens samples by their own mean and covariance."""
    samples = as_samples(axis_name, a, where, weights, minimum=form.minimum)
    c, span_of_unit, constant = centre_in_spans(samples)
    # Each group is divided by one scale, so that no square under- or overflows. y does not depend on this
    # scale.
    span_of_unit = _by_group(jnp.where(constant, 0, span_of_unit), form.groups)
    span = jnp.max(span_of_unit, axis=2, keepdims=True)
    span = jnp.where(span > 0, span, 1)
    c = _by_group(samples.select(jnp.where(constant, 0, c)), form.groups) * (span_of_unit / span)
    weighted = samples.weighted(c.transpose(1, 0, 2)).transpose(1, 2, 0)
    covariance = samples.everywhere(product(weighted, c)) / samples.size(ddof=1)
    y = samples.select(_project(form, c, covariance, shrinkage))
    mean = samples.total(samples.values / samples.size())[0]
    return Whitened(
        y.reshape(a.shape), mean, covariance * span * span, jnp.asarray(samples.effective(), y.dtype)
    )


def whiten_by_running(
    form: Form,
    a: jax.Array,
    where: jax.Array | None,
    mean: jax.Array,
    covariance: jax.Array,
    shrinkage: jax.Array,
) -> jax.Array:
    """Whitens samples by a given mean [unit] and given covariances [group, unit, unit]."""
    samples = as_samples(None, a, where, minimum=0)
    mean, covariance = mean.astype(samples.values.dtype), covariance.astype(samples.values.dtype)
    c = _by_group(samples.values - mean[None], form.groups)
    return samples.select(_project(form, c, covariance, shrinkage)).reshape(a.shape)


def _by_group(x: jax.Array, groups: int) -> jax.Array:
    """Reshapes x [sample, unit] to [group, sample, unit]."""
    m, d = x.shape
    check_groups(d, groups)
    return x.reshape(m, groups, d // groups).transpose(1, 0, 2)


def _project(form: Form, c: jax.Array, covariance: jax.Array, shrinkage: jax.Array) -> jax.Array:
    """Returns centred activations c [group, sample, unit] times W^T, as [sample, unit]."""
    w = jax.vmap(lambda block: _whitening_matrix(form.method, form.iterations, block, shrinkage))(covariance)
    return product(c, w.transpose(0, 2, 1)).transpose(1, 0, 2).reshape(c.shape[1], c.shape[0] * c.shape[2])


# Compiled, because an eager call would run about fifty small programs.
@functools.partial(jax.jit, static_argnums=(0, 1))
def _whitening_matrix(method: str, iterations: int, c: jax.Array, shrinkage: jax.Array) -> jax.Array:
    shrinkage = shrinkage.astype(c.dtype)
    identity = jnp.eye(c.shape[0], dtype=c.dtype)
    c = (c + c.T) / 2
    variance, largest = jnp.mean(jnp.diagonal(c)), jnp.max(jnp.abs(c))
    regular = (variance > 0) & jnp.isfinite(largest)
    # W does not depend on `scale`, and neither do its derivatives. The identity replaces a matrix that is not
    # regular. So derivatives and eigensolvers never get such a matrix.
    scale = lax.stop_gradient(jnp.where(regular, variance, 1))
    c = (1 - shrinkage) * (c / scale) + shrinkage * (variance / scale) * identity
    c = jnp.where(regular, c, identity)
    if method == "zca":
        w = inverse_root(c, shrinkage)
    elif method == "cholesky":
        w = jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(c), identity, lower=True)
    else:
        w = newton_inverse_root(c, iterations)
    return w * jnp.where(regular, 1 / jnp.sqrt(scale), jnp.where(largest == 0, 0, jnp.nan))
