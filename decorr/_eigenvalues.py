"""Eigenvalues of a layer's matrix, with derivatives even where some eigenvalues coincide."""

import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from decorr._samples import AxisName, Samples, at_most, centre_in_spans, product, root, standardise

Kind = Literal["correlation", "covariance", "moment"]
"""A layer's matrix [unit, unit], computed from its z-scores, centred values, or raw values, respectively."""


class Spectrum(NamedTuple):
    """The eigenvalues of a layer's matrix."""

    values: jax.Array
    """The eigenvalues divided by scale^2 [min(m, d)], largest first."""
    scale: jax.Array
    """A scalar with derivative 0. Activations are divided by it, so no square under- or overflows."""


def spectrum_of(kind: Kind, samples: Samples) -> Spectrum:
    """Returns the eigenvalues of B^T B = U^T W U / N, or of B B^T if that matrix is smaller.

    U comes from `factor`, W = diag(w) holds the samples' weights, and N is `samples.size`.
    """
    u, scale = factor(kind, samples)
    size = jnp.asarray(samples.size(ddof=0 if kind == "moment" else 1), u.dtype)
    if samples.weights is None:
        b = u / jnp.sqrt(size)
    else:
        # Weights are divided by their sum, so that no weight exceeds 1.
        total = samples.everywhere(samples.weights.sum())
        total = jnp.where(total == 0, 1, total)  # NaN stays
        b = u * (root(samples.weights / total) * jnp.sqrt(total / size))[:, None]
    if at_most(b.shape[1], samples.number):
        return Spectrum(eigenvalues(samples.axis_name, b), scale)
    return Spectrum(eigenvalues(None, samples.whole(b).T), scale)


def factor(kind: Kind, samples: Samples) -> tuple[jax.Array, jax.Array]:
    """Returns the values U [sample, unit] that `kind` names, divided by a scale, and the scale.

    After the division no square overflows.
    """
    if kind == "correlation":
        z = standardise(samples).z
        return z, jnp.ones((), z.dtype)
    if kind == "covariance":  # the scale is the largest span, which no deviation exceeds
        c, span, constant = centre_in_spans(samples)
        scale = _divisor(jnp.max(jnp.where(constant, 0, span)))
        return samples.select(jnp.where(constant, 0, c * (span / scale))), scale
    largest = jnp.max(jnp.abs(lax.stop_gradient(samples.values)))
    scale = _divisor(largest if samples.axis_name is None else lax.pmax(largest, samples.axis_name))
    return samples.values / scale, scale


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def eigenvalues(axis_name: AxisName, b: jax.Array) -> jax.Array:
    """Returns the eigenvalues of B^T B, largest first; all are NaN if an entry of B is not finite.

    They are |B v|^2, where v are the rounded eigenvectors of B^T B. So their error is a few eps^2 times the
    largest eigenvalue. With `jnp.linalg.eigvalsh`, the factor would be a few eps. A small singular value of B
    has an error of about eps times the largest singular value.
    """
    return _quotients(axis_name, b, _vectors(axis_name, b))


@eigenvalues.defjvp
def _eigenvalues_jvp(
    axis_name: AxisName, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    # The eigenvectors change with B too, but to first order, their change does not affect any |B v|^2.
    v = _vectors(axis_name, *primals)
    return jax.jvp(lambda b: _quotients(axis_name, b, v), primals, tangents)


def _vectors(axis_name: AxisName, b: jax.Array) -> jax.Array:
    """Returns the eigenvectors of B^T B as columns. The solver gets only finite values."""
    matrix = _everywhere(axis_name, product(b.T, b))
    identity = jnp.eye(len(matrix), dtype=matrix.dtype)
    vectors: jax.Array = jnp.linalg.eigh(jnp.where(jnp.isfinite(matrix).all(), matrix, identity))[1]
    return vectors


def _quotients(axis_name: AxisName, b: jax.Array, v: jax.Array) -> jax.Array:
    """Returns |B u|^2 for each column u of `v`, largest first."""
    values = _everywhere(axis_name, jnp.sum(jnp.square(product(b, v)), axis=0))
    values = jnp.where(jnp.isfinite(values).all(), values, jnp.nan)
    return values[jnp.argsort(-values)]


def _everywhere(axis_name: AxisName, x: jax.Array) -> jax.Array:
    return x if axis_name is None else lax.psum(x, axis_name)


def _divisor(x: jax.Array) -> jax.Array:
    """Returns x, or 1 if x is 0 or not finite. The inverse of the result is not denormal."""
    return jnp.where((x > 0) & jnp.isfinite(x), jnp.minimum(x, jnp.finfo(x.dtype).max / 8), 1)
