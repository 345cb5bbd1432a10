"""Sums of squared correlations or covariances over pairs of units, the basis of other penalties."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp

from decorr._checks import check_ddof
from decorr._mesh import over_mesh
from decorr._names import check_name
from decorr._samples import AxisName, as_samples
from decorr.penalties._gram import Form, Kind, pair_sum

Normalisation = Literal["unit", "pair", "sum"]


def pair_penalty(
    a: jax.typing.ArrayLike,
    *,
    kind: Kind = "correlation",
    diagonal: bool = False,
    normalise: Normalisation = "unit",
    ddof: int = 1,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> jax.Array:
    """Returns the sum of squared correlations, or of squared covariances, over pairs of units.

    L = scale sum_ij M_ij^2 over i != j, or over all i and j if `diagonal` is True. M is the correlation
    matrix R or the covariance matrix C. The scale is 1/(2d) for "unit", 1/(d(d-1)) for "pair", and 1 for
    "sum". Most decorrelation penalties in use are one of these sums, up to a factor. The gradients of the
    three sums depend differently on d. The gradient of "sum" grows like d^1.5, and that of "unit" like
    sqrt(d), but that of "pair" falls like 1/sqrt(d). So a weight tuned for one normalisation does not fit
    another.

    Args:
      a: activations [..., unit], floating point; all leading axes together are the m samples.
      kind: "correlation" or "covariance".
      diagonal: whether a unit is paired with itself too. For correlations, such pairs add a constant.
      normalise: "unit", "pair" or "sum".
      ddof: 1 (unbiased) or 0. The divisor of covariances is m - ddof. Correlations do not depend on ddof.
      where: which samples are valid, bool, broadcastable to a.shape[:-1]. Invalid samples are left out, so
        padding may hold anything, even NaN, and has gradient 0. Default: all.
      weights: the samples' weights, floating, finite, >= 0, broadcastable to a.shape[:-1], like numpy.cov's
        `aweights`. Default: all equal. A sample of weight 0 is not valid. Their scale does not matter, as
        long as the largest weight lies between 1e-30 and 1e30.
      axis_name: one or several mapped axes (of `jax.shard_map`, `jax.pmap` or `jax.vmap`) over which the
        samples are spread. Value and gradient are then those of all samples at once. A device may hold a
        single sample, given as an array [unit], or no valid sample.

    Returns:
      L, a scalar; float32 for half-precision input, else the dtype of `a`.

    Raises:
      ValueError: fewer than two dimensions or samples, or no unit; an unknown kind or normalisation; a ddof
        other than 0 or 1; `where` or `weights` that cannot be broadcast; weights below 0 or infinite. If such
        weights are traced, there is no error, and L is NaN.
      TypeError: a dtype that is not real floating point, a `where` that is not bool.

    Numerics:
      The penalty is computed from the smaller of the d x d matrix and the m x m Gram matrix of the samples,
      chosen by the shape. No array has more elements than the whole input. Derivatives are closed forms, also
      with respect to positive weights. At a weight of 0, the derivative leaves out what the sample would add;
      give a tiny weight instead. `jit`, `vmap`, `grad`, `jvp` and `hessian` work. If d > m and `diagonal` is
      False, every covariance with one of the min(32, m) units of largest variance is computed directly. So a
      few units on a larger scale cost no digits. Half-precision inputs are summed in float32. A constant unit
      (see `zscore`) has M = 0 with every unit, even with itself, and gradient 0. With fewer than two valid
      samples, every unit counts as constant, so value and gradient are 0. With an `axis_name`, the d x d
      matrix is summed over devices if d <= m. Otherwise, devices gather the m x d z-scores, once for value
      and gradient together. Under `jit`, samples or units may be spread over a mesh with Auto or Explicit
      axes. Then devices send as much data as with an `axis_name`, except that z-scores are gathered twice. If
      there are fewer units than samples, and units are spread over Explicit axes, devices first exchange data
      so that samples are spread instead. If the axes are Auto, the library cannot see them, and the compiler
      gathers the units.

    Source: Simon, Decorrelating Neural Network Activations, Section 3.1, for correlations; Cogswell et al.
      (arXiv:1511.06068) for covariances. Weights as in numpy.cov: C = sum_k w_k c_k c_k^T / (V1 - V2 / V1),
      V1 = sum w, V2 = sum w^2.
    """
    check_name("kind", kind, get_args(Kind))
    check_name("normalisation", normalise, get_args(Normalisation))
    check_ddof(ddof)
    a = jnp.asarray(a)
    d = a.shape[-1] if a.ndim else 0
    scale = {"unit": 1 / max(2 * d, 1), "pair": 1 / max(d * (d - 1), 1), "sum": 1.0}[normalise]
    form = Form(kind, bool(diagonal), scale, ddof)
    return over_mesh(_pair_penalty, (a, where, weights), form, axis_name)


def _pair_penalty(form: Form, axis_name: AxisName, a: jax.Array, *stat: jax.Array | None) -> jax.Array:
    return pair_sum(form, as_samples(axis_name, a, *stat))
