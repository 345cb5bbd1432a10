"""Whitening as a map that is fitted once, applies to other samples too, and has an inverse."""

import operator
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from decorr._checks import check_floating, check_scalar_probability
from decorr._eigenvalues import factor
from decorr._mesh import over_mesh
from decorr._names import check_name
from decorr._samples import AxisName, as_samples, product, widen

METHODS = ("zca", "pca", "cholesky")


class Whitening(NamedTuple):
    """An affine map that whitens activations, and its inverse. It is a PyTree."""

    mean: jax.Array
    """The mean of the samples [unit]."""
    matrix: jax.Array
    """The matrix W [component, unit], in units of 1 / a."""
    inverse: jax.Array
    """The inverse of W [unit, component], in units of a. With fewer components than units, it is the
    pseudoinverse."""

    def whiten(self, a: jax.typing.ArrayLike) -> jax.Array:
        """Returns z = (a - mean) W^T [..., component], for activations [..., unit] or one sample [unit]."""
        return _apply(_whiten, "activations", a, self.mean.shape[0], self)

    def unwhiten(self, z: jax.typing.ArrayLike) -> jax.Array:
        """Returns mean + z inverse^T [..., unit], for z [..., component] from `whiten`."""
        return _apply(_unwhiten, "whitened activations", z, self.matrix.shape[0], self)


def fit_whitening(
    a: jax.typing.ArrayLike,
    *,
    method: str = "zca",
    shrinkage: jax.typing.ArrayLike = 1e-3,
    components: int | None = None,
    where: jax.typing.ArrayLike | None = None,
    weights: jax.typing.ArrayLike | None = None,
    axis_name: AxisName = None,
) -> Whitening:
    """Fits a map that whitens activations. The map also applies to other activations, and has an inverse.

    W C' W^T = I, as in `whitening_matrix`, with C' = (1 - shrinkage) C + shrinkage mean_i(C_ii) I. C is the
    unbiased covariance. With C' = E diag(l) E^T, largest l first, the methods are:

    - "zca": W = E diag(l)^(-1/2) E^T, inverse E diag(l)^(1/2) E^T. Unit i stays unit i.
    - "pca": W = diag(l)^(-1/2) E^T, inverse E diag(l)^(1/2). Directions are sorted by decreasing variance,
      and you can keep only the first ones.
    - "cholesky": W = L^(-1), inverse L, with C' = L L^T. Whitened unit i depends on the first i units only.

        whitening = fit_whitening(a)
        z = whitening.whiten(a)
        a = whitening.unwhiten(z)

    `CorrelationState.whitening` fits such a map to a stream.

    Args:
      a: activations [..., unit], floating point; all leading axes together are the m samples.
      method: "zca", "pca" or "cholesky".
      shrinkage: in [0, 1], may be traced. With 0, C' is C. With 1, units are divided by one common scale,
        but not decorrelated.
      components: how many leading directions "pca" keeps. Default: all.
      where, weights, axis_name: valid samples, sample weights, and mapped axes over which samples are spread;
        as in `zscore`.

    Returns:
      Whitening(mean [unit], matrix [component, unit], inverse [unit, component]), with `whiten` and
      `unwhiten`; float32 for half-precision input. Differentiation treats all three as constants.
      `decorr.whiten`, in contrast, differentiates its statistics.

    Raises:
      ValueError, TypeError: as in `zscore` and `whitening_matrix`; components outside 1 to d, or given for a
        method other than "pca". In `whiten` and `unwhiten`: an array whose number of units or components does
        not fit the map.

    Numerics:
      Eigenvalues below d eps times the largest may be rounding errors, and are raised to this bound. So W is
      finite even if the shrinkage is 0. `Whitening.whiten` multiplies by W, and then corrects z by the error
      that `unwhiten` would make. So if all components are kept, `unwhiten` restores the activations up to a
      few eps times the largest activation, even if the condition number of C is 1e6. In C', a constant unit
      has only the variance that shrinkage adds. If no unit varies, or fewer than two samples are valid,
      matrix and inverse are 0. If a value is not finite, matrix and inverse are NaN. In each "pca" direction,
      the entry with the largest absolute value is positive, like in scikit-learn.

    Source: Kessy, Lewin & Strimmer, Optimal Whitening and Decorrelation. At shrinkage 0, "pca" is
    scikit-learn's PCA(whiten=True).
    """
    arrays = jnp.asarray(a), where, weights, check_scalar_probability(shrinkage, "shrinkage")
    return over_mesh(_fit_whitening, arrays, method, components, axis_name)


