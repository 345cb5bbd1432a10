"""The primitive behind the family: the sum of squared correlations or covariances over pairs of units."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp

from decorr._checks import check_ddof
from decorr._mesh import over_mesh
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
    """The sum of squared correlations, or covariances, over pairs of units.

    L = scale sum_ij M_ij^2 over i != j, or over all i, j with the diagonal; M the correlation matrix R or the
    covariance matrix C; scale 1/(2d) of a unit, 1/(d(d-1)) of a pair, or 1. Most decorrelation penalties
    in use are one of these up to a factor. Their gradients grow differently with d: that of the sum like
    d^1.5, by unit like sqrt(d), and by pair it falls like 1/sqrt(d). A weight tuned for one is none for
    another.

    Args:
      a: activations [..., unit], floating point; all leading axes together are the m samples.
      kind: "correlation" or "covariance".
      diagonal: whether a unit is paired with itself too. Of correlations that adds a constant.
      normalise: "unit", "pair" or "sum".
      ddof: degrees of freedom that a covariance's divisor lacks, 1 (unbiased) or 0. Correlations do not
        depend on it.
      where: which samples are valid, bool, broadcastable to a.shape[:-1]. The others are selected
        away, so padding may hold anything, NaN too, and has gradient 0. Default: all.
      weights: of samples, floating, finite, >= 0, broadcastable likewise, as aweights of numpy.cov. Default:
        all alike. A sample of weight 0 is not valid. Their scale does not matter.
      axis_name: one or several mapped axes (of `jax.shard_map`, `jax.pmap` or `jax.vmap`) over which the
        samples are spread; a device may hold one sample, also as an array [unit], or none that is valid.
        Sums are then over all devices: the value, and the gradient, are those of all samples at once.

    Returns:
      L, a scalar; float32 for half-precision input, else the dtype of `a`.

    Raises:
      ValueError: fewer than two dimensions, two samples or one unit; unknown words or another ddof; `where`
        or `weights` of another shape, or weights below 0 or infinite (a traced one makes L NaN).
      TypeError: a dtype that is not real floating point, a `where` that is not bool.

    Numerics:
      Works on the smaller of the d x d matrix and the m x m Gram matrix of the samples, chosen by the
      shape: no array is larger than the input or min(d, m)^2. Derivatives are closed forms, by the weights
      too, and not a trace through the standardisation; `jit`, `vmap`, `grad`, `jvp` and `hessian` work.
      Of covariances of more units than samples the 32 units of the largest variances, or as many as there are
      samples, are paired with all others directly: a few units of another scale cost no digits.
      Half precision is summed in float32. A constant unit (see `zscore`) has M = 0 with every unit, itself
      included, and gradient 0. Fewer than two valid samples: every unit is constant, so value and gradient
      are 0. Over an `axis_name` d x d numbers are summed where d <= m, else the m x d z-scores are gathered;
      once, for value and gradient together. Under `jit` samples or units may be spread over a mesh, of Auto
      or Explicit axes, and as much is sent, but z-scores are gathered twice. Where units are fewer than
      samples, spread units are exchanged for samples on Explicit axes; of Auto axes a library is not told,
      and the compiler gathers them.

    Source: Simon, Decorrelating Neural Network Activations, Section 3.1, for correlations; Cogswell et al.
      (arXiv:1511.06068) for covariances. Weights as numpy.cov: C = sum_k w_k c_k c_k^T / (V1 - V2 / V1),
      V1 = sum w, V2 = sum w^2.
    """
    for what, word, words in (
        ("kind", kind, get_args(Kind)),
        ("normalise", normalise, get_args(Normalisation)),
    ):
        if word not in words:
            raise ValueError(f"{what} must be one of {', '.join(words)}; got {word!r}")
    check_ddof(ddof)
    a = jnp.asarray(a)
    d = a.shape[-1] if a.ndim else 0
    scale = {"unit": 1 / max(2 * d, 1), "pair": 1 / max(d * (d - 1), 1), "sum": 1.0}[normalise]
    form = Form(kind, bool(diagonal), scale, ddof)
    return over_mesh(_value, (a, where, weights), form, axis_name)


def _value(form: Form, axis_name: AxisName, a: jax.Array, *stat: jax.Array | None) -> jax.Array:
    return pair_sum(form, as_samples(axis_name, a, *stat))