def _check_form(method: str, components: int | None, d: int) -> None:
    """Raises ValueError for an unknown method, or for `components` that do not fit the method."""
    check_name("method", method, METHODS)
    if components is None:
        return
    if method != "pca":
        raise ValueError(f'components are for method="pca"; got method={method!r}')
    if not 1 <= operator.index(components) <= d:
        raise ValueError(f"components must be from 1 to {d}, the number of units; got {components}")


def of_covariance(
    method: str, components: int | None, mean: jax.Array, c: jax.Array, shrinkage: jax.Array
) -> Whitening:
    """Returns the map that whitens samples with this mean [unit] and covariance [unit, unit]."""
    _check_form(method, components, len(mean))
    mean, c, shrinkage = lax.stop_gradient((mean, c, shrinkage.astype(c.dtype)))
    identity, variance = jnp.eye(len(c), dtype=c.dtype), jnp.mean(jnp.diagonal(c))
    finite = jnp.isfinite(c).all()
    regular = (variance > 0) & finite
    scale = jnp.where(regular, variance, 1)
    c = (1 - shrinkage) * (c / scale) + shrinkage * identity
    # The solver must get finite values only.
    values, vectors = jnp.linalg.eigh(jnp.where(regular, c, identity))
    rounding = len(c) * jnp.finfo(c.dtype).eps * values[-1]
    roots = jnp.sqrt(jnp.maximum(values, jnp.maximum(shrinkage, rounding)))[None, ::-1]
    vectors = vectors[:, ::-1]
    if method == "zca":
        matrix, inverse = product(vectors / roots, vectors.T), product(vectors * roots, vectors.T)
    elif method == "pca":
        largest = jnp.take_along_axis(vectors, jnp.abs(vectors).argmax(axis=0)[None], axis=0)
        vectors, roots = (vectors * jnp.sign(largest))[:, :components], roots[:, :components]
        matrix, inverse = (vectors / roots).T, vectors * roots
    else:
        # The factor is computed from the raised eigenvalues, because c may be indefinite after rounding.
        inverse = jnp.linalg.qr((vectors * roots).T, mode="r").T
        inverse = inverse * jnp.sign(jnp.diagonal(inverse))[None]
        matrix = jax.scipy.linalg.solve_triangular(inverse, identity, lower=True)
    known = jnp.where(regular, 1, jnp.where(finite, 0, jnp.nan))
    root = jnp.sqrt(scale)
    return Whitening(mean, matrix * (known / root), inverse * (known * root))


def _fit_whitening(
    method: str,
    components: int | None,
    axis_name: AxisName,
    a: jax.Array,
    where: jax.Array | None,
    weights: jax.Array | None,
    shrinkage: jax.Array,
) -> Whitening:
    samples = as_samples(axis_name, lax.stop_gradient(a), where, weights)
    # One of a unit's values is subtracted before its mean is taken, so the mean of a constant unit is exact.
    origin = samples.origin(samples.extremes()[0])
    mean = origin + samples.total(samples.select(samples.values - origin)) / samples.size()
    u, scale = factor("covariance", samples)
    covariance = samples.moment(u, u) / samples.size(ddof=1)
    fitted = of_covariance(method, components, mean[0], covariance, shrinkage)
    return fitted._replace(matrix=fitted.matrix / scale, inverse=fitted.inverse * scale)


def _apply(
    function: Callable[..., jax.Array], what: str, x: jax.typing.ArrayLike, size: int, whitening: Whitening
) -> jax.Array:
    x = check_floating(x, what)
    if x.shape[-1:] != (size,):
        raise ValueError(f"{what} must have shape [..., {size}]; got {x.shape}")
    return over_mesh(function, (x, *whitening), specs=lambda spec: PartitionSpec(*spec[:-1]))


def _whiten(a: jax.Array, mean: jax.Array, matrix: jax.Array, inverse: jax.Array) -> jax.Array:
    c, mean, matrix, inverse = _alike(a, mean, matrix, inverse)
    c = c - mean[None]
    z = product(c, matrix.T)
    # The inverse magnifies the rounding error of z, so z gets one step of iterative refinement.
    z = z + product(c - product(z, inverse.T), matrix.T)
    return z.reshape(*a.shape[:-1], len(matrix))


def _unwhiten(z: jax.Array, mean: jax.Array, matrix: jax.Array, inverse: jax.Array) -> jax.Array:
    rows, mean, inverse = _alike(z, mean, inverse)
    return (mean[None] + product(rows, inverse.T)).reshape(*z.shape[:-1], len(mean))


def _alike(x: jax.Array, *fitted: jax.Array) -> tuple[jax.Array, ...]:
    """Returns x, reshaped to [sample, ...], and then the fitted arrays, all with the same dtype."""
    dtype = jnp.promote_types(widen(x).dtype, fitted[0].dtype)
    return tuple(y.astype(dtype) for y in (x.reshape(-1, x.shape[-1]), *fitted))
